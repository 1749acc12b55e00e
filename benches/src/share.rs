//! Comparing servers under the same load, and what the comparison needs: child processes that never
//! outlive it, and statistics of few runs.
//!
//! Every child is ended by its own process id when its guard is dropped, and every wait is bounded.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A child process; killed and reaped when dropped.
pub struct Guard {
    child: Child,
}

impl Guard {
    /// Starts a command without input; its output goes to `stdout` and `stderr`.
    pub fn spawn(command: &mut Command, stdout: File, stderr: File) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn()?;
        Ok(Self { child })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for the end, at most `limit`; `None` if it still runs.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let end = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(Some(status)),
                None if Instant::now() >= end => return Ok(None),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Asks it to end (SIGTERM) and waits, at most `limit`.
    pub fn terminate(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        let pid = libc::pid_t::try_from(self.child.id()).map_err(io::Error::other)?;
        // SAFETY: `kill` has no memory effects; the child is not reaped yet, so the id is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        self.wait(limit)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Fails only if it has been reaped already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What was read within a while, and what it cost the reader's thread.
#[derive(Debug, Default, Clone, Copy)]
pub struct Slice {
    /// Bytes read.
    pub bytes: u64,
    /// Time on the clock.
    pub took: Duration,
    /// Processor time.
    pub cpu: Duration,
}

impl Slice {
    /// 10^6 bytes a second.
    pub fn rate(&self) -> f64 {
        if self.took.is_zero() { 0.0 } else { self.bytes as f64 / 1e6 / self.took.as_secs_f64() }
    }

    /// Processor time as a part of the time, in percent.
    pub fn cpu_percent(&self) -> f64 {
        if self.took.is_zero() { 0.0 } else { 100.0 * self.cpu.as_secs_f64() / self.took.as_secs_f64() }
    }

    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.took += other.took;
        self.cpu += other.cpu;
    }
}

/// A loopback address that was free just now.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// Waits until `server` accepts connections at `address`.
pub fn wait_until_listening(server: &mut Guard, address: SocketAddr, limit: Duration) -> io::Result<()> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = server.ended()? {
            return Err(io::Error::other(format!("the server ended: {status}")));
        }
        match TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            Ok(_) => return Ok(()),
            Err(cause) if Instant::now() >= end => return Err(cause),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The middle and the width of a few values.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Median.
    pub median: f64,
    /// Lowest value.
    pub lowest: f64,
    /// Highest value.
    pub highest: f64,
}

impl Summary {
    /// Of values without NaN; all zero if there are none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (Some(&lowest), Some(&highest)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let upper = sorted.len() / 2;
        let lower = (sorted.len() - 1) / 2;
        Self { median: (sorted[lower] + sorted[upper]) / 2.0, lowest, highest }
    }

    /// Distance from lowest to highest as a part of the median.
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.highest - self.lowest) / self.median }
    }
}

/// The last `lines` lines of a text file, for a message about what went wrong.
pub fn tail_of(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_spread() {
        let odd = Summary::of(&[3.0, 1.0, 2.0]);
        assert_eq!(odd, Summary { median: 2.0, lowest: 1.0, highest: 3.0 });
        assert_eq!(odd.spread(), 1.0);
        assert_eq!(Summary::of(&[4.0, 1.0]).median, 2.5);
        assert_eq!(Summary::of(&[]).spread(), 0.0);
    }

    #[test]
    fn a_dropped_guard_leaves_no_process() {
        let null = || File::options().write(true).open("/dev/null").unwrap();
        let guard = Guard::spawn(Command::new("sleep").arg("60"), null(), null()).unwrap();
        let proc_entry = format!("/proc/{}", guard.pid());
        assert!(Path::new(&proc_entry).exists());
        drop(guard);
        assert!(!Path::new(&proc_entry).exists());
    }
}
