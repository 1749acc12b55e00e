//! The way of appends into a shard: a queue bounded in bytes, and answers when their commit is durable.
//!
//! Promises: appends of one thread to one shard keep their order; an append is answered after its flush; while the queue
//! is full, appenders wait; a full queue of one shard does not delay another shard.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::AppendError;
use crate::ids::{CommitSeq, LogId, Offset};
use crate::records::CheckedBatch;
use crate::shard::{CommitState, Shard};

use super::block_on::block_on;
use super::error::{Error, Result, sendable};

/// Bytes of a unit: an append takes as many units of the queue as its bytes fill.
const UNIT: usize = 256;
/// Appends that are taken from the queue at once.
const AT_ONCE: usize = 128;

/// An append on its way; becomes the offset of its first record once that is durable.
///
/// This is a future for any runtime; without a runtime, [`PendingAppend::wait`] blocks. Dropping it does not cancel the
/// append. It ends with [`Error::Interrupted`] if the engine stopped first: the records may or may not be there then.
#[must_use = "nothing is known to be durable until it is awaited"]
#[derive(Debug)]
pub struct PendingAppend {
    partition: u32,
    told: oneshot::Receiver<Result<Offset>>,
}

impl PendingAppend {
    /// The partition of the append.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Blocks until the records are durable; returns the offset of the first.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] if the engine stopped first, [`Error::Failed`] if the disk failed: the records may or may not be
    /// there at the next open. After any other error nothing was appended: [`Error::TooLarge`], [`Error::DiskFull`],
    /// [`Error::Deleted`], [`Error::Sequence`].
    pub fn wait(self) -> Result<Offset> {
        block_on(self)
    }
}

impl Future for PendingAppend {
    type Output = Result<Offset>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.told).poll(cx).map(|told| told.unwrap_or(Err(Error::Interrupted)))
    }
}

/// A reserved place in the queue.
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// The senders' end of a shard's queue.
#[derive(Clone)]
pub(super) struct Lane {
    room: Arc<Semaphore>,
    units: usize,
    sender: mpsc::UnboundedSender<Message>,
}

enum Message {
    Append {
        log: LogId,
        batch: CheckedBatch<'static>,
        tell: oneshot::Sender<Result<Offset>>,
        _room: Room,
    },
    /// No more appends follow.
    End,
}

/// The shard's end of its queue.
pub(super) struct LaneEnd {
    receiver: mpsc::UnboundedReceiver<Message>,
    /// Closed together with the queue, so that nobody waits for a place for ever.
    room: Arc<Semaphore>,
}

impl Drop for LaneEnd {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// A queue for `bytes`. The number of appends needs no bound of its own, because each takes at least one unit.
pub(super) fn lane(bytes: usize) -> (Lane, LaneEnd) {
    let units = (bytes / UNIT).clamp(1, u32::MAX as usize >> 1);
    let room = Arc::new(Semaphore::new(units));
    let (sender, receiver) = mpsc::unbounded_channel();
    (Lane { room: Arc::clone(&room), units, sender }, LaneEnd { receiver, room })
}

impl Lane {
    fn cost(&self, bytes: usize) -> u32 {
        // An append that is larger than the queue takes all of the queue.
        (bytes / UNIT + 1).min(self.units) as u32
    }

    /// Waits for a place for an append of `bytes`.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room> {
        let permit = Arc::clone(&self.room).acquire_many_owned(self.cost(bytes)).await;
        permit.map(|_permit| Room { _permit }).map_err(|_| Error::Closed)
    }

    /// A place for an append of `bytes`, if there is one.
    pub(super) fn try_room(&self, bytes: usize) -> Result<Room> {
        use tokio::sync::TryAcquireError;
        let permit = Arc::clone(&self.room).try_acquire_many_owned(self.cost(bytes));
        permit.map(|_permit| Room { _permit }).map_err(|e| match e {
            TryAcquireError::NoPermits => Error::Busy,
            TryAcquireError::Closed => Error::Closed,
        })
    }

    /// Puts an append into its place.
    pub(super) fn send(
        &self,
        room: Room,
        (partition, log): (u32, LogId),
        batch: CheckedBatch<'static>,
    ) -> Result<PendingAppend> {
        let (tell, told) = oneshot::channel();
        let message = Message::Append { log, batch, tell, _room: room };
        self.sender.send(message).map_err(|_| Error::Closed)?;
        Ok(PendingAppend { partition, told })
    }

    /// Closes the queue for new appends; those in the queue are still appended.
    pub(super) fn end(&self) {
        self.room.close();
        let _ended_already = self.sender.send(Message::End);
    }
}

/// Appends whose commits are on their way.
#[derive(Default)]
struct Acks {
    queue: RefCell<VecDeque<Ack>>,
    more: Notify,
    ended: Cell<bool>,
}

struct Ack {
    seq: CommitSeq,
    offset: Offset,
    tell: oneshot::Sender<Result<Offset>>,
}

/// Starts the tasks of a lane; both end after [`Lane::end`], when all appends are answered.
pub(super) fn serve(shard: &Shard, end: LaneEnd) -> [JoinHandle<()>; 2] {
    let acks = Rc::new(Acks::default());
    [
        tokio::task::spawn_local(append_all(shard.clone(), end, Rc::clone(&acks))),
        tokio::task::spawn_local(answer_all(shard.clone(), acks)),
    ]
}

/// Ends the answering task when it is dropped, also by a panic of the appending task.
struct EndsAcks(Rc<Acks>);

impl Drop for EndsAcks {
    fn drop(&mut self) {
        self.0.ended.set(true);
        self.0.more.notify_one();
    }
}

async fn append_all(shard: Shard, mut end: LaneEnd, acks: Rc<Acks>) {
    let EndsAcks(acks) = &EndsAcks(acks);
    let mut messages = Vec::with_capacity(AT_ONCE);
    while end.receiver.recv_many(&mut messages, AT_ONCE).await > 0 {
        for message in messages.drain(..) {
            let Message::Append { log, batch, tell, _room } = message else {
                end.receiver.close();
                continue;
            };
            match append(&shard, log, &batch).await {
                Ok((seq, offset)) => {
                    acks.queue.borrow_mut().push_back(Ack { seq, offset, tell });
                    acks.more.notify_one();
                }
                Err(e) => {
                    let _nobody_waits = tell.send(Err(e.into()));
                }
            }
        }
    }
}

async fn append(
    shard: &Shard,
    log: LogId,
    batch: &CheckedBatch<'_>,
) -> Result<(CommitSeq, Offset), AppendError> {
    loop {
        let at = shard.partition(log).ok_or(AppendError::UnknownPartition)?;
        match shard.append(at, batch) {
            Ok(done) => return Ok((done.seq, done.base_offset)),
            Err(AppendError::Busy) => shard.space().await,
            Err(e) => return Err(e),
        }
    }
}

async fn answer_all(shard: Shard, acks: Rc<Acks>) {
    loop {
        let first = acks.queue.borrow().front().map(|ack| ack.seq);
        let Some(seq) = first else {
            if acks.ended.get() {
                return;
            }
            acks.more.notified().await;
            continue;
        };
        shard.committed(seq).await;
        // Commits become durable in order, so all appends up to `seq` can be answered.
        while let Some(ack) = acks.queue.borrow_mut().pop_front_if(|ack| ack.seq <= seq) {
            let outcome = match (shard.commit_state(ack.seq), shard.failure()) {
                (CommitState::Durable, _) => Ok(ack.offset),
                (_, Some(failure)) => Err(Error::Failed(sendable(&failure))),
                (_, None) => Err(Error::Interrupted),
            };
            let _nobody_waits = ack.tell.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::io;

    use bytes::Bytes;
    use tokio::task::yield_now;

    use super::*;
    use crate::disk::uring::UringDisk;
    use crate::hooked_disk::{Hooked, Hooks};
    use crate::ids::ShardId;
    use crate::record_batch::build;
    use crate::records::{BatchRules, check};
    use crate::shard::ShardOptions;

    const PARTITION: (u32, LogId) = (0, LogId(1));

    /// What flushes do from now on.
    #[derive(Clone, Copy, PartialEq)]
    enum Flushes {
        Succeed,
        Wait,
        Fail,
    }

    impl Hooks for Cell<Flushes> {
        async fn before_sync(&self) -> io::Result<()> {
            while self.get() == Flushes::Wait {
                yield_now().await;
            }
            if self.get() == Flushes::Fail { Err(io::Error::other("the flush failed")) } else { Ok(()) }
        }
    }

    /// Runs a test with a shard on an empty directory, and with what decides about its flushes.
    fn with_shard<F: Future<Output = ()>>(test: impl FnOnce(Shard, Rc<Cell<Flushes>>) -> F) {
        let dir = tempfile::tempdir().unwrap();
        tokio_uring::start(async {
            let flushes = Rc::new(Cell::new(Flushes::Succeed));
            let disk = Hooked::new(UringDisk::new(dir.path(), false), &flushes);
            let options = ShardOptions {
                segment_bytes: 64 << 10,
                chunk_bytes: 8 << 10,
                zero_fill: false,
                ..ShardOptions::default()
            };
            let live = HashSet::from([PARTITION.1]);
            test(Shard::open(disk, [1; 16], ShardId(0), &live, options).await.unwrap(), flushes).await;
        });
    }

    fn checked(value: &[u8]) -> CheckedBatch<'static> {
        let batch = Bytes::from(build(&[(b"k", value)], 1));
        check(batch, &BatchRules::WITHOUT_TOPIC, 0).unwrap()
    }

    async fn submit(lane: &Lane, value: &[u8]) -> PendingAppend {
        let batch = checked(value);
        lane.send(lane.room(batch.bytes().len()).await.unwrap(), PARTITION, batch).unwrap()
    }

    #[test]
    fn an_append_is_answered_after_its_flush() {
        with_shard(|shard, flushes| async move {
            let (lane, end) = lane(1 << 10);
            let tasks = serve(&shard, end);
            flushes.set(Flushes::Wait);
            let mut pending = submit(&lane, b"v").await;
            for _ in 0..200 {
                yield_now().await;
                assert!(pending.told.try_recv().is_err(), "answered before the flush");
            }
            flushes.set(Flushes::Succeed);
            assert_eq!(pending.await.unwrap(), 0);
            lane.end();
            for task in tasks {
                task.await.unwrap();
            }
            assert!(matches!(lane.try_room(1), Err(Error::Closed)));
        });
    }

    #[test]
    fn what_a_failed_flush_leaves_undone_is_never_acked() {
        with_shard(|shard, flushes| async move {
            let (lane, end) = lane(1 << 10);
            let tasks = serve(&shard, end);
            assert_eq!(submit(&lane, b"good").await.await.unwrap(), 0);
            flushes.set(Flushes::Fail);
            for outcome in [submit(&lane, b"lost").await, submit(&lane, b"late").await] {
                let error = outcome.await.unwrap_err();
                assert!(matches!(error, Error::Failed(_)), "{error}");
            }
            lane.end();
            for task in tasks {
                task.await.unwrap();
            }
        });
    }

    #[test]
    fn a_lane_that_ends_lets_nobody_wait_for_ever() {
        with_shard(|_, _| async {
            let (lane, end) = lane(1 << 10);
            let held = lane.room(10_000).await.unwrap();
            assert!(matches!(lane.try_room(1), Err(Error::Busy)));
            let waiting = lane.clone();
            let waiting = tokio::task::spawn_local(async move { waiting.room(1).await.is_err() });
            yield_now().await;
            let pending = lane.send(held, PARTITION, checked(b"v")).unwrap();
            drop(end);
            assert!(waiting.await.unwrap());
            assert!(matches!(pending.await, Err(Error::Interrupted)));
        });
    }
}
