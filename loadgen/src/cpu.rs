//! Cores to run on, and processor time used.
//!
//! Promises: figures come from the kernel's own accounting (`/proc` and the CPU-time clocks).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Threads of an embedded server have names that begin with this.
const SERVER_THREADS: &str = "keylane-core";
/// The kernel's unit in `/proc/PID/stat` (`USER_HZ`, 100 on all of Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads a list of cores as `taskset` has it: `0`, `0-3`, `0,2`.
pub fn parse_cores(text: &str) -> Result<Vec<usize>> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().with_context(|| format!("core list {text}"));
        let (from, to) = (number(from)?, number(to)?);
        ensure!(from <= to && to < 4096, "core list {part}");
        cores.extend(from..=to);
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

/// The cores that this process may use.
pub fn allowed_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Pins the calling thread; false if the kernel refuses.
pub fn pin(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

fn cpu_clock(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.max(0) as u32)
}

/// Processor time of the calling thread so far.
pub fn thread_cpu() -> Duration {
    cpu_clock(ClockId::ThreadCPUTime)
}

/// Processor time of this process so far.
pub fn process_cpu() -> Duration {
    cpu_clock(ClockId::ProcessCPUTime)
}

/// Processor time so far of this process's server threads, and how many there are.
pub fn server_threads_cpu() -> (Duration, usize) {
    let mut total = Duration::ZERO;
    let mut threads = 0;
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let path = task.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with(SERVER_THREADS) {
            total += task_cpu(&path).unwrap_or_default();
            threads += 1;
        }
    }
    (total, threads)
}

/// From `schedstat`, in nanoseconds, or else from `stat`, in ticks.
fn task_cpu(path: &std::path::Path) -> Option<Duration> {
    let exact = fs::read_to_string(path.join("schedstat")).ok();
    if let Some(ns) = exact.and_then(|text| text.split(' ').next()?.parse().ok()) {
        return Some(Duration::from_nanos(ns));
    }
    stat_cpu(&fs::read_to_string(path.join("stat")).ok()?)
}

/// utime and stime of a `stat` line.
fn stat_cpu(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may have spaces: fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// What another process has used.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ProcessUse {
    pub cpu_s: f64,
    pub rss_bytes: u64,
    pub rss_bytes_max: u64,
    /// Bytes that the process caused to be written to disks; `None` if it is not ours to know.
    pub write_bytes: Option<u64>,
    /// Cores that it may use.
    pub cores: usize,
}

pub fn process_use(pid: u32) -> Result<ProcessUse> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    };
    let cpu = stat_cpu(&read("stat")?).with_context(|| format!("/proc/{pid}/stat is not understood"))?;
    let status = read("status")?;
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.split_ascii_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    Ok(ProcessUse {
        cpu_s: cpu.as_secs_f64(),
        rss_bytes: bytes("VmRSS:"),
        rss_bytes_max: bytes("VmHWM:"),
        write_bytes: read("io").ok().and_then(|io| write_bytes(&io)),
        cores: parse_cores(allowed.trim()).map_or(0, |cores| cores.len()),
    })
}

/// From `/proc/PID/io`.
fn write_bytes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_read_as_taskset_reads_them() {
        assert_eq!(parse_cores("0").unwrap(), [0]);
        assert_eq!(parse_cores("0-3").unwrap(), [0, 1, 2, 3]);
        assert_eq!(parse_cores("2,0,2-3").unwrap(), [0, 2, 3]);
        assert!(parse_cores("3-1").is_err() && parse_cores("").is_err() && parse_cores("a").is_err());
    }

    #[test]
    fn a_stat_line_with_an_odd_name_is_read() {
        let line = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(stat_cpu(line), Some(Duration::from_secs(2)));
        let own = process_use(std::process::id()).unwrap();
        assert!(own.rss_bytes_max > 0 && own.cores > 0);
        assert_eq!(write_bytes("rchar: 7\nwrite_bytes: 4096\ncancelled_write_bytes: 1\n"), Some(4096));
    }
}
