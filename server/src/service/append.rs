//! Record batches on their way into a partition.
//!
//! Promises: every batch is checked by the rules of its topic ([`keylane_engine::records::check`]) on the core that took it
//! from a client; the core that owns its partition gets a checked one. Batches of one caller are appended in the order
//! in which they are handed over.

use std::rc::Rc;

use bytes::Bytes;
use keylane_engine::records::{BatchRules, CheckedBatch, Held, TimestampType, check};
use keylane_engine::shard::{CommitState, PartitionRef};
use keylane_engine::{AppendError, CommitSeq, Offset};

use tokio::sync::oneshot;

use crate::core::Core;
use crate::runtime::clock::{about_now_ms, now_ms};
use crate::runtime::mesh::{AppendFailed, Appended};

use super::error::AppendRefused;
use super::topics::{LocalTopic, Route, TopicKey};

/// A batch that was appended on this core and is on its way to the disk.
#[derive(Debug, Clone, Copy)]
pub struct Appending {
    /// Its shard, by its place on this core.
    pub shard: usize,
    /// The commit that makes it durable.
    pub seq: CommitSeq,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Log start offset.
    pub log_start: Offset,
    /// The time that its records got, in milliseconds, if that is the time of their append.
    pub append_time_ms: Option<i64>,
}

/// Where a batch of `bytes` bytes is to be appended: what can be said before the batch itself is looked at.
///
/// # Errors
/// [`AppendRefused`] if there is no such partition, or if it takes no such batch.
#[inline]
pub fn target(
    core: &Core,
    topic: TopicKey<'_>,
    partition: i32,
    bytes: usize,
) -> Result<(Rc<LocalTopic>, Route), AppendRefused> {
    let topics = core.topics.borrow();
    let topic = topics.find(topic)?;
    if topic.internal {
        return Err(AppendRefused::Internal);
    }
    let route = topic.route(partition)?;
    check_size(topic, bytes)?;
    if bytes == 0 {
        return Err(AppendRefused::Empty);
    }
    Ok((Rc::clone(topic), route))
}

/// Checks a batch by the rules of its topic, whose codec can have made it larger.
///
/// # Errors
/// [`AppendRefused::Batch`], [`AppendRefused::TooLarge`].
#[inline]
pub fn check_for<'a>(
    topic: &LocalTopic,
    batch: impl Into<Held<'a>>,
) -> Result<CheckedBatch<'a>, AppendRefused> {
    let batch = check(batch, &topic.rules, time_for(&topic.rules))?;
    check_size(topic, batch.bytes().len())?;
    Ok(batch)
}

#[inline]
fn check_size(topic: &LocalTopic, bytes: usize) -> Result<(), AppendRefused> {
    let max = topic.max_message_bytes;
    if bytes <= max { Ok(()) } else { Err(AppendRefused::TooLarge { bytes, max }) }
}

/// The time that a batch is checked against: exact where it is stored, or where a bound is so tight that it matters.
fn time_for(rules: &BatchRules) -> i64 {
    const TIGHT_MS: i64 = 1_000;
    let tightest = rules.timestamp_before_max_ms.min(rules.timestamp_after_max_ms);
    match rules.timestamps {
        TimestampType::CreateTime if tightest > TIGHT_MS => about_now_ms(),
        _ => now_ms(),
    }
}

/// Appends a batch to a partition of this core.
///
/// # Errors
/// [`AppendError`]; after [`AppendError::Busy`] try again when the shard has space.
#[inline]
pub fn append(
    core: &Core,
    shard: usize,
    at: PartitionRef,
    batch: &CheckedBatch<'_>,
) -> Result<Appending, AppendError> {
    let done = core.shards[shard].append(at, batch)?;
    Ok(Appending {
        shard,
        seq: done.seq,
        base_offset: done.base_offset,
        log_start: done.log_start,
        append_time_ms: done.append_time_ms,
    })
}

/// Appends as soon as the shard is not busy any more.
///
/// # Errors
/// [`AppendFailed`]: nothing was stored.
pub async fn append_in_turn(
    core: &Core,
    shard: usize,
    at: PartitionRef,
    batch: &CheckedBatch<'_>,
) -> Result<Appending, AppendFailed> {
    loop {
        match append(core, shard, at, batch) {
            Err(AppendError::Busy) if !core.stopping.get() => core.shards[shard].space().await,
            outcome => return outcome.map_err(Into::into),
        }
    }
}

/// A batch that was handed to its shard, on whatever core that lives.
pub enum Handed {
    /// On this one.
    Here(Appending),
    /// On another one, which answers when the batch is durable.
    There(oneshot::Receiver<Result<Appended, AppendFailed>>),
}

/// Checks a batch and hands it to the shard of its partition; waits while the shard is busy, never for a commit.
///
/// # Errors
/// [`AppendRefused`]: nothing was stored.
pub async fn hand(
    core: &Core,
    topic: &LocalTopic,
    partition: i32,
    batch: Bytes,
) -> Result<Handed, AppendRefused> {
    if topic.internal {
        return Err(AppendRefused::Internal);
    }
    let route = topic.route(partition)?;
    let batch = check_for(topic, batch)?;
    Ok(match route {
        Route::Here { shard, at } => Handed::Here(append_in_turn(core, shard, at, &batch).await?),
        Route::There { core: to, shard, log } => Handed::There(core.mesh.append(to, shard, log, batch)),
    })
}

/// Waits until a batch is durable.
///
/// # Errors
/// [`AppendFailed`]: it is not.
pub async fn durable(core: &Core, handed: Handed) -> Result<Appended, AppendFailed> {
    match handed {
        Handed::There(answer) => answer.await.unwrap_or(Err(AppendFailed::Stopping)),
        Handed::Here(Appending { shard, seq, base_offset, log_start, append_time_ms }) => {
            match core.shards[shard].committed(seq).await {
                CommitState::Durable => Ok(Appended { base_offset, log_start, append_time_ms }),
                _ => Err(AppendFailed::Storage),
            }
        }
    }
}
