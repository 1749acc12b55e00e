//! Records of an answer, written in its format as they are read.

use base64_simd::STANDARD;
use bytes::Bytes;
use keylane_engine::record_batch::RecordBatch;
use keylane_engine::records::{MAX_UNCOMPRESSED, Opened};
use serde::Serialize;

use super::bill::Bill;
use super::fault::Fault;
use super::format::Format;
use super::sequence::Numbers;
use super::wire::{Data, Timestamp};

/// Bytes of a record's number, time and field names, at most.
const RECORD_OVERHEAD: usize = 256;
/// A control batch: a message of the log to its readers.
const CONTROL: i16 = 0x20;

/// What a page may hold.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Records.
    pub records: usize,
    /// Bytes of their keys and data, unless the first one alone has more.
    pub bytes: usize,
}

/// A record of an answer in CBOR.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'a> {
    sequence_number: String,
    approximate_arrival_timestamp: Timestamp,
    data: Data<'a>,
    partition_key: &'a str,
}

/// See the module's header.
pub struct Page {
    format: Format,
    numbers: Numbers,
    room: Room,
    bill: Bill,
    out: Vec<u8>,
    count: usize,
    bytes: usize,
    last_ms: Option<i64>,
    full: bool,
}

impl Page {
    /// An empty page for records with these numbers.
    pub fn new(format: Format, numbers: Numbers, room: Room, bill: Bill) -> Self {
        let out = match format {
            Format::Json => b"{\"Records\":[".to_vec(),
            // A map and a list of unknown length.
            Format::Cbor => b"\xbf\x67Records\x9f".to_vec(),
        };
        Self { format, numbers, room, bill, out, count: 0, bytes: 0, last_ms: None, full: false }
    }

    /// What may still be added.
    pub fn room(&self) -> Room {
        Room { records: self.room.records - self.count, bytes: self.room.bytes.saturating_sub(self.bytes) }
    }

    /// Number of records.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of their keys and data.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Time of the last record.
    pub fn last_ms(&self) -> Option<i64> {
        self.last_ms
    }

    /// Whether nothing more may be added.
    pub fn is_full(&self) -> bool {
        self.full || self.count >= self.room.records
    }

    /// Adds the records of a batch from an offset on, up to `end`. Returns the next offset.
    ///
    /// # Errors
    /// InternalFailureException: what is stored cannot be read.
    pub fn add(&mut self, batch: &[u8], from: u64, end: u64) -> Result<u64, Fault> {
        let unreadable = |cause: String| {
            tracing::error!(cause, offset = from, "a stored batch cannot be read");
            Fault::internal("a stored batch cannot be read; the server's log says which")
        };
        let opened = Opened::of(batch, MAX_UNCOMPRESSED).map_err(|e| unreadable(e.to_string()))?;
        let behind = opened.end_offset().max(from);
        if RecordBatch::peek(batch).is_some_and(|batch| batch.attributes & CONTROL != 0) {
            return Ok(behind);
        }
        for record in opened.records() {
            let record = record.map_err(|e| unreadable(e.to_string()))?;
            if record.offset < from {
                continue;
            }
            if record.offset >= end {
                return Ok(end);
            }
            let (key, data) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            if self.count > 0 && !self.fits(key.len() + data.len()) {
                self.full = true;
                return Ok(record.offset);
            }
            self.push(record.offset, record.timestamp, key, data);
            self.bytes += key.len() + data.len();
            self.last_ms = Some(record.timestamp);
        }
        Ok(behind)
    }

    fn fits(&mut self, bytes: usize) -> bool {
        let written = self.out.len() + bytes * 4 / 3 + RECORD_OVERHEAD;
        self.count < self.room.records && self.bytes + bytes <= self.room.bytes && self.bill.covers(written)
    }

    fn push(&mut self, offset: u64, time_ms: i64, key: &[u8], data: &[u8]) {
        let key = String::from_utf8_lossy(key);
        let (number, time) = (self.numbers.of_offset(offset), Timestamp(time_ms));
        self.count += 1;
        if self.format == Format::Cbor {
            let told = Told {
                sequence_number: number,
                approximate_arrival_timestamp: time,
                data: Data(data),
                partition_key: &key,
            };
            return self.format.encode(&told, &mut self.out);
        }
        let out = &mut self.out;
        if self.count > 1 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"SequenceNumber\":\"");
        out.extend_from_slice(number.as_bytes());
        out.extend_from_slice(b"\",\"ApproximateArrivalTimestamp\":");
        Format::Json.encode(&time, out);
        out.extend_from_slice(b",\"PartitionKey\":");
        Format::Json.encode(&key, out);
        out.extend_from_slice(b",\"Data\":\"");
        STANDARD.encode_append(data, out);
        out.extend_from_slice(b"\"}");
    }

    /// The whole answer: the records, and behind them the fields of `rest`, of which there are fewer than 24 and at least one.
    pub fn finish<R: Serialize>(mut self, rest: &R) -> Bytes {
        let mut fields = Vec::new();
        self.format.encode(rest, &mut fields);
        match self.format {
            Format::Json => {
                self.out.extend_from_slice(b"],");
                self.out.extend_from_slice(&fields[1..]);
            }
            Format::Cbor => {
                // The list ends, then come the fields without the head of their map, then the map ends.
                self.out.push(0xff);
                self.out.extend_from_slice(&fields[1..]);
                self.out.push(0xff);
            }
        }
        self.bill.settle(self.out)
    }
}
