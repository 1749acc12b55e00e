//! Asks the core of a shard what its rates allow. A server that does not refuse by rates asks nothing.

use std::rc::Rc;
use std::time::Instant;

use keylane_engine::LogId;

use crate::core::Core;
use crate::runtime::mesh::call;
use crate::service::topics::Route;

fn place(core: &Core, route: Route) -> (usize, LogId) {
    match route {
        Route::Here { at, .. } => (core.index, at.log()),
        Route::There { core, log, .. } => (core, log),
    }
}

/// Which records of these sizes a shard takes.
pub async fn may_put(core: &Rc<Core>, route: Route, sizes: Vec<usize>) -> Vec<bool> {
    let ((to, log), count) = (place(core, route), sizes.len());
    let taken = call(core, to, move |core| async move { core.rates.put(log, &sizes, Instant::now()) });
    // A server that stops refuses them itself.
    taken.await.unwrap_or_else(|| vec![true; count])
}

/// Whether a shard may be read.
pub async fn may_read(core: &Rc<Core>, route: Route) -> bool {
    let (to, log) = place(core, route);
    call(core, to, move |core| async move { core.rates.read(log, Instant::now()) }).await.unwrap_or(true)
}

/// Counts what was read of a shard.
pub async fn note_read(core: &Rc<Core>, route: Route, bytes: usize) {
    let (to, log) = place(core, route);
    call(core, to, move |core| async move { core.rates.note_read(log, bytes, Instant::now()) }).await;
}
