//! The engine's threads: each runs an io_uring runtime and owns some shards; the first owns the catalog too.
//!
//! Other threads reach these threads by messages only: appends go through the lanes of the shards; everything else is a job
//! that runs on the thread and answers through a channel.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::catalog::{Catalog, Placement, Topic};
use crate::data_dir::DataDir;
use crate::disk::DynDisk;
use crate::disk::uring::UringDisk;
use crate::error::{Failure, OpenError, ReadError, TrimError};
use crate::ids::{Offset, ShardId};
use crate::partition::Watcher;
use crate::shard::{Batches, CommitState, Counters, PartitionRef, Shard};

use super::error::{Error, of_read, of_trim, sendable};
use super::lane::{self, Lane, LaneEnd, lane};
use super::options::Options;
use super::record::now_ms;
use super::topic_settings::log_config;

const RING_ENTRIES: u32 = 256;
/// Jobs that may wait for a thread to take them.
const JOBS_WAITING: usize = 128;
/// Reads at work on a thread at once.
const READS: u32 = 32;
/// How often shards delete and compact what is due.
const TEND_EVERY: Duration = Duration::from_secs(2);

/// What a thread is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Serve.
    Run,
    /// Append what was submitted, close the shards, and end.
    Close,
    /// End at once, as a crash would.
    Abandon,
}

type Job = Box<dyn FnOnce(Rc<Core>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A partition, and the shard and thread that own it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) partition: u32,
    pub(super) placement: Placement,
}

/// A handle that sends jobs to a thread.
#[derive(Clone)]
pub(super) struct CoreLink(mpsc::Sender<Job>);

impl CoreLink {
    /// Runs `work` on the thread. Once begun, the work goes on even if the caller's future is dropped.
    pub(super) async fn call<T, F>(
        &self,
        work: impl FnOnce(Rc<Core>) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |core| {
            Box::pin(async move {
                let _caller_gone = tell.send(work(core).await);
            })
        });
        self.0.send(job).await.map_err(|_| Error::Closed)?;
        told.await.map_err(|_| Error::Closed)
    }
}

/// What a thread owns.
pub(super) struct Core {
    shards: HashMap<ShardId, Shard>,
    /// The catalog, on the first thread only.
    pub(super) catalog: Option<Mutex<Catalog>>,
    reads: Semaphore,
}

impl Core {
    /// Attaches those of a topic's partitions whose shards this thread owns.
    pub(super) fn attach(&self, topic: &Topic) {
        let config = Arc::new(log_config(&topic.configs));
        for placement in &topic.partitions {
            if let Some(shard) = self.shards.get(&placement.shard_id()) {
                shard.configure(shard.attach(placement.log), Arc::clone(&config));
            }
        }
    }

    /// Detaches those of the partitions whose shards this thread owns.
    pub(super) fn detach(&self, placements: &[Placement]) {
        for placement in placements {
            if let Some(shard) = self.shards.get(&placement.shard_id()) {
                shard.detach(placement.log);
            }
        }
    }

    /// The shard and place of a partition.
    pub(super) fn find(&self, at: Placement) -> Result<(&Shard, PartitionRef), Error> {
        let shard = self.shards.get(&at.shard_id()).ok_or(Error::Deleted)?;
        Ok((shard, shard.partition(at.log).ok_or(Error::Deleted)?))
    }

    /// Reads from `offset`; at the end of the partition waits up to `patience` for a record to become durable.
    pub(super) async fn read(
        &self,
        at: Placement,
        offset: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Batches, Error> {
        let (shard, partition) = self.find(at)?;
        let at_end = shard.offsets(partition).map_err(of_read)?.high_watermark == offset;
        if at_end && !patience.is_zero() {
            let watcher = Rc::new(Watcher::default());
            if !shard.watch(partition, offset, &watcher) {
                let _in_time = tokio::time::timeout(patience, watcher.fired()).await;
            }
        }
        let batches = self.reading(shard.read(partition, offset, bytes_max)).await?;
        shard.read_ahead(vec![(partition, batches.next_offset)]);
        Ok(batches)
    }

    /// The first batch with a record at or after both an offset and a time.
    pub(super) async fn find_by_time(
        &self,
        at: Placement,
        timestamp_ms: i64,
        from: Offset,
    ) -> Result<Option<(Offset, Batches)>, Error> {
        let (shard, partition) = self.find(at)?;
        self.reading(shard.find_by_time(partition, timestamp_ms, from)).await
    }

    /// Deletes the records below `offset`; returns the first offset when that is durable.
    pub(super) async fn trim(&self, at: Placement, offset: Offset) -> Result<Offset, Error> {
        let seq = loop {
            let (shard, partition) = self.find(at)?;
            match shard.trim(partition, offset) {
                Err(TrimError::Busy) => shard.space().await,
                other => break other.map_err(of_trim)?,
            }
        };
        let (shard, partition) = self.find(at)?;
        if shard.committed(seq).await != CommitState::Durable {
            let failure = shard.failure();
            return Err(failure.map_or(Error::Interrupted, |failure| Error::Failed(sendable(&failure))));
        }
        shard.offsets(partition).map(|offsets| offsets.start).map_err(of_read)
    }

    /// The counters of its shards.
    pub(super) fn counters(&self) -> Vec<Arc<Counters>> {
        self.shards.values().map(Shard::counters).collect()
    }

    /// Has the shards delete and compact what is due.
    fn tend(&self) {
        let now = now_ms();
        for shard in self.shards.values() {
            shard.tend(now);
        }
    }

    async fn reading<T>(&self, read: impl Future<Output = Result<T, ReadError>>) -> Result<T, Error> {
        let _turn = self.reads.acquire().await.map_err(|_| Error::Closed)?;
        read.await.map_err(of_read)
    }
}

/// What the first thread finds in the directory.
#[derive(Clone)]
struct Found {
    dir: DataDir,
    topics: Arc<Vec<Arc<Topic>>>,
}

/// The threads, and handles to reach them.
pub(super) struct Started {
    pub(super) links: Vec<CoreLink>,
    /// By shard number.
    pub(super) lanes: Vec<Lane>,
    pub(super) topics: Arc<Vec<Arc<Topic>>>,
    pub(super) threads: Threads,
}

/// The threads, and the order that they obey. When dropped, the threads end at once.
pub(super) struct Threads {
    order: watch::Sender<Order>,
    handles: Vec<JoinHandle<Result<(), Failure>>>,
}

impl Threads {
    /// Tells the threads to end, and waits until they have.
    pub(super) fn end(&mut self, order: Order) -> Result<(), Error> {
        self.order.send_if_modified(|now| std::mem::replace(now, order) != order);
        let mut result = Ok(());
        let own = std::thread::current().id();
        // This may run on one of these threads, if a waker there drops the last handle. A thread cannot wait for itself.
        for handle in self.handles.drain(..).filter(|h| h.thread().id() != own) {
            match handle.join() {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => result = Err(Error::Failed(failure)),
                Err(_) => result = Err(Error::Panicked),
            }
        }
        result
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Err(error) = self.end(Order::Abandon) {
            tracing::error!(%error, "the engine did not end well");
        }
    }
}

/// Starts the threads; returns when all shards are open. On an error all threads have ended.
pub(super) fn start(root: PathBuf, options: &Options) -> Result<Started, OpenError> {
    let (order, orders) = watch::channel(Order::Run);
    let (ready, readiness) = channel();
    let (find, finding) = channel();
    let mut threads = Threads { order, handles: Vec::new() };
    let (mut links, mut lanes, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let mut spawn = |threads: &mut Threads, index, task: Task| {
        let (jobs, receiver) = mpsc::channel(JOBS_WAITING);
        let core = CoreThread {
            index,
            root: root.clone(),
            options: options.clone(),
            jobs: receiver,
            orders: orders.clone(),
            ready: ready.clone(),
        };
        let builder = std::thread::Builder::new().name(format!("keylane-engine-{index}"));
        let handle = builder
            .spawn(move || core.run(task))
            .map_err(OpenError::io("starting a thread of the engine"))?;
        threads.handles.push(handle);
        links.push(CoreLink(jobs));
        Ok::<_, OpenError>(())
    };
    let (give, given) = channel();
    spawn(&mut threads, 0, Task::Find { find, given })?;
    let found = match finding.recv() {
        Ok(found) => found?,
        // The thread could not set up io_uring, or it panicked.
        Err(_) => return Err(readiness.try_recv().ok().and_then(Result::err).unwrap_or_else(died)),
    };
    let count = options.threads.min(usize::from(found.dir.shards));
    for number in 0..found.dir.shards {
        let (lane, end) = lane(options.queue_bytes);
        lanes.push(lane);
        ends.push((ShardId(number), end));
    }
    let mut shares: Vec<Share> = (0..count).map(|_| Share::new()).collect();
    for (shard, end) in ends {
        shares[usize::from(shard.0) % count].push((shard, end));
    }
    for (index, share) in shares.into_iter().enumerate() {
        if index == 0 {
            give.send(share).map_err(|_| died())?;
        } else {
            spawn(&mut threads, index, Task::Serve { found: found.clone(), share })?;
        }
    }
    drop(ready);
    for _ in 0..count {
        readiness.recv().map_err(|_| died())??;
    }
    Ok(Started { links, lanes, topics: found.topics, threads })
}

fn died() -> OpenError {
    OpenError::io("opening the shards")(std::io::Error::other(
        "a thread of the engine panicked; its message went to stderr",
    ))
}

/// The shards of a thread.
type Share = Vec<(ShardId, LaneEnd)>;

enum Task {
    /// The first thread looks what the directory holds, and then serves.
    Find {
        find: Sender<Result<Found, OpenError>>,
        given: Receiver<Share>,
    },
    Serve {
        found: Found,
        share: Share,
    },
}

struct CoreThread {
    index: usize,
    root: PathBuf,
    options: Options,
    jobs: mpsc::Receiver<Job>,
    orders: watch::Receiver<Order>,
    ready: Sender<Result<(), OpenError>>,
}

impl CoreThread {
    fn run(self, task: Task) -> Result<(), Failure> {
        let mut ring = tokio_uring::uring_builder();
        if tokio_uring::uring_builder().setup_coop_taskrun().build(2).is_ok() {
            // Completions wait for the thread's next system call instead of interrupting it (Linux 5.19).
            ring.setup_coop_taskrun();
        }
        let mut builder = tokio_uring::builder();
        builder.entries(RING_ENTRIES).uring_builder(&ring);
        match tokio_uring::Runtime::new(&builder) {
            Ok(runtime) => runtime.block_on(self.open_and_serve(task)),
            Err(e) => {
                let _opener_gone = self.ready.send(Err(OpenError::io("setting up io_uring")(e)));
                Ok(())
            }
        }
    }

    async fn open_and_serve(mut self, task: Task) -> Result<(), Failure> {
        match self.open(task).await {
            Ok(Some((core, ends))) => {
                // Dropping the sender tells the opener when a thread ends before it is ready.
                let told = self.ready.send(Ok(()));
                drop(self.ready);
                if told.is_err() {
                    return Ok(());
                }
                serve(Rc::new(core), ends, self.jobs, &mut self.orders).await
            }
            Ok(None) => Ok(()),
            Err(e) => {
                let _opener_gone = self.ready.send(Err(e));
                Ok(())
            }
        }
    }

    /// Reads what the directory holds; formats an empty directory.
    async fn look(&self, disk: &DynDisk) -> Result<(Found, Catalog), OpenError> {
        let dir = DataDir::open_or_format(disk, self.options.shards).await?;
        let catalog = Catalog::open(disk.clone(), dir.shards).await?;
        Ok((Found { dir, topics: Arc::new(catalog.topics().cloned().collect()) }, catalog))
    }

    /// `None`: the opener has given up, or knows why not.
    async fn open(&self, task: Task) -> Result<Option<(Core, Share)>, OpenError> {
        let disk = DynDisk::new(UringDisk::new(&self.root, self.options.direct_io));
        let (found, share, catalog) = match task {
            Task::Serve { found, share } => (found, share, None),
            Task::Find { find, given } => {
                let (found, catalog) = match self.look(&disk).await {
                    Ok(looked) => looked,
                    Err(e) => {
                        let _opener_gone = find.send(Err(e));
                        return Ok(None);
                    }
                };
                let _opener_gone = find.send(Ok(found.clone()));
                let Ok(share) = given.recv() else { return Ok(None) };
                (found, share, Some(Mutex::new(catalog)))
            }
        };
        tracing::debug!(thread = self.index, shards = share.len(), "opening shards");
        let mut shards = HashMap::new();
        for &(id, _) in &share {
            let all = found.topics.iter().flat_map(|t| &t.partitions);
            let live = all.filter(|p| p.shard_id() == id).map(|p| p.log).collect();
            let options = self.options.shard.clone();
            shards.insert(id, Shard::open(disk.clone(), found.dir.id, id, &live, options).await?);
        }
        let core = Core { shards, catalog, reads: Semaphore::new(READS as usize) };
        for topic in found.topics.iter() {
            core.attach(topic);
        }
        Ok(Some((core, share)))
    }
}

async fn serve(
    core: Rc<Core>,
    share: Share,
    mut jobs: mpsc::Receiver<Job>,
    orders: &mut watch::Receiver<Order>,
) -> Result<(), Failure> {
    let mut lanes = Vec::new();
    for (id, end) in share {
        if let Some(shard) = core.shards.get(&id) {
            lanes.extend(lane::serve(shard, end));
        }
    }
    let mut tend = tokio::time::interval(TEND_EVERY);
    tend.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let order = loop {
        tokio::select! {
            biased;
            order = orders.wait_for(|order| *order != Order::Run) => {
                break order.map_or(Order::Abandon, |order| *order);
            }
            _ = tend.tick() => core.tend(),
            Some(job) = jobs.recv() => {
                tokio::task::spawn_local(job(Rc::clone(&core)));
            }
        }
    };
    jobs.close();
    // When the runtime ends, it frees the memory that the kernel reads into, even during a read. So all reads must be done
    // by then. (Memory of writes may be freed: at worst, commits that were not acked are torn.)
    let _all_reads = core.reads.acquire_many(READS).await;
    if order == Order::Abandon {
        return Ok(());
    }
    for lane in lanes {
        let _panicked = lane.await;
    }
    let mut result = Ok(());
    for shard in core.shards.values() {
        if let Err(failure) = shard.close().await {
            result = Err(sendable(&failure));
        }
    }
    result
}
