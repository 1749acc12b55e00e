//! Starting and stopping: one pinned thread per core, and what they need to know of each other.
//!
//! Core 0 opens the data directory and the catalog; then every core opens its shards; when all are ready
//! they begin to accept. A stop first lets every connection take its answers, then closes the shards.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use keylane_engine::data_dir::DirLock;
use keylane_engine::environment;
use keylane_engine::shard::Counters;

use crate::config::{ServerConfig, allowed_cores};
use crate::runtime::mesh::{self, Stopper};
use crate::runtime::net;

use super::error::StartError;
use super::thread::{CoreThread, Ready, Setup};

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
    kinesis: Option<SocketAddr>,
    shards: u16,
    counters: Vec<Arc<Counters>>,
    stopper: Stopper,
    threads: Vec<JoinHandle<Result<(), String>>>,
    _lock: DirLock,
}

/// Starts a server: its cores run on threads of their own. Returns when it listens.
pub fn start(config: ServerConfig) -> Result<ServerHandle, StartError> {
    environment::check_uring()?;
    let cpus = match &config.cores {
        Some(cores) => cores.clone(),
        None => allowed_cores()?.0,
    };
    let cores = cpus.len();
    let config = Arc::new(config);
    let open = |e| StartError::Open(config.data.display().to_string(), e);
    let lock = DirLock::take(&config.data).map_err(open)?;
    let listen = |addr| net::listeners(addr, cores).map_err(|e| StartError::Listen(addr, e));
    let listeners = listen(config.kafka)?;
    let mut for_kinesis = config.kinesis.map(listen).transpose()?.unwrap_or_default();
    let system = |what: &str| {
        let what = what.to_owned();
        move |cause| StartError::System { what, cause }
    };
    let addr_of = |listener: &std::net::TcpListener| {
        listener.local_addr().map_err(system("asking for the listening address"))
    };
    let addr = addr_of(&listeners[0])?;
    let kinesis = for_kinesis.first().map(addr_of).transpose()?;
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
            kafka: listener,
            kinesis: for_kinesis.pop(),
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
    Ok(ServerHandle { addr, kinesis, shards, counters, stopper, threads, _lock: lock })
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

    /// Where it listens for Kinesis' clients, if it does.
    pub fn kinesis_addr(&self) -> Option<SocketAddr> {
        self.kinesis
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
