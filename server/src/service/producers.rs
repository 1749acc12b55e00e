//! The idempotent producers that partitions remember.

use std::rc::Rc;

use keylane_engine::producer_state::KnownProducer;

use crate::core::Core;

use super::error::NoPartition;
use super::read::on_each_core;
use super::topics::Route;

/// The producers of each partition, by id, on whatever cores the partitions live.
pub async fn producers(
    core: &Rc<Core>,
    routes: &[Result<Route, NoPartition>],
) -> Vec<Result<Vec<KnownProducer>, NoPartition>> {
    let there = routes.iter().copied().enumerate().filter_map(|(place, route)| Some((place, route.ok()?)));
    let mut found = on_each_core(core, there, producers_here).await.into_iter();
    let each = routes.iter().map(|route| {
        let found = found.next().flatten();
        route.map(|_| found.unwrap_or_default())
    });
    each.collect()
}

async fn producers_here(core: Rc<Core>, routes: Vec<Route>) -> Vec<Vec<KnownProducer>> {
    let of = |route: Route| match route {
        Route::Here { shard, at } => core.shards[shard].producers(at),
        Route::There { shard, log, .. } => {
            let shard = &core.shards[shard];
            shard.partition(log).map_or_else(Vec::new, |at| shard.producers(at))
        }
    };
    routes.into_iter().map(of).collect()
}
