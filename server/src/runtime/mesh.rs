//! Messages between cores: one ring to and one from every other core, and the loop that serves them.
//!
//! Promises: messages from one core to another arrive in order; an append is handed to its shard in the
//! order of arrival even when the shard is busy; a sleeping core is woken, a busy one is not. A full
//! ring makes its sender keep the message and try again; how much can be kept is bounded by what
//! connections may have unanswered.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keylane_engine::producer_state::SequenceError;
use keylane_engine::record_batch::BatchError;
use keylane_engine::records::CheckedBatch;
use keylane_engine::shard::Shard;
use keylane_engine::{AppendError, LogId, Offset};
use slab::Slab;
use tokio::sync::oneshot;

use super::net::Bed;
use super::ring::{Consumer, Parker, Producer, ring};

const RING_MESSAGES: usize = 4096;
/// Messages taken from one ring before the next one has its turn.
const BURST: usize = 256;
/// Empty rounds before a core says that it sleeps.
const SPINS: u32 = 2;

/// What the mesh needs of the core whose rings it serves.
pub trait Host: Sized + 'static {
    /// Its ends of the rings.
    fn mesh(&self) -> &Mesh<Self>;
    /// The shards it owns.
    fn shards(&self) -> &[Shard];
    /// Whether it takes no new work.
    fn is_stopping(&self) -> bool;
    /// Has it begin to stop.
    fn begin_stop(&self);
}

/// Work for another core, and its answer.
type Work<H> = Box<dyn FnOnce(Rc<H>) -> Pin<Box<dyn Future<Output = Box<dyn Any + Send>>>> + Send>;

/// What cores send each other.
enum Message<H> {
    /// Append a batch.
    Append { token: usize, shard: usize, log: LogId, batch: CheckedBatch<'static> },
    /// What became of it, once it is durable.
    Appended { token: usize, result: Result<Appended, AppendFailed> },
    /// Anything rarer.
    Call { token: usize, work: Work<H> },
    /// Its answer.
    Returned { token: usize, value: Box<dyn Any + Send> },
}

/// A durable append.
#[derive(Debug, Clone, Copy)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Log start offset.
    pub log_start: Offset,
    /// The time that its records got, in milliseconds, if that is the time of their append.
    pub append_time_ms: Option<i64>,
}

/// Why an append failed: what of an [`AppendError`] can cross to another core. Nothing was stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendFailed {
    /// The batch itself is malformed, or its topic does not take it.
    #[error(transparent)]
    Batch(Box<BatchError>),
    /// The batch does not continue the sequence of its producer.
    #[error(transparent)]
    Sequence(SequenceError),
    /// The batch is larger than a commit may be.
    #[error("a batch of {bytes} bytes is too large: a commit of this directory takes at most {max} bytes")]
    TooLarge {
        /// Size of the batch.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The partition was deleted.
    #[error("the partition no longer exists")]
    UnknownPartition,
    /// The partition has ended: it is read, and takes no more batches.
    #[error("the partition has ended and takes no more records: write to another one")]
    Ended,
    /// The server is stopping: append again later.
    #[error("the server is stopping; append again when it is back")]
    Stopping,
    /// The disk failed or is full; the log of the server says how.
    #[error("the batch could not be stored; the server's log says why")]
    Storage,
}

impl From<AppendError> for AppendFailed {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Batch(batch) => Self::Batch(Box::new(batch)),
            AppendError::Sequence(sequence) => Self::Sequence(sequence),
            AppendError::TooLarge { bytes, max } => Self::TooLarge { bytes, max },
            AppendError::UnknownPartition => Self::UnknownPartition,
            AppendError::Ended => Self::Ended,
            // Busy gets this far only when the server stops.
            AppendError::Busy => Self::Stopping,
            _ => Self::Storage,
        }
    }
}

enum Waiting {
    Append(oneshot::Sender<Result<Appended, AppendFailed>>),
    Call(oneshot::Sender<Box<dyn Any + Send>>),
}

/// A core's ends of the rings.
pub struct Mesh<H> {
    index: usize,
    inbound: RefCell<Vec<Option<Consumer<Message<H>>>>>,
    outbound: RefCell<Vec<Option<Outbound<H>>>>,
    parkers: Arc<[Parker]>,
    wake: Arc<OwnedFd>,
    waiting: RefCell<Slab<Waiting>>,
    /// Appends from other cores that wait for a busy shard, in order of arrival.
    backlog: RefCell<Vec<VecDeque<Pending>>>,
    stop: Arc<AtomicBool>,
}

/// An append of another core: which core, its token, the log and the batch.
type Pending = (usize, usize, LogId, CheckedBatch<'static>);

struct Outbound<H> {
    ring: Producer<Message<H>>,
    kept: VecDeque<Message<H>>,
}

/// Tells all cores to stop.
#[derive(Clone)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    parkers: Arc<[Parker]>,
}

impl Stopper {
    /// Asks every core to stop, and wakes those that sleep.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        for parker in self.parkers.iter() {
            parker.wake_if_sleeping();
        }
    }
}

/// Builds the rings between `cores` cores.
pub fn build<H>(cores: usize) -> std::io::Result<(Vec<MeshParts<H>>, Stopper)> {
    let (mut parkers, mut fds) = (Vec::new(), Vec::new());
    for _ in 0..cores {
        let (parker, fd) = Parker::with_eventfd()?;
        parkers.push(parker);
        fds.push(fd);
    }
    let parkers: Arc<[Parker]> = parkers.into();
    let stop = Arc::new(AtomicBool::new(false));
    let mut parts: Vec<_> = fds
        .into_iter()
        .enumerate()
        .map(|(index, wake)| MeshParts {
            index,
            inbound: (0..cores).map(|_| None).collect(),
            outbound: (0..cores).map(|_| None).collect(),
            parkers: Arc::clone(&parkers),
            wake,
            stop: Arc::clone(&stop),
        })
        .collect();
    for from in 0..cores {
        for to in (0..cores).filter(|to| *to != from) {
            let (producer, consumer) = ring(RING_MESSAGES);
            parts[from].outbound[to] = Some(producer);
            parts[to].inbound[from] = Some(consumer);
        }
    }
    Ok((parts, Stopper { stop, parkers }))
}

/// A core's ends, on their way to its thread.
pub struct MeshParts<H> {
    index: usize,
    inbound: Vec<Option<Consumer<Message<H>>>>,
    outbound: Vec<Option<Producer<Message<H>>>>,
    parkers: Arc<[Parker]>,
    wake: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
}

impl<H: Host> Mesh<H> {
    /// Takes a core's ends over; `shards` is how many shards it owns.
    pub fn new(parts: MeshParts<H>, shards: usize) -> Self {
        let outbound = parts.outbound.into_iter();
        Self {
            index: parts.index,
            inbound: RefCell::new(parts.inbound),
            outbound: RefCell::new(
                outbound.map(|p| p.map(|ring| Outbound { ring, kept: VecDeque::new() })).collect(),
            ),
            parkers: parts.parkers,
            wake: parts.wake,
            waiting: RefCell::default(),
            backlog: RefCell::new((0..shards).map(|_| VecDeque::new()).collect()),
            stop: parts.stop,
        }
    }

    /// Number of cores.
    pub fn cores(&self) -> usize {
        self.parkers.len()
    }

    /// Sends a message to another core.
    fn send(&self, to: usize, message: Message<H>) {
        let mut outbound = self.outbound.borrow_mut();
        let Some(outbound) = outbound.get_mut(to).and_then(Option::as_mut) else {
            unreachable!("a core sends nothing to itself")
        };
        if !outbound.kept.is_empty() {
            outbound.kept.push_back(message);
        } else if let Err(message) = outbound.ring.push(message) {
            outbound.kept.push_back(message);
        }
        self.parkers[to].wake_if_sleeping();
    }

    /// Moves kept messages into their rings. Returns whether any are left.
    fn flush(&self) -> bool {
        let mut left = false;
        for (to, outbound) in self.outbound.borrow_mut().iter_mut().enumerate() {
            let Some(outbound) = outbound else { continue };
            let mut moved = false;
            while let Some(message) = outbound.kept.pop_front() {
                if let Err(message) = outbound.ring.push(message) {
                    outbound.kept.push_front(message);
                    left = true;
                    break;
                }
                moved = true;
            }
            if moved {
                self.parkers[to].wake_if_sleeping();
            }
        }
        left
    }

    /// Appends to a partition of another core. The answer comes when the batch is durable.
    pub fn append(
        &self,
        to: usize,
        shard: usize,
        log: LogId,
        batch: CheckedBatch<'static>,
    ) -> oneshot::Receiver<Result<Appended, AppendFailed>> {
        let (sender, receiver) = oneshot::channel();
        let token = self.waiting.borrow_mut().insert(Waiting::Append(sender));
        self.send(to, Message::Append { token, shard, log, batch });
        receiver
    }
}

/// Runs something on a core, possibly this one, and waits for what it returns. `None`: the server stops.
pub async fn call<H, T, F, R>(core: &Rc<H>, to: usize, work: F) -> Option<T>
where
    H: Host,
    T: Send + 'static,
    F: FnOnce(Rc<H>) -> R + Send + 'static,
    R: Future<Output = T> + 'static,
{
    if to == core.mesh().index {
        return Some(work(Rc::clone(core)).await);
    }
    let (sender, receiver) = oneshot::channel();
    let token = core.mesh().waiting.borrow_mut().insert(Waiting::Call(sender));
    let work: Work<H> = Box::new(move |core| {
        let running = work(core);
        Box::pin(async move { Box::new(running.await) as Box<dyn Any + Send> })
    });
    core.mesh().send(to, Message::Call { token, work });
    let value = receiver.await.ok()?;
    value.downcast().ok().map(|v| *v)
}

/// Serves the rings of a core until the server is told to stop.
pub async fn serve<H: Host>(core: Rc<H>) -> std::io::Result<()> {
    let mesh = core.mesh();
    let bed = Bed::new(Arc::clone(&mesh.wake))?;
    let parker = &mesh.parkers[mesh.index];
    let mut idle = 0;
    loop {
        let worked = take_round(&core);
        let left = mesh.flush();
        if mesh.stop.load(Ordering::SeqCst) && !core.is_stopping() {
            core.begin_stop();
        }
        if worked > 0 || left || idle < SPINS {
            idle = if worked > 0 { 0 } else { idle + 1 };
            tokio::task::yield_now().await;
            continue;
        }
        parker.prepare_park();
        let quiet = mesh.inbound.borrow().iter().flatten().all(Consumer::is_empty);
        let stop = mesh.stop.load(Ordering::SeqCst) && !core.is_stopping();
        if quiet && !stop {
            bed.sleep().await?;
        }
        parker.cancel_park();
        idle = 0;
    }
}

fn take_round<H: Host>(core: &Rc<H>) -> usize {
    let mesh = core.mesh();
    let mut worked = 0;
    for from in 0..mesh.cores() {
        for _ in 0..BURST {
            let message = {
                let mut inbound = mesh.inbound.borrow_mut();
                inbound.get_mut(from).and_then(Option::as_mut).and_then(Consumer::pop)
            };
            let Some(message) = message else { break };
            worked += 1;
            handle(core, from, message);
        }
    }
    worked
}

fn handle<H: Host>(core: &Rc<H>, from: usize, message: Message<H>) {
    match message {
        Message::Append { token, shard, log, batch } => {
            let waits = !core.mesh().backlog.borrow()[shard].is_empty();
            if waits || !try_append(core, from, token, shard, log, &batch) {
                core.mesh().backlog.borrow_mut()[shard].push_back((from, token, log, batch));
                if !waits {
                    tokio::task::spawn_local(work_off(Rc::clone(core), shard));
                }
            }
        }
        Message::Appended { token, result } => {
            if let Some(Waiting::Append(sender)) = core.mesh().waiting.borrow_mut().try_remove(token) {
                // Nobody waits any more if the connection is gone.
                let _unwanted = sender.send(result);
            }
        }
        Message::Call { token, work } => {
            let core = Rc::clone(core);
            tokio::task::spawn_local(async move {
                let value = work(Rc::clone(&core)).await;
                core.mesh().send(from, Message::Returned { token, value });
            });
        }
        Message::Returned { token, value } => {
            if let Some(Waiting::Call(sender)) = core.mesh().waiting.borrow_mut().try_remove(token) {
                let _unwanted = sender.send(value);
            }
        }
    }
}

/// Appends for another core. `false`: the shard is busy.
fn try_append<H: Host>(
    core: &Rc<H>,
    from: usize,
    token: usize,
    shard: usize,
    log: LogId,
    batch: &CheckedBatch<'_>,
) -> bool {
    let target = &core.shards()[shard];
    let Some(at) = target.partition(log) else {
        core.mesh().send(from, Message::Appended { token, result: Err(AppendFailed::UnknownPartition) });
        return true;
    };
    match target.append(at, batch) {
        Err(AppendError::Busy) if !core.is_stopping() => return false,
        Err(e) => core.mesh().send(from, Message::Appended { token, result: Err(e.into()) }),
        Ok(appended) => {
            let (core, target) = (Rc::clone(core), target.clone());
            tokio::task::spawn_local(async move {
                use keylane_engine::shard::CommitState;
                let result = match target.committed(appended.seq).await {
                    CommitState::Durable => {
                        let log_start = target.offsets(at).map_or(0, |o| o.start);
                        let keylane_engine::shard::Appended { base_offset, append_time_ms, .. } = appended;
                        Ok(Appended { base_offset, log_start, append_time_ms })
                    }
                    _ => Err(AppendFailed::Storage),
                };
                core.mesh().send(from, Message::Appended { token, result });
            });
        }
    }
    true
}

/// Appends what waits for a busy shard, in order.
async fn work_off<H: Host>(core: Rc<H>, shard: usize) {
    loop {
        let next = core.mesh().backlog.borrow()[shard].front().cloned();
        let Some((from, token, log, batch)) = next else { return };
        if try_append(&core, from, token, shard, log, &batch) {
            core.mesh().backlog.borrow_mut()[shard].pop_front();
        } else {
            core.shards()[shard].space().await;
        }
    }
}
