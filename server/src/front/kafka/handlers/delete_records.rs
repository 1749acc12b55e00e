//! DeleteRecords: moves log start offsets up.
//!
//! Promise: a success is answered when the new log start offset is durable. A partition whose change takes
//! longer than the request's time-out is answered with REQUEST_TIMED_OUT; the change may still happen.

use std::rc::Rc;
use std::time::Duration;

use keylane_engine::shard::{CommitState, PartitionRef};
use keylane_engine::{LogId, TrimError};
use keylane_kafka::ErrorCode;
use keylane_kafka::TopicRef;
use keylane_kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeletedRecordsPartition,
    DeletedRecordsTopic, HIGH_WATERMARK,
};
use tokio::time::{Instant, timeout_at};

use crate::core::Core;
use crate::runtime::mesh::call;
use crate::service::topics::Route;

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A partition on its core: its place in the request, its shard there, its log, the new start.
type Wanted = (usize, usize, LogId, i64);
/// The new log start offset of a partition.
type Outcome = Result<i64, ErrorCode>;

/// Answers DeleteRecords.
pub async fn delete(core: &Rc<Core>, request: &DeleteRecordsRequest<'_>) -> DeleteRecordsResponse<'static> {
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut by_core: Vec<Vec<Wanted>> = vec![Vec::new(); core.cluster.cores];
    for topic in &request.topics {
        for partition in &topic.partitions {
            let number = outcomes.len();
            outcomes.push(Err(ErrorCode::RequestTimedOut));
            match resolve(core, topic.name, partition) {
                Ok((to, shard, log)) => by_core[to].push((number, shard, log, partition.offset)),
                Err(code) => outcomes[number] = Err(code),
            }
        }
    }
    let mut running = Vec::new();
    for (to, list) in by_core.into_iter().enumerate().filter(|(_, list)| !list.is_empty()) {
        let core = Rc::clone(core);
        running.push(tokio::task::spawn_local(async move {
            let numbers: Vec<usize> = list.iter().map(|(number, ..)| *number).collect();
            let done = call(&core, to, move |core| async move { delete_here(&core, &list, deadline).await });
            let done = done.await.unwrap_or_else(|| vec![Err(ErrorCode::NotLeaderOrFollower); numbers.len()]);
            numbers.into_iter().zip(done).collect::<Vec<_>>()
        }));
    }
    for task in running {
        for (number, outcome) in task.await.unwrap_or_default() {
            outcomes[number] = outcome;
        }
    }
    let mut outcomes = outcomes.into_iter();
    let topics = request.topics.iter().map(|topic| DeletedRecordsTopic {
        name: topic.name.to_owned().into(),
        partitions: topic.partitions.iter().zip(&mut outcomes).map(|(p, o)| answer(p.index, o)).collect(),
    });
    // Topics without partitions are not answered, as in Kafka.
    let topics = topics.filter(|topic| !topic.partitions.is_empty()).collect();
    DeleteRecordsResponse { topics, ..Default::default() }
}

fn answer(index: i32, outcome: Outcome) -> DeletedRecordsPartition {
    let (low_watermark, error) = match outcome {
        Ok(low_watermark) => (low_watermark, ErrorCode::None),
        Err(code) => (-1, code),
    };
    DeletedRecordsPartition { index, low_watermark, error }
}

/// The core of a partition, its shard there and its log.
fn resolve(
    core: &Core,
    topic: &str,
    partition: &DeleteRecordsPartition,
) -> Result<(usize, usize, LogId), ErrorCode> {
    let topics = core.topics.borrow();
    let topic = topics.get(TopicRef::Name(topic)).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if topic.internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    let index = usize::try_from(partition.index).unwrap_or(usize::MAX);
    let route = topic.routes.get(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if partition.offset < HIGH_WATERMARK {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    if !topic.log.delete {
        // As in Kafka: what is only compacted keeps the last record of every key.
        return Err(ErrorCode::PolicyViolation);
    }
    Ok(match route {
        Route::Here { shard, at } => (core.index, *shard, at.log()),
        Route::There { core, shard, log } => (*core, *shard, *log),
    })
}

/// Deletes records of partitions of this core: first all are begun, then all are waited for.
async fn delete_here(core: &Rc<Core>, list: &[Wanted], deadline: Instant) -> Vec<Outcome> {
    let mut begun = Vec::with_capacity(list.len());
    for (_, shard, log, offset) in list {
        let begin = timeout_at(deadline, begin(core, *shard, *log, *offset)).await;
        begun.push(begin.unwrap_or(Err(ErrorCode::RequestTimedOut)));
    }
    let mut outcomes = Vec::with_capacity(list.len());
    for ((_, shard, ..), begun) in list.iter().zip(begun) {
        let shard = &core.shards[*shard];
        outcomes.push(match begun {
            Err(code) => Err(code),
            Ok((at, seq)) => match timeout_at(deadline, shard.committed(seq)).await {
                Err(_) => Err(ErrorCode::RequestTimedOut),
                Ok(CommitState::Durable) => match shard.offsets(at) {
                    Ok(offsets) => Ok(offsets.start as i64),
                    Err(_) => Err(ErrorCode::UnknownTopicOrPartition),
                },
                Ok(_) => Err(ErrorCode::KafkaStorageError),
            },
        });
    }
    outcomes
}

/// Begins to delete; waits while the shard is busy.
async fn begin(core: &Core, shard: usize, log: LogId, offset: i64) -> Result<(PartitionRef, u64), ErrorCode> {
    let shard = &core.shards[shard];
    loop {
        let at = shard.partition(log).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let offset = match u64::try_from(offset) {
            Ok(offset) => offset,
            Err(_) => shard.offsets(at).map_err(|_| ErrorCode::UnknownTopicOrPartition)?.high_watermark,
        };
        match shard.trim(at, offset) {
            Ok(seq) => return Ok((at, seq)),
            Err(TrimError::Busy) if !core.stopping.get() => shard.space().await,
            Err(e) => return Err(code_of(&e)),
        }
    }
}

fn code_of(error: &TrimError) -> ErrorCode {
    match error {
        TrimError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        TrimError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        // Busy gets this far only when the server stops: the client tries again elsewhere, or later.
        TrimError::Busy => ErrorCode::NotLeaderOrFollower,
        other => {
            tracing::error!(%other, "deleting records failed");
            ErrorCode::KafkaStorageError
        }
    }
}
