//! The disk that a test brings to the thread that serves on it, and the moment when power fails. Exists in a build with
//! `--cfg keylane_planted` only.

use std::cell::RefCell;

use keylane_engine::disk::DynDisk;
use tokio::sync::oneshot;

use crate::core::Core;

/// When power fails, and what that does to the disk.
pub struct Failure {
    /// Power fails when this is sent to; never, if the sender is dropped.
    pub signal: oneshot::Receiver<()>,
    /// Called at that moment: keeps what the disk is left with.
    pub cut: Box<dyn FnOnce()>,
}

/// What the test brings.
pub struct Scene {
    /// The disk.
    pub disk: DynDisk,
    /// When power fails; taken by the core.
    pub failure: Option<Failure>,
}

thread_local! {
    static SCENE: RefCell<Option<Scene>> = const { RefCell::new(None) };
}

fn with_scene<T>(look: impl FnOnce(&mut Scene) -> T) -> T {
    SCENE.with_borrow_mut(|scene| look(scene.as_mut().expect("this build serves in `power::serve` only")))
}

/// Sets what this thread serves on; takes it away again with `None`.
pub fn set(scene: Option<Scene>) {
    SCENE.set(scene);
}

/// The disk that this thread serves on.
pub fn disk() -> DynDisk {
    with_scene(|scene| scene.disk.clone())
}

/// Runs a core until power fails.
pub async fn until_power_fails(
    core: &Core,
    serving: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
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
        ended = serving => ended,
    }
}
