//! A core at work: it accepts connections, serves the mesh, tends its shards, and stops cleanly.

use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::coordinator::groups;
use crate::core::Core;
use crate::front::kafka::serve as kafka;
use crate::front::kinesis;
use crate::runtime::clock::now_ms;
use crate::runtime::mesh;
use crate::runtime::net::{Accepted, Listener};
use crate::service::streams;

/// How long a stop waits for connections to take their answers.
const DRAIN: Duration = Duration::from_secs(5);

/// What a core listens on.
pub struct Listeners {
    /// For Kafka's clients.
    pub kafka: Listener,
    /// For Kinesis' clients, if they are served.
    pub kinesis: Option<Listener>,
}

/// Serves until the server is told to stop, then stops cleanly.
/// `drained` counts the cores whose connections are done: shards are closed when all are, because any
/// connection may still wait for any shard.
pub async fn run(core: Rc<Core>, listeners: Listeners, drained: &AtomicUsize) -> Result<(), String> {
    let accepting = tokio::task::spawn_local(accept(Rc::clone(&core), listeners.kafka));
    let kinesis = listeners
        .kinesis
        .map(|listener| tokio::task::spawn_local(kinesis::serve(Rc::clone(&core), listener)));
    streams::resume_deletions(&core);
    let mesh = tokio::task::spawn_local(mesh::serve(Rc::clone(&core)));
    let tending = tokio::task::spawn_local(tend(Rc::clone(&core)));
    let expiring = tokio::task::spawn_local(expire(Rc::clone(&core)));
    loop {
        let stopping = core.stop.notified();
        if core.stopping.get() {
            break;
        }
        stopping.await;
    }
    accepting.abort();
    kinesis.inspect(|accepting| accepting.abort());
    tending.abort();
    expiring.abort();
    let drain = async {
        loop {
            let drained = core.drained.notified();
            if core.connections.borrow().is_empty() && core.http_connections.get() == 0 {
                return;
            }
            drained.await;
        }
    };
    if tokio::time::timeout(DRAIN, drain).await.is_err() {
        tracing::warn!(core = core.index, "some clients did not take their answers in time");
    }
    drained.fetch_add(1, Ordering::SeqCst);
    let patience = tokio::time::Instant::now() + DRAIN;
    while drained.load(Ordering::SeqCst) < core.cluster.cores && tokio::time::Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut failure = None;
    for shard in &core.shards {
        if let Err(e) = shard.close().await {
            failure = Some(e.to_string());
        }
    }
    mesh.abort();
    failure.map_or(Ok(()), Err)
}

/// Has the shards delete and compact what is due, from time to time.
async fn tend(core: Rc<Core>) {
    let interval = Duration::from_millis(core.config.retention_check_interval_ms);
    loop {
        tokio::time::sleep(interval).await;
        for shard in &core.shards {
            shard.tend(now_ms());
        }
    }
}

/// Has what groups committed too long ago removed, from time to time.
async fn expire(core: Rc<Core>) {
    let interval = Duration::from_millis(core.config.offsets_retention_check_interval_ms);
    loop {
        tokio::time::sleep(interval).await;
        groups::expire(&core, now_ms()).await;
    }
}

async fn accept(core: Rc<Core>, listener: Listener) {
    let most = core.config.max_connections.div_ceil(core.cluster.cores);
    loop {
        let Accepted { stream, local, peer } = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of files, or the peer was gone already: others may still succeed.
                tracing::warn!(%e, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if core.connections.borrow().len() >= most {
            tracing::warn!(%peer, most, "too many connections on this core; closing (see --max-connections)");
            stream.shutdown();
            continue;
        }
        tokio::task::spawn_local(kafka::serve(Rc::clone(&core), stream, local, peer));
    }
}
