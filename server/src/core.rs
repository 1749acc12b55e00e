//! One core: what its rooms keep on it. One pinned thread, one runtime, the shards it owns, the connections it accepted.
//!
//! Nothing in here is shared with another core but the ends of the rings: no lock, no shared mutable
//! state on the way of a record.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use keylane_engine::LogConfig;
use keylane_engine::catalog::{Catalog, Placement, Topic};
use keylane_engine::shard::Shard;
use slab::Slab;
use tokio::sync::{Mutex, Notify, Semaphore};
use uuid::Uuid;

use crate::config::ServerConfig;
use crate::coordinator::groups::Groups;
use crate::coordinator::log::Place;
use crate::front::kafka::sessions::cache::Sessions;
use crate::runtime::mesh::{Host, Mesh};
use crate::runtime::net::Stream;
use crate::service::settings::{self, BrokerSettings};
use crate::service::streams::{Rates, Subscriptions};
use crate::service::topics::{LocalTopic, OFFSETS_TOPIC, Route, TopicTable, is_internal};

/// Unit in which connections pay for memory, in bytes.
pub const MEMORY_UNIT: usize = 64 << 10;
/// Memory of a core for large receive buffers and requests on their way to another core.
const RECEIVE_BYTES: usize = 256 << 20;
/// Memory of a core for Fetch answers that are being sent.
pub const FETCH_BYTES: usize = 256 << 20;

/// Facts about the whole server.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The data directory's id as clients see it: 22 characters.
    pub id: String,
    /// Number of cores.
    pub cores: usize,
    /// Number of shards.
    pub shards: u16,
}

/// A core. See the module's header.
pub struct Core {
    /// Its number, from 0.
    pub index: usize,
    /// Settings as they were given at the start.
    pub config: Arc<ServerConfig>,
    /// What was changed of them since.
    pub changed: RefCell<Arc<BrokerSettings>>,
    /// The settings with what was changed: what topics take theirs from.
    topic_base: RefCell<Arc<ServerConfig>>,
    /// The server.
    pub cluster: Cluster,
    /// The shards it owns.
    pub shards: Vec<Shard>,
    /// The topics.
    pub topics: Rc<RefCell<TopicTable>>,
    /// The groups that belong here.
    pub groups: Groups,
    /// On the core that owns the catalog: who is subscribed to shards of streams.
    pub subscriptions: Subscriptions,
    /// What goes into and out of shards of streams here, if the server refuses by rates.
    pub rates: Rates,
    /// Rings to and from the other cores.
    pub mesh: Mesh<Core>,
    /// The catalog, on core 0: one change at a time.
    pub catalog: Option<Mutex<Catalog>>,
    /// Its connections.
    pub connections: RefCell<Slab<Stream>>,
    /// Number of its HTTP connections.
    pub http_connections: Cell<usize>,
    /// What connections pay from for receive buffers.
    pub memory: Arc<Semaphore>,
    /// The fetch sessions that belong here.
    pub fetch_sessions: RefCell<Sessions>,
    /// What Fetch answers are paid from.
    pub fetch_memory: Arc<Semaphore>,
    /// It takes no new work.
    pub stopping: Rc<Cell<bool>>,
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
        mesh: Mesh<Self>,
        catalog: Option<Catalog>,
    ) -> Self {
        let fetch_sessions = Sessions::new(index, cluster.cores, config.fetch_sessions);
        let topics = Rc::<RefCell<TopicTable>>::default();
        let groups = Groups::new(config.group_limits(), Rc::clone(&topics));
        Self {
            index,
            topic_base: RefCell::new(Arc::clone(&config)),
            changed: RefCell::default(),
            config,
            cluster,
            shards,
            topics,
            groups,
            subscriptions: Subscriptions::default(),
            rates: Rates::default(),
            mesh,
            catalog: catalog.map(Mutex::new),
            connections: RefCell::default(),
            http_connections: Cell::default(),
            memory: Arc::new(Semaphore::new(RECEIVE_BYTES / MEMORY_UNIT)),
            fetch_sessions: RefCell::new(fetch_sessions),
            fetch_memory: Arc::new(Semaphore::new(FETCH_BYTES / MEMORY_UNIT)),
            stopping: Rc::default(),
            stop: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// The settings that topics take from the server.
    pub fn topic_base(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.topic_base.borrow())
    }

    /// Puts settings in force that were changed while the server runs, for all topics.
    pub fn change_settings(&self, changed: Arc<BrokerSettings>) {
        *self.topic_base.borrow_mut() = Arc::new(changed.over(&self.config));
        *self.changed.borrow_mut() = changed;
        let all: Vec<_> = self.topics.borrow().all().map(|local| Arc::clone(&local.topic)).collect();
        all.iter().for_each(|topic| self.add_topic(topic));
    }

    /// Attaches the partitions of a topic that live here, and tells them what to keep. Returns the ways to all.
    fn attach(&self, topic: &Topic) -> (Vec<Route>, Arc<LogConfig>) {
        let cores = self.cluster.cores;
        let log = Arc::new(settings::log_config(&topic.configs, &self.topic_base()));
        let route = |placement: &Placement| {
            let (core, shard) = (usize::from(placement.shard) % cores, usize::from(placement.shard) / cores);
            if core == self.index {
                let at = self.shards[shard].attach(placement.log);
                self.shards[shard].configure(at, Arc::clone(&log));
                Route::Here { shard, at }
            } else {
                Route::There { core, shard, log: placement.log }
            }
        };
        (topic.partitions.iter().map(route).collect(), log)
    }

    /// Prepares for a new or changed topic: what others ask of its partitions here can be done from now on.
    pub fn prepare_topic(&self, topic: &Topic) {
        let _ways = self.attach(topic);
    }

    /// Takes a new or changed topic in.
    pub fn add_topic(&self, topic: &Arc<Topic>) {
        let (routes, log) = self.attach(topic);
        if topic.name == OFFSETS_TOPIC {
            self.hold_groups(&routes);
        }
        let base = self.topic_base();
        let max_message_bytes = settings::max_message_bytes(&topic.configs, &base);
        let rules = Arc::new(settings::batch_rules(&topic.configs, &base));
        let internal = is_internal(&topic.name);
        let (topic, stream) = (Arc::clone(topic), OnceCell::new());
        let local = LocalTopic { topic, routes, max_message_bytes, log, rules, internal, stream };
        self.end_shards(&local);
        self.topics.borrow_mut().insert(Rc::new(local));
    }

    /// Ends the partitions here whose shards were split or merged.
    fn end_shards(&self, topic: &LocalTopic) {
        if topic.topic.attached.is_none() {
            return;
        }
        for (route, shard) in topic.routes.iter().zip(&topic.stream().shards) {
            if let Route::Here { shard: at_shard, at } = *route
                && let Err(error) = self.shards[at_shard].set_ended(at, !shard.is_open())
            {
                tracing::error!(%error, "a shard of a stream could not be ended");
            }
        }
    }

    /// Takes over the partitions of committed offsets that live here.
    fn hold_groups(&self, routes: &[Route]) {
        for (partition, route) in routes.iter().enumerate() {
            if let Route::Here { shard, at } = *route {
                let place = Place {
                    shard: self.shards[shard].clone(),
                    at,
                    batch_bytes_max: self.config.batch_bytes_max(),
                    stopping: Rc::clone(&self.stopping),
                };
                self.groups.hold(partition, place);
            }
        }
    }

    /// Forgets a deleted topic, and detaches the partitions that live here.
    pub fn remove_topic(&self, id: Uuid) {
        let Some(topic) = self.topics.borrow_mut().remove(id) else { return };
        for route in &topic.routes {
            if let Route::Here { shard, at } = route {
                self.shards[*shard].detach(at.log());
            }
        }
    }
}

impl Host for Core {
    fn mesh(&self) -> &Mesh<Self> {
        &self.mesh
    }

    fn shards(&self) -> &[Shard] {
        &self.shards
    }

    fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// No new connections, no new requests.
    fn begin_stop(&self) {
        self.stopping.set(true);
        self.stop.notify_waiters();
        self.groups.stop();
        for (_, stream) in self.connections.borrow().iter() {
            stream.shutdown_read();
        }
    }
}
