//! Appending: a checked batch gets its offsets and is copied into the open commit, and a log start offset is raised.
//!
//! Appending waits for nothing and allocates nothing per batch beyond the amortised growth of lists.

use crate::aligned::AlignedBuf;
use crate::error::{AppendError, TrimError};
use crate::ids::{CommitSeq, Offset};
use crate::log::chunk::Slotted;
use crate::log::format::{Entry, commit_len};
use crate::partition::BatchRef;
use crate::planted::{self, Bug};
use crate::records::{BatchRules, CheckedBatch, check};
use crate::shard::handle::Shard;
use crate::shard::partitions::PartitionRef;
use crate::shard::segments::front::Next;
use crate::shard::state::State;
use crate::shard::tasks::Task;

/// Kept free in a segment while there is no next one, so that log start offsets can be raised, and space be freed, when
/// the disk is full.
const RESERVE_BYTES: u64 = 64 << 10;

/// An accepted batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The commit to wait for before the batch is acknowledged.
    pub seq: CommitSeq,
    /// Log start offset of the partition.
    pub log_start: Offset,
    /// The batch had been appended before (idempotent producer) and was not appended again.
    pub duplicate: bool,
    /// The time that its records got, in milliseconds, if that is the time of their append. Not known of a duplicate.
    pub append_time_ms: Option<i64>,
}

impl Shard {
    /// Checks a batch by the rules that hold without a topic, which have no bounds for timestamps, and appends it: for
    /// users that have no topics. A batch that is refused with `Busy` is checked again when it is appended again.
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
        let partition = state.partitions.get_mut(at).ok_or(AppendError::UnknownPartition)?;
        if partition.ended {
            return Err(AppendError::Ended);
        }
        if let Some(base_offset) = partition.producers.check(&batch)? {
            let (seq, log_start) = (partition.last_seq, partition.start);
            return Ok(Appended { base_offset, seq, log_start, duplicate: true, append_time_ms: None });
        }
        self.make_room(state, bytes.len(), RESERVE_BYTES)?;
        let partition = state.partitions.get_mut(at).ok_or(AppendError::UnknownPartition)?;
        let open = state.commits.open_mut();
        let (seq, first) = (open.seq, open.is_empty());
        let base_offset = partition.next;
        let entry = Entry {
            log: at.log(),
            len: bytes.len() as u32,
            at: 0,
            span: batch.span,
            base_offset,
            max_timestamp: batch.max_timestamp,
        };
        let read_soon = state.recent.cache.is_read();
        let position = open.push(bytes, Slotted { entry, slot: at.slot() }, read_soon);
        if let Some(fields) = checked.restated() {
            open.restate(position, fields);
        }
        partition.push(BatchRef {
            base_offset,
            seq,
            max_timestamp: batch.max_timestamp,
            at: position,
            len: entry.len,
            span: entry.span,
        });
        let durable_below = partition.high_watermark;
        partition.producers.record(&batch, base_offset, durable_below);
        if first {
            self.inner.tasks.wake(Task::Commit);
        }
        let append_time_ms = checked.append_time_ms();
        Ok(Appended { base_offset, seq, log_start: partition.start, duplicate: false, append_time_ms })
    }

    /// Whether a batch of `len` bytes would have to wait now: then it need not be checked yet.
    pub fn is_busy(&self, len: usize) -> bool {
        let uncommitted = self.inner.state.borrow().commits.uncommitted_bytes();
        uncommitted > 0 && uncommitted + len > self.inner.options.uncommitted_bytes_max
    }

    /// Ends a partition, or has it take batches again. An end is not stored: whoever knows of it sets it at each start.
    /// Returns the commit after which everything is durable that was appended before; `None`: everything is.
    ///
    /// # Errors
    /// [`AppendError::UnknownPartition`].
    pub fn set_ended(&self, at: PartitionRef, ended: bool) -> Result<Option<CommitSeq>, AppendError> {
        let mut state = self.inner.state.borrow_mut();
        let partition = state.partitions.get_mut(at).ok_or(AppendError::UnknownPartition)?;
        partition.ended = ended;
        Ok((partition.high_watermark < partition.next).then_some(partition.last_seq))
    }

    /// Raises the log start offset of a partition to `offset`. It is raised, for readers and after a restart, when commit
    /// `seq` of the answer is durable; the space is given back in the background. An offset below the log start offset
    /// changes nothing.
    ///
    /// Works on a full disk too, as long as the space lasts that is kept for it in each segment.
    pub fn trim(&self, at: PartitionRef, offset: Offset) -> Result<CommitSeq, TrimError> {
        self.inner.check_failed()?;
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let partition = state.partitions.get(at).ok_or(TrimError::UnknownPartition)?;
        let high_watermark = partition.high_watermark;
        if offset > high_watermark {
            return Err(TrimError::OutOfRange { offset, high_watermark });
        }
        if offset <= partition.start.max(partition.trim.0) {
            return Ok(partition.trim.1);
        }
        self.make_room(state, 0, 0)?;
        let open = state.commits.open_mut();
        let seq = open.seq;
        if open.is_empty() {
            self.inner.tasks.wake(Task::Commit);
        }
        open.push_trim(at.log(), at.slot(), offset);
        if let Some(partition) = state.partitions.get_mut(at) {
            partition.trim = (offset, seq);
            if planted::is(Bug::TrimBeforeFlush) {
                partition.start = offset;
            }
        }
        Ok(seq)
    }

    /// Makes sure that the open commit can take a batch of `len` bytes, and that the segment can take the commit, with
    /// `reserve` bytes to spare if there is no next segment. A `len` of 0 stands for a new log start offset: it is not
    /// refused because much waits for the disk.
    fn make_room(&self, state: &mut State, len: usize, reserve: u64) -> Result<(), AppendError> {
        if state.stopping {
            return Err(AppendError::Busy);
        }
        let commits = &state.commits;
        let uncommitted = commits.uncommitted_bytes();
        let grown = uncommitted - commits.open().disk_len() + commits.open().disk_len_with(len);
        if len > 0 && uncommitted > 0 && grown > self.inner.options.uncommitted_bytes_max {
            return Err(AppendError::Busy);
        }
        let waiting = commits.waiting_bytes() + commit_len(len, 1);
        let reserve = reserve.min(self.inner.options.segment_bytes / 16);
        if waiting as u64 + reserve > state.front.active.room() {
            match &state.front.next {
                Next::Ready { .. } => {}
                Next::Full => return Err(AppendError::DiskFull),
                Next::Wanted => {
                    self.inner.want_next(state);
                    return Err(AppendError::Busy);
                }
            }
        }
        if !state.commits.open().fits(len) {
            self.renew_open(state, len);
        }
        Ok(())
    }

    /// Closes the open commit, if it holds something, and begins one with room for a batch of `len` bytes.
    fn renew_open(&self, state: &mut State, len: usize) {
        if !state.commits.open().is_empty() {
            state.commits.close_open();
            self.inner.tasks.wake(Task::Commit);
        }
        let need = commit_len(len, 1);
        let pooled = need <= self.inner.pool.buffer_bytes();
        let buf = if pooled { self.inner.pool.take() } else { AlignedBuf::uninit(need) };
        state.commits.open_mut().renew(buf);
    }
}
