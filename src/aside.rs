//! Futures on the heap: those of each call, and those that few calls need, aside from them.

use std::future::Future;
use std::pin::Pin;

/// What is made here is polled through a pointer. In a mere box the compiler puts it in its caller's place, and its room into the
/// caller's stack frame, each page of which is touched whenever that is polled: 100 KB for every call, for what few of them do.
#[inline(never)]
pub(crate) fn aside<'f, F: Future + Send + 'f>(
    make: impl FnOnce() -> F,
) -> Pin<Box<dyn Future<Output = F::Output> + Send + 'f>> {
    in_place(make)
}

/// Makes a future where it stays. `Box::pin` has it made on the stack and copies all of its room, of which only a little is in
/// use yet. Memory first, and `make` does nothing but to call an `async fn`: then its arguments are all that is written.
#[inline]
pub(crate) fn in_place<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, make()))
}
