//! One core on its thread: it opens its shards, tells that it is ready, and serves.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use keylane_engine::catalog::{Catalog, Topic};
use keylane_engine::data_dir::DataDir;
use keylane_engine::disk::DynDisk;
use keylane_engine::shard::{Counters, Shard, ShardOptions};
use keylane_engine::{LogId, ShardId};

use crate::config::ServerConfig;
use crate::coordinator::groups;
use crate::core::{Cluster, Core};
use crate::log_levels;
use crate::runtime::mesh::{Mesh, MeshParts};
use crate::runtime::net;
use crate::service::settings::BrokerSettings;

use super::error::StartError;
#[cfg(keylane_planted)]
use super::scene;
use super::{disk, run};

/// What every core is told by core 0.
pub struct Setup {
    pub dir: DataDir,
    pub topics: Vec<Arc<Topic>>,
    pub settings: Arc<BrokerSettings>,
}

/// What a core reports when it is ready.
pub type Ready = Result<Vec<Arc<Counters>>, StartError>;

/// A core on its way to its thread.
pub struct CoreThread {
    pub index: usize,
    pub cores: usize,
    pub cpu: usize,
    pub config: Arc<ServerConfig>,
    pub kafka: std::net::TcpListener,
    pub kinesis: Option<std::net::TcpListener>,
    pub parts: MeshParts<Core>,
    /// From core 0, on the others.
    pub setup: Option<Receiver<Arc<Setup>>>,
    /// To all cores, on core 0.
    pub tell: Vec<Sender<Arc<Setup>>>,
    pub ready: Sender<Ready>,
    pub go: Receiver<()>,
    pub drained: Arc<AtomicUsize>,
}

impl CoreThread {
    /// Runs the core on this thread, to its end.
    pub fn run(self) -> Result<(), String> {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: self.cpu }) {
            tracing::warn!(cpu = self.cpu, "could not pin a core's thread");
        }
        net::run(self.serve())
    }

    async fn serve(self) -> Result<(), String> {
        let disk = disk::open(&self.config);
        let (setup, catalog) = match self.learn(&disk).await {
            Ok(Some(learned)) => learned,
            // Core 0 has reported why.
            Ok(None) => return Ok(()),
            Err(e) => return self.give_up(e),
        };
        let shards = match self.open_shards(&disk, &setup).await {
            Ok(shards) => shards,
            Err(e) => return self.give_up(e),
        };
        let listen = || {
            let kinesis = self.kinesis.map(net::Listener::new).transpose()?;
            Ok(run::Listeners { kafka: net::Listener::new(self.kafka)?, kinesis })
        };
        let listeners = match listen() {
            Ok(listeners) => listeners,
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
        let core = Rc::new(Core::new(self.index, self.config, cluster, shards, mesh, catalog));
        core.change_settings(Arc::clone(&setup.settings));
        for topic in &setup.topics {
            core.add_topic(topic);
        }
        groups::load(&core).await;
        if self.ready.send(Ok(counters)).is_err() || self.go.recv().is_err() {
            return Ok(());
        }
        let serving = run::run(Rc::clone(&core), listeners, &self.drained);
        #[cfg(keylane_planted)]
        return scene::until_power_fails(&core, serving).await;
        #[cfg(not(keylane_planted))]
        serving.await
    }

    fn give_up(self, e: StartError) -> Result<(), String> {
        let _receiver_gone = self.ready.send(Err(e));
        Ok(())
    }

    /// Core 0 reads directory and catalog and tells the others; those wait for it.
    async fn learn(&self, disk: &DynDisk) -> Result<Option<(Arc<Setup>, Option<Catalog>)>, StartError> {
        if let Some(setup) = &self.setup {
            return Ok(setup.recv().ok().map(|setup| (setup, None)));
        }
        let open = |e| StartError::Open(self.config.data.display().to_string(), e);
        let cores = u16::try_from(self.cores).unwrap_or(u16::MAX);
        let shards = self.config.shards.unwrap_or(cores);
        let dir = DataDir::open_or_format(disk, shards).await.map_err(open)?;
        let catalog = Catalog::open(disk.clone(), dir.shards).await.map_err(open)?;
        let settings = Arc::new(BrokerSettings::from(catalog.settings()));
        log_levels::put_in_force(&settings.log_levels);
        let setup = Arc::new(Setup { dir, topics: catalog.topics().cloned().collect(), settings });
        for tell in &self.tell[1..] {
            let _core_gone = tell.send(Arc::clone(&setup));
        }
        Ok(Some((setup, Some(catalog))))
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
