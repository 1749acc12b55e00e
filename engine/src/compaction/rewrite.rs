//! One batch without some of its records.
//!
//! Kept records keep offset, timestamp, key, value, headers and order. The batch keeps its base offset, the
//! offsets it spans, its producer's id, epoch and sequence, and its attributes, with two exceptions: a delete
//! horizon may be set, and records that cannot be compressed again with the same codec are stored
//! uncompressed. Record count, length, CRC and (if records have their own timestamps) maximum timestamp are computed
//! again. A batch that keeps all its records stays as it is, unless its header states another maximum timestamp than
//! its records have, as headers could before version 4 of the format.
//!
//! A delete horizon (KIP-534) is stored in the field of the base timestamp, with attribute bit 6 set. The timestamp deltas of
//! the records are relative to the horizon then, so consumers see the same timestamps.

use std::borrow::Cow;

use crate::bytes_at::put_varint;
use crate::record_batch::{HEADER_BYTES, seal};
use crate::records::{
    APPEND_TIME, CODEC_BITS, DELETE_HORIZON, Opened, RecordView, RecordsError, compress, decompresses_to,
    with_largest_timestamp,
};

/// What a batch becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewritten {
    /// The batch stays as it is, byte for byte.
    Unchanged,
    /// No record is left: the batch is removed.
    Empty,
    /// These bytes replace it. They pass [`RecordBatch::check_stored`](crate::record_batch::RecordBatch).
    Batch(Vec<u8>),
}

/// Removes the records for which `keep` returns false; `keep` is called once for each record, in order. If a tombstone is kept
/// and the batch has no delete horizon yet, the batch gets `horizon`, in milliseconds. The batch has passed
/// [`RecordBatch::check_stored`](crate::record_batch::RecordBatch::check_stored).
pub fn rewrite(
    opened: &Opened<'_>,
    horizon: Option<i64>,
    mut keep: impl FnMut(&RecordView<'_>) -> bool,
) -> Result<Rewritten, RecordsError> {
    let mut kept = Vec::new();
    let (mut count, mut tombstones, mut newest) = (0u32, false, i64::MIN);
    for record in opened.records() {
        let record = record?;
        let stays = keep(&record);
        kept.push(stays);
        count += u32::from(stays);
        if stays {
            tombstones |= record.value.is_none();
            newest = newest.max(record.timestamp);
        }
    }
    let horizon = horizon.filter(|_| tombstones && opened.delete_horizon().is_none());
    if count == 0 {
        return Ok(Rewritten::Empty);
    }
    if count as usize == kept.len() && horizon.is_none() {
        return Ok(match with_largest_timestamp(opened.batch.bytes(), newest) {
            Cow::Borrowed(_) => Rewritten::Unchanged,
            Cow::Owned(batch) => Rewritten::Batch(batch),
        });
    }
    let mut plain = Vec::with_capacity(opened.uncompressed_len());
    for (record, _) in opened.records().zip(&kept).filter(|(_, stays)| **stays) {
        let record = record?;
        match horizon {
            Some(base) => put_relative(&mut plain, &record, base),
            None => plain.extend_from_slice(record.encoded),
        }
    }
    assemble(opened, horizon, count, newest, &plain).map(Rewritten::Batch)
}

/// Appends a record whose timestamp delta is relative to another base.
fn put_relative(out: &mut Vec<u8>, record: &RecordView<'_>, base: i64) {
    // The attributes, one byte, and a varint of at most ten bytes.
    let mut start = Vec::with_capacity(11);
    start.push(record.attributes as u8);
    put_varint(&mut start, record.timestamp.wrapping_sub(base));
    put_varint(out, (start.len() + record.after_timestamp.len()) as i64);
    out.extend_from_slice(&start);
    out.extend_from_slice(record.after_timestamp);
}

fn assemble(
    opened: &Opened<'_>,
    horizon: Option<i64>,
    count: u32,
    newest: i64,
    plain: &[u8],
) -> Result<Vec<u8>, RecordsError> {
    let cut_off = RecordsError::Header("it is cut off");
    let mut attributes = opened.batch.attributes;
    let mut out = opened.batch.bytes().get(..HEADER_BYTES).ok_or(cut_off)?.to_vec();
    let codec = attributes & CODEC_BITS;
    let done = compress(codec, plain, &mut out);
    // The only copy of the records is about to be replaced, so the encoder's output is decoded and compared.
    if codec != 0 && (done.is_err() || !decompresses_to(codec, &out[HEADER_BYTES..], plain)) {
        out.truncate(HEADER_BYTES);
        out.extend_from_slice(plain);
        attributes &= !CODEC_BITS;
    }
    if let Some(horizon) = horizon {
        attributes |= DELETE_HORIZON;
        out[27..35].copy_from_slice(&horizon.to_be_bytes());
    }
    if attributes & APPEND_TIME == 0 {
        out[35..43].copy_from_slice(&newest.to_be_bytes());
    }
    if i32::try_from(out.len()).is_err() {
        return Err(RecordsError::Header("its length field cannot hold its new length"));
    }
    out[21..23].copy_from_slice(&attributes.to_be_bytes());
    out[57..61].copy_from_slice(&count.to_be_bytes());
    seal(&mut out);
    Ok(out)
}
