//! Writing record batches: records, the header in front of them, and what has to be right at the end.
//!
//! A batch is written as [`BatchFields::header`], then its records ([`put_record`]), then [`seal`].

use crate::bytes_at::{put_varint, varint_len};
use crate::checksum;

use super::layout::{CRC_START, HEADER_BYTES, LENGTH_END};

/// Name and value of a header of a record; the value may be null.
pub type HeaderFields<'a> = (&'a [u8], Option<&'a [u8]>);

/// Appends the encoding of one record: its timestamp and offset relative to those of the batch, its key and value (`None`:
/// null), its headers.
pub fn put_record(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[HeaderFields<'_>],
) {
    let header_bytes = headers.iter().map(|(name, value)| field_len(Some(name)) + field_len(*value));
    let body_bytes = 1
        + varint_len(timestamp_delta)
        + varint_len(i64::from(offset_delta))
        + field_len(key)
        + field_len(value)
        + varint_len(headers.len() as i64)
        + header_bytes.sum::<usize>();
    put_varint(out, body_bytes as i64);
    // Attributes: no bit has a meaning.
    out.push(0);
    put_varint(out, timestamp_delta);
    put_varint(out, i64::from(offset_delta));
    put_field(out, key);
    put_field(out, value);
    put_varint(out, headers.len() as i64);
    for (name, value) in headers {
        put_field(out, Some(name));
        put_field(out, *value);
    }
}

fn field_len(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint_len(bytes.len() as i64) + bytes.len())
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    put_varint(out, field.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(field.unwrap_or_default());
}

/// The header fields that are the writer's to choose.
#[derive(Debug, Clone, Copy)]
pub struct BatchFields {
    /// Attribute bits: 0 to 2 name the codec.
    pub attributes: i16,
    /// Records in the batch.
    pub count: i32,
    /// What the timestamp deltas of the records are relative to, in milliseconds.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, in milliseconds.
    pub max_timestamp: i64,
    /// Producer id; -1: none.
    pub producer_id: i64,
    /// Producer epoch; -1: none.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1: none.
    pub base_sequence: i32,
}

impl BatchFields {
    /// A batch that is not compressed and has no producer id, with records of this time, in milliseconds.
    pub fn new(count: i32, timestamp_ms: i64) -> Self {
        Self {
            attributes: 0,
            count,
            base_timestamp: timestamp_ms,
            max_timestamp: timestamp_ms,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }

    /// The header. Base offset and leader epoch are 0; length and checksum are for [`seal`].
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[16] = 2;
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.count.wrapping_sub(1).to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    /// The whole batch around records that are encoded, and compressed as the attributes say.
    pub fn around(&self, records: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + records.len());
        out.extend_from_slice(&self.header());
        out.extend_from_slice(records);
        seal(&mut out);
        out
    }
}

/// Makes length field and checksum those of the batch's bytes. Panics if the bytes are fewer than a header or more than a
/// length field can say.
pub fn seal(batch: &mut [u8]) {
    let len = i32::try_from(batch.len()).expect("a batch has less than 2 GiB") - LENGTH_END as i32;
    batch[8..12].copy_from_slice(&len.to_be_bytes());
    let crc = checksum::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Builds small batches for tests, examples and benchmarks; producers bring their own encoder.
pub fn build(records: &[(&[u8], &[u8])], timestamp_ms: i64) -> Vec<u8> {
    build_from(records, timestamp_ms, -1, -1, -1)
}

/// As [`build`], with the fields of an idempotent producer.
pub fn build_from(
    records: &[(&[u8], &[u8])],
    timestamp_ms: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
) -> Vec<u8> {
    let count = i32::try_from(records.len()).expect("a batch holds fewer than 2^31 records");
    let fields =
        BatchFields { producer_id, producer_epoch, base_sequence, ..BatchFields::new(count, timestamp_ms) };
    let mut out = fields.header().to_vec();
    for (offset_delta, (key, value)) in (0i32..).zip(records) {
        put_record(&mut out, 0, offset_delta, Some(key), Some(value), &[]);
    }
    seal(&mut out);
    out
}
