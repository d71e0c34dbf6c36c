//! The limit on the headers and on the trailers of a response.
//!
//! h2 has such a limit, but drops the fields of trailers above it without an error. For this reason h2's limit is
//! [`H2_FACTOR`] times the channel's, and the channel compares the sizes itself. Trailers that h2 has truncated are
//! detected as well:
//!
//! - What h2 delivers is above the channel's limit, or
//! - the first field that h2 dropped is larger than HPACK's table, so that the encoded block contains it, in at least 5
//!   bits for each byte (RFC 7541, appendix B): the block is more than 4 times as long as the fields that h2 delivers.
//!   The block of complete trailers is shorter, as no byte takes more than 30 bits. The [sniffer](super::sniffer)
//!   measures long blocks.

use http::HeaderMap;

/// The smallest limit, in bytes: the size of HPACK's table.
const MIN: u32 = 4096;
/// The limit of h2, as a multiple of the channel's.
const H2_FACTOR: u32 = 8;
/// The size of a field, beside its name and value (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// The maximum length of an encoded block beside its fields: padding, a priority, and changes of the table's size.
const BLOCK_OVERHEAD: usize = 1024;

/// The maximum size of the headers, and of the trailers, of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderListLimit(u32);

/// The headers or the trailers of a response are larger than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} larger than {limit} bytes, the limit of this channel (Builder::max_header_list_size)")]
pub(crate) struct HeaderListTooLarge {
    part: &'static str,
    limit: u32,
}

/// Returns the size of headers or trailers in bytes, as HTTP/2 defines it (RFC 9113, section 6.5.2).
pub fn header_list_size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum()
}

// === impl HeaderListLimit ===

impl HeaderListLimit {
    /// Limits header lists to `bytes`, but to no less than 4 KiB.
    pub(crate) fn new(bytes: u32) -> Self {
        Self(bytes.max(MIN))
    }

    /// Returns the limit for h2.
    pub(super) fn of_h2(self) -> u32 {
        self.0.saturating_mul(H2_FACTOR)
    }

    /// Returns the length above which an encoded block may have lost fields.
    pub(super) fn long_block(self) -> usize {
        self.0 as usize * 4
    }

    pub(super) fn check_headers(self, headers: &HeaderMap) -> Result<(), HeaderListTooLarge> {
        if header_list_size(headers) > self.0 as usize {
            return Err(self.exceeded_by("response headers"));
        }
        Ok(())
    }

    /// Checks the trailers that h2 delivers. `long_block` is the length of their encoded block, if it was long.
    pub(super) fn check_trailers(
        self,
        trailers: &HeaderMap,
        long_block: Option<usize>,
    ) -> Result<(), HeaderListTooLarge> {
        let size = header_list_size(trailers);
        let is_cut = |block: usize| block > 4 * size + BLOCK_OVERHEAD;
        if size > self.0 as usize || long_block.is_some_and(is_cut) {
            return Err(self.exceeded_by("response trailers"));
        }
        Ok(())
    }

    /// Returns the error for a header list that h2 has dropped in part or as a whole.
    pub(super) fn exceeded_by(self, part: &'static str) -> HeaderListTooLarge {
        HeaderListTooLarge { part, limit: self.0 }
    }
}

impl Default for HeaderListLimit {
    fn default() -> Self {
        Self(16 << 10)
    }
}
