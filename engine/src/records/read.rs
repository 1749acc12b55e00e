//! Reading the records of a stored batch, without allocating for each: every length and offset is checked against the bytes
//! and the header.

use std::borrow::Cow;

use crate::bytes_at::{i32_be, i64_be, varint};
use crate::ids::Offset;
use crate::record_batch::{self, HEADER_BYTES, HeaderFields, RecordBatch};

use super::attributes::{APPEND_TIME, CODEC_BITS, DELETE_HORIZON};
use super::decode::decompress;
use super::error::RecordsError;

/// One record, borrowed from the uncompressed records of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Offset of the record: the batch's base offset plus the delta.
    pub offset: Offset,
    /// Offset relative to the batch's base offset.
    pub offset_delta: i32,
    /// Timestamp in milliseconds: the record's own, or the batch's if the batch has the time of the append.
    pub timestamp: i64,
    /// Attributes; no bit has a meaning so far.
    pub attributes: i8,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; a record without one is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Number of headers and the headers, as they are encoded.
    pub headers: &'a [u8],
    /// The whole record as it is encoded, its length included.
    pub encoded: &'a [u8],
    /// What follows the timestamp delta in `encoded`.
    pub(crate) after_timestamp: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Name and value of each header of the record; `None` if the headers are malformed.
    pub fn header_fields(&self) -> Option<Vec<HeaderFields<'a>>> {
        let (count, mut rest) = number(self.headers, "").ok()?;
        let mut out = Vec::new();
        for _ in 0..u64::try_from(count).ok()? {
            let (name, after) = bytes(rest, "").ok()?;
            let (value, after) = bytes(after, "").ok()?;
            out.push((name?, value));
            rest = after;
        }
        rest.is_empty().then_some(out)
    }
}

/// A batch whose records have been uncompressed.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The header fields.
    pub batch: RecordBatch<'a>,
    base_offset: Offset,
    base_timestamp: i64,
    records: Cow<'a, [u8]>,
}

impl<'a> Opened<'a> {
    /// Uncompresses the records of a batch that passed [`RecordBatch::check_stored`]. At most `limit` bytes
    /// are taken for them, beside what [`Decoder`](super::Decoder) holds.
    pub fn of(batch: &'a [u8], limit: usize) -> Result<Self, RecordsError> {
        let short = RecordsError::Header("it is cut off");
        let view = RecordBatch::peek(batch).ok_or(short.clone())?;
        let records = batch.get(HEADER_BYTES..).ok_or(short.clone())?;
        let base_offset =
            record_batch::base_offset(batch).ok_or(RecordsError::Header("its base offset is negative"))?;
        let last_delta = i32_be(batch, 23).ok_or(short.clone())?;
        if last_delta < 0 || i32::try_from(view.count).is_err() {
            return Err(RecordsError::Header("its record count or last offset delta is negative"));
        }
        if base_offset.checked_add(u64::from(view.span)).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(RecordsError::Header("its offsets overflow"));
        }
        let base_timestamp = i64_be(batch, 27).ok_or(short)?;
        let records = match view.attributes & CODEC_BITS {
            0 => Cow::Borrowed(records),
            codec => Cow::Owned(decompress(codec, records, limit)?),
        };
        Ok(Self { batch: view, base_offset, base_timestamp, records })
    }

    /// The records, in order.
    pub fn records(&self) -> Records<'_> {
        Records {
            rest: &self.records,
            base_offset: self.base_offset,
            base_timestamp: self.base_timestamp,
            append_time: (self.batch.attributes & APPEND_TIME != 0).then_some(self.batch.max_timestamp),
            last_delta: i64::from(self.batch.span) - 1,
            count: self.batch.count,
            index: 0,
            delta: -1,
        }
    }

    /// Offset of the batch.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Offset after the last one that the batch spans.
    pub fn end_offset(&self) -> Offset {
        self.base_offset + u64::from(self.batch.span)
    }

    /// Bytes of the records, uncompressed.
    pub fn uncompressed_len(&self) -> usize {
        self.records.len()
    }

    /// The time from which on tombstones of the batch may be removed, in milliseconds, if compaction has set it.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.batch.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }
}

/// The records of a batch, one after another. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    base_offset: Offset,
    base_timestamp: i64,
    append_time: Option<i64>,
    last_delta: i64,
    count: u32,
    index: u32,
    delta: i64,
}

impl<'a> Records<'a> {
    fn step(&mut self) -> Result<RecordView<'a>, &'static str> {
        let no_end = "it ends beyond the records";
        let (len, took) = varint(self.rest).ok_or("its length is no varint")?;
        let len = usize::try_from(len).map_err(|_| "its length is negative")?;
        let end = took.checked_add(len).ok_or(no_end)?;
        let (encoded, rest) = self.rest.split_at_checked(end).ok_or(no_end)?;
        let (&attributes, body) = encoded[took..].split_first().ok_or("it is empty")?;
        let (timestamp_delta, body) = number(body, "its timestamp is no varint")?;
        let after_timestamp = body;
        let (delta, body) = number(body, "its offset is no varint")?;
        if delta <= self.delta {
            return Err("its offset is not above that of the record before");
        }
        if delta > self.last_delta {
            return Err("its offset is beyond the last one of the batch");
        }
        let (key, body) = bytes(body, "its key ends beyond it")?;
        let (value, headers) = bytes(body, "its value ends beyond it")?;
        self.rest = rest;
        self.delta = delta;
        Ok(RecordView {
            offset: self.base_offset + delta as u64,
            offset_delta: delta as i32,
            // As the Java clients add them.
            timestamp: self.append_time.unwrap_or(self.base_timestamp.wrapping_add(timestamp_delta)),
            attributes: attributes as i8,
            key,
            value,
            headers,
            encoded,
            after_timestamp,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        let result = if index < self.count {
            self.step()
        } else if self.rest.is_empty() {
            return None;
        } else {
            Err("bytes follow the last one")
        };
        match &result {
            Ok(_) => self.index += 1,
            Err(_) => (self.rest, self.index, self.count) = (&[], 0, 0),
        }
        Some(result.map_err(|what| RecordsError::Record { index, what }))
    }
}

fn number<'a>(from: &'a [u8], malformed: &'static str) -> Result<(i64, &'a [u8]), &'static str> {
    let (value, took) = varint(from).ok_or(malformed)?;
    Ok((value, &from[took..]))
}

/// Bytes behind their length. Any negative length stands for null: batches that were stored before such lengths were
/// refused may have them.
fn bytes<'a>(from: &'a [u8], malformed: &'static str) -> Result<(Option<&'a [u8]>, &'a [u8]), &'static str> {
    let (len, rest) = number(from, malformed)?;
    if len < 0 {
        return Ok((None, rest));
    }
    let len = usize::try_from(len).map_err(|_| malformed)?;
    let (bytes, rest) = rest.split_at_checked(len).ok_or(malformed)?;
    Ok((Some(bytes), rest))
}
