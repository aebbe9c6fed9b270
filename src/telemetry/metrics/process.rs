//! What the kernel counts of this process, under the names that all of Prometheus's own clients use.

use procfs::process::{LimitValue, Process};
use procfs::ticks_per_second;

use super::catalog::{CPU, MAX_FDS, OPEN_FDS, RESIDENT, STARTED, VIRTUAL};
use super::page::{Number, Page};

/// Writes what can be read; what the system does not tell is left out.
pub fn of_the_process(page: &mut Page) {
    let Ok(process) = Process::myself() else { return };
    if let Ok(stat) = process.stat() {
        let second = ticks_per_second().max(1).number();
        page.one(&CPU, (stat.utime + stat.stime).number() / second);
        page.one(&RESIDENT, stat.rss * procfs::page_size());
        page.one(&VIRTUAL, stat.vsize);
        if let Ok(boot) = procfs::boot_time_secs() {
            page.one(&STARTED, boot.number() + stat.starttime.number() / second);
        }
    }
    // A process that is closed to debuggers may be forbidden to list its own descriptors, unless it is root's.
    if let Ok(open) = process.fd_count() {
        page.one(&OPEN_FDS, u64::try_from(open).unwrap_or(u64::MAX));
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        page.one(&MAX_FDS, most);
    }
}
