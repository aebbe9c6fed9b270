//! Futures that few calls need, aside from those that all calls are.

use std::future::Future;
use std::pin::Pin;

/// What is made here is polled through a pointer. In a mere box the compiler puts it in its caller's place, and its room into the
/// caller's stack frame, each page of which is touched whenever that is polled: 100 KB for every call, for what few of them do.
#[inline(never)]
pub(crate) fn aside<'f, F: Future + Send + 'f>(
    make: impl FnOnce() -> F,
) -> Pin<Box<dyn Future<Output = F::Output> + Send + 'f>> {
    Box::pin(make())
}
