//! What many connections need: open files and memory.

use anyhow::{Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside the connections: libraries, epoll, an embedded server's own.
const FILES_BESIDE: u64 = 200;

/// Raises the limit of open files so that there can be `connections`; an error says what to do.
pub fn allow_connections(connections: usize, embedded: bool) -> Result<()> {
    // Both ends of a connection to an embedded server are in this process.
    let needed = connections as u64 * if embedded { 2 } else { 1 } + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let highest = limit.maximum.unwrap_or(u64::MAX);
    // Root may raise the upper limit as well.
    let raised =
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum: Some(highest.max(needed)) });
    ensure!(
        raised.is_ok() || highest >= needed,
        "{connections} connections need {needed} open files, the limit is {highest}: raise it with `ulimit -Hn {needed}` \
         (root) or LimitNOFILE= of the service, and the broker's as well"
    );
    ensure!(
        raised.is_ok(),
        "{connections} connections need {needed} open files: `ulimit -n {needed}` before this command"
    );
    Ok(())
}

/// Refuses what would not fit into memory.
pub fn check_memory(connections: usize, window: usize, batch_bytes: usize) -> Result<()> {
    let bytes = (connections * window) as u64 * batch_bytes as u64;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    let available = line
        .trim()
        .split(' ')
        .next()
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(u64::MAX, |kib| kib << 10);
    ensure!(
        bytes <= available / 2,
        "{connections} connections with {window} batches of {batch_bytes} bytes in flight are {} MiB, of {} MiB that are \
         free: take a smaller --window, --batch-bytes or --batch-records",
        bytes >> 20,
        available >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_with_advice() {
        assert!(allow_connections(10, true).is_ok());
        let error = allow_connections(1 << 40, false).unwrap_err().to_string();
        assert!(error.contains("ulimit"), "{error}");
        assert!(check_memory(10_000, 5, 1024).is_ok());
        let error = check_memory(1 << 20, 1 << 10, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("--window"), "{error}");
    }
}
