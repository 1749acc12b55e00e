//! Produce: append and gate the answer.
//!
//! `acks=1` and `acks=-1` are both answered after the flush; `acks=0` is not answered, and a failure
//! closes the connection. Each partition is appended and answered for itself.
//!
//! Batches are checked and appended by `service::append`.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use keylane_engine::AppendError;
use keylane_engine::bytes_at::i16_be;
use keylane_engine::records::{CODEC_BITS, CheckedBatch};
use keylane_engine::shard::CommitState;
use keylane_kafka::ErrorCode;
use keylane_kafka::hot::produce::{
    Outline, PartitionSlot, ProduceItem, ProducePartition, ProduceRequest, ProduceResponseWriter,
};
use keylane_kafka::messages::produce::ProducedPartition;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::core::{Core, MEMORY_UNIT};
use crate::front::kafka::close::CloseReason;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{RECORD_ERRORS_MAX, RecordsRefused, key_of};
use crate::front::kafka::out::{Answer, Few, Gate, Patch};
use crate::runtime::mesh::{self, AppendFailed};
use crate::service::append::{Appending, append, append_in_turn, check_for, target};
use crate::service::topics::{LocalTopic, Route};

/// zstd, as the attributes number it, and the first version of Produce that may carry it (KIP-110).
const ZSTD: i16 = 4;
const ZSTD_SINCE: i16 = 7;

/// What became of one partition's batch.
enum Outcome {
    Failed(Box<RecordsRefused>),
    Here { gate: Gate, base_offset: i64, log_start: i64, append_time_ms: i64 },
    There(oneshot::Receiver<Result<mesh::Appended, AppendFailed>>),
}

impl From<Appending> for Outcome {
    fn from(done: Appending) -> Self {
        Self::Here {
            gate: Gate { shard: done.shard, seq: done.seq },
            base_offset: done.base_offset as i64,
            log_start: done.log_start as i64,
            append_time_ms: done.append_time_ms.unwrap_or(-1),
        }
    }
}

fn refused(refusal: impl Into<RecordsRefused>) -> Outcome {
    Outcome::Failed(Box::new(refusal.into()))
}

/// The usual request: one batch for a partition of this core. `false`: it is to be taken by [`in_turn`], and nothing is
/// done yet.
pub fn at_once(context: &Context, request: &ProduceRequest<'_>) -> Result<bool, CloseReason> {
    let core = context.core();
    let Some(partition) = request.single_partition() else { return Ok(false) };
    let outcome = match admit(core, context.version(), request, partition) {
        Err(refusal) => refused(refusal),
        Ok((_, Route::There { .. })) => return Ok(false),
        Ok((_, Route::Here { shard, .. })) if core.shards[shard].is_busy(partition.records.len()) => {
            return Ok(false);
        }
        Ok((topic, Route::Here { shard, at })) => match check_for(&topic, partition.records) {
            Ok(batch) => match append(core, shard, at, &batch) {
                Err(AppendError::Busy) => return Ok(false),
                outcome => outcome.map_or_else(|e| refused(AppendFailed::from(e)), Outcome::from),
            },
            Err(e) => refused(e),
        },
    };
    if request.outline.acks == 0 {
        return unacknowledged(&outcome).map(|()| true);
    }
    let mut out = context.connection.out.borrow_mut();
    let before = out.staging().len();
    let mut writer = ProduceResponseWriter::begin(out.staging(), context.header, 1);
    writer.topic(partition.topic, 1);
    let gate = match outcome {
        Outcome::Here { gate, .. } => Some(gate),
        _ => None,
    };
    let slot = write_one(&mut writer, partition.index, &outcome);
    let (gates, patches) = match gate {
        Some(gate) => (Few::One(gate), Few::One(Patch { shard: gate.shard, slot })),
        None => (Few::Many(Vec::new()), Few::Many(Vec::new())),
    };
    writer.finish(context.throttle_ms())?;
    let len = out.staging().len() - before;
    out.gated(len, gates, patches);
    Ok(true)
}

/// Any other request: several partitions, other cores, or a busy shard. Until all batches are appended the next request
/// waits, which slows the client down; it never waits for a commit.
pub async fn in_turn(
    context: Rc<Context>,
    frame: Bytes,
    outline: Outline,
) -> Result<Option<Answer>, CloseReason> {
    let request = ProduceRequest::again(outline, &frame);
    let (outcomes, held) = append_all(&context, &request, &frame).await;
    if outline.acks == 0 {
        outcomes.iter().try_for_each(unacknowledged)?;
        if held.is_some() {
            let connection = Rc::clone(&context.connection);
            tokio::task::spawn_local(async move {
                if let Err(reason) = unacknowledged_elsewhere(outcomes).await {
                    connection.close(&reason);
                }
                drop(held);
            });
        }
        return Ok(None);
    }
    if outcomes.iter().any(|o| matches!(o, Outcome::There(_))) {
        context.let_next_come();
        let known = all_known(context.core(), outcomes).await;
        let mut out = BytesMut::new();
        write(&mut out, &context, &request, known.into_iter(), |_, _| {})?;
        return Ok(Some(Answer { slices: vec![out.freeze()], ..Answer::default() }));
    }
    let mut out = context.connection.out.borrow_mut();
    let before = out.staging().len();
    let (mut gates, mut patches) = (Vec::new(), Vec::new());
    write(out.staging(), &context, &request, outcomes.into_iter(), |gate, slot| {
        merge(&mut gates, gate);
        patches.push(Patch { shard: gate.shard, slot });
    })?;
    let len = out.staging().len() - before;
    out.gated(len, Few::Many(gates), Few::Many(patches));
    Ok(None)
}

/// Appends the batches of all partitions, in their order. What goes to other cores is paid for.
async fn append_all(
    context: &Context,
    request: &ProduceRequest<'_>,
    frame: &Bytes,
) -> (Vec<Outcome>, Option<OwnedSemaphorePermit>) {
    let core = context.core();
    let mut outcomes = Vec::with_capacity(request.outline.partition_count);
    let mut held = None;
    let mut record_errors_left = RECORD_ERRORS_MAX;
    for partition in request.partitions() {
        let mut outcome = match checked(core, context.version(), request, &partition, frame) {
            Err(refusal) => refused(refusal),
            Ok((Route::Here { shard, at }, batch)) => {
                append_in_turn(core, shard, at, &batch).await.map_or_else(refused, Outcome::from)
            }
            Ok((Route::There { core: to, shard, log }, batch)) => {
                if held.is_none() {
                    let units = u32::try_from(frame.len().div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX);
                    held = Arc::clone(&core.memory).acquire_many_owned(units).await.ok();
                }
                Outcome::There(core.mesh.append(to, shard, log, batch))
            }
        };
        if let Outcome::Failed(refusal) = &mut outcome {
            refusal.records.truncate(record_errors_left);
            record_errors_left -= refusal.records.len();
        }
        outcomes.push(outcome);
        if is_compressed(partition.records) {
            // It may have taken a while.
            tokio::task::yield_now().await;
        }
    }
    (outcomes, held)
}

/// Waits for this core's commits and the other cores' answers.
async fn all_known(core: &Core, outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let mut known = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        known.push(match outcome {
            Outcome::There(answer) => match answer.await {
                Ok(Ok(done)) => Outcome::Here {
                    gate: Gate { shard: 0, seq: 0 },
                    base_offset: done.base_offset as i64,
                    log_start: done.log_start as i64,
                    append_time_ms: done.append_time_ms.unwrap_or(-1),
                },
                Ok(Err(failed)) => refused(failed),
                Err(_) => refused(ErrorCode::NotLeaderOrFollower),
            },
            Outcome::Here { gate, .. } => match core.shards[gate.shard].committed(gate.seq).await {
                CommitState::Durable => outcome,
                _ => refused(ErrorCode::KafkaStorageError),
            },
            failed => failed,
        });
    }
    known
}

/// Encodes an answer; `gated` is told of each partition that waits for a commit.
fn write(
    out: &mut BytesMut,
    context: &Context,
    request: &ProduceRequest<'_>,
    mut outcomes: impl Iterator<Item = Outcome>,
    mut gated: impl FnMut(Gate, PartitionSlot),
) -> Result<(), CloseReason> {
    let mut writer = ProduceResponseWriter::begin(out, context.header, request.outline.answered_topics);
    for item in request.items() {
        match item {
            ProduceItem::Topic(topic) if topic.partition_count == 0 => {}
            ProduceItem::Topic(topic) => writer.topic(topic.topic, topic.partition_count),
            ProduceItem::Partition(partition) => {
                let outcome = outcomes.next();
                let Some(outcome) = outcome else { unreachable!("every partition has an outcome") };
                let slot = write_one(&mut writer, partition.index, &outcome);
                if let Outcome::Here { gate, .. } = outcome {
                    gated(gate, slot);
                }
            }
        }
    }
    writer.finish(context.throttle_ms())?;
    Ok(())
}

/// Encodes what became of one partition's batch.
#[inline]
fn write_one(writer: &mut ProduceResponseWriter<'_>, index: i32, outcome: &Outcome) -> PartitionSlot {
    match outcome {
        Outcome::Here { base_offset, log_start, append_time_ms, .. } => {
            writer.partition(&ProducedPartition {
                base_offset: *base_offset,
                log_append_time_ms: *append_time_ms,
                log_start_offset: *log_start,
                ..ProducedPartition::failed(index, ErrorCode::None)
            })
        }
        Outcome::Failed(refusal) => writer.partition(&ProducedPartition {
            record_errors: refusal.records.clone(),
            error_message: refusal.message.as_deref().map(Into::into),
            ..ProducedPartition::failed(index, refusal.code)
        }),
        Outcome::There(_) => unreachable!("answered when it is known"),
    }
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
        Outcome::Failed(refusal) => Err(CloseReason::Unacknowledged(refusal.code)),
        _ => Ok(()),
    }
}

/// Other cores say later that something failed; until then the request's memory is paid for.
async fn unacknowledged_elsewhere(outcomes: Vec<Outcome>) -> Result<(), CloseReason> {
    for outcome in outcomes {
        if let Outcome::There(answer) = outcome {
            let code = match answer.await {
                Ok(Ok(_)) => continue,
                Ok(Err(failed)) => RecordsRefused::from(failed).code,
                Err(_) => ErrorCode::NotLeaderOrFollower,
            };
            return Err(CloseReason::Unacknowledged(code));
        }
    }
    Ok(())
}

/// The way of a partition's batch, and the batch when all has been checked that can be before its shard sees it.
fn checked(
    core: &Core,
    version: i16,
    request: &ProduceRequest<'_>,
    partition: &ProducePartition<'_>,
    frame: &Bytes,
) -> Result<(Route, CheckedBatch<'static>), RecordsRefused> {
    let (topic, route) = admit(core, version, request, partition)?;
    let batch = check_for(&topic, frame.slice(partition.range.clone()))?;
    Ok((route, batch))
}

/// What can be said before the batch itself is looked at: its topic, and the way to its partition.
fn admit(
    core: &Core,
    version: i16,
    request: &ProduceRequest<'_>,
    partition: &ProducePartition<'_>,
) -> Result<(Rc<LocalTopic>, Route), RecordsRefused> {
    if !(-1..=1).contains(&request.outline.acks) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    if request.transactional_id.is_some() {
        return Err(ErrorCode::InvalidTxnState.into());
    }
    let admitted = target(core, key_of(partition.topic), partition.index, partition.records.len())?;
    if version < ZSTD_SINCE && codec(partition.records) == ZSTD {
        let message = format!("zstd may be sent from Produce version {ZSTD_SINCE} on");
        return Err(RecordsRefused::new(ErrorCode::UnsupportedCompressionType, message));
    }
    Ok(admitted)
}

/// What the attributes of a batch say, if they are there.
fn codec(batch: &[u8]) -> i16 {
    i16_be(batch, 21).unwrap_or(0) & CODEC_BITS
}

fn is_compressed(batch: &[u8]) -> bool {
    codec(batch) != 0
}
