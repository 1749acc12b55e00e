//! One core: one pinned thread, one runtime, the shards it owns, the connections it accepted.
//!
//! Nothing in here is shared with another core but the ends of the rings: no lock, no shared mutable
//! state on the way of a record.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use keylane_engine::catalog::Topic;
use keylane_engine::shard::Shard;
use slab::Slab;
use tokio::sync::{Notify, Semaphore};

use crate::config::ServerConfig;
use crate::coordinator::groups::Groups;
use crate::front::kafka::connection;
use crate::runtime::mesh::Mesh;
use crate::runtime::net::{Listener, Stream};
use crate::service::controller::Controller;
use crate::service::settings;
use crate::service::topics::{LocalTopic, OFFSETS_TOPIC, Route, TopicTable, is_internal};

/// Unit in which connections pay for memory, in bytes.
pub const MEMORY_UNIT: usize = 64 << 10;
/// Memory of a core for large receive buffers and requests on their way to another core.
const RECEIVE_BYTES: usize = 256 << 20;
/// Memory of a core for Fetch answers that are being sent.
pub const FETCH_BYTES: usize = 256 << 20;
/// How long a stop waits for connections to take their answers.
const DRAIN: Duration = Duration::from_secs(5);

/// Facts about the whole server.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The data directory's id as Kafka's clients see it: 22 characters.
    pub id: String,
    /// Number of cores.
    pub cores: usize,
    /// Number of shards.
    pub shards: u16,
}

/// The time in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// The same, up to 10 ms behind: to ask the exact clock for each small request costs a thirtieth of its time.
pub fn about_now_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// A core. See the module's header.
pub struct Core {
    /// Its number, from 0.
    pub index: usize,
    /// Settings.
    pub config: Arc<ServerConfig>,
    /// The server.
    pub cluster: Cluster,
    /// The shards it owns.
    pub shards: Vec<Shard>,
    /// The topics.
    pub topics: RefCell<TopicTable>,
    /// Committed offsets of the groups that belong here.
    pub groups: Groups,
    /// Rings to and from the other cores.
    pub mesh: Mesh,
    /// The catalog, on core 0.
    pub controller: Option<Controller>,
    /// Its connections.
    pub connections: RefCell<Slab<Stream>>,
    /// What connections pay from for receive buffers.
    pub memory: Arc<Semaphore>,
    /// What Fetch answers are paid from.
    pub fetch_memory: Arc<Semaphore>,
    /// It takes no new work.
    pub stopping: Cell<bool>,
    /// Notified when it begins to stop.
    pub stop: Notify,
    /// Notified when a connection has ended.
    pub drained: Notify,
}

impl Core {
    /// Puts a core together.
    pub fn new(
        index: usize,
        config: Arc<ServerConfig>,
        cluster: Cluster,
        shards: Vec<Shard>,
        mesh: Mesh,
        controller: Option<Controller>,
    ) -> Self {
        Self {
            index,
            config,
            cluster,
            shards,
            topics: RefCell::default(),
            groups: Groups::default(),
            mesh,
            controller,
            connections: RefCell::default(),
            memory: Arc::new(Semaphore::new(RECEIVE_BYTES / MEMORY_UNIT)),
            fetch_memory: Arc::new(Semaphore::new(FETCH_BYTES / MEMORY_UNIT)),
            stopping: Cell::new(false),
            stop: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// Takes a new or changed topic in: attaches the partitions that live here, and tells them what to keep.
    pub fn add_topic(&self, topic: &Arc<Topic>) {
        let cores = self.cluster.cores;
        let log = Arc::new(settings::log_config(&topic.configs, &self.config));
        let route = |placement: &keylane_engine::catalog::Placement| {
            let (core, shard) = (usize::from(placement.shard) % cores, usize::from(placement.shard) / cores);
            if core == self.index {
                let at = self.shards[shard].attach(placement.log);
                self.shards[shard].configure(at, Arc::clone(&log));
                Route::Here { shard, at }
            } else {
                Route::There { core, shard, log: placement.log }
            }
        };
        let routes: Vec<Route> = topic.partitions.iter().map(route).collect();
        if topic.name == OFFSETS_TOPIC {
            self.groups.hold(&routes);
        }
        let max_message_bytes = settings::max_message_bytes(&topic.configs, &self.config);
        let rules = Arc::new(settings::batch_rules(&topic.configs, &self.config));
        let internal = is_internal(&topic.name);
        let local = LocalTopic { topic: Arc::clone(topic), routes, max_message_bytes, log, rules, internal };
        self.topics.borrow_mut().insert(Rc::new(local));
    }

    /// Forgets a deleted topic, and detaches the partitions that live here.
    pub fn remove_topic(&self, id: uuid::Uuid) {
        let Some(topic) = self.topics.borrow_mut().remove(id) else { return };
        for route in &topic.routes {
            if let Route::Here { shard, at } = route {
                self.shards[*shard].detach(at.log());
            }
        }
    }

    /// Begins to stop: no new connections, no new requests.
    pub fn begin_stop(&self) {
        self.stopping.set(true);
        self.stop.notify_waiters();
        for (_, stream) in self.connections.borrow().iter() {
            stream.shutdown_read();
        }
    }

    /// Serves until the server is told to stop, then stops cleanly.
    /// `drained` counts the cores whose connections are done: shards are closed when all are, because any
    /// connection may still wait for any shard.
    pub async fn run(self: Rc<Self>, listener: Listener, drained: &AtomicUsize) -> Result<(), String> {
        let accepting = tokio::task::spawn_local(Rc::clone(&self).accept(listener));
        let mesh = tokio::task::spawn_local(crate::runtime::mesh::serve(Rc::clone(&self)));
        let tending = tokio::task::spawn_local(Rc::clone(&self).tend());
        loop {
            let stopping = self.stop.notified();
            if self.stopping.get() {
                break;
            }
            stopping.await;
        }
        accepting.abort();
        tending.abort();
        let drain = async {
            loop {
                let drained = self.drained.notified();
                if self.connections.borrow().is_empty() {
                    return;
                }
                drained.await;
            }
        };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!(core = self.index, "some clients did not take their answers in time");
        }
        drained.fetch_add(1, Ordering::SeqCst);
        let patience = tokio::time::Instant::now() + DRAIN;
        while drained.load(Ordering::SeqCst) < self.cluster.cores && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut failure = None;
        for shard in &self.shards {
            if let Err(e) = shard.close().await {
                failure = Some(e.to_string());
            }
        }
        mesh.abort();
        failure.map_or(Ok(()), Err)
    }

    /// Has the shards delete and compact what is due, from time to time.
    async fn tend(self: Rc<Self>) {
        let interval = Duration::from_millis(self.config.retention_check_interval_ms);
        loop {
            tokio::time::sleep(interval).await;
            for shard in &self.shards {
                shard.tend(now_ms());
            }
        }
    }

    async fn accept(self: Rc<Self>, listener: Listener) {
        let most = self.config.max_connections.div_ceil(self.cluster.cores);
        loop {
            let crate::runtime::net::Accepted { stream, local, peer } = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(e) => {
                    // Out of files, or the peer was gone already: others may still succeed.
                    tracing::warn!(%e, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if self.connections.borrow().len() >= most {
                tracing::warn!(%peer, most, "too many connections on this core; closing (see --max-connections)");
                stream.shutdown();
                continue;
            }
            tokio::task::spawn_local(connection::serve(Rc::clone(&self), stream, local, peer));
        }
    }
}
