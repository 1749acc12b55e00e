//! Opening a shard: recovers what its disk holds, begins a new segment, and starts the background tasks.

use std::cell::{Cell, OnceCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use crate::aligned::{AlignedBuf, Pool};
use crate::disk::{Disk, DynDisk};
use crate::error::OpenError;
use crate::ids::{Identity, LogId, ShardId};
use crate::partition::Partition;
use crate::shard::checked::Checked;
use crate::shard::counters::Counters;
use crate::shard::handle::Shard;
use crate::shard::inner::Inner;
use crate::shard::options::ShardOptions;
use crate::shard::partitions::Partitions;
use crate::shard::read::resources::ReadResources;
use crate::shard::segments::base::Noting;
use crate::shard::segments::dir::ShardDir;
use crate::shard::segments::front::Active;
use crate::shard::segments::sealer::start_sealer;
use crate::shard::segments::set::SegmentSet;
use crate::shard::state::State;
use crate::shard::tasks::{Task, Tasks};
use crate::shard::upkeep::{compact, punch, reclaim, regroup};
use crate::shard::write::{commit, mark, prepare};

use super::recover::recover;
use super::recovered::Recovered;

/// Free chunks that are kept: few, so that a chunk is used again while the processor's caches still know it.
const FREE_CHUNKS: usize = 3;

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
        let dir = ShardDir::new(DynDisk::new(disk), Identity { directory, shard });
        Self::open_in(dir, live, options.fitted()?).await
    }

    async fn open_in(dir: ShardDir, live: &HashSet<LogId>, options: ShardOptions) -> Result<Self, OpenError> {
        let recovered = recover(&dir.disk, &dir.identity, live).await?;
        let (generation, next_seq) = (recovered.next_generation, recovered.next_seq);
        let file = dir.create_segment(generation, options.segment_bytes, None).await;
        let file = file.map_err(OpenError::io(format!("creating a segment in {}", dir.path)))?;
        let counters = Arc::new(Counters::default());
        Counters::add(&counters.scanned_bytes, recovered.scanned_bytes);
        let pool = Pool::new(options.chunk_bytes, FREE_CHUNKS);
        let active = Active::new(file, generation, next_seq);
        let inner = Rc::new(Inner {
            state: Checked::new(state_of(recovered, active, live, pool.take(), &options)),
            dir,
            options,
            pool,
            reads: ReadResources::default(),
            manifest: Mutex::default(),
            tasks: Rc::default(),
            durable_below: Cell::new(next_seq),
            failure: OnceCell::new(),
            landed: Notify::new(),
            segments_changed: Notify::new(),
            counters,
        });
        start_tasks(&inner);
        Ok(Self { inner })
    }
}

/// The state of a shard as recovered, with the partitions that the catalog places here.
fn state_of(
    recovered: Recovered,
    active: Active,
    live: &HashSet<LogId>,
    buf: AlignedBuf,
    options: &ShardOptions,
) -> State {
    let mut partitions = Partitions::default();
    for partition in recovered.partitions.into_values() {
        partitions.insert(partition);
    }
    for &log in live {
        if partitions.find(log).is_none() {
            partitions.insert(Partition::new(log));
        }
    }
    let next_seq = recovered.next_seq;
    let mut base = Noting::new(active.generation.0 - 1, next_seq);
    base.note_some(&mut partitions, usize::MAX);
    let mut segments = SegmentSet::new(recovered.segments, next_seq, recovered.next_sorted, base.finish());
    let extent_bytes = options.regroup_extent_bytes;
    let scattered = segments.sealed.values().filter(|s| s.is_scattered(extent_bytes));
    segments.to_regroup = scattered.map(|s| s.sealed.generation).collect();
    State::new(partitions, segments, active, buf, options)
}

/// Starts all background tasks.
fn start_tasks(inner: &Rc<Inner>) {
    let tasks: &Rc<Tasks> = &inner.tasks;
    for _ in 0..inner.options.commits_in_flight {
        tasks.start(Task::Commit, commit::worker(Rc::clone(inner)));
    }
    tasks.start(Task::Prepare, prepare::preparer(Rc::clone(inner)));
    start_sealer(inner);
    tasks.start(Task::Regroup, regroup::regrouper(Rc::clone(inner)));
    tasks.start(Task::Punch, punch::puncher(Rc::clone(inner)));
    tasks.start(Task::Compact, compact::compactor(Rc::clone(inner)));
    tasks.start(Task::Reclaim, reclaim::reclaimer(Rc::clone(inner)));
    tasks.start(Task::Mark, mark::marker(Rc::clone(inner)));
}
