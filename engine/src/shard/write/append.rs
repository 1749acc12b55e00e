//! Appending: offsets, and the copy of a checked batch into the open commit. No waiting, no allocation per batch
//! beyond the amortised growth of lists.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::aligned::AlignedBuf;
use crate::error::{AppendError, TrimError};
use crate::ids::{CommitSeq, Offset};
use crate::log::chunk::Slotted;
use crate::log::format::{Entry, commit_len};
use crate::partition::BatchRef;
use crate::planted::{self, Bug};
use crate::records::{BatchRules, CheckedBatch, check};

use super::roll::Next;
use crate::shard::{CommitState, PartitionRef, Shard, State};

/// Kept free in a segment while there is no next one, so that log start offsets can be raised, and space
/// be freed, when the disk is full.
const RESERVE_BYTES: u64 = 64 << 10;

/// An accepted batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The commit to wait for before anybody is told.
    pub seq: CommitSeq,
    /// Log start offset of the partition.
    pub log_start: Offset,
    /// It had been appended before (idempotent producer) and was not appended again.
    pub duplicate: bool,
    /// The time that its records got, in milliseconds, if that is the time of their append. Not known of a duplicate.
    pub append_time_ms: Option<i64>,
}

impl Shard {
    /// Checks a batch by the rules that no topic can do without, bounds of timestamps not among them, and appends it: for
    /// whoever has no topics. Batches that are busy are checked again when they come again.
    pub fn check_and_append(&self, at: PartitionRef, bytes: &[u8]) -> Result<Appended, AppendError> {
        self.append(at, &check(bytes, &BatchRules::WITHOUT_TOPIC, 0)?)
    }

    /// Appends one record batch to a partition. It is durable when commit `seq` of the answer is.
    pub fn append(&self, at: PartitionRef, checked: &CheckedBatch<'_>) -> Result<Appended, AppendError> {
        self.inner.check_failed()?;
        let (bytes, batch) = (checked.bytes(), checked.view());
        let options = &self.inner.options;
        let max = options.batch_bytes_max().min(options.uncommitted_bytes_max);
        if commit_len(bytes.len(), 1) > max {
            return Err(AppendError::TooLarge {
                bytes: bytes.len(),
                max: max.saturating_sub(commit_len(0, 1)),
            });
        }
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let partition = state.get_mut(at).ok_or(AppendError::UnknownPartition)?;
        if let Some(base_offset) = partition.producers.check(&batch)? {
            let (seq, log_start) = (partition.last_seq, partition.start);
            return Ok(Appended { base_offset, seq, log_start, duplicate: true, append_time_ms: None });
        }
        self.make_room(state, bytes.len(), RESERVE_BYTES)?;
        let seq = state.open.seq;
        let first = state.open.is_empty();
        let partition = state.partitions.get_mut(at.slot as usize).and_then(Option::as_mut);
        let partition = partition.ok_or(AppendError::UnknownPartition)?;
        let base_offset = partition.next;
        let entry = Entry {
            log: at.log,
            len: bytes.len() as u32,
            at: 0,
            span: batch.span,
            base_offset,
            max_timestamp: batch.max_timestamp,
        };
        let position = state.open.push(bytes, Slotted { entry, slot: at.slot }, state.tail.is_read());
        if let Some(fields) = checked.restated() {
            state.open.restate(position, fields);
        }
        partition.tail.push_back(BatchRef {
            base_offset,
            seq,
            max_timestamp: batch.max_timestamp,
            at: position,
            len: entry.len,
            span: entry.span,
        });
        partition.next += u64::from(batch.span);
        partition.bytes += bytes.len() as u64;
        partition.last_seq = seq;
        let durable_below = partition.high_watermark;
        partition.producers.record(&batch, base_offset, durable_below);
        if first {
            self.inner.work.notify_one();
        }
        let append_time_ms = checked.append_time_ms();
        Ok(Appended { base_offset, seq, log_start: partition.start, duplicate: false, append_time_ms })
    }

    /// Whether a batch of `len` bytes would have to wait now: then it need not be checked yet.
    pub fn is_busy(&self, len: usize) -> bool {
        let state = self.inner.state.borrow();
        let uncommitted = state.uncommitted_bytes();
        uncommitted > 0 && uncommitted + len > self.inner.options.uncommitted_bytes_max
    }

    /// Raises the log start offset of a partition to `offset`. It is so, for readers and after a restart,
    /// when commit `seq` of the answer is durable; the space is given back in the background. Lower than
    /// it is already: nothing changes.
    ///
    /// Works on a full disk too, as long as the space lasts that is kept for it in each segment.
    pub fn trim(&self, at: PartitionRef, offset: Offset) -> Result<CommitSeq, TrimError> {
        self.inner.check_failed()?;
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let partition = state.get(at).ok_or(TrimError::UnknownPartition)?;
        let high_watermark = partition.high_watermark;
        if offset > high_watermark {
            return Err(TrimError::OutOfRange { offset, high_watermark });
        }
        if offset <= partition.start.max(partition.trim.0) {
            return Ok(partition.trim.1);
        }
        self.make_room(state, 0, 0)?;
        let seq = state.open.seq;
        if state.open.is_empty() {
            self.inner.work.notify_one();
        }
        state.open.push_trim(at.log, at.slot, offset);
        if let Some(partition) = state.get_mut(at) {
            partition.trim = (offset, seq);
            if planted::is(Bug::TrimBeforeFlush) {
                partition.start = offset;
            }
        }
        Ok(seq)
    }

    /// Makes sure that the open commit can take `len` bytes (0: a new log start offset, which does not wait for
    /// what waits for the disk) and that the disk can take the commit, with `reserve` bytes to spare in the segment if there is no next one.
    fn make_room(&self, state: &mut State, len: usize, reserve: u64) -> Result<(), AppendError> {
        if state.stopping {
            return Err(AppendError::Busy);
        }
        let uncommitted = state.uncommitted_bytes();
        let grown = uncommitted - state.open.disk_len() + state.open.disk_len_with(len);
        if len > 0 && uncommitted > 0 && grown > self.inner.options.uncommitted_bytes_max {
            return Err(AppendError::Busy);
        }
        let waiting = state.closed_bytes + state.open.disk_len() + commit_len(len, 1);
        let reserve = reserve.min(self.inner.options.segment_bytes / 16);
        if waiting as u64 + reserve > state.active.room() {
            match &state.next {
                Next::Ready { .. } => {}
                Next::Full => return Err(AppendError::DiskFull),
                Next::Wanted => {
                    self.inner.want_next(state);
                    return Err(AppendError::Busy);
                }
            }
        }
        if !state.open.fits(len) {
            self.renew_open(state, len);
        }
        Ok(())
    }

    /// Closes the open commit, if it has anything, and begins one that fits `len` bytes.
    fn renew_open(&self, state: &mut State, len: usize) {
        if !state.open.is_empty() {
            let closed = state.open.close();
            state.closed_bytes += closed.disk_len();
            state.closed.push_back(closed);
            self.inner.work.notify_one();
        }
        let need = commit_len(len, 1);
        let pooled = need <= self.inner.pool.buffer_bytes();
        state.open.renew(if pooled { self.inner.pool.take() } else { AlignedBuf::uninit(need) });
    }

    /// What became of a commit.
    pub fn commit_state(&self, seq: CommitSeq) -> CommitState {
        if seq < self.inner.durable_below.get() {
            CommitState::Durable
        } else if self.inner.failure.get().is_some() {
            CommitState::Failed
        } else {
            CommitState::Pending
        }
    }

    /// Has `waker` woken once when the state of a pending commit changes.
    pub fn wake_on_commit(&self, seq: CommitSeq, waker: &Waker) {
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let waiters = if seq == state.open.seq {
            Some(&mut state.open.waiters)
        } else if let Some(commit) = state.in_flight.iter_mut().find(|c| c.seq == seq) {
            Some(&mut commit.waiters)
        } else {
            state.closed.iter_mut().find(|c| c.seq == seq).map(|c| &mut c.waiters)
        };
        match waiters {
            Some(waiters) => waiters.push(waker.clone()),
            None => waker.wake_by_ref(),
        }
    }

    /// Waits until a commit is durable, or failed.
    pub async fn committed(&self, seq: CommitSeq) -> CommitState {
        poll_fn(|cx| match self.commit_state(seq) {
            CommitState::Pending => {
                self.wake_on_commit(seq, cx.waker());
                Poll::Pending
            }
            state => Poll::Ready(state),
        })
        .await
    }

    /// Waits until something that made `append` say `Busy` has changed. Appending may still be `Busy`.
    pub async fn space(&self) {
        let mut first = true;
        poll_fn(|cx| {
            if !first || self.inner.failure.get().is_some() {
                return Poll::Ready(());
            }
            first = false;
            self.inner.state.borrow_mut().space.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
