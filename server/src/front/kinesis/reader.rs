//! Records of a shard from a position on: where a reader begins, and what it gets.

use std::rc::Rc;

use keylane_engine::record_batch::total_len;
use serde::Serialize;

use crate::runtime::clock::now_ms;
use crate::service::by_time::{self, Wanted as ByTime};
use crate::service::error::ReadRefused;
use crate::service::read::{Wanted, read_all};
use crate::service::streams::{HashRange, Stream};
use crate::service::topics::LocalTopic;

use super::bill::Bill;
use super::context::Context;
use super::fault::Fault;
use super::names::shard_id;
use super::page::{Page, Room};
use super::sequence::{self, Numbers, Place};
use super::wire::Timestamp;

/// Bytes that are read at once: at least, and at most if the first batch has not more.
const READ_BYTES: (usize, usize) = (64 << 10, 1 << 20);
/// Bytes of one record with its key, at most: what streams can have.
const FIRST_BYTES_MAX: usize = 10 << 20;

/// The words for where a reader begins.
pub const TYPES: &[&str] =
    &["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"];

/// Where a reader begins, as a client says it.
#[derive(Debug)]
pub struct Position {
    /// One of [`TYPES`].
    pub kind: String,
    /// For those that begin at or after a number.
    pub number: Option<String>,
    /// For AT_TIMESTAMP.
    pub time: Option<Timestamp>,
}

/// The offset at which a reader begins.
///
/// # Errors
/// InvalidArgumentException; what a read refuses.
pub async fn start(
    context: &Context,
    topic: &LocalTopic,
    shard: usize,
    position: &Position,
) -> Result<u64, Fault> {
    let route = topic.route(shard as i32).map_err(ReadRefused::from)?;
    let find = async |wanted| Ok::<_, Fault>(by_time::find(&context.core, route, wanted).await?.map(|f| f.0));
    match &*position.kind {
        "TRIM_HORIZON" => Ok(find(ByTime::Start).await?.unwrap_or(0)),
        "LATEST" => Ok(find(ByTime::End).await?.unwrap_or(0)),
        "AT_TIMESTAMP" => {
            let time = position.time.ok_or_else(|| {
                Fault::argument(
                    "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no \
                     timestamp parameter.",
                )
            })?;
            let now_ms = now_ms();
            if time.0 > now_ms.saturating_add(1000) {
                return Err(Fault::argument(format!(
                    "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                     timestampInMillis: {}, currentTimestampInMillis: {now_ms}",
                    time.0
                )));
            }
            match find(ByTime::Time(time.0.max(0))).await? {
                Some(offset) => Ok(offset),
                None => Ok(find(ByTime::End).await?.unwrap_or(0)),
            }
        }
        kind => {
            let given = position.number.as_deref().ok_or_else(|| {
                Fault::argument(format!("{EITHER} Request specified {kind} and no StartingSequenceNumber."))
            })?;
            let place = place_of(context, topic, shard, given)?;
            let at = kind == "AT_SEQUENCE_NUMBER" && !place.between;
            Ok(if at { place.position.saturating_sub(1) } else { place.position })
        }
    }
}

/// How a kind of iterator and a sequence number go together.
pub const EITHER: &str = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
                          StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber.";

/// The place that a sequence number names in a shard.
fn place_of(context: &Context, topic: &LocalTopic, shard: usize, given: &str) -> Result<Place, Fault> {
    let invalid = |why: &str| {
        Fault::argument(format!(
            "StartingSequenceNumber {given} used in GetShardIterator on shard {} in stream {} under account {} is \
             invalid{why}.",
            shard_id(shard),
            topic.topic.name,
            context.account()
        ))
    };
    let place = sequence::parse(given).ok_or_else(|| invalid(""))?;
    if place.shard as usize != shard {
        return Err(Fault::argument(format!(
            "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {}",
            shard_id(place.shard as usize),
            shard_id(shard)
        )));
    }
    if place.created_s != topic.stream().shards[shard].created_s {
        return Err(invalid(" because it did not come from this stream"));
    }
    Ok(place)
}

/// What was read of a shard.
pub struct Read {
    /// The records.
    pub page: Page,
    /// The offset to go on with.
    pub next: u64,
    /// Behind the last record that there is.
    pub tip: u64,
    /// The shard has ended, and this was its end.
    pub ended: bool,
}

impl Read {
    /// How old the last record that was read is, if there is more; in milliseconds.
    pub fn behind_ms(&self) -> i64 {
        if self.next >= self.tip { 0 } else { self.page.last_ms().map_or(0, |last| (now_ms() - last).max(0)) }
    }
}

/// Reads records of a shard from an offset on, until there is no more room or no more record.
///
/// # Errors
/// What a read refuses; InternalFailureException.
pub async fn read(
    context: &Context,
    topic: &Rc<LocalTopic>,
    shard: usize,
    from: u64,
    room: Room,
) -> Result<Read, Fault> {
    let of_stream = &topic.stream().shards[shard];
    let end = of_stream.ended.map(|(end, _)| end);
    // The first record is paid for before it is read.
    let first = topic.max_message_bytes.min(FIRST_BYTES_MAX) * 4 / 3;
    let bill = Bill::open(&context.core, first).await?;
    let mut page = Page::new(context.format, Numbers::of(of_stream.created_s, shard as u32), room, bill);
    let (next, tip) = fill(context, topic, shard, from, end, &mut page).await?;
    Ok(Read { page, next, tip, ended: end.is_some_and(|end| next >= end) })
}

/// Fills a page. Returns the next offset, and the one behind the last record that there is.
async fn fill(
    context: &Context,
    topic: &LocalTopic,
    shard: usize,
    from: u64,
    end: Option<u64>,
    page: &mut Page,
) -> Result<(u64, u64), Fault> {
    let route = topic.route(shard as i32).map_err(ReadRefused::from);
    let mut next = from;
    loop {
        let room = page.room();
        let bytes_max = (room.records * 1024).min(room.bytes).clamp(READ_BYTES.0, READ_BYTES.1);
        let wanted = [Wanted { route, offset: next, bytes_max }];
        let (mut found, _held) = read_all(&context.core, &wanted, bytes_max).await;
        let Some(found) = found.pop() else { return Ok((next, next)) };
        let tip = end.map_or(found.high_watermark, |end| end.min(found.high_watermark));
        match found.error {
            // What the position named is deleted: it goes on with what is left.
            Some(ReadRefused::OutOfRange) if next < found.log_start => {
                next = found.log_start;
                continue;
            }
            Some(ReadRefused::OutOfRange) => return Ok((next, next)),
            Some(refused) => return Err(refused.into()),
            None => {}
        }
        if found.batches.bytes == 0 || next >= tip {
            return Ok((next, tip));
        }
        for slice in &found.batches.slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() && next < tip && !page.is_full() {
                let len = total_len(rest).unwrap_or(rest.len()).clamp(1, rest.len());
                next = page.add(&rest[..len], next, tip)?;
                rest = &rest[len..];
            }
        }
        if page.is_full() || next >= tip {
            return Ok((next, tip));
        }
    }
}

/// A range of hashes as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Range {
    starting_hash_key: String,
    ending_hash_key: String,
}

impl From<HashRange> for Range {
    fn from(range: HashRange) -> Self {
        Self { starting_hash_key: range.first.to_string(), ending_hash_key: range.last.to_string() }
    }
}

/// A shard that came out of one that has ended, as it is told at its end.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Child {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: Range,
}

/// The shards that came out of one.
pub fn children(stream: &Stream, shard: usize) -> Vec<Child> {
    let children = stream.children(shard).map(|(number, child)| Child {
        shard_id: shard_id(number),
        parent_shards: child.parents.iter().map(|parent| shard_id(*parent as usize)).collect(),
        hash_key_range: child.range.into(),
    });
    children.collect()
}
