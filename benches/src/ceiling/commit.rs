//! Collects batches in an aligned chunk and commits chunk after chunk.
//!
//! Group commit without delay: a committer that is free takes whatever has been collected; what
//! arrives meanwhile is the next commit. A commit is one write at the next place of a file that is
//! used as a ring, and one flush begun after the write completed; then the answers that it covers are
//! handed to their connections. With several commits in flight the answers still leave in commit
//! order. A failed or short write or flush ends the process.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use keylane_engine::aligned::{AlignedBuf, BLOCK, round_up};
use tokio::sync::Notify;
use tokio_uring::buf::BoundedBuf;

use super::connection::Outbox;
use super::{Counters, add};

/// Answers of one connection that wait for a commit.
struct Due {
    to: Rc<Outbox>,
    answers: Vec<u8>,
}

/// What is being collected for the next commit.
struct Collecting {
    chunk: AlignedBuf,
    len: usize,
    due: Vec<Due>,
    /// Tells a connection whether its place in `due` is of this commit.
    number: u64,
}

/// A connection's place in the list of answers of the commit that is being collected.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    number: u64,
    index: usize,
}

/// The log of the bare pipeline.
pub struct Log {
    collecting: RefCell<Collecting>,
    spare_chunks: RefCell<Vec<AlignedBuf>>,
    spare_answers: RefCell<Vec<Vec<u8>>>,
    spare_lists: RefCell<Vec<Vec<Due>>>,
    chunk_bytes: usize,
    file: Option<tokio_uring::fs::File>,
    file_bytes: u64,
    file_at: Cell<u64>,
    /// Commits whose answers have been handed over.
    answered: Cell<u64>,
    /// Wakes a committer: something was collected.
    work: Notify,
    /// Wakes receivers: the full chunk was taken.
    space: Notify,
    /// Wakes committers that wait for their turn to answer.
    turn: Notify,
    counters: Rc<Counters>,
}

/// Creates (or overwrites) the file with zeros, so that no later write has to allocate or to convert an
/// extent; with `allocated`, only reserves its space.
pub fn prepare_file(path: &Path, bytes: u64, allocated: bool) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    if allocated {
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        file.sync_all()?;
        return Ok(file);
    }
    let zeros = AlignedBuf::zeroed(4 << 20);
    let mut left = bytes;
    while left > 0 {
        let n = left.min(zeros.capacity() as u64) as usize;
        file.write_all(&zeros.as_slice()[..n])?;
        left -= n as u64;
    }
    file.sync_all()?;
    Ok(file)
}

impl Log {
    /// A log that commits chunks of up to `chunk_bytes` to a prepared file of `file_bytes` (whole
    /// chunks), or to nowhere.
    pub fn new(file: Option<File>, file_bytes: u64, chunk_bytes: usize, counters: Rc<Counters>) -> Rc<Self> {
        let chunk_bytes = round_up(chunk_bytes);
        assert!(file.is_none() || file_bytes >= chunk_bytes as u64, "the file is smaller than a chunk");
        let collecting =
            Collecting { chunk: AlignedBuf::zeroed(chunk_bytes), len: 0, due: Vec::new(), number: 1 };
        Rc::new(Self {
            collecting: RefCell::new(collecting),
            spare_chunks: RefCell::default(),
            spare_answers: RefCell::default(),
            spare_lists: RefCell::default(),
            chunk_bytes,
            file: file.map(tokio_uring::fs::File::from_std),
            file_bytes,
            file_at: Cell::new(0),
            answered: Cell::new(0),
            work: Notify::new(),
            space: Notify::new(),
            turn: Notify::new(),
            counters,
        })
    }

    /// Largest batch that can be stored, in bytes.
    pub fn batch_bytes_max(&self) -> usize {
        self.chunk_bytes
    }

    /// Copies a batch into the chunk; `false` if the chunk is too full: wait for [`Log::space`].
    pub fn append(&self, batch: &[u8]) -> bool {
        let mut now = self.collecting.borrow_mut();
        let at = now.len;
        if at + batch.len() > self.chunk_bytes {
            return false;
        }
        now.chunk.put(at, batch);
        now.len = at + batch.len();
        true
    }

    /// Lets `write` add answers that leave when all that was appended so far is durable, after all
    /// earlier answers of the same connection.
    pub fn answer(&self, place: &mut Place, to: &Rc<Outbox>, write: impl FnOnce(&mut Vec<u8>)) {
        let mut now = self.collecting.borrow_mut();
        if place.number != now.number {
            *place = Place { number: now.number, index: now.due.len() };
            let answers = self.spare_answers.borrow_mut().pop().unwrap_or_default();
            now.due.push(Due { to: Rc::clone(to), answers });
        }
        write(&mut now.due[place.index].answers);
    }

    /// Tells the committer that something was collected.
    pub fn wake(&self) {
        self.work.notify_one();
    }

    /// Waits until the full chunk has been taken.
    pub async fn space(&self) {
        self.space.notified().await;
    }

    /// Commits for ever. With `n` of these running, `n` commits are in flight.
    pub async fn run(self: Rc<Self>) {
        loop {
            let Some((number, chunk, len, due)) = self.take() else {
                self.work.notified().await;
                continue;
            };
            let chunk = self.store(chunk, len).await;
            while self.answered.get() + 1 != number {
                self.turn.notified().await;
            }
            self.deliver(due);
            self.answered.set(number);
            self.turn.notify_waiters();
            self.spare_chunks.borrow_mut().push(chunk);
        }
    }

    fn take(&self) -> Option<(u64, AlignedBuf, usize, Vec<Due>)> {
        let mut now = self.collecting.borrow_mut();
        if now.len == 0 && now.due.is_empty() {
            return None;
        }
        let fresh = self.spare_chunks.borrow_mut().pop();
        let fresh = fresh.unwrap_or_else(|| AlignedBuf::zeroed(self.chunk_bytes));
        let list = self.spare_lists.borrow_mut().pop().unwrap_or_default();
        let (number, len) = (now.number, now.len);
        let chunk = std::mem::replace(&mut now.chunk, fresh);
        let due = std::mem::replace(&mut now.due, list);
        now.number += 1;
        now.len = 0;
        self.space.notify_waiters();
        Some((number, chunk, len, due))
    }

    /// Writes and flushes the first `len` bytes, padded to whole blocks; gives the chunk back.
    async fn store(&self, mut chunk: AlignedBuf, len: usize) -> AlignedBuf {
        let Some(file) = self.file.as_ref().filter(|_| len > 0) else { return chunk };
        let padded = round_up(len);
        chunk.as_mut_slice()[len..padded].fill(0);
        let mut at = self.file_at.get();
        if at + padded as u64 > self.file_bytes {
            at = 0;
        }
        self.file_at.set(at + padded as u64);
        let (written, slice) = file.write_at(chunk.slice(..padded), at).submit().await;
        let n = written.unwrap_or_else(|e| panic!("write of {padded} bytes at {at} failed: {e}"));
        assert_eq!(n, padded, "short write at {at}; blocks are {BLOCK} bytes");
        file.sync_data().await.unwrap_or_else(|e| panic!("flush failed: {e}"));
        add(&self.counters.commits, 1);
        add(&self.counters.commit_bytes, padded as u64);
        slice.into_inner()
    }

    fn deliver(&self, mut due: Vec<Due>) {
        let mut spare = self.spare_answers.borrow_mut();
        for Due { to, answers } in due.drain(..) {
            spare.push(to.push(answers));
        }
        self.spare_lists.borrow_mut().push(due);
    }
}
