//! A server of one core on the disk that a test brings, which loses power. Exists in a build with
//! `--cfg keylane_planted` only.
//!
//! Promise: from the moment of the power failure on no client is told anything more. What the disk is then left with is
//! the test's affair; the server starts again on that.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::channel;

use keylane_engine::disk::DynDisk;

use crate::config::ServerConfig;
use crate::runtime::{mesh, net};

use super::error::StartError;
pub use super::scene::Failure;
use super::scene::{self, Scene};
use super::thread::CoreThread;

/// Serves on this thread, with the first of its cores, until power fails.
pub fn serve(config: ServerConfig, disk: DynDisk, failure: Failure) -> Result<(), StartError> {
    scene::set(Some(Scene { disk, failure: Some(failure) }));
    let at = |cause| StartError::Listen(config.kafka, cause);
    let listener = net::listeners(config.kafka, 1).map_err(at)?.remove(0);
    let (mut parts, _stopper) = mesh::build(1)
        .map_err(|cause| StartError::System { what: "creating an eventfd".to_owned(), cause })?;
    let (ready, readiness) = channel();
    let (go_sender, go) = channel();
    let _taken = go_sender.send(());
    let thread = CoreThread {
        index: 0,
        cores: 1,
        cpu: config.cores.as_ref().and_then(|cores| cores.first().copied()).unwrap_or(0),
        config: Arc::new(config),
        kafka: listener,
        kinesis: None,
        parts: parts.remove(0),
        setup: None,
        tell: vec![channel().0],
        ready,
        go,
        drained: Arc::new(AtomicUsize::new(0)),
    };
    let served = thread.run();
    readiness.recv().map_err(|_| StartError::Died)??;
    scene::set(None);
    served.map_err(StartError::Stop)
}
