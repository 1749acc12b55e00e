//! What readers are compared with: a loop that reads the files of a log from front to back with O_DIRECT. Over a
//! [`Wire`], it also sends what it reads to a thread that forgets it: as little as a server and a consumer can do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use keylane_engine::aligned::AlignedBuf;
use keylane_loadgen::cpu::{pin, thread_cpu};

use crate::share::Slice;

/// Bytes of one read.
const READ_BYTES: usize = 2 << 20;

/// The segments of all shards in a data directory, in the order in which they were written. One without an index holds
/// nothing: its space was only reserved, and reads as zeros without the disk.
pub fn segments(data: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for shard in std::fs::read_dir(data)?.filter_map(Result::ok).filter(|e| e.path().is_dir()) {
        for entry in std::fs::read_dir(shard.path())?.filter_map(Result::ok) {
            let path = entry.path();
            let is = |kind: &str| path.extension().is_some_and(|x| x == kind);
            let sealed = is("log") && path.with_extension("idx").exists();
            if sealed || is("sorted") && path.with_extension("sorted.idx").exists() {
                paths.push(path);
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads everything once, a segment of each half in turn: below this machine, the half that was written last would be
/// warmer.
pub fn level(data: &Path) -> Result<()> {
    let paths = segments(data)?;
    let (first, second) = paths.split_at(paths.len() / 2);
    let in_turn = (0..second.len()).flat_map(|n| first.get(n).into_iter().chain(second.get(n)));
    let mut plain = Plain::of(in_turn.cloned().collect());
    plain.slice(u64::MAX).map(|_| ())
}

/// A loopback connection whose other end is read by a thread that forgets what it reads.
pub struct Wire {
    stream: TcpStream,
    sent: u64,
    received: Arc<AtomicU64>,
}

impl Wire {
    /// The thread runs on `core`, and ends with the connection.
    pub fn new(core: usize) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        let (mut other, _) = listener.accept()?;
        let received = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&received);
        std::thread::spawn(move || {
            // Not on its core, it is a slower thread, and nothing else.
            let _pinned = pin(core);
            let mut buf = vec![0; 1 << 20];
            while let Ok(n @ 1..) = other.read(&mut buf) {
                counter.fetch_add(n as u64, Ordering::Release);
            }
        });
        Ok(Self { stream, sent: 0, received })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("sending what was read")?;
        self.sent += bytes.len() as u64;
        Ok(())
    }

    /// Waits until everything that was sent has been read.
    fn drain(&self) {
        while self.received.load(Ordering::Acquire) < self.sent {
            std::thread::yield_now();
        }
    }
}

/// Reads segments one after the other.
pub struct Plain {
    paths: Vec<PathBuf>,
    next: usize,
    file: Option<std::fs::File>,
    at: u64,
    buf: AlignedBuf,
    /// Where what is read goes.
    wire: Option<Wire>,
}

impl Plain {
    /// All segments of a data directory, beginning in the middle: another reader of the same files, which begins at the
    /// front, finds nothing warm that this one has just read.
    pub fn new(data: &Path) -> Result<Self> {
        let mut paths = segments(data)?;
        let middle = paths.len() / 2;
        paths.rotate_left(middle);
        Ok(Self::of(paths))
    }

    fn of(paths: Vec<PathBuf>) -> Self {
        Self { paths, next: 0, file: None, at: 0, buf: AlignedBuf::zeroed(READ_BYTES), wire: None }
    }

    /// Sends what is read over a wire.
    pub fn over(self, wire: Option<Wire>) -> Self {
        Self { wire, ..self }
    }

    /// Begins again, over the same wire.
    pub fn again(self, data: &Path) -> Result<Self> {
        Ok(Self::new(data)?.over(self.wire))
    }

    /// Whether everything was read.
    pub fn is_done(&self) -> bool {
        self.file.is_none() && self.next == self.paths.len()
    }

    /// Reads so many bytes, fewer only at the end.
    pub fn slice(&mut self, bytes: u64) -> Result<Slice> {
        let (started, cpu) = (Instant::now(), thread_cpu());
        let mut read = 0;
        while read < bytes && !self.is_done() {
            if self.file.is_none() {
                let path = &self.paths[self.next];
                self.next += 1;
                self.file = match open(path) {
                    // Meanwhile regrouped or deleted.
                    Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
                    opened => Some(opened.with_context(|| format!("opening {}", path.display()))?),
                };
                self.at = 0;
            }
            let Some(file) = &self.file else { break };
            let n = file.read_at(self.buf.as_mut_slice(), self.at)?;
            read += n as u64;
            self.at += n as u64;
            if n == 0 {
                self.file = None;
            } else if let Some(wire) = &mut self.wire {
                wire.send(&self.buf.as_mut_slice()[..n])?;
            }
        }
        if let Some(wire) = &self.wire {
            wire.drain();
        }
        Ok(Slice { bytes: read, took: started.elapsed(), cpu: thread_cpu() - cpu })
    }
}

fn open(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_with_an_index_is_read_once() {
        let data = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let shard = data.path().join("shard-00000");
        std::fs::create_dir(&shard).unwrap();
        for (name, bytes) in
            [("1.log", 8192), ("1.idx", 1), ("2.log", 4096), ("3.sorted", 12288), ("3.sorted.idx", 1)]
        {
            std::fs::write(shard.join(name), vec![7; bytes]).unwrap();
        }
        let wire = Wire::new(0).unwrap();
        let received = Arc::clone(&wire.received);
        let mut plain = Plain::new(data.path()).unwrap().over(Some(wire));
        let first = plain.slice(4096).unwrap().bytes;
        assert!(first >= 4096 && !plain.is_done());
        assert_eq!(first + plain.slice(u64::MAX).unwrap().bytes, 8192 + 12288);
        assert!(plain.is_done());
        assert_eq!(received.load(Ordering::Acquire), 8192 + 12288, "all of it went over the wire");
        assert_eq!(plain.slice(1).unwrap().bytes, 0);
    }

    #[test]
    fn a_segment_that_is_gone_is_left_out() {
        let data = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let shard = data.path().join("shard-00000");
        std::fs::create_dir(&shard).unwrap();
        for name in ["1.log", "1.idx", "2.log", "2.idx"] {
            std::fs::write(shard.join(name), vec![7; 4096]).unwrap();
        }
        let mut plain = Plain::new(data.path()).unwrap();
        std::fs::remove_file(shard.join("1.log")).unwrap();
        assert_eq!(plain.slice(u64::MAX).unwrap().bytes, 4096);
    }
}
