//! PutRecords and PutRecord: a request that is written once and patched for each use.
//!
//! Promise: all records of a request have the same length; only their keys and the beginnings of their values, which say
//! what record it is, are written anew.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::batch::{STAMP_BYTES, Stamp};
use crate::keys::KeyNames;
use crate::payload::{Filler, Payload};

/// Bytes at the end of a value: the CRC-32C of what stands between them and the stamp.
const CRC_BYTES: usize = 4;
/// The stamp, up to where a group of base64 ends.
const HEAD_BYTES: usize = STAMP_BYTES.next_multiple_of(3);

/// A record to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub key: u32,
    pub seq: u64,
    /// When it was due: see [`crate::pacing::Clock`].
    pub due_ns: u64,
}

/// What all requests of a connection have in common.
#[derive(Debug, Clone)]
pub struct RequestSpec<'a> {
    pub stream: &'a str,
    pub key_bytes: usize,
    pub value_bytes: usize,
    /// Records at most; with one alone it is a PutRecord.
    pub records: usize,
    pub run: u64,
    pub connection: u32,
    pub seed: u64,
    pub payload: Payload,
    pub compressibility: f64,
}

/// See the module's header.
pub struct Request {
    /// Without the two bytes that end it.
    body: Vec<u8>,
    /// Where the first record begins, and the length of each with its comma.
    first: usize,
    each: usize,
    /// From the beginning of a record.
    data_at: usize,
    key_at: usize,
    key_bytes: usize,
    value_bytes: usize,
    /// The beginning of each value.
    heads: Vec<Vec<u8>>,
    stamp: Stamp,
    single: bool,
    /// Where the request was ended last.
    ended: Option<usize>,
}

/// What ends a list of records, in place of the comma and of the record that would follow.
const LIST_END: &[u8; 2] = b"]}";

impl Request {
    pub fn new(spec: &RequestSpec<'_>) -> Self {
        let single = spec.records == 1;
        let stamp = Stamp { run: spec.run, key: 0, connection: spec.connection, seq: 0, time_ns: 0 };
        let seed = spec.seed ^ u64::from(spec.connection) << 32;
        let mut filler = Filler::new(spec.payload, spec.compressibility, seed);
        // Names of streams and keys have no character that JSON would write otherwise.
        let begin = format!("{{\"StreamName\":\"{}\",", spec.stream);
        let begin = if single { begin } else { begin + "\"Records\":[" };
        let before_data = if single { "\"Data\":\"" } else { "{\"Data\":\"" };
        let mut body = begin.into_bytes();
        let first = body.len();
        let (mut value, mut heads) = (vec![0; spec.value_bytes], Vec::with_capacity(spec.records));
        let before_key = b"\",\"PartitionKey\":\"";
        let data_chars = base64::encoded_len(spec.value_bytes, true).unwrap_or(0);
        for _ in 0..spec.records {
            filler.fill(&mut value);
            value[..STAMP_BYTES].copy_from_slice(&stamp.bytes());
            seal(&mut value);
            body.extend_from_slice(before_data.as_bytes());
            body.extend_from_slice(STANDARD.encode(&value).as_bytes());
            body.extend_from_slice(before_key);
            body.resize(body.len() + spec.key_bytes, b'-');
            body.extend_from_slice(if single { b"\"}" } else { b"\"}," });
            heads.push(value[..HEAD_BYTES.min(value.len())].to_vec());
        }
        let each = (body.len() - first) / spec.records.max(1);
        body.extend_from_slice(b"{");
        let data_at = before_data.len();
        let key_at = data_at + data_chars + before_key.len();
        let (key_bytes, value_bytes) = (spec.key_bytes, spec.value_bytes);
        Self { body, first, each, data_at, key_at, key_bytes, value_bytes, heads, stamp, single, ended: None }
    }

    /// Records at most.
    pub fn records(&self) -> usize {
        self.heads.len()
    }

    /// Bytes of the largest request.
    pub fn bytes(&self) -> usize {
        self.body.len() + 1
    }

    /// Bytes of a record's key and value.
    pub fn record_bytes(&self) -> usize {
        self.key_bytes + self.value_bytes
    }

    pub fn operation(&self) -> &'static str {
        if self.single { "PutRecord" } else { "PutRecords" }
    }

    /// The request of these records, of which there is at least one and not too many.
    pub fn fill(&mut self, records: &[Record], names: &KeyNames) -> &[u8] {
        if let Some(end) = self.ended.take() {
            self.body[end - 1..=end].copy_from_slice(b",{");
        }
        for (at, (record, head)) in records.iter().zip(&mut self.heads).enumerate() {
            let place = &mut self.body[self.first + at * self.each..][..self.each];
            place[self.key_at..][..self.key_bytes].copy_from_slice(names.name(record.key));
            let stamp = Stamp { key: record.key, seq: record.seq, time_ns: record.due_ns, ..self.stamp };
            head[..STAMP_BYTES].copy_from_slice(&stamp.bytes());
            let written = STANDARD.encode_slice(head, &mut place[self.data_at..self.key_at]);
            debug_assert!(written.is_ok());
        }
        let end = self.first + records.len() * self.each;
        if self.single {
            return &self.body[..end];
        }
        self.body[end - 1..=end].copy_from_slice(LIST_END);
        self.ended = Some(end);
        &self.body[..=end]
    }
}

/// Writes the checksum of a value to its end, if there is room for one.
fn seal(value: &mut [u8]) {
    if let Some(at) = value.len().checked_sub(CRC_BYTES).filter(|at| *at >= HEAD_BYTES) {
        let crc = crc32c::crc32c(&value[HEAD_BYTES..at]);
        value[at..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Whether the checksum at the end of a value is right.
pub fn is_whole(value: &[u8]) -> bool {
    let Some(at) = value.len().checked_sub(CRC_BYTES).filter(|at| *at >= HEAD_BYTES) else { return true };
    value[at..] == crc32c::crc32c(&value[HEAD_BYTES..at]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(records: usize, value_bytes: usize) -> RequestSpec<'static> {
        RequestSpec {
            stream: "s",
            key_bytes: 12,
            value_bytes,
            records,
            run: 7,
            connection: 2,
            seed: 1,
            payload: Payload::Noise,
            compressibility: 0.0,
        }
    }

    fn value(entry: &serde_json::Value) -> Vec<u8> {
        STANDARD.decode(entry["Data"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn requests_of_any_number_of_records_are_whole() {
        let names = KeyNames::new(10);
        for value_bytes in [40, 41, 42, 43, 45, 46, 100, 1012] {
            let mut request = Request::new(&spec(4, value_bytes));
            for count in [4, 1, 3, 4, 2] {
                let record = |n: u32| Record { key: n, seq: u64::from(n) + 5, due_ns: 99 };
                let records: Vec<_> = (0..count).map(record).collect();
                let body: serde_json::Value = serde_json::from_slice(request.fill(&records, &names)).unwrap();
                assert_eq!(body["StreamName"], "s");
                let entries = body["Records"].as_array().unwrap();
                assert_eq!(entries.len(), count as usize);
                for (n, entry) in (0..).zip(entries) {
                    let value = value(entry);
                    assert_eq!((value.len(), is_whole(&value)), (value_bytes, true));
                    let stamp = Stamp::read(&value).unwrap();
                    assert_eq!(
                        (stamp.run, stamp.key, stamp.seq, stamp.time_ns),
                        (7, n, u64::from(n) + 5, 99)
                    );
                    assert_eq!(entry["PartitionKey"], format!("user-{n:07}"));
                }
            }
        }
    }

    #[test]
    fn one_record_is_put_alone() {
        let names = KeyNames::new(10);
        let mut request = Request::new(&spec(1, 100));
        assert_eq!(request.operation(), "PutRecord");
        for seq in 1..3 {
            let body = request.fill(&[Record { key: 3, seq, due_ns: 0 }], &names);
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!((&body["StreamName"], &body["PartitionKey"]), (&"s".into(), &"user-0000003".into()));
            assert_eq!(Stamp::read(&value(&body)).unwrap().seq, seq);
        }
    }

    #[test]
    fn a_changed_value_is_not_whole() {
        let mut changed = vec![7; 100];
        seal(&mut changed);
        assert!(is_whole(&changed));
        changed[60] ^= 1;
        assert!(!is_whole(&changed));
    }
}
