//! Decides whether a batch that a client sent may be stored, and which header fields are stored with it.
//!
//! [`check`] alone makes a [`CheckedBatch`], and a shard appends nothing else. What a checked batch promises:
//!
//! - The batch is whole: length, checksum and record count agree with its bytes, offset deltas are 0, 1, 2, ..., and
//!   every size in every record leads to the next one, to the last byte. Compressed records are uncompressed for this check, as a
//!   stream: at most [`MAX_UNCOMPRESSED`] bytes, few of them in memory at a time. With [`CheckCompressed::Header`]
//!   compressed records are not looked at.
//! - Its records are as the topic wants them: with keys, with timestamps within bounds.
//! - Its header states the truth: the maximum timestamp is that of its records, or with
//!   [`TimestampType::LogAppendTime`] the time of the check; attribute bits that only the log may set are the log's.
//!   Where the producer wrote something else, [`Restated`] has the header fields to be stored, and the checksum of the
//!   batch with these fields; the producer's bytes stay untouched.
//! - It has the codec that the topic asks for.
//!
//! An uncompressed batch costs one pass for the checksum and one from size to size. A second pass for the checksum is needed
//! only where header fields are restated.

use bytes::Bytes;

use super::attributes::{APPEND_TIME, CODEC_BITS, DELETE_HORIZON};
use super::decode::{Decoder, MAX_UNCOMPRESSED};
use super::error::{DecodeError, RecordsError};
use super::recompress::recompress;
use super::refused::{REFUSED_MAX, Reason, Refused, RefusedRecord};
use super::rules::{BatchRules, CheckCompressed, TimestampType};
use super::walk::{Plain, Source, Walk};
use crate::bytes_at::i64_be;
use crate::checksum;
use crate::planted::{self, Bug};
use crate::record_batch::{BatchError, CRC_START, HEADER_BYTES, RecordBatch};

/// Attribute bit: the batch belongs to a transaction.
const TRANSACTIONAL: i16 = 0x10;
/// Attribute bit: a control batch, a message of the log to its readers.
const CONTROL: i16 = 0x20;
/// The largest codec number.
const CODEC_MAX: i16 = 4;
/// What a record without a timestamp states.
const NO_TIMESTAMP: i64 = -1;

/// The bytes of a batch, borrowed or shared.
#[derive(Debug, Clone)]
pub enum Held<'a> {
    /// Borrowed from the caller.
    Borrowed(&'a [u8]),
    /// Reference-counted, so that a copy costs nothing.
    Shared(Bytes),
}

impl<'a> From<&'a [u8]> for Held<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Borrowed(bytes)
    }
}

impl From<Bytes> for Held<'_> {
    fn from(bytes: Bytes) -> Self {
        Self::Shared(bytes)
    }
}

impl Held<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A batch that may be stored.
#[derive(Debug, Clone)]
pub struct CheckedBatch<'a> {
    bytes: Held<'a>,
    count: u32,
    attributes: i16,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    restated: Option<Restated>,
}

impl CheckedBatch<'_> {
    /// The batch as it was sent, or compressed again with its topic's codec.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The header fields as they are to be stored.
    pub fn view(&self) -> RecordBatch<'_> {
        RecordBatch {
            bytes: self.bytes(),
            count: self.count,
            span: self.count,
            attributes: self.attributes,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
        }
    }

    /// Header fields to be stored with other values than were sent, beside base offset and leader epoch; `None`: the header
    /// is right as it is.
    pub fn restated(&self) -> Option<&Restated> {
        self.restated.as_ref()
    }

    /// The time that all its records have, in milliseconds, if that is the time of their append.
    pub fn append_time_ms(&self) -> Option<i64> {
        (self.attributes & APPEND_TIME != 0).then_some(self.max_timestamp)
    }
}

/// Header fields to be stored in place of those that were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restated {
    crc: u32,
    attributes: i16,
    max_timestamp: i64,
}

impl Restated {
    /// These fields, and the checksum that the batch has with them.
    fn of(bytes: &[u8], attributes: i16, max_timestamp: i64) -> Self {
        let mut restated = Self { crc: 0, attributes, max_timestamp };
        let (header, records) = bytes.split_at(HEADER_BYTES);
        let mut header: [u8; HEADER_BYTES] = header.try_into().expect("split there");
        restated.write_to(&mut header);
        restated.crc = checksum::crc32c_of_two(&header[CRC_START..], records);
        restated
    }

    /// Writes the fields into the header of a copy of the batch.
    pub fn write_to(&self, header: &mut [u8]) {
        header[17..21].copy_from_slice(&self.crc.to_be_bytes());
        header[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        header[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
    }
}

/// Which timestamps a topic takes at the moment.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: i64,
    most: i64,
}

impl Bounds {
    fn of(rules: &BatchRules, now_ms: i64) -> Self {
        let any = Self { least: i64::MIN, most: i64::MAX };
        if rules.timestamps == TimestampType::LogAppendTime {
            return any;
        }
        let least = match rules.timestamp_before_max_ms {
            i64::MAX => any.least,
            before => now_ms.saturating_sub(before),
        };
        Self { least, most: now_ms.saturating_add(rules.timestamp_after_max_ms) }
    }

    fn check(self, timestamp: i64) -> Result<(), Reason> {
        if timestamp == NO_TIMESTAMP || (self.least..=self.most).contains(&timestamp) {
            return Ok(());
        }
        Err(Reason::Timestamp { timestamp, least: self.least, most: self.most })
    }
}

/// Checks a batch against the rules of its topic, at the time `now_ms` (milliseconds since 1970).
///
/// On an error nothing of the batch may be stored.
pub fn check<'a>(
    bytes: impl Into<Held<'a>>,
    rules: &BatchRules,
    now_ms: i64,
) -> Result<CheckedBatch<'a>, BatchError> {
    let held = bytes.into();
    let bytes = held.as_slice();
    let sent = RecordBatch::check_stored(bytes)?;
    check_header(&sent)?;
    let codec = sent.attributes & CODEC_BITS;
    let newest = match (codec, rules.check_compressed) {
        (0, _) => check_records(Plain(&bytes[HEADER_BYTES..]), &sent, rules, now_ms)?,
        (_, CheckCompressed::Full) => {
            let mut records = Decoder::new(codec, &bytes[HEADER_BYTES..], MAX_UNCOMPRESSED)?;
            match records.whole()? {
                Some(all) => check_records(Plain(all), &sent, rules, now_ms)?,
                None => check_records(records, &sent, rules, now_ms)?,
            }
        }
        (_, CheckCompressed::Header) => claimed(&sent, rules, now_ms)?,
    };
    let newest = if planted::is(Bug::TimestampBelieved) { sent.max_timestamp } else { newest };
    let producers = sent.attributes & !(APPEND_TIME | DELETE_HORIZON);
    let (attributes, max_timestamp) = match rules.timestamps {
        TimestampType::CreateTime => (producers, newest),
        TimestampType::LogAppendTime => (producers | APPEND_TIME, now_ms),
    };
    let again = recompress(bytes, rules.compression)?;
    let codec = rules.compression.codec().unwrap_or(codec);
    let attributes = attributes & !CODEC_BITS | codec;
    let right = (attributes, max_timestamp) == (sent.attributes & !CODEC_BITS | codec, sent.max_timestamp);
    let bytes = again.as_deref().unwrap_or(bytes);
    Ok(CheckedBatch {
        count: sent.count,
        attributes,
        max_timestamp,
        producer_id: sent.producer_id,
        producer_epoch: sent.producer_epoch,
        base_sequence: sent.base_sequence,
        restated: (!right).then(|| Restated::of(bytes, attributes, max_timestamp)),
        bytes: again.map_or(held, |again| Held::Shared(again.into())),
    })
}

/// Header fields that a producer may not write.
fn check_header(batch: &RecordBatch<'_>) -> Result<(), BatchError> {
    let base_offset = i64_be(batch.bytes, 0).unwrap_or(-1);
    if base_offset != 0 {
        return Err(BatchError::BaseOffset(base_offset));
    }
    if batch.count != batch.span {
        return Err(BatchError::Count { count: batch.count as i32, last_delta: batch.span as i32 - 1 });
    }
    if batch.attributes & CONTROL != 0 {
        return Err(BatchError::Control);
    }
    if batch.attributes & TRANSACTIONAL != 0 {
        return Err(BatchError::Transactional);
    }
    if batch.attributes & CODEC_BITS > CODEC_MAX {
        return Err(DecodeError::Codec(batch.attributes & CODEC_BITS).into());
    }
    if batch.producer_id >= 0 && (batch.producer_epoch < 0 || batch.base_sequence < 0) {
        return Err(BatchError::Producer {
            producer_id: batch.producer_id,
            epoch: batch.producer_epoch,
            base_sequence: batch.base_sequence,
        });
    }
    Ok(())
}

/// Checks every record; returns the largest timestamp.
fn check_records(
    records: impl Source,
    batch: &RecordBatch<'_>,
    rules: &BatchRules,
    now_ms: i64,
) -> Result<i64, BatchError> {
    let base_timestamp = i64_be(batch.bytes, 27).unwrap_or(NO_TIMESTAMP);
    let bounds = Bounds::of(rules, now_ms);
    let append_time = rules.timestamps == TimestampType::LogAppendTime && batch.attributes & APPEND_TIME != 0;
    let mut walk = Walk::new(records);
    let mut newest = i64::MIN;
    let mut refused: Option<Box<Refused>> = None;
    for index in 0..batch.count {
        let head = walk.head()?;
        if i64::from(head.offset_delta) != i64::from(index) {
            return Err(RecordsError::Record { index, what: "its offset delta is not its position" }.into());
        }
        // As Java's client adds them.
        let timestamp = base_timestamp.wrapping_add(head.timestamp_delta);
        newest = newest.max(timestamp);
        let has_key = walk.body()?;
        let verdict = match (rules.keys_required && !has_key, append_time) {
            (true, _) => Err(Reason::NoKey),
            (_, true) => Err(Reason::AppendTime),
            _ => bounds.check(timestamp),
        };
        if let Err(reason) = verdict {
            refuse(&mut refused, index, reason);
        }
    }
    walk.end()?;
    match refused {
        Some(refused) => Err(BatchError::Refused(refused)),
        None => Ok(newest),
    }
}

#[cold]
fn refuse(refused: &mut Option<Box<Refused>>, index: u32, reason: Reason) {
    let refused =
        refused.get_or_insert_with(|| Box::new(Refused { records: Vec::new(), total: 0, timestamps: false }));
    refused.total += 1;
    refused.timestamps |= reason != Reason::NoKey;
    if refused.records.len() < REFUSED_MAX {
        refused.records.push(RefusedRecord { index, reason });
    }
}

/// The maximum timestamp of a batch whose records are not looked at: what the header claims, but at least the base timestamp,
/// which every client takes from the first record.
fn claimed(batch: &RecordBatch<'_>, rules: &BatchRules, now_ms: i64) -> Result<i64, BatchError> {
    let claimed = batch.max_timestamp.max(i64_be(batch.bytes, 27).unwrap_or(NO_TIMESTAMP));
    match Bounds::of(rules, now_ms).check(claimed) {
        Ok(()) => Ok(claimed),
        Err(reason) => Err(BatchError::Claim(reason)),
    }
}

#[cfg(test)]
mod tests;
