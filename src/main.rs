//! The `keystile` program: an allocator and the command line.

use std::process::ExitCode;

/// It gives the memory of ended streams back to the system, which glibc's does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    keystile::cli::run(std::env::args_os())
}
