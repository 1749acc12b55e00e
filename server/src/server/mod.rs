//! Starting and stopping: one pinned thread per core, and what they need to know of each other.
//!
//! Core 0 opens the data directory and the catalog; then every core opens its shards; when all are ready
//! they begin to accept. A stop first lets every connection take its answers, then closes the shards.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use keylane_engine::catalog::{Catalog, Topic};
use keylane_engine::data_dir::{DataDir, DirLock};
use keylane_engine::disk::DynDisk;
use keylane_engine::shard::{Counters, Shard, ShardOptions};
use keylane_engine::{LogId, OpenError, ShardId};

use crate::config::{ConfigError, ServerConfig, allowed_cores};
use crate::coordinator::groups;
use crate::core::{Cluster, Core};
use crate::runtime::mesh::{self, Mesh, MeshParts, Stopper};
use crate::runtime::net;
use crate::service::controller::Controller;

mod disk;
#[cfg(keylane_planted)]
pub mod power;

/// Why a server could not start, or not stop cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error("data directory {0}")]
    Open(String, #[source] OpenError),
    /// The address.
    #[error("cannot listen on {0}; is another server running there? (see --kafka)")]
    Listen(SocketAddr, #[source] io::Error),
    /// The system refused something a core needs.
    #[error("{what}")]
    System {
        /// What.
        what: String,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// A core could not stop cleanly.
    #[error("{0}")]
    Stop(String),
    /// A core ended by itself.
    #[error("a core ended unexpectedly; its last words are in the log")]
    Died,
}

/// Counters of a running server, since its start, over all cores.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Stats {
    /// Reads that went to the disk on behalf of consumers (record data and index blocks).
    pub disk_reads: u64,
    /// Commits (one write and one flush each).
    pub commits: u64,
    /// Bytes written to the commit logs.
    pub commit_bytes: u64,
    /// Record batches in them.
    pub batches: u64,
    /// Segments sealed.
    pub sealed: u64,
    /// Bytes of log that the start had to scan.
    pub scanned_bytes: u64,
}

/// A running server; stops cleanly when told to. Dropping it stops it as well.
pub struct ServerHandle {
    addr: SocketAddr,
    shards: u16,
    counters: Vec<Arc<Counters>>,
    stopper: Stopper,
    threads: Vec<JoinHandle<Result<(), String>>>,
    _lock: DirLock,
}

/// What every core is told by core 0.
struct Setup {
    dir: DataDir,
    topics: Vec<Arc<Topic>>,
}

/// What a core reports when it is ready.
type Ready = Result<Vec<Arc<Counters>>, StartError>;

/// Starts a server: its cores run on threads of their own. Returns when it listens.
pub fn start(config: ServerConfig) -> Result<ServerHandle, StartError> {
    let cpus = match &config.cores {
        Some(cores) => cores.clone(),
        None => allowed_cores()?.0,
    };
    let cores = cpus.len();
    let config = Arc::new(config);
    let open = |e| StartError::Open(config.data.display().to_string(), e);
    let lock = DirLock::take(&config.data).map_err(open)?;
    let listeners = net::listeners(config.kafka, cores).map_err(|e| StartError::Listen(config.kafka, e))?;
    let system = |what: &str| {
        let what = what.to_owned();
        move |cause| StartError::System { what, cause }
    };
    let addr = listeners[0].local_addr().map_err(system("asking for the listening address"))?;
    let (parts, stopper) = mesh::build(cores).map_err(system("creating an eventfd"))?;
    let (ready, readiness) = channel::<Ready>();
    let drained = Arc::new(AtomicUsize::new(0));
    let (mut tell, mut told): (Vec<Sender<Arc<Setup>>>, Vec<_>) = (0..cores).map(|_| channel()).unzip();
    let (mut go, mut threads) = (Vec::new(), Vec::new());
    for (parts, listener) in parts.into_iter().zip(listeners) {
        let index = threads.len();
        let (go_sender, go_receiver) = channel::<()>();
        go.push(go_sender);
        let thread = CoreThread {
            index,
            cores,
            cpu: cpus[index],
            config: Arc::clone(&config),
            listener,
            parts,
            setup: if index == 0 { None } else { Some(told.remove(1)) },
            tell: if index == 0 { std::mem::take(&mut tell) } else { Vec::new() },
            ready: ready.clone(),
            go: go_receiver,
            drained: Arc::clone(&drained),
        };
        let spawned = std::thread::Builder::new()
            .name(format!("keylane-core-{index}"))
            .spawn(move || thread.run())
            .map_err(system("starting a thread"))?;
        threads.push(spawned);
    }
    drop(ready);
    let counters = wait_until_ready(cores, &readiness, &go);
    if counters.is_err() {
        // The other cores see their channels closed, and end; until then the directory stays locked.
        drop((go, readiness));
        for thread in threads.drain(..) {
            let _why_is_known = thread.join();
        }
    }
    let counters = counters?;
    let shards = counters.len() as u16;
    Ok(ServerHandle { addr, shards, counters, stopper, threads, _lock: lock })
}

fn wait_until_ready(
    cores: usize,
    readiness: &Receiver<Ready>,
    go: &[Sender<()>],
) -> Result<Vec<Arc<Counters>>, StartError> {
    let mut counters = Vec::new();
    for _ in 0..cores {
        counters.extend(readiness.recv().map_err(|_| StartError::Died)??);
    }
    for go in go {
        go.send(()).map_err(|_| StartError::Died)?;
    }
    Ok(counters)
}

impl ServerHandle {
    /// Where it listens for Kafka clients (the port that was chosen, if 0 was asked for).
    pub fn kafka_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Shards of the data directory.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Counters since the start.
    pub fn stats(&self) -> Stats {
        let sum = |pick: fn(&Counters) -> &std::sync::atomic::AtomicU64| {
            self.counters.iter().map(|c| pick(c).load(Ordering::Relaxed)).sum()
        };
        Stats {
            disk_reads: sum(|c| &c.disk_reads),
            commits: sum(|c| &c.commits),
            commit_bytes: sum(|c| &c.commit_bytes),
            batches: sum(|c| &c.batches),
            sealed: sum(|c| &c.sealed),
            scanned_bytes: sum(|c| &c.scanned_bytes),
        }
    }

    /// Stops cleanly: everything acked is on disk and the next start has nothing to scan.
    pub fn stop(mut self) -> Result<(), StartError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), StartError> {
        self.stopper.stop();
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(e)) => result = Err(StartError::Stop(e)),
                Err(_) => result = Err(StartError::Died),
            }
        }
        result
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        if let Err(e) = self.join() {
            tracing::error!(%e, "the server did not stop cleanly");
        }
    }
}

struct CoreThread {
    index: usize,
    cores: usize,
    cpu: usize,
    config: Arc<ServerConfig>,
    listener: std::net::TcpListener,
    parts: MeshParts,
    /// From core 0, on the others.
    setup: Option<Receiver<Arc<Setup>>>,
    /// To all cores, on core 0.
    tell: Vec<Sender<Arc<Setup>>>,
    ready: Sender<Ready>,
    go: Receiver<()>,
    drained: Arc<AtomicUsize>,
}

impl CoreThread {
    fn run(self) -> Result<(), String> {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: self.cpu }) {
            tracing::warn!(cpu = self.cpu, "could not pin a core's thread");
        }
        net::run(self.serve())
    }

    async fn serve(self) -> Result<(), String> {
        let disk = disk::open(&self.config);
        let (setup, controller) = match self.learn(&disk).await {
            Ok(Some(learned)) => learned,
            // Core 0 has reported why.
            Ok(None) => return Ok(()),
            Err(e) => return self.give_up(e),
        };
        let shards = match self.open_shards(&disk, &setup).await {
            Ok(shards) => shards,
            Err(e) => return self.give_up(e),
        };
        let listener = match net::Listener::new(self.listener) {
            Ok(listener) => listener,
            Err(cause) => {
                let e = StartError::System { what: "using the listening socket".to_owned(), cause };
                let _receiver_gone = self.ready.send(Err(e));
                return Ok(());
            }
        };
        let counters = shards.iter().map(Shard::counters).collect();
        let mesh = Mesh::new(self.parts, shards.len());
        let id = uuid::Uuid::from_bytes(setup.dir.id);
        let cluster = Cluster { id: short_id(id), cores: self.cores, shards: setup.dir.shards };
        let core = Rc::new(Core::new(self.index, self.config, cluster, shards, mesh, controller));
        for topic in &setup.topics {
            core.add_topic(topic);
        }
        groups::load(&core).await;
        if self.ready.send(Ok(counters)).is_err() || self.go.recv().is_err() {
            return Ok(());
        }
        #[cfg(keylane_planted)]
        return power::run(core, listener, &self.drained).await;
        #[cfg(not(keylane_planted))]
        core.run(listener, &self.drained).await
    }

    fn give_up(self, e: StartError) -> Result<(), String> {
        let _receiver_gone = self.ready.send(Err(e));
        Ok(())
    }

    /// Core 0 reads directory and catalog and tells the others; those wait for it.
    async fn learn(&self, disk: &DynDisk) -> Result<Option<(Arc<Setup>, Option<Controller>)>, StartError> {
        if let Some(setup) = &self.setup {
            return Ok(setup.recv().ok().map(|setup| (setup, None)));
        }
        let open = |e| StartError::Open(self.config.data.display().to_string(), e);
        let cores = u16::try_from(self.cores).unwrap_or(u16::MAX);
        let shards = self.config.shards.unwrap_or(cores);
        let dir = DataDir::open_or_format(disk, shards).await.map_err(open)?;
        let catalog = Catalog::open(disk.clone(), dir.shards).await.map_err(open)?;
        let setup = Arc::new(Setup { dir, topics: catalog.topics().cloned().collect() });
        for tell in &self.tell[1..] {
            let _core_gone = tell.send(Arc::clone(&setup));
        }
        Ok(Some((setup, Some(Controller::new(catalog)))))
    }

    async fn open_shards(&self, disk: &DynDisk, setup: &Setup) -> Result<Vec<Shard>, StartError> {
        let options = shard_options(&self.config, setup.dir.shards);
        let mut shards = Vec::new();
        for number in (self.index..usize::from(setup.dir.shards)).step_by(self.cores) {
            let id = ShardId(number as u16);
            let placed = setup.topics.iter().flat_map(|t| &t.partitions).filter(|p| p.shard_id() == id);
            let logs: std::collections::HashSet<LogId> = placed.map(|p| p.log).collect();
            let began = Instant::now();
            let opened = Shard::open(disk.clone(), setup.dir.id, id, &logs, options.clone()).await;
            let shard = opened.map_err(|e| StartError::Open(self.config.data.display().to_string(), e))?;
            let (took_ms, scanned_bytes) =
                (began.elapsed().as_millis(), shard.counters().scanned_bytes.load(Ordering::Relaxed));
            tracing::info!(shard = number, took_ms, scanned_bytes, "opened a shard");
            shards.push(shard);
        }
        Ok(shards)
    }
}

fn shard_options(config: &ServerConfig, shards: u16) -> ShardOptions {
    ShardOptions {
        segment_bytes: config.segment_bytes,
        tail_cache_bytes: config.tail_cache_bytes / usize::from(shards.max(1)),
        uncommitted_bytes_max: config.uncommitted_bytes_max(),
        ..ShardOptions::default()
    }
}

/// A UUID as Kafka writes it: 22 characters of URL-safe base64.
fn short_id(id: uuid::Uuid) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = id.as_u128();
    (0..22)
        .map(|i| {
            char::from(
                DIGITS[if i == 21 {
                    (value << 4) as usize & 63
                } else {
                    (value >> (122 - 6 * i)) as usize & 63
                }],
            )
        })
        .collect()
}

/// For a program that is nothing but this server: any panic ends the process. A core that panicked must not
/// leave a server half alive; everything acked is on the disk.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !keylane_engine::records::panic_is_caught() {
            report(info);
            std::process::abort();
        }
    }));
}
