//! A token bucket in one atomic, without a lock.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of units in one token.
pub(super) const TOKEN: u32 = 1000;

/// A token bucket, full at first.
#[derive(Debug)]
pub(super) struct TokenBucket {
    units: AtomicU32,
    max: u32,
}

// === impl TokenBucket ===

impl TokenBucket {
    /// Creates a full bucket of this many tokens.
    pub(super) fn new(tokens: u32) -> Self {
        let max = tokens.saturating_mul(TOKEN);
        Self { units: AtomicU32::new(max), max }
    }

    /// Returns the number of units left.
    pub(super) fn units(&self) -> u32 {
        self.units.load(Ordering::Relaxed)
    }

    /// Returns whether more than half of the tokens are left.
    pub(super) fn is_more_than_half_full(&self) -> bool {
        self.units() > self.max / 2
    }

    /// Adds units, up to the size of the bucket.
    pub(super) fn add(&self, units: u32) {
        // A full bucket, the usual case, is only read.
        if self.units() < self.max {
            self.change(|left| Some(left.saturating_add(units).min(self.max)));
        }
    }

    /// Takes a token, or the remaining part of one.
    pub(super) fn drain(&self) {
        self.change(|left| Some(left.saturating_sub(TOKEN)));
    }

    /// Takes a token. Returns whether there was one.
    pub(super) fn take(&self) -> bool {
        self.change(|left| left.checked_sub(TOKEN))
    }

    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        self.units.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}
