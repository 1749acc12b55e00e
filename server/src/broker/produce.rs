//! Produce: append and gate the answer.
//!
//! `acks=1` and `acks=-1` are both answered after the flush; `acks=0` is not answered, and a failure
//! closes the connection. Each partition is appended and answered for itself.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use keylane_engine::AppendError;
use keylane_engine::bytes_at::i16_be;
use keylane_engine::record_batch::RecordBatch;
use tokio::sync::oneshot;

use crate::connection::out::{Answer, Few, Gate, Patch};
use crate::connection::{CloseReason, Connection};
use crate::core::{Core, MEMORY_UNIT};
use crate::kafka::produce::{ProduceItem, ProducePartition, ProduceRequest, ProduceResponseWriter, TopicRef};
use crate::kafka::{ErrorCode, Reader, RequestHeader};
use crate::mesh;
use crate::topics::Route;

use super::{Handled, code_of, record_keys};

/// What became of one partition's batch.
enum Outcome {
    Failed(ErrorCode),
    Here { gate: Gate, base_offset: i64, log_start: i64 },
    There(oneshot::Receiver<Result<mesh::Appended, ErrorCode>>),
}

/// The usual request: one batch for a partition of this core. Others are deferred, with nothing done.
pub fn at_once(
    connection: &Rc<Connection>,
    header: &RequestHeader<'_>,
    request: &ProduceRequest<'_>,
) -> Result<Handled, CloseReason> {
    let core = &connection.core;
    let Some(partition) = request.single_partition() else { return Ok(Handled::Deferred) };
    let outcome = match check(core, header.version, request, &partition) {
        Err(code) => Outcome::Failed(code),
        Ok(Route::There { .. }) => return Ok(Handled::Deferred),
        Ok(Route::Here { shard, at }) => match append(core, shard, at, partition.records) {
            Err(AppendError::Busy) => return Ok(Handled::Deferred),
            Err(e) => Outcome::Failed(code_of(&e)),
            Ok(outcome) => outcome,
        },
    };
    if request.acks == 0 {
        return unacknowledged(&outcome).map(|()| Handled::Done);
    }
    let mut out = connection.out.borrow_mut();
    let before = out.staging().len();
    let (version, id) = (header.version, header.correlation_id);
    let mut writer = ProduceResponseWriter::begin(out.staging(), version, id, 1);
    writer.topic(partition.topic, 1);
    let (gates, patches) = match outcome {
        Outcome::Here { gate, base_offset, log_start } => {
            let slot = writer.partition(partition.index, ErrorCode::None, base_offset, log_start);
            (Few::One(gate), Few::One(Patch { shard: gate.shard, slot }))
        }
        Outcome::Failed(code) => {
            writer.partition(partition.index, code, -1, -1);
            (Few::Many(Vec::new()), Few::Many(Vec::new()))
        }
        Outcome::There(_) => unreachable!("deferred above"),
    };
    writer.finish()?;
    let len = out.staging().len() - before;
    out.gated(len, gates, patches);
    Ok(Handled::Done)
}

/// Any other request: several partitions, other cores, or a busy shard. Waits while a shard is busy, which
/// slows the client down; never for a commit.
pub async fn in_turn(connection: &Rc<Connection>, frame: Bytes) -> Result<(), CloseReason> {
    let core = &connection.core;
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::decode(&mut reader)?;
    let request = ProduceRequest::decode(header.version, &mut reader)?;
    let mut outcomes = Vec::with_capacity(request.partition_count);
    let mut held = None;
    for partition in request.partitions() {
        let outcome = match check(core, header.version, &request, &partition) {
            Err(code) => Outcome::Failed(code),
            Ok(Route::Here { shard, at }) => loop {
                match append(core, shard, at, partition.records) {
                    Err(AppendError::Busy) if !core.stopping.get() => core.shards[shard].space().await,
                    Err(e) => break Outcome::Failed(code_of(&e)),
                    Ok(outcome) => break outcome,
                }
            },
            Ok(Route::There { core: to, shard, log }) => {
                if held.is_none() {
                    let units = u32::try_from(frame.len().div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX);
                    held = Arc::clone(&core.memory).acquire_many_owned(units).await.ok();
                }
                Outcome::There(core.mesh.append(to, shard, log, frame.slice(partition.range.clone())))
            }
        };
        outcomes.push(outcome);
    }
    if request.acks == 0 {
        outcomes.iter().try_for_each(unacknowledged)?;
        if held.is_some() {
            let connection = Rc::clone(connection);
            tokio::task::spawn_local(async move {
                if let Err(reason) = unacknowledged_elsewhere(outcomes).await {
                    connection.close(&reason);
                }
                drop(held);
            });
        }
        return Ok(());
    }
    if outcomes.iter().any(|o| matches!(o, Outcome::There(_))) {
        let promise = connection.out.borrow_mut().promise();
        let (connection, frame) = (Rc::clone(connection), frame.clone());
        tokio::task::spawn_local(async move {
            let answer = answer_later(&connection.core, &frame, outcomes).await;
            drop(held);
            match answer {
                Ok(answer) => connection.answer(&promise, answer),
                Err(reason) => connection.close(&reason),
            }
        });
        return Ok(());
    }
    let mut out = connection.out.borrow_mut();
    let before = out.staging().len();
    let (mut gates, mut patches) = (Vec::new(), Vec::new());
    write(out.staging(), &header, &request, outcomes.into_iter(), |gate, slot| {
        merge(&mut gates, gate);
        patches.push(Patch { shard: gate.shard, slot });
    })?;
    let len = out.staging().len() - before;
    out.gated(len, Few::Many(gates), Few::Many(patches));
    Ok(())
}

/// Waits for this core's commits and the other cores' answers.
async fn answer_later(core: &Rc<Core>, frame: &Bytes, outcomes: Vec<Outcome>) -> Result<Answer, CloseReason> {
    use keylane_engine::shard::CommitState;
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader)?;
    let request = ProduceRequest::decode(header.version, &mut reader)?;
    let mut known = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        known.push(match outcome {
            Outcome::There(answer) => match answer.await {
                Ok(Ok(done)) => Outcome::Here {
                    gate: Gate { shard: 0, seq: 0 },
                    base_offset: done.base_offset as i64,
                    log_start: done.log_start as i64,
                },
                Ok(Err(code)) => Outcome::Failed(code),
                Err(_) => Outcome::Failed(ErrorCode::NotLeaderOrFollower),
            },
            Outcome::Here { gate, .. } => match core.shards[gate.shard].committed(gate.seq).await {
                CommitState::Durable => outcome,
                _ => Outcome::Failed(ErrorCode::KafkaStorageError),
            },
            failed => failed,
        });
    }
    let mut out = BytesMut::new();
    write(&mut out, &header, &request, known.into_iter(), |_, _| {})?;
    Ok(Answer { slices: vec![out.freeze()], ..Answer::default() })
}

/// Encodes an answer; `gated` is told of each partition that waits for a commit.
fn write(
    out: &mut BytesMut,
    header: &RequestHeader<'_>,
    request: &ProduceRequest<'_>,
    mut outcomes: impl Iterator<Item = Outcome>,
    mut gated: impl FnMut(Gate, crate::kafka::produce::PartitionSlot),
) -> Result<(), CloseReason> {
    let mut writer =
        ProduceResponseWriter::begin(out, header.version, header.correlation_id, request.answered_topics);
    for item in request.items() {
        match item {
            ProduceItem::Topic(topic) if topic.partition_count == 0 => {}
            ProduceItem::Topic(topic) => writer.topic(topic.topic, topic.partition_count),
            ProduceItem::Partition(partition) => match outcomes.next() {
                Some(Outcome::Here { gate, base_offset, log_start }) => {
                    let slot = writer.partition(partition.index, ErrorCode::None, base_offset, log_start);
                    gated(gate, slot);
                }
                Some(Outcome::Failed(code)) => {
                    writer.partition(partition.index, code, -1, -1);
                }
                Some(Outcome::There(_)) | None => unreachable!("every partition has a known outcome"),
            },
        }
    }
    writer.finish()?;
    Ok(())
}

/// Of several commits of one shard the last one decides.
fn merge(gates: &mut Vec<Gate>, gate: Gate) {
    match gates.iter_mut().find(|g| g.shard == gate.shard) {
        Some(known) => known.seq = known.seq.max(gate.seq),
        None => gates.push(gate),
    }
}

fn unacknowledged(outcome: &Outcome) -> Result<(), CloseReason> {
    match outcome {
        Outcome::Failed(code) => Err(CloseReason::Unacknowledged(*code)),
        _ => Ok(()),
    }
}

/// Other cores say later that something failed; until then the request's memory is paid for.
async fn unacknowledged_elsewhere(outcomes: Vec<Outcome>) -> Result<(), CloseReason> {
    for outcome in outcomes {
        if let Outcome::There(answer) = outcome {
            let code = match answer.await {
                Ok(Ok(_)) => continue,
                Ok(Err(code)) => code,
                Err(_) => ErrorCode::NotLeaderOrFollower,
            };
            return Err(CloseReason::Unacknowledged(code));
        }
    }
    Ok(())
}

fn append(
    core: &Core,
    shard: usize,
    at: keylane_engine::shard::PartitionRef,
    records: &[u8],
) -> Result<Outcome, AppendError> {
    let target = &core.shards[shard];
    let done = target.append(at, records)?;
    Ok(Outcome::Here {
        gate: Gate { shard, seq: done.seq },
        base_offset: done.base_offset as i64,
        log_start: done.log_start as i64,
    })
}

/// What can be said about a batch before its shard sees it.
fn check(
    core: &Core,
    version: i16,
    request: &ProduceRequest<'_>,
    partition: &ProducePartition<'_>,
) -> Result<Route, ErrorCode> {
    if !(-1..=1).contains(&request.acks) {
        return Err(ErrorCode::InvalidRequiredAcks);
    }
    if request.transactional_id.is_some() {
        return Err(ErrorCode::InvalidTxnState);
    }
    let topics = core.topics.borrow();
    let Some(topic) = topics.get(partition.topic) else {
        return Err(match partition.topic {
            TopicRef::Name(_) => ErrorCode::UnknownTopicOrPartition,
            TopicRef::Id(_) => ErrorCode::UnknownTopicId,
        });
    };
    if topic.internal {
        return Err(ErrorCode::InvalidTopicException);
    }
    let index = usize::try_from(partition.index).unwrap_or(usize::MAX);
    let route = *topic.routes.get(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if partition.records.len() > topic.max_message_bytes {
        return Err(ErrorCode::MessageTooLarge);
    }
    if partition.records.is_empty() {
        return Err(ErrorCode::InvalidRecord);
    }
    let attributes = i16_be(partition.records, 21).unwrap_or(0);
    if version < 7 && attributes & 7 == 4 {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    if attributes & 0x10 != 0 {
        return Err(ErrorCode::InvalidTxnState);
    }
    if topic.rules.keys_required {
        check_keys(partition.records)?;
    }
    Ok(route)
}

/// Refuses records without a key, which a compacted topic could not keep. Damage is named as such.
fn check_keys(records: &[u8]) -> Result<(), ErrorCode> {
    match record_keys::any_missing(records) {
        Ok(false) => Ok(()),
        Ok(true) => Err(ErrorCode::InvalidRecord),
        Err(e) => match RecordBatch::check(records) {
            Err(damage) => Err(code_of(&damage.into())),
            Ok(_) => {
                tracing::warn!(%e, "a batch for a compacted topic cannot be read");
                Err(ErrorCode::InvalidRecord)
            }
        },
    }
}
