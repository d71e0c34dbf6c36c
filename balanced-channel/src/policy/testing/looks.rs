//! How often pickers look at anything that grows with the pool, counted in tests: what a pick costs,
//! without a clock.

use std::cell::Cell;

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// A picker has looked at an endpoint, a turn or a place on the ring.
pub(crate) fn count() {
    LOOKS.set(LOOKS.get() + 1);
}

/// How often this thread's pickers have looked while `work` was done.
pub(super) fn of(work: impl FnOnce()) -> u64 {
    let before = LOOKS.get();
    work();
    LOOKS.get() - before
}
