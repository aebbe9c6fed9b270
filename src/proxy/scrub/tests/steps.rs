//! Counts what the search does more than to pass over clean text.

use std::cell::Cell;

thread_local! {
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

pub(in crate::proxy::scrub) fn add(steps: usize) {
    STEPS.set(STEPS.get() + steps);
}

/// How many steps `work` takes.
pub(super) fn of(work: impl FnOnce()) -> usize {
    STEPS.set(0);
    work();
    STEPS.get()
}
