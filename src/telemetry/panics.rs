//! What is told of a panic: where it was, and our own words.
//!
//! A formatted message may hold anything that the code had in its hands: `str` alone shows up to 256 bytes of a text that
//! is cut at the wrong place. So only messages without arguments are repeated.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;

/// From now on panics of this process are told so: in the log if there is one, else on standard error.
pub fn tell_of_panics() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("-");
    let place = panic.location().map_or_else(|| "somewhere".to_owned(), ToString::to_string);
    // A message with arguments is a `String`.
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("its message is kept back");
    if tracing::dispatcher::has_been_set() {
        // Names of functions and files, where RUST_BACKTRACE asks for them.
        let trace = Backtrace::capture();
        let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
        tracing::error!(thread, place, trace, "a bug: panicked: {message}");
    } else {
        // Nobody is there to be told that nobody is there.
        let _written = writeln!(std::io::stderr().lock(), "keystile: a bug: panicked at {place}: {message}");
    }
}
