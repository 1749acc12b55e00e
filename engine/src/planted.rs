//! Bugs planted on purpose, to prove that the tests find them. Present only in a build with
//! `--cfg keylane_planted`; in every other build `is` is a constant and nothing is left of a plant.
//!
//! A test plants at most one at a time, on its own thread (`tests/tests/planted/planted.rs`). `docs/testing.md`
//! says where each of them happened.

use std::future::Future;
use std::io;

/// What can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A flush that failed is repeated, and the second answer counts.
    FlushRetried,
    /// The error of a write is ignored when the flush after it succeeds.
    WriteErrorIgnored,
    /// A commit counts as durable before it is flushed.
    AckBeforeFlush,
    /// A batch is served although its checksum was not verified.
    ChecksumSkipped,
    /// A damaged commit always counts as the end of the log.
    DamageTakenForEnd,
    /// The directory entry of a new segment is not flushed.
    NameNotFlushed,
    /// A commit that completes makes earlier commits visible that are not complete.
    CompletionOrder,
    /// A start refuses a commit that was being written when power failed.
    TornTailRefused,
    /// A start appends to the segment that was written last.
    OldSegmentUsedAgain,
    /// Zeros are accepted as a batch.
    ZerosBelieved,
    /// The blocks of an index are used although their checksums were not verified.
    IndexUnchecked,
    /// A short write counts as a whole one.
    ShortWriteTaken,
    /// A commit is accepted although its header names another position.
    PlaceUnchecked,
    /// A segment that could not be sealed for want of space counts as sealed.
    FullTakenForSealed,
    /// A write that takes long counts as failed.
    SlowDiskFails,
    /// Segments that compaction wrote replace the old ones before they are flushed.
    CompactedNotFlushed,
    /// Compaction removes tombstones before `delete.retention.ms` has passed.
    TombstonesDropped,
    /// A checkpoint states a partition as it is when it is noted, and not as it was at the end of the segment.
    NotedTooLate,
    /// A log start offset counts before the entry that raises it is durable.
    TrimBeforeFlush,
    /// The maximum timestamp that a producer wrote into a batch's header is stored as it is.
    TimestampBelieved,
    /// A read is served from a segment that was freed, and perhaps used again, during the read.
    FreedServed,
}

/// Polls after which an operation counts as slow for [`Bug::SlowDiskFails`].
#[cfg(keylane_planted)]
const PATIENCE: u32 = 500;

#[cfg(keylane_planted)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread, or removes it.
#[cfg(keylane_planted)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
#[cfg(keylane_planted)]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this bug is planted: never.
#[cfg(not(keylane_planted))]
#[inline(always)]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

/// The same future; with [`Bug::SlowDiskFails`] planted it fails when it takes long.
#[cfg(keylane_planted)]
pub(crate) async fn impatient<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut future = std::pin::pin!(future);
    let mut polls = 0;
    std::future::poll_fn(|context| {
        polls += 1;
        match future.as_mut().poll(context) {
            std::task::Poll::Pending if polls > PATIENCE && is(Bug::SlowDiskFails) => {
                std::task::Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            other => other,
        }
    })
    .await
}

/// The future as it is.
#[cfg(not(keylane_planted))]
#[inline(always)]
pub(crate) fn impatient<T, F: Future<Output = io::Result<T>>>(future: F) -> F {
    future
}
