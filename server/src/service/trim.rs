//! Moves log start offsets up: what lies before them is deleted.
//!
//! Promise: a success is answered when the new log start offset is durable. A partition whose change takes
//! longer than is allowed is answered with that; the change may still happen.

use std::rc::Rc;

use keylane_engine::shard::{CommitState, PartitionRef};
use keylane_engine::{LogId, Offset, TrimError};
use tokio::time::{Instant, timeout_at};

use crate::core::Core;
use crate::runtime::mesh::call;

use super::error::{NoPartition, TrimRefused};
use super::topics::{Route, TopicKey};

/// The new log start offset of a partition.
pub type Outcome = Result<Offset, TrimRefused>;

/// A partition, and up to which offset its records are deleted; `None`: all that can be read.
pub struct Wanted {
    route: Route,
    offset: Option<Offset>,
}

/// A partition on its core: its place among those asked for, its shard there, its log, the new start.
type Here = (usize, usize, LogId, Option<Offset>);

/// A partition whose records are to be deleted.
///
/// # Errors
/// [`TrimRefused`] if the topic or its settings do not allow it.
pub fn wanted(
    core: &Core,
    topic: &str,
    partition: i32,
    offset: Option<Offset>,
) -> Result<Wanted, TrimRefused> {
    let topics = core.topics.borrow();
    let topic = topics.find(TopicKey::Name(topic))?;
    if topic.internal {
        return Err(TrimRefused::Internal);
    }
    let route = topic.route(partition)?;
    if topic.log.delete { Ok(Wanted { route, offset }) } else { Err(TrimRefused::Compacted) }
}

/// Deletes records of several partitions, on whatever cores they live.
pub async fn trim(
    core: &Rc<Core>,
    wanted: Vec<Result<Wanted, TrimRefused>>,
    deadline: Instant,
) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(wanted.len());
    let mut by_core: Vec<Vec<Here>> = vec![Vec::new(); core.cluster.cores];
    for (number, wanted) in wanted.into_iter().enumerate() {
        outcomes.push(Err(TrimRefused::TimedOut));
        match wanted {
            Err(refused) => outcomes[number] = Err(refused),
            Ok(Wanted { route: Route::Here { shard, at }, offset }) => {
                by_core[core.index].push((number, shard, at.log(), offset));
            }
            Ok(Wanted { route: Route::There { core, shard, log }, offset }) => {
                by_core[core].push((number, shard, log, offset));
            }
        }
    }
    let mut running = Vec::new();
    for (to, list) in by_core.into_iter().enumerate().filter(|(_, list)| !list.is_empty()) {
        let core = Rc::clone(core);
        running.push(tokio::task::spawn_local(async move {
            let numbers: Vec<usize> = list.iter().map(|(number, ..)| *number).collect();
            let done = call(&core, to, move |core| async move { trim_here(&core, &list, deadline).await });
            let done = done.await.unwrap_or_else(|| vec![Err(TrimRefused::Stopping); numbers.len()]);
            numbers.into_iter().zip(done).collect::<Vec<_>>()
        }));
    }
    for task in running {
        for (number, outcome) in task.await.unwrap_or_default() {
            outcomes[number] = outcome;
        }
    }
    outcomes
}

/// Deletes records of partitions of this core: first all are begun, then all are waited for.
async fn trim_here(core: &Rc<Core>, list: &[Here], deadline: Instant) -> Vec<Outcome> {
    let mut begun = Vec::with_capacity(list.len());
    for (_, shard, log, offset) in list {
        let begin = timeout_at(deadline, begin(core, *shard, *log, *offset)).await;
        begun.push(begin.unwrap_or(Err(TrimRefused::TimedOut)));
    }
    let mut outcomes = Vec::with_capacity(list.len());
    for ((_, shard, ..), begun) in list.iter().zip(begun) {
        let shard = &core.shards[*shard];
        outcomes.push(match begun {
            Err(refused) => Err(refused),
            Ok((at, seq)) => match timeout_at(deadline, shard.committed(seq)).await {
                Err(_) => Err(TrimRefused::TimedOut),
                Ok(CommitState::Durable) => match shard.offsets(at) {
                    Ok(offsets) => Ok(offsets.start),
                    Err(_) => Err(TrimRefused::Partition(NoPartition::Number)),
                },
                Ok(_) => Err(TrimRefused::Storage),
            },
        });
    }
    outcomes
}

/// Begins to delete; waits while the shard is busy.
async fn begin(
    core: &Core,
    shard: usize,
    log: LogId,
    offset: Option<Offset>,
) -> Result<(PartitionRef, u64), TrimRefused> {
    let shard = &core.shards[shard];
    loop {
        let at = shard.partition(log).ok_or(TrimRefused::Partition(NoPartition::Number))?;
        let offset = match offset {
            Some(offset) => offset,
            None => {
                shard.offsets(at).map_err(|_| TrimRefused::Partition(NoPartition::Number))?.high_watermark
            }
        };
        match shard.trim(at, offset) {
            Ok(seq) => return Ok((at, seq)),
            Err(TrimError::Busy) if !core.stopping.get() => shard.space().await,
            Err(e) => return Err((&e).into()),
        }
    }
}
