//! A shard: one commit log and the partitions that write into it.
//!
//! Promises:
//! * [`Shard::append`] stores nothing of a batch it refuses, and gives dense offsets to those it takes.
//! * A batch is durable when its commit is ([`Shard::commit_state`]); commits become durable in order.
//! * Readers see durable batches only.
//! * A failed write or flush is final: see [`Failure`].
//! * Memory is bounded by [`ShardOptions`]; at the limit `append` says [`AppendError::Busy`].
//!
//! A shard lives on one thread, inside a `LocalSet` (a `tokio-uring` runtime has one). Everything but
//! reads from disk and closing is synchronous. Cloning gives another handle of the same shard.

mod read;
mod segments;
mod upkeep;
mod write;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::aligned::{AlignedBuf, BLOCK, Pool, round_up};
use crate::disk::{Disk, DynDisk};
use crate::error::{AppendError, Failure, OpenError, ReadError};
use crate::ids::{CommitSeq, Generation, LogId, Offset, ShardId};
use crate::log::chunk::{ClosedCommit, OpenCommit, Slotted};
use crate::log::files;
use crate::log::recovery::{Identity, SealedSegment, recover};
use crate::log::tail::Tail;
use crate::partition::{Partition, Watcher};

pub use read::ahead::Want;
pub use read::reader::{Batches, Cached, Offer};
pub use write::append::Appended;

use read::{ahead, fetch, opened};
use segments::{manifest, room, seal};
use upkeep::{compact, pace, punch, reclaim, regroup};
use write::{commit, mark, roll};

/// Free chunks kept for reuse: few, so that the one that is taken was used a moment ago.
const FREE_CHUNKS: usize = 3;

/// Free buffers of reads from the disk that are kept for reuse.
const READ_BUFFERS: usize = 24;

/// Limits and sizes of one shard.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Bytes of a commit segment; what a start has to scan at most is about two of them.
    pub segment_bytes: u64,
    /// Bytes of one memory chunk; a commit is at most this large unless a single batch is larger.
    pub chunk_bytes: usize,
    /// Most bytes of recent commits kept for readers.
    pub tail_cache_bytes: usize,
    /// Bytes that may wait for the disk before `append` says `Busy`.
    pub uncommitted_bytes_max: usize,
    /// Commits on their way to the disk at once.
    pub commits_in_flight: usize,
    /// While a commit is in flight, another starts only when this many bytes wait.
    pub early_commit_bytes: usize,
    /// Write zeros over the next segment while the log is idle: a flush after an overwrite is cheaper
    /// than one that allocates.
    pub zero_fill: bool,
    /// Sealed segments whose extents are smaller than this many bytes on average are written anew by
    /// partition, in the background. 0: never.
    pub regroup_extent_bytes: u64,
    /// Bytes that are read ahead, into the system's page cache, after a read of what is no longer in the tail cache.
    pub read_ahead_bytes: usize,
    /// Most bytes that a pass of compaction takes for the latest offsets of keys, 25 for each: when there are
    /// more keys, it takes several passes.
    pub compaction_keys_bytes: usize,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 128 << 20,
            chunk_bytes: 2 << 20,
            tail_cache_bytes: 64 << 20,
            uncommitted_bytes_max: 16 << 20,
            commits_in_flight: 2,
            early_commit_bytes: 256 << 10,
            zero_fill: true,
            regroup_extent_bytes: 1 << 20,
            read_ahead_bytes: 16 << 20,
            compaction_keys_bytes: 32 << 20,
        }
    }
}

impl ShardOptions {
    /// Largest batch that can be appended.
    pub fn batch_bytes_max(&self) -> usize {
        usize::try_from(self.segment_bytes / 4).unwrap_or(usize::MAX).min(1 << 30)
    }

    /// Rounds to whole blocks and brings the sizes into an order that can work.
    fn fitted(mut self) -> Result<Self, OpenError> {
        let bad = |what: &str| Err(OpenError::Options(what.to_owned()));
        self.segment_bytes = self.segment_bytes.next_multiple_of(BLOCK as u64);
        self.chunk_bytes = round_up(self.chunk_bytes);
        if self.segment_bytes < 16 * BLOCK as u64 || self.segment_bytes > 2 << 30 {
            return bad("segment_bytes must be between 64 KiB and 2 GiB");
        }
        let quarter = (self.segment_bytes / 4) as usize;
        self.chunk_bytes = self.chunk_bytes.min(quarter / BLOCK * BLOCK);
        self.uncommitted_bytes_max = self.uncommitted_bytes_max.min(quarter);
        if self.commits_in_flight == 0 {
            return bad("commits_in_flight must be at least 1");
        }
        Ok(self)
    }
}

/// A partition of a shard. Stays valid while the partition exists; afterwards every use says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartitionRef {
    slot: u32,
    log: LogId,
}

impl PartitionRef {
    /// The partition's log.
    pub fn log(self) -> LogId {
        self.log
    }
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitState {
    /// On its way.
    Pending,
    /// On the disk.
    Durable,
    /// Never to be: the shard has failed.
    Failed,
}

/// Offsets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offsets {
    /// First offset that can be read.
    pub start: Offset,
    /// First offset that is not durable yet: readers stop here.
    pub high_watermark: Offset,
    /// What the next record gets.
    pub end: Offset,
}

/// Counters of a shard since it was opened. May be read from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commits that became durable.
    pub commits: AtomicU64,
    /// Bytes of them, as written.
    pub commit_bytes: AtomicU64,
    /// Batches in them.
    pub batches: AtomicU64,
    /// Disk reads on behalf of readers (record data and index blocks).
    pub disk_reads: AtomicU64,
    /// Bytes of them.
    pub disk_read_bytes: AtomicU64,
    /// Segments sealed.
    pub sealed: AtomicU64,
    /// Segments written anew by partition.
    pub regrouped: AtomicU64,
    /// Passes of compaction that took effect.
    pub compacted: AtomicU64,
    /// Bytes read and written in the background: regrouping, compaction.
    pub background_bytes: AtomicU64,
    /// Segments freed, or used again.
    pub freed: AtomicU64,
    /// Bytes scanned by the recovery.
    pub scanned_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

/// A shard. See the module's header.
pub struct Shard {
    inner: Rc<Inner>,
}

impl Clone for Shard {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner) }
    }
}

struct Inner {
    disk: DynDisk,
    identity: Identity,
    dir: String,
    options: ShardOptions,
    pool: Pool,
    read_pool: Pool,
    /// What is left of the buffer that the last small read used.
    read_memory: RefCell<Option<AlignedBuf>>,
    state: RefCell<State>,
    opened: RefCell<opened::Opened>,
    ahead: RefCell<ahead::Ahead>,
    manifest: tokio::sync::Mutex<()>,
    keeping: Notify,
    punching: Notify,
    /// The segment in which holes are being made.
    punched: Cell<Option<Generation>>,
    cleaning: Notify,
    marking: Notify,
    reclaiming: Notify,
    /// Tasks that work on sealed segments.
    keepers: Cell<u32>,
    durable_below: Cell<CommitSeq>,
    failure: OnceCell<Rc<Failure>>,
    work: Notify,
    /// No commit is in flight any more.
    landed: Notify,
    /// Room for reads, and for those beside commits.
    reads: Semaphore,
    paced_reads: Semaphore,
    prepare: Notify,
    roll: Notify,
    sealing: Notify,
    sealer_runs: Cell<bool>,
    counters: Arc<Counters>,
}

struct State {
    partitions: Vec<Option<Partition>>,
    free_slots: Vec<u32>,
    by_log: HashMap<LogId, u32>,
    /// Slots of the partitions that were compacted.
    compacted: BTreeSet<u32>,
    open: OpenCommit,
    closed: VecDeque<ClosedCommit>,
    closed_bytes: usize,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// Below it lies every durable commit that has entries.
    filled_below: CommitSeq,
    /// A durable commit says that those below it are durable.
    proven_below: CommitSeq,
    tail: Tail,
    places: VecDeque<(Generation, u64)>,
    places_first: CommitSeq,
    active: roll::Active,
    next: roll::Next,
    rolling: bool,
    stopping: bool,
    running: usize,
    seal_jobs: VecDeque<seal::Job>,
    unsealed: usize,
    lingering: Vec<u32>,
    segments: BTreeMap<Generation, SealedSegment>,
    sealed_below: CommitSeq,
    next_sorted: u32,
    dead: Vec<Generation>,
    spares: Vec<Generation>,
    room: room::Room,
    base: Rc<manifest::Base>,
    /// The base of the last seal job, while it is being made.
    noting: Option<manifest::Noting>,
    /// Log start offsets that were raised, by log, with the segment that was active then.
    trims: BTreeMap<LogId, (Generation, Offset)>,
    /// Partitions whose runs have to be looked through because their log start offset was raised.
    trimmed: Vec<(u32, LogId)>,
    /// Deleted runs whose space can be given back, by segment.
    holes: HashMap<Generation, punch::Holes>,
    /// Segments in which holes were made: as slow to write as new ones.
    holed: HashSet<Generation>,
    regroup: VecDeque<Generation>,
    next_wanted: bool,
    roll_wanted: bool,
    /// The time as the last [`Shard::tend`] said it, and when that was.
    now: Option<(i64, tokio::time::Instant)>,
    /// Since when commits have been in flight without a pause, and for how long before that.
    busy_since: Option<tokio::time::Instant>,
    busy: Duration,
    /// When the last of them ended.
    landed_at: Option<tokio::time::Instant>,
    space: Vec<Waker>,
}

/// A commit whose write and flush have begun.
struct InFlight {
    seq: CommitSeq,
    disk_len: usize,
    /// Commits below this one were durable when it was written.
    durable_below: CommitSeq,
    entries: Vec<Slotted>,
    waiters: Vec<Waker>,
    done: bool,
}

impl Shard {
    /// Opens a shard: recovers what its disk holds, then begins a new segment. `live` are the logs that
    /// the catalog places here; others are forgotten.
    pub async fn open(
        disk: impl Disk,
        directory: [u8; 16],
        shard: ShardId,
        live: &HashSet<LogId>,
        options: ShardOptions,
    ) -> Result<Self, OpenError> {
        Self::open_on(disk.erased(), Identity { directory, shard }, live, options).await
    }

    async fn open_on(
        disk: DynDisk,
        identity: Identity,
        live: &HashSet<LogId>,
        options: ShardOptions,
    ) -> Result<Self, OpenError> {
        let options = options.fitted()?;
        let shard = identity.shard;
        let recovered = recover(&disk, &identity, live).await?;
        let dir = files::shard_dir(shard);
        let first =
            roll::create_segment(&disk, &identity, recovered.next_generation, options.segment_bytes, None)
                .await
                .map_err(OpenError::io(format!("creating a segment in {dir}")))?;
        let next_seq = recovered.next_seq;
        let pool = Pool::new(options.chunk_bytes, FREE_CHUNKS);
        let room = room::Room::at_start(&recovered.segments, (recovered.next_generation, first.1));
        let mut state = State {
            partitions: Vec::new(),
            free_slots: Vec::new(),
            by_log: HashMap::new(),
            compacted: BTreeSet::new(),
            open: OpenCommit::new(next_seq, pool.take()),
            closed: VecDeque::new(),
            closed_bytes: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            filled_below: next_seq,
            proven_below: next_seq,
            tail: Tail::new(next_seq, options.tail_cache_bytes),
            places: VecDeque::new(),
            places_first: next_seq,
            active: roll::Active::new(first, recovered.next_generation, next_seq),
            next: roll::Next::Wanted,
            rolling: false,
            stopping: false,
            running: options.commits_in_flight,
            seal_jobs: VecDeque::new(),
            unsealed: 0,
            lingering: Vec::new(),
            segments: recovered.segments,
            sealed_below: next_seq,
            next_sorted: recovered.next_sorted,
            dead: Vec::new(),
            spares: Vec::new(),
            room,
            base: Rc::default(),
            noting: None,
            trims: BTreeMap::new(),
            trimmed: Vec::new(),
            holes: HashMap::new(),
            holed: HashSet::new(),
            regroup: VecDeque::new(),
            next_wanted: false,
            roll_wanted: false,
            now: None,
            busy_since: None,
            busy: Duration::ZERO,
            landed_at: None,
            space: Vec::new(),
        };
        for (log, partition) in recovered.partitions {
            state.insert(log, partition);
        }
        for &log in live {
            if !state.by_log.contains_key(&log) {
                state.insert(log, Partition::new(log));
            }
        }
        state.base = Rc::new(state.base_at_start(recovered.next_generation.0 - 1, next_seq));
        state.regroup = regroup::candidates(&state.segments, options.regroup_extent_bytes);
        let counters = Arc::new(Counters::default());
        Counters::add(&counters.scanned_bytes, recovered.scanned_bytes);
        let inner = Rc::new(Inner {
            disk,
            identity,
            dir,
            options,
            pool,
            // No huge pages: to make one ready can take a virtual machine milliseconds, whichever thread does it.
            read_pool: Pool::new(fetch::READ_BUFFER_BYTES, READ_BUFFERS).touched_bit_by_bit(),
            read_memory: RefCell::default(),
            state: RefCell::new(state),
            opened: RefCell::default(),
            ahead: RefCell::default(),
            manifest: tokio::sync::Mutex::default(),
            keeping: Notify::new(),
            punching: Notify::new(),
            punched: Cell::new(None),
            cleaning: Notify::new(),
            marking: Notify::new(),
            reclaiming: Notify::new(),
            keepers: Cell::new(4),
            durable_below: Cell::new(next_seq),
            failure: OnceCell::new(),
            work: Notify::new(),
            landed: Notify::new(),
            reads: Semaphore::new(pace::READS_MAX),
            paced_reads: Semaphore::new(pace::PACED_READS_MAX),
            prepare: Notify::new(),
            roll: Notify::new(),
            sealing: Notify::new(),
            sealer_runs: Cell::new(false),
            counters,
        });
        for _ in 0..inner.options.commits_in_flight {
            tokio::task::spawn_local(commit::worker(Rc::clone(&inner)));
        }
        tokio::task::spawn_local(roll::preparer(Rc::clone(&inner)));
        seal::start_sealer(&inner);
        tokio::task::spawn_local(regroup::keeper(Rc::clone(&inner)));
        tokio::task::spawn_local(punch::puncher(Rc::clone(&inner)));
        tokio::task::spawn_local(compact::cleaner(Rc::clone(&inner)));
        tokio::task::spawn_local(reclaim::reclaimer(Rc::clone(&inner)));
        tokio::task::spawn_local(mark::marker(Rc::clone(&inner)));
        Ok(Self { inner })
    }

    /// Its id.
    pub fn id(&self) -> ShardId {
        self.inner.identity.shard
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.inner.counters)
    }

    /// Adds an empty partition, or finds the one there is. Its log must be in the catalog, durably.
    pub fn attach(&self, log: LogId) -> PartitionRef {
        let mut state = self.inner.state.borrow_mut();
        let slot = match state.by_log.get(&log) {
            Some(&slot) => slot,
            None => state.insert(log, Partition::new(log)),
        };
        PartitionRef { slot, log }
    }

    /// Finds a partition.
    pub fn partition(&self, log: LogId) -> Option<PartitionRef> {
        let slot = *self.inner.state.borrow().by_log.get(&log)?;
        Some(PartitionRef { slot, log })
    }

    /// Forgets a partition that is no longer in the catalog. Segments in which nothing else lives are
    /// freed in the background.
    pub fn detach(&self, log: LogId) {
        let mut state = self.inner.state.borrow_mut();
        let Some(slot) = state.by_log.remove(&log) else { return };
        state.free_slots.push(slot);
        state.compacted.remove(&slot);
        state.trims.remove(&log);
        if let Some(mut partition) = state.partitions[slot as usize].take() {
            partition.wake_watchers();
            for run in partition.runs {
                // Its bound went with it.
                state.release(run, false);
            }
        }
        self.inner.sealing.notify_one();
    }

    /// Offsets of a partition.
    pub fn offsets(&self, at: PartitionRef) -> Result<Offsets, ReadError> {
        let state = self.inner.state.borrow();
        let partition = state.get(at).ok_or(ReadError::UnknownPartition)?;
        Ok(Offsets { start: partition.start, high_watermark: partition.high_watermark, end: partition.next })
    }

    /// Says whether the high watermark is above `seen` (or the partition is gone); if not, `watcher` is
    /// told when that changes.
    pub fn watch(&self, at: PartitionRef, seen: Offset, watcher: &Rc<Watcher>) -> bool {
        let mut state = self.inner.state.borrow_mut();
        let Some(partition) = state.get_mut(at) else { return true };
        if partition.high_watermark > seen {
            return true;
        }
        partition.watch(watcher);
        false
    }

    /// Why it has failed, if it has.
    pub fn failure(&self) -> Option<Rc<Failure>> {
        self.inner.failure.get().cloned()
    }

    /// Memory chunks alive, in bytes: uncommitted, cached, and held by readers.
    pub fn memory_bytes(&self) -> usize {
        self.inner.pool.alive() * self.inner.pool.buffer_bytes()
    }

    /// Memory of reads from the disk, in bytes: what is being read, or held by readers.
    pub fn read_memory_bytes(&self) -> usize {
        self.inner.read_pool.alive() * self.inner.read_pool.buffer_bytes()
    }

    /// Commits what waits, seals the active segment and stops. Afterwards every append says `Failed` or
    /// `Busy`, and the next open has nothing to scan.
    pub async fn close(&self) -> Result<(), Rc<Failure>> {
        self.inner.state.borrow_mut().stopping = true;
        self.inner.work.notify_waiters();
        self.inner.prepare.notify_one();
        self.inner.keeping.notify_one();
        self.inner.punching.notify_one();
        self.inner.cleaning.notify_one();
        self.inner.marking.notify_one();
        self.inner.reclaiming.notify_one();
        self.inner.roll.notify_waiters();
        seal::close(&self.inner).await;
        self.inner.failure.get().cloned().map_or(Ok(()), Err)
    }
}

impl State {
    fn insert(&mut self, log: LogId, partition: Partition) -> u32 {
        let slot = match self.free_slots.pop() {
            Some(slot) => slot,
            None => {
                self.partitions.push(None);
                (self.partitions.len() - 1) as u32
            }
        };
        if partition.compacted.is_some() {
            self.compacted.insert(slot);
        }
        self.partitions[slot as usize] = Some(partition);
        self.by_log.insert(log, slot);
        slot
    }

    fn get(&self, at: PartitionRef) -> Option<&Partition> {
        self.partitions.get(at.slot as usize)?.as_ref().filter(|p| p.log == at.log)
    }

    fn get_mut(&mut self, at: PartitionRef) -> Option<&mut Partition> {
        self.partitions.get_mut(at.slot as usize)?.as_mut().filter(|p| p.log == at.log)
    }

    /// Bytes that were appended and are not durable.
    fn uncommitted_bytes(&self) -> usize {
        self.closed_bytes + self.in_flight_bytes + self.open.disk_len()
    }

    fn wake_space(&mut self) {
        for waker in self.space.drain(..) {
            waker.wake();
        }
    }

    /// Whether a partition has a run in a segment, or may have batches in it that are not sealed yet.
    fn holds(&self, at: PartitionRef, generation: Generation) -> bool {
        let has_run = |p: &Partition| p.runs.iter().any(|r| r.generation == generation);
        self.is_unsealed(generation) || self.get(at).is_some_and(has_run)
    }

    /// Where a commit lies, if its segment is not sealed or it is still cached.
    fn place(&self, seq: CommitSeq) -> Option<(Generation, u64)> {
        self.places.get(usize::try_from(seq.checked_sub(self.places_first)?).ok()?).copied()
    }
}

impl Inner {
    /// Latches the first failure and wakes everybody who waits for something that will not come.
    fn fail(&self, during: &str, cause: std::io::Error) {
        let failure = Failure { shard: self.identity.shard, during: during.to_owned(), cause };
        tracing::error!(%failure, "shard failed");
        if self.failure.set(Rc::new(failure)).is_err() {
            return;
        }
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let in_flight = state.in_flight.iter_mut().map(|c| &mut c.waiters);
        let closed = state.closed.iter_mut().map(|c| &mut c.waiters);
        for waiters in in_flight.chain(closed).chain([&mut state.open.waiters]) {
            for waker in waiters.drain(..) {
                waker.wake();
            }
        }
        state.wake_space();
        self.work.notify_waiters();
        self.roll.notify_waiters();
        self.prepare.notify_one();
        self.sealing.notify_one();
        self.keeping.notify_one();
        self.punching.notify_one();
        self.cleaning.notify_one();
        self.reclaiming.notify_one();
    }

    fn check_failed(&self) -> Result<(), AppendError> {
        match self.failure.get() {
            Some(failure) => Err(AppendError::Failed(Rc::clone(failure))),
            None => Ok(()),
        }
    }
}
