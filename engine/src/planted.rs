//! Bugs planted on purpose, to prove that the tests find them. Present only in a build with
//! `--cfg keylane_planted`; in every other build [`is`] is a constant and nothing is left of a plant.
//!
//! A test plants at most one at a time, on its own thread (`tests/tests/planted.rs`). `docs/testing.md`
//! says where each of them happened.

use std::future::Future;
use std::io;

/// What can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A flush that failed is tried again, and its second answer believed.
    FlushRetried,
    /// The error of a write is ignored when the flush after it succeeds.
    WriteErrorIgnored,
    /// A commit counts as durable before it is flushed.
    AckBeforeFlush,
    /// A batch is served without a look at its checksum.
    ChecksumSkipped,
    /// A damaged commit is always taken for the end of the log.
    DamageTakenForEnd,
    /// The directory entry of a new segment is not flushed.
    NameNotFlushed,
    /// A commit that completes makes those before it visible as well.
    CompletionOrder,
    /// A start refuses a commit that was being written when power failed.
    TornTailRefused,
    /// A start goes on in the segment that was written last.
    OldSegmentUsedAgain,
    /// Zeros pass for a batch.
    ZerosBelieved,
    /// The blocks of an index are believed without a look at their checksum.
    IndexUnchecked,
    /// A short write passes for a whole one.
    ShortWriteTaken,
    /// A commit is believed wherever it lies.
    PlaceUnchecked,
    /// A segment that could not be sealed for want of space counts as sealed.
    FullTakenForSealed,
    /// A write that takes long is an error.
    SlowDiskFails,
    /// What compaction wrote takes the place of the old before it is flushed.
    CompactedNotFlushed,
    /// Compaction takes tombstones before `delete.retention.ms` has passed.
    TombstonesDropped,
    /// A checkpoint in the making states a partition as it is when its turn comes, not as it was.
    NotedTooLate,
    /// A log start offset counts before the entry that raises it is durable.
    TrimBeforeFlush,
    /// The maximum timestamp that a producer wrote into a batch's header is stored as it is.
    TimestampBelieved,
    /// A read is served from a segment that was freed, and perhaps used again, meanwhile.
    FreedServed,
}

/// Polls after which a planted [`Bug::SlowDiskFails`] loses patience.
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

/// The future, which fails when it takes long and [`Bug::SlowDiskFails`] is planted.
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
