//! A Keylane server as a process of its own, for what is measured from outside: the time of a start, its memory.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::share::{Guard, free_address, tail_of};

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Folder of the programs.
    pub programs: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
    /// File for its log.
    pub log: PathBuf,
    /// CPUs, as `--cores` takes them.
    pub cores: String,
    /// Further options.
    pub options: Vec<String>,
}

/// A running server; killed when dropped.
pub struct Server {
    process: Guard,
    /// Where it listens.
    pub address: SocketAddr,
    /// When its process was started.
    pub since: Instant,
}

impl Setup {
    /// Starts it, and does not wait.
    pub fn start(&self) -> Result<Server> {
        let address = free_address()?;
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(self.programs.join("keylane"));
        command.arg("serve").arg("--data").arg(&self.data).args(["--cores", &self.cores]);
        command.args(["--kafka", &address.to_string()]).args(&self.options);
        let since = Instant::now();
        let process = Guard::spawn(&mut command, log.try_clone()?, log)
            .with_context(|| format!("cannot start {command:?}; build it in release mode"))?;
        Ok(Server { process, address, since })
    }

    /// The end of its log, for a message about what went wrong.
    pub fn last_words(&self) -> String {
        tail_of(&self.log, 8)
    }
}

impl Server {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Connects as soon as somebody listens.
    pub fn connect(&mut self, limit: Duration) -> Result<TcpStream> {
        loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => return Ok(stream),
                Err(cause) if self.since.elapsed() > limit => return Err(cause.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            if let Some(status) = self.process.ended()? {
                bail!("the server ended: {status}");
            }
        }
    }

    /// Memory it holds, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib << 10)
    }

    /// Bytes that it has had read from the disk so far.
    pub fn disk_read_bytes(&self) -> Result<u64> {
        let io = std::fs::read_to_string(format!("/proc/{}/io", self.pid()))?;
        let line = io.lines().find_map(|line| line.strip_prefix("read_bytes:")).context("no read_bytes")?;
        Ok(line.trim().parse()?)
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(self) {
        drop(self);
    }

    /// Has it stop cleanly.
    pub fn stop(mut self, limit: Duration) -> Result<()> {
        match self.process.terminate(limit)? {
            Some(status) if status.success() => Ok(()),
            other => bail!("the server did not end as it should: {other:?}"),
        }
    }
}

/// Empties the page cache where this process may, and reads the program again: what a start is measured for is
/// the data.
pub fn drop_caches(programs: &Path) -> Result<()> {
    // SAFETY: `sync` has no preconditions.
    unsafe { libc::sync() };
    let _not_allowed = std::fs::write("/proc/sys/vm/drop_caches", "3");
    std::fs::read(programs.join("keylane")).context("reading the program")?;
    Ok(())
}

/// Bytes of the sealed segments in a data directory: of the files that have an index.
pub fn sealed_bytes(data: &Path) -> Result<u64> {
    let mut bytes = 0;
    for shard in std::fs::read_dir(data)?.filter_map(Result::ok).filter(|e| e.path().is_dir()) {
        for entry in std::fs::read_dir(shard.path())?.filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_some_and(|kind| kind == "idx") {
                let sorted = path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with(".sorted"));
                let segment = if sorted { path.with_extension("") } else { path.with_extension("log") };
                bytes += segment.metadata().map_or(0, |m| m.len());
            }
        }
    }
    Ok(bytes)
}
