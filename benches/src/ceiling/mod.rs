//! The bare pipeline: receive, check, copy, one O_DIRECT write and one flush for all that arrived, answer.
//!
//! It promises what makes the comparison fair, and nothing else: every answer is sent after the write
//! and the flush that cover its batch, in the order of the requests of its connection. It keeps no
//! index, serves no reads, recovers nothing and knows one client-made error (a wrong checksum).
//!
//! * [`wire`]: finds the batch in a Produce request and writes its answer.
//! * [`commit`]: collects batches in a chunk and commits one chunk at a time.
//! * [`connection`]: the receiving and the sending half of a connection.
//! * [`admin`]: what a client asks before it produces; off the hot path.
//!
//! Everything runs on one thread, so shared state is `Rc` and `Cell`.

pub mod admin;
pub mod commit;
pub mod connection;
pub mod wire;

use std::cell::Cell;

/// What was done since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Produce requests answered or to be answered.
    pub requests: Cell<u64>,
    /// Batches copied into chunks.
    pub batches: Cell<u64>,
    /// Bytes of those batches.
    pub bytes: Cell<u64>,
    /// Commits: one write and one flush each.
    pub commits: Cell<u64>,
    /// Bytes written by those commits, padding included.
    pub commit_bytes: Cell<u64>,
    /// Batches refused because of their checksum.
    pub corrupt: Cell<u64>,
}

/// Adds to a counter.
pub(crate) fn add(counter: &Cell<u64>, n: u64) {
    counter.set(counter.get() + n);
}
