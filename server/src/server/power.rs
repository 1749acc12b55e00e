//! A server of one core on the disk that a test brings, which loses power. Exists in a build with
//! `--cfg keylane_planted` only.
//!
//! Promise: from the moment of the power failure on no client is told anything more. What the disk is then left with is
//! the test's affair; the server starts again on that.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::channel;

use keylane_engine::disk::DynDisk;
use tokio::sync::oneshot;

use super::{CoreThread, StartError};
use crate::config::ServerConfig;
use crate::core::Core;
use crate::runtime::mesh;
use crate::runtime::net::{self, Listener};

/// When power fails, and what that does to the disk.
pub struct Failure {
    /// Power fails when this is sent to; never, if the sender is dropped.
    pub signal: oneshot::Receiver<()>,
    /// Called at that moment: keeps what the disk is left with.
    pub cut: Box<dyn FnOnce()>,
}

struct Scene {
    disk: DynDisk,
    failure: Option<Failure>,
}

thread_local! {
    static SCENE: RefCell<Option<Scene>> = const { RefCell::new(None) };
}

fn with_scene<T>(look: impl FnOnce(&mut Scene) -> T) -> T {
    SCENE.with_borrow_mut(|scene| look(scene.as_mut().expect("this build serves in power::serve only")))
}

/// The disk that this thread serves on.
pub(crate) fn disk() -> DynDisk {
    with_scene(|scene| scene.disk.clone())
}

/// Serves on this thread, with the first of its cores, until power fails.
pub fn serve(config: ServerConfig, disk: DynDisk, failure: Failure) -> Result<(), StartError> {
    SCENE.set(Some(Scene { disk, failure: Some(failure) }));
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
        listener,
        parts: parts.remove(0),
        setup: None,
        tell: vec![channel().0],
        ready,
        go,
        drained: Arc::new(AtomicUsize::new(0)),
    };
    let served = thread.run();
    readiness.recv().map_err(|_| StartError::Died)??;
    SCENE.take();
    served.map_err(StartError::Stop)
}

/// Runs a core until power fails.
pub(super) async fn run(core: Rc<Core>, listener: Listener, drained: &AtomicUsize) -> Result<(), String> {
    let failure = with_scene(|scene| scene.failure.take()).expect("one core");
    let fails = async {
        if failure.signal.await.is_err() {
            std::future::pending::<()>().await;
        }
        // In one step: nothing is answered between the two.
        (failure.cut)();
        for (_, stream) in core.connections.borrow().iter() {
            stream.shutdown();
        }
    };
    tokio::select! {
        biased;
        () = fails => Ok(()),
        ended = Rc::clone(&core).run(listener, drained) => ended,
    }
}
