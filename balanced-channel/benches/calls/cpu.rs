//! The CPU time of this process, from the kernel's own nanosecond accounting (Linux).

use std::{fs, time::Duration};

/// Returns the CPU time that all living threads have used so far.
pub(crate) fn used() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("the CPU time is read from /proc (Linux)");
    let nanos = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}
