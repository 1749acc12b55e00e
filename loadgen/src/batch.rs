//! Record batches (format v2): a template that is encoded once and patched per request, and a
//! reader for what a broker gives back.
//!
//! Promises of the template: all frames of one template have the same length and the same layout, so
//! a ring of them leaves in one write. [`Template::fill`] touches only what differs from one request
//! to the next and derives the batch's CRC-32C from the checksums of the parts that stay; the filler
//! is not read again. Promises of the reader: bounds-checked, no copies, and a batch that is cut off
//! at the end of an answer is left out.

use bytes::BytesMut;
use keylane_engine::bytes_at::{i16_be, i32_be, i64_be, varint, varint_len};
use keylane_engine::record_batch::{BatchFields, LENGTH_END, patch, put_record, seal};
use keylane_engine::records;
use keylane_kafka::client::put_request;
use keylane_kafka::messages::produce::{ProducePartition, ProduceRequest, ProduceTopic};
use keylane_kafka::wire::put_length;
use keylane_kafka::{ApiKey, TopicRef};

use crate::keys::KeyNames;
use crate::payload::{Filler, Payload};
use crate::protocol::{self, CLIENT_ID};

pub use keylane_engine::record_batch::HEADER_BYTES;

/// Bytes at the start of a value that tell which record it is.
pub const STAMP_BYTES: usize = 40;
pub const STAMP_MAGIC: [u8; 8] = *b"KEYLOAD1";
/// Where a stamp has its sequence.
pub const STAMP_SEQ_AT: usize = 24;

/// What the start of every value says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub run: u64,
    pub key: u32,
    pub connection: u32,
    /// Per key, from 1, rising by one.
    pub seq: u64,
    /// When the record was (or should have been) sent: see [`crate::pacing::Clock`].
    pub time_ns: u64,
}

impl Stamp {
    /// Reads the stamp of a value; `None` if it has none.
    #[inline]
    pub fn read(value: &[u8]) -> Option<Self> {
        let (stamp, _) = value.split_first_chunk::<STAMP_BYTES>()?;
        let (magic, rest) = stamp.split_first_chunk::<8>()?;
        let (run, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (connection, rest) = rest.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (time, _) = rest.split_first_chunk()?;
        (*magic == STAMP_MAGIC).then_some(Self {
            run: u64::from_le_bytes(*run),
            key: u32::from_le_bytes(*key),
            connection: u32::from_le_bytes(*connection),
            seq: u64::from_le_bytes(*seq),
            time_ns: u64::from_le_bytes(*time),
        })
    }

    pub fn bytes(&self) -> [u8; STAMP_BYTES] {
        let mut out = [0; STAMP_BYTES];
        out[..8].copy_from_slice(&STAMP_MAGIC);
        out[8..16].copy_from_slice(&self.run.to_le_bytes());
        out[16..20].copy_from_slice(&self.key.to_le_bytes());
        out[20..24].copy_from_slice(&self.connection.to_le_bytes());
        out[24..32].copy_from_slice(&self.seq.to_le_bytes());
        out[32..40].copy_from_slice(&self.time_ns.to_le_bytes());
        out
    }
}

/// What all requests of a connection have in common.
#[derive(Debug, Clone)]
pub struct TemplateSpec<'a> {
    pub produce_version: i16,
    pub topic: &'a str,
    pub acks: i16,
    pub key_bytes: usize,
    pub value_bytes: usize,
    pub records: usize,
    pub run: u64,
    pub connection: u32,
    pub seed: u64,
    pub payload: Payload,
    /// Part of noise that compresses to nearly nothing, 0 to 1.
    pub compressibility: f64,
}

/// Appending `len` bytes to a message changes the CRC of what precedes them linearly; this applies it.
#[derive(Debug, Clone)]
struct CrcShift {
    tables: Box<[[u32; 256]; 4]>,
}

impl CrcShift {
    fn new(len: usize) -> Self {
        let bit: Vec<u32> = (0..32).map(|b| crc32c::crc32c_combine(1 << b, 0, len)).collect();
        let mut tables = Box::new([[0u32; 256]; 4]);
        for (byte, table) in tables.iter_mut().enumerate() {
            for (value, entry) in table.iter_mut().enumerate() {
                *entry = (0..8).filter(|b| value >> b & 1 == 1).fold(0, |x, b| x ^ bit[byte * 8 + b]);
            }
        }
        Self { tables }
    }

    #[inline]
    fn apply(&self, crc: u32) -> u32 {
        let [a, b, c, d] = crc.to_le_bytes();
        let t = &*self.tables;
        t[0][usize::from(a)] ^ t[1][usize::from(b)] ^ t[2][usize::from(c)] ^ t[3][usize::from(d)]
    }
}

/// Where one record's changing bytes are, and the checksum of the constant ones behind them.
#[derive(Debug, Clone)]
struct RecordPlace {
    /// First byte that changes: the key, or for the first record the batch's attributes.
    from: usize,
    key: usize,
    value: usize,
    /// CRC of the bytes from the stamp's end to the next record's key.
    constant_crc: u32,
    shift: usize,
}

/// A Produce request of one batch, encoded once.
#[derive(Debug, Clone)]
pub struct Template {
    frame: Vec<u8>,
    partition_at: usize,
    batch_at: usize,
    batch_bytes: usize,
    key_bytes: usize,
    places: Vec<RecordPlace>,
    shifts: Vec<CrcShift>,
    compact: bool,
}

const CORRELATION_AT: usize = 8;
const MAGIC_AT: usize = 16;
pub const CRC_AT: usize = 17;
pub const ATTRIBUTES_AT: usize = 21;
const BASE_TIMESTAMP_AT: usize = 27;

/// Bytes of a batch of `records` records.
pub fn batch_bytes(records: usize, key_bytes: usize, value_bytes: usize) -> usize {
    let body = |index: usize| record_body_bytes(index, key_bytes, value_bytes);
    HEADER_BYTES + (0..records).map(|i| varint_len(body(i) as i64) + body(i)).sum::<usize>()
}

/// How many records fit into a batch of at most `limit` bytes; at least one.
pub fn records_within(limit: usize, key_bytes: usize, value_bytes: usize) -> usize {
    let one = record_body_bytes(0, key_bytes, value_bytes);
    let mut records = (limit.saturating_sub(HEADER_BYTES) / one).max(1);
    while records > 1 && batch_bytes(records, key_bytes, value_bytes) > limit {
        records -= 1;
    }
    records
}

fn record_body_bytes(index: usize, key_bytes: usize, value_bytes: usize) -> usize {
    let lengths = varint_len(key_bytes as i64) + varint_len(value_bytes as i64);
    // Attributes, timestamp delta 0 and the number of headers are one byte each.
    3 + varint_len(index as i64) + lengths + key_bytes + value_bytes
}

impl Template {
    pub fn new(spec: &TemplateSpec<'_>) -> Self {
        let compact = ApiKey::Produce.is_flexible(spec.produce_version);
        let batch_bytes = batch_bytes(spec.records, spec.key_bytes, spec.value_bytes);
        let (mut frame, tail) = around_batch(spec, batch_bytes);
        let batch_at = frame.len();
        let mut length = Vec::new();
        put_length(&mut length, compact, batch_bytes);
        let partition_at = batch_at - length.len() - 4;
        let places = encode_batch(&mut frame, spec, batch_bytes);
        frame.extend_from_slice(&tail);
        let key_bytes = spec.key_bytes;
        let mut template = Self {
            frame,
            partition_at,
            batch_at,
            batch_bytes,
            key_bytes,
            places,
            shifts: Vec::new(),
            compact,
        };
        template.sum_constants();
        template
    }

    fn sum_constants(&mut self) {
        let end = self.batch_at + self.batch_bytes;
        let mut lens = Vec::<usize>::new();
        for index in 0..self.places.len() {
            let from = self.places[index].value + STAMP_BYTES;
            let to = self.places.get(index + 1).map_or(end, |next| next.from);
            let shift = lens.iter().position(|&len| len == to - from).unwrap_or_else(|| {
                lens.push(to - from);
                self.shifts.push(CrcShift::new(to - from));
                lens.len() - 1
            });
            self.places[index].constant_crc = crc32c::crc32c(&self.frame[from..to]);
            self.places[index].shift = shift;
        }
    }

    /// The frame as first encoded: the bytes that a ring of frames starts from.
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    pub fn records(&self) -> usize {
        self.places.len()
    }

    /// Bytes of the batch in each frame.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    #[inline]
    pub fn set_correlation(&self, frame: &mut [u8], correlation: i32) {
        frame[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation.to_be_bytes());
    }

    /// Makes `frame` (a copy of this template's) the request of new records: `next` says key and
    /// sequence of each.
    #[inline]
    pub fn fill(
        &self,
        frame: &mut [u8],
        partition: i32,
        time_ns: u64,
        wall_ms: i64,
        names: &KeyNames,
        mut next: impl FnMut() -> (u32, u64),
    ) {
        frame[self.partition_at..self.partition_at + 4].copy_from_slice(&partition.to_be_bytes());
        let at = self.batch_at + BASE_TIMESTAMP_AT;
        frame[at..at + 8].copy_from_slice(&wall_ms.to_be_bytes());
        frame[at + 8..at + 16].copy_from_slice(&wall_ms.to_be_bytes());
        let mut crc = 0;
        for place in &self.places {
            let (key, seq) = next();
            frame[place.key..place.key + self.key_bytes].copy_from_slice(names.name(key));
            let stamp = &mut frame[place.value..place.value + STAMP_BYTES];
            stamp[16..20].copy_from_slice(&key.to_le_bytes());
            stamp[24..32].copy_from_slice(&seq.to_le_bytes());
            stamp[32..40].copy_from_slice(&time_ns.to_le_bytes());
            crc = crc32c::crc32c_append(crc, &frame[place.from..place.value + STAMP_BYTES]);
            crc = self.shifts[place.shift].apply(crc) ^ place.constant_crc;
        }
        let at = self.batch_at + CRC_AT;
        frame[at..at + 4].copy_from_slice(&crc.to_be_bytes());
    }

    /// Has the header of the batch in `frame` claim this maximum timestamp, with a checksum that matches.
    pub fn claim(&self, frame: &mut [u8], max_timestamp: i64) {
        let batch = &mut frame[self.batch_at..][..self.batch_bytes];
        batch[BASE_TIMESTAMP_AT + 8..][..8].copy_from_slice(&max_timestamp.to_be_bytes());
        seal(batch);
    }

    /// Makes `out` the same request with its records compressed; returns the bytes of the batch. `scratch` is
    /// memory that is used again. Records that a codec cannot compress stay as they are.
    pub fn pack(&self, frame: &[u8], codec: i16, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> usize {
        let (head, records) = frame[self.batch_at..][..self.batch_bytes].split_at(HEADER_BYTES);
        scratch.clear();
        let codec = match records::compress(codec, records, scratch) {
            Ok(()) => codec,
            Err(_) => {
                scratch.clear();
                scratch.extend_from_slice(records);
                0
            }
        };
        let batch_bytes = HEADER_BYTES + scratch.len();
        out.clear();
        out.extend_from_slice(&frame[..self.partition_at + 4]);
        put_length(out, self.compact, batch_bytes);
        let at = out.len();
        out.extend_from_slice(head);
        out.extend_from_slice(scratch);
        out[at + ATTRIBUTES_AT..at + ATTRIBUTES_AT + 2].copy_from_slice(&codec.to_be_bytes());
        seal(&mut out[at..]);
        out.extend_from_slice(&frame[self.batch_at + self.batch_bytes..]);
        protocol::set_length(out);
        batch_bytes
    }

    /// Key and sequence of each record in a filled frame.
    pub fn stamps<'a>(&'a self, frame: &'a [u8]) -> impl Iterator<Item = Stamp> + 'a {
        self.places.iter().filter_map(|place| Stamp::read(&frame[place.value..]))
    }
}

/// Most bytes that the records of a batch may have uncompressed.
const RECORDS_BYTES_MAX: usize = 256 << 20;

/// What stands before the batch of a request, with room for it, and what stands after it.
fn around_batch(spec: &TemplateSpec<'_>, batch_bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let batch = vec![0; batch_bytes];
    let partition = ProducePartition { index: 0, records: Some(&batch) };
    let topic = ProduceTopic { topic: TopicRef::Name(spec.topic), partitions: vec![partition] };
    let request =
        ProduceRequest { transactional_id: None, acks: spec.acks, timeout_ms: 30_000, topics: vec![topic] };
    let mut out = BytesMut::with_capacity(batch_bytes + 128);
    put_request(&mut out, CLIENT_ID, 0, spec.produce_version, &request).expect("a batch of less than 2 GiB");
    // Partition, topic and request have no tagged fields: one byte each, where a version has them at all.
    let tail = if ApiKey::Produce.is_flexible(spec.produce_version) { 3 } else { 0 };
    let tail = out.split_off(out.len() - tail);
    let mut before = Vec::with_capacity(batch_bytes + 128);
    before.extend_from_slice(&out[..out.len() - batch_bytes]);
    (before, tail.to_vec())
}

/// Appends the batch and says where its records are.
fn encode_batch(frame: &mut Vec<u8>, spec: &TemplateSpec<'_>, batch_bytes: usize) -> Vec<RecordPlace> {
    let batch_at = frame.len();
    // Not idempotent: nothing is ever sent twice.
    frame.extend_from_slice(&BatchFields::new(spec.records as i32, 0).header());
    patch(&mut frame[batch_at..], 0, -1);
    let seed = spec.seed ^ u64::from(spec.connection) << 32;
    let mut filler = Filler::new(spec.payload, spec.compressibility, seed);
    let (key, mut value) = (vec![b'-'; spec.key_bytes], vec![0; spec.value_bytes]);
    let stamp = Stamp { run: spec.run, key: 0, connection: spec.connection, seq: 0, time_ns: 0 };
    let mut places = Vec::with_capacity(spec.records);
    for index in 0..spec.records {
        filler.fill(&mut value);
        value[..STAMP_BYTES].copy_from_slice(&stamp.bytes());
        put_record(frame, 0, index as i32, Some(&key), Some(&value), &[]);
        // Behind the value stands the number of headers, one byte.
        let value_at = frame.len() - 1 - spec.value_bytes;
        let key_at = value_at - varint_len(spec.value_bytes as i64) - spec.key_bytes;
        let from = if index == 0 { batch_at + ATTRIBUTES_AT } else { key_at };
        places.push(RecordPlace { from, key: key_at, value: value_at, constant_crc: 0, shift: 0 });
    }
    let len = (batch_bytes - LENGTH_END) as i32;
    frame[batch_at + 8..batch_at + LENGTH_END].copy_from_slice(&len.to_be_bytes());
    assert_eq!(frame.len() - batch_at, batch_bytes, "the length of a batch was computed wrongly");
    places
}

/// A batch in a Fetch answer.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    pub base_offset: i64,
    pub last_offset_delta: i32,
    pub attributes: i16,
    pub records_count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    bytes: &'a [u8],
}

/// Why a batch cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchError {
    /// Not format v2, or lengths that cannot be.
    Malformed,
    /// The CRC-32C does not match.
    Crc,
}

impl<'a> BatchView<'a> {
    /// Splits the first batch off `rest`; `None` at the end, a cut-off batch included.
    pub fn split_first(rest: &mut &'a [u8]) -> Option<Result<Self, BatchError>> {
        let (base_offset, length) = (i64_be(rest, 0)?, i32_be(rest, 8)?);
        let Some(length) = usize::try_from(length).ok().filter(|len| *len >= HEADER_BYTES - 12) else {
            *rest = &[];
            return Some(Err(BatchError::Malformed));
        };
        let (bytes, after) = rest.split_at_checked(length + 12)?;
        *rest = after;
        let view = Self::of(bytes, base_offset);
        Some(view.ok_or(BatchError::Malformed))
    }

    fn of(bytes: &'a [u8], base_offset: i64) -> Option<Self> {
        let magic = *bytes.get(MAGIC_AT)?;
        let attributes = i16_be(bytes, ATTRIBUTES_AT)?;
        let last_offset_delta = i32_be(bytes, ATTRIBUTES_AT + 2)?;
        let base_timestamp = i64_be(bytes, BASE_TIMESTAMP_AT)?;
        let max_timestamp = i64_be(bytes, BASE_TIMESTAMP_AT + 8)?;
        let records_count = i32_be(bytes, HEADER_BYTES - 4)?;
        let sane = magic == 2 && last_offset_delta >= 0 && records_count >= 0;
        sane.then_some(Self {
            base_offset,
            last_offset_delta,
            attributes,
            records_count,
            base_timestamp,
            max_timestamp,
            bytes,
        })
    }

    pub fn crc_matches(&self) -> bool {
        let stored = self.bytes.get(CRC_AT..ATTRIBUTES_AT);
        let actual = self.bytes.get(ATTRIBUTES_AT..).map(keylane_engine::checksum::crc32c);
        stored == actual.map(u32::to_be_bytes).as_ref().map(<[u8; 4]>::as_slice)
    }

    /// Whether it is a control batch (a transaction marker): its records are nobody's.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    pub fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// Whether the header states the largest timestamp of the records, which is so far behind the base timestamp; or the
    /// time of the append, of which nobody else knows.
    pub fn states_its_time(&self, newest_delta: i64) -> bool {
        self.attributes & records::APPEND_TIME != 0
            || self.max_timestamp == self.base_timestamp.wrapping_add(newest_delta)
    }

    /// Hands offset, key and value of each record to `each`. Returns the largest timestamp delta.
    #[inline]
    pub fn for_each(&self, each: impl FnMut(i64, &[u8], &[u8])) -> Result<i64, BatchError> {
        let bytes = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        match self.attributes & records::CODEC_BITS {
            0 => self.each_of(bytes, each),
            codec => {
                let plain = records::decompress(codec, bytes, RECORDS_BYTES_MAX);
                self.each_of(&plain.map_err(|_| BatchError::Malformed)?, each)
            }
        }
    }

    fn each_of(&self, bytes: &[u8], mut each: impl FnMut(i64, &[u8], &[u8])) -> Result<i64, BatchError> {
        let mut rest = bytes;
        let mut newest = i64::MIN;
        for _ in 0..self.records_count {
            let (time, delta, key, value) = read_record(&mut rest).ok_or(BatchError::Malformed)?;
            newest = newest.max(time);
            each(self.base_offset + delta, key, value);
        }
        if rest.is_empty() { Ok(newest) } else { Err(BatchError::Malformed) }
    }
}

/// Timestamp delta, offset delta, key and value.
#[inline]
fn read_record<'a>(rest: &mut &'a [u8]) -> Option<(i64, i64, &'a [u8], &'a [u8])> {
    let length = split_varint(rest)?;
    let mut record = split(rest, usize::try_from(length).ok()?)?;
    split(&mut record, 1)?; // attributes
    let time = split_varint(&mut record)?;
    let delta = split_varint(&mut record)?;
    Some((time, delta, split_field(&mut record)?, split_field(&mut record)?))
}

/// A length and that many bytes; null reads as empty.
#[inline]
fn split_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = split_varint(rest)?;
    split(rest, usize::try_from(length.max(0)).ok()?)
}

#[inline]
fn split_varint(rest: &mut &[u8]) -> Option<i64> {
    let (value, length) = varint(rest)?;
    *rest = &rest[length..];
    Some(value)
}

#[inline]
fn split<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (front, back) = rest.split_at_checked(length)?;
    *rest = back;
    Some(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(records: usize, produce_version: i16) -> TemplateSpec<'static> {
        TemplateSpec {
            produce_version,
            topic: "topic",
            acks: -1,
            key_bytes: 12,
            value_bytes: 100,
            records,
            run: 77,
            connection: 3,
            seed: 1,
            payload: Payload::Noise,
            compressibility: 0.5,
        }
    }

    fn filled(template: &Template, names: &KeyNames) -> Vec<u8> {
        let mut frame = template.frame().to_vec();
        let mut seq = 0;
        template.fill(&mut frame, 2, 123, 456, names, || {
            seq += 1;
            (seq as u32 % 10, seq)
        });
        frame
    }

    #[test]
    fn what_is_filled_is_read_back_with_a_valid_crc() {
        let names = KeyNames::new(10);
        for (records, version) in [(1, 3), (1, 9), (7, 8), (200, 11)] {
            let template = Template::new(&spec(records, version));
            let frame = filled(&template, &names);
            assert_eq!(frame.len() - 4, i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize);
            let mut rest = &frame[template.batch_at..template.batch_at + template.batch_bytes];
            let batch = BatchView::split_first(&mut rest).unwrap().unwrap();
            assert!(rest.is_empty());
            assert!(batch.crc_matches(), "{records} records");
            let mut seq = 0;
            batch
                .for_each(|offset, key, value| {
                    seq += 1;
                    let stamp = Stamp::read(value).unwrap();
                    assert_eq!(offset as u64, seq - 1);
                    assert_eq!(key, names.name(stamp.key));
                    assert_eq!((stamp.run, stamp.seq, stamp.time_ns, stamp.connection), (77, seq, 123, 3));
                })
                .unwrap();
            assert_eq!(seq as usize, records);
            assert_eq!(template.stamps(&frame).map(|s| s.seq).last(), Some(seq));
        }
    }

    #[test]
    fn packed_batches_hold_the_same_records() {
        let names = KeyNames::new(10);
        for (version, codec) in [(8, 1), (9, 2), (11, 3), (9, 4), (9, 0)] {
            let template = Template::new(&spec(50, version));
            let frame = filled(&template, &names);
            let (mut scratch, mut out) = (Vec::new(), Vec::new());
            let bytes = template.pack(&frame, codec, &mut scratch, &mut out);
            assert!(codec == 0 || bytes < template.batch_bytes(), "codec {codec}");
            assert_eq!(out.len() - 4, i32::from_be_bytes(*out.first_chunk().unwrap()) as usize);
            let trailer = frame.len() - template.batch_at - template.batch_bytes;
            let mut rest = &out[out.len() - trailer - bytes..out.len() - trailer];
            let batch = BatchView::split_first(&mut rest).unwrap().unwrap();
            assert!(rest.is_empty() && batch.crc_matches(), "codec {codec}");
            let mut seen = Vec::new();
            batch.for_each(|_, _, value| seen.push(Stamp::read(value).unwrap())).unwrap();
            assert_eq!(seen, template.stamps(&frame).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_flipped_bit_breaks_the_crc_and_a_cut_batch_is_left_out() {
        let names = KeyNames::new(10);
        let template = Template::new(&spec(3, 9));
        let mut batch = filled(&template, &names)[template.batch_at..][..template.batch_bytes].to_vec();
        let mut cut = &batch[..batch.len() - 1];
        assert!(BatchView::split_first(&mut cut).is_none());
        batch[100] ^= 1;
        let mut rest = &batch[..];
        assert!(!BatchView::split_first(&mut rest).unwrap().unwrap().crc_matches());
    }

    #[test]
    fn batches_fill_up_to_the_limit() {
        for limit in [1_000, 16_384, 65_536] {
            let records = records_within(limit, 12, 1012);
            assert!(records == 1 || batch_bytes(records, 12, 1012) <= limit);
            assert!(batch_bytes(records + 1, 12, 1012) > limit);
        }
    }
}
