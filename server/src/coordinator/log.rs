//! A table whose changes lie in one partition of a compacted topic, on the core that has the partition.
//!
//! Promises:
//! * Changes are appended in the order in which they arrive. A change is visible when it is durable, and never before a
//!   change that was appended earlier.
//! * After a start the table is what the durable changes make of it, in their order. A record that is not understood is
//!   told of in the log and changes nothing.
//! * Memory is bounded: what would take the table above its limit is refused before it is appended, unless the table
//!   does not grow by it.
//!
//! The topic is compacted, so a table has a key for each entry, and removes an entry with a record without a value. A
//! change of the table is decided in a [`Turn`]: from the look at the table to the append nobody else has one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Display;
use std::rc::Rc;

use keylane_engine::records::{BatchRules, check};
use keylane_engine::shard::{Cached, CommitState, PartitionRef, Shard};
use keylane_engine::{AppendError, CommitSeq, ReadError, Record, decode_batches, encode_batch};
use tokio::sync::{Mutex, MutexGuard};

use crate::runtime::clock::now_ms;

/// Bytes of changes in one batch, unless one change alone takes more.
const BATCH_BYTES: usize = 128 << 10;
/// The server's own records, in a compacted topic.
const RULES: BatchRules = BatchRules { keys_required: true, ..BatchRules::WITHOUT_TOPIC };
/// Bytes that are read at once at a start.
const READ_BYTES: usize = 1 << 20;

/// What is kept in memory, and how its changes are written.
pub trait Table: Default {
    /// A change of one entry.
    type Change;
    /// Why a record is not understood.
    type Error: Display;

    /// Bytes that a change takes in the table, at most; about as many in the log.
    fn bytes_of(change: &Self::Change) -> usize;
    /// A change as a record.
    fn encode(change: &Self::Change, now_ms: i64) -> Record;
    /// The change that a record stands for.
    fn decode(record: &Record) -> Result<Self::Change, Self::Error>;
    /// Makes a change that is durable.
    fn apply(&mut self, change: Self::Change);
    /// Bytes that the table takes.
    fn bytes(&self) -> usize;
    /// Bytes of the entry that a change would replace or remove; 0 if there is none.
    fn bytes_replaced(&self, change: &Self::Change) -> usize;
}

/// Where the log of a table lies, and what bounds it.
#[derive(Clone)]
pub struct Place {
    /// The shard.
    pub shard: Shard,
    /// The partition.
    pub at: PartitionRef,
    /// The largest batch that the shard takes, in bytes.
    pub batch_bytes_max: usize,
    /// Set when the server stops: a full shard is not waited for any more.
    pub stopping: Rc<Cell<bool>>,
}

/// Why changes were not made. After [`WriteError::Storage`] some of them may be found made at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no room in memory.
    #[error(
        "no room for more entries: {bytes} bytes where {max} are allowed; remove entries that are not used"
    )]
    Full {
        /// Bytes that there would be.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A single change is larger than a batch may be.
    #[error("a change is larger than a record batch may be; make it smaller")]
    TooLarge,
    /// The partition was deleted, or the server is stopping.
    #[error("the partition is not served any more; ask again later")]
    Gone,
    /// The disk failed or is full.
    #[error("the change could not be stored; the server's log says why")]
    Storage,
}

/// Why the log of a table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its batches could not be decoded.
    #[error(transparent)]
    Records(#[from] keylane_engine::Error),
}

/// A table and its log. See the module's header.
pub struct Log<T: Table> {
    place: Place,
    bytes_max: usize,
    turn: Mutex<()>,
    state: RefCell<State<T>>,
}

struct State<T: Table> {
    /// What is durable.
    table: T,
    /// What was appended and is not known to be durable, in the order of the log.
    line: VecDeque<(CommitSeq, T::Change)>,
    line_bytes: usize,
}

impl<T: Table> State<T> {
    fn settle(&mut self, durable: impl Fn(CommitSeq) -> bool) {
        while let Some((_, change)) = self.line.pop_front_if(|(seq, _)| durable(*seq)) {
            self.line_bytes -= T::bytes_of(&change);
            self.table.apply(change);
        }
    }

    fn bytes(&self) -> usize {
        self.table.bytes() + self.line_bytes
    }

    /// Bytes that there may be when everything in line is made, and these changes too. What they replace is counted off.
    fn bytes_with(&self, changes: &[T::Change]) -> usize {
        let more: usize = changes.iter().map(T::bytes_of).sum();
        let less: usize = changes.iter().map(|change| self.table.bytes_replaced(change)).sum();
        (self.bytes() + more).saturating_sub(less)
    }
}

impl<T: Table> Log<T> {
    /// The table of a partition, nothing read yet. In memory it takes at most `bytes_max`.
    pub fn new(place: Place, bytes_max: usize) -> Self {
        let state = State { table: T::default(), line: VecDeque::new(), line_bytes: 0 };
        Self { place, bytes_max, turn: Mutex::new(()), state: RefCell::new(state) }
    }

    /// Reads the whole log. Returns the number of records.
    ///
    /// # Errors
    /// [`LoadError`] if the log cannot be read to its end: the table is not to be used then.
    pub async fn load(&self) -> Result<usize, LoadError> {
        let Place { shard, at, .. } = &self.place;
        let mut next = shard.offsets(*at)?.start;
        let mut records = 0;
        loop {
            let batches = match shard.read_cached(*at, next, READ_BYTES)? {
                Cached::Here(batches) => batches,
                Cached::OnDisk => shard.read(*at, next, READ_BYTES).await?,
            };
            if batches.bytes == 0 {
                return Ok(records);
            }
            for stored in decode_batches(&batches.slices, next)? {
                match T::decode(&stored.record) {
                    Ok(change) => self.state.borrow_mut().table.apply(change),
                    Err(e) => tracing::warn!(offset = stored.offset, %e, "a record is not understood"),
                }
                records += 1;
            }
            next = batches.next_offset;
        }
    }

    /// Looks at what is durable.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.settle();
        look(&self.state.borrow().table)
    }

    /// Waits for the right to change the table, in the order of asking.
    pub async fn turn(&self) -> Turn<'_, T> {
        Turn { log: self, _turn: self.turn.lock().await }
    }

    /// Waits until what was appended is durable.
    ///
    /// # Errors
    /// [`WriteError::Storage`] if it did not become so.
    pub async fn durable(&self, appended: Appended) -> Result<(), WriteError> {
        let Some(seq) = appended.0 else { return Ok(()) };
        let state = self.place.shard.committed(seq).await;
        self.settle();
        if state == CommitState::Durable { Ok(()) } else { Err(WriteError::Storage) }
    }

    fn settle(&self) {
        let shard = &self.place.shard;
        self.state.borrow_mut().settle(|seq| shard.commit_state(seq) == CommitState::Durable);
    }

    /// Appends one batch.
    async fn append_batch(&self, changes: &[T::Change]) -> Result<CommitSeq, WriteError> {
        let Place { shard, at, stopping, .. } = &self.place;
        let now_ms = now_ms();
        let records: Vec<Record> = changes.iter().map(|change| T::encode(change, now_ms)).collect();
        let batch = encode_batch(&records).map_err(|_| WriteError::TooLarge)?;
        let batch = check(batch, &RULES, now_ms).map_err(|e| failed(e.into()))?;
        loop {
            match shard.append(*at, &batch) {
                Err(AppendError::Busy) if !stopping.get() => shard.space().await,
                Err(e) => return Err(failed(e)),
                Ok(appended) => return Ok(appended.seq),
            }
        }
    }
}

/// What was appended in a turn, on its way to the disk.
#[derive(Debug, Clone, Copy)]
#[must_use = "it is durable when `Log::durable` says so"]
pub struct Appended(Option<CommitSeq>);

impl Appended {
    /// What is durable already.
    pub fn nothing() -> Self {
        Self(None)
    }

    /// This, or if it is nothing what was appended before.
    pub fn or(self, before: Self) -> Self {
        Self(self.0.or(before.0))
    }
}

/// The right to change a table: between the look at it and the append nobody else changes it.
pub struct Turn<'a, T: Table> {
    log: &'a Log<T>,
    _turn: MutexGuard<'a, ()>,
}

impl<T: Table> Turn<'_, T> {
    /// Looks at what is durable, and at what was appended and is not durable yet, in the order of the log.
    pub fn look<R>(&self, look: impl FnOnce(&T, &mut dyn Iterator<Item = &T::Change>) -> R) -> R {
        self.log.settle();
        let state = self.log.state.borrow();
        look(&state.table, &mut state.line.iter().map(|(_, change)| change))
    }

    /// What was appended last, if it is not known to be durable.
    pub fn last(&self) -> Appended {
        self.log.settle();
        Appended(self.log.state.borrow().line.back().map(|(seq, _)| *seq))
    }

    /// Refuses changes for which there is no room. A table that does not grow by them takes them always.
    ///
    /// # Errors
    /// [`WriteError::Full`].
    pub fn admit(&self, changes: &[T::Change]) -> Result<(), WriteError> {
        self.log.settle();
        let state = self.log.state.borrow();
        let (bytes, max) = (state.bytes_with(changes), self.log.bytes_max);
        if bytes > max && bytes > state.bytes() { Err(WriteError::Full { bytes, max }) } else { Ok(()) }
    }

    /// Appends changes, in batches of a bounded size.
    ///
    /// # Errors
    /// [`WriteError`]; batches before the one that failed are appended.
    pub async fn append(&self, changes: Vec<T::Change>) -> Result<Appended, WriteError> {
        let batch_bytes = BATCH_BYTES.min(self.log.place.batch_bytes_max / 2);
        let mut last = None;
        let mut rest = changes.into_iter().peekable();
        while rest.peek().is_some() {
            let mut part: Vec<T::Change> = Vec::new();
            let mut bytes = 0;
            while let Some(next) = rest.next_if(|c| part.is_empty() || bytes + T::bytes_of(c) <= batch_bytes)
            {
                bytes += T::bytes_of(&next);
                part.push(next);
            }
            let seq = self.log.append_batch(&part).await?;
            let mut state = self.log.state.borrow_mut();
            state.line_bytes += bytes;
            state.line.extend(part.into_iter().map(|change| (seq, change)));
            last = Some(seq);
        }
        Ok(Appended(last))
    }
}

fn failed(error: AppendError) -> WriteError {
    match error {
        AppendError::TooLarge { .. } => WriteError::TooLarge,
        // Busy gets this far only when the server stops.
        AppendError::Busy | AppendError::UnknownPartition => WriteError::Gone,
        other => {
            tracing::error!(%other, "appending to a topic of the server's own failed");
            WriteError::Storage
        }
    }
}

#[cfg(test)]
mod tests;
