//! Records: what an embedder appends and reads, and their encoding as one record batch.
//!
//! The layout is that of [`crate::record_batch`]; each record is (source:
//! <https://kafka.apache.org/documentation/#record>), all lengths as zigzag varints, -1 for null:
//!
//! ```text
//! length | attributes i8 (0) | timestamp delta | offset delta | key length, key | value length, value
//!        | number of headers | for each: name length, name, value length, value
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::ids::Offset;
use crate::record_batch::{
    BatchFields, HEADER_BYTES, HeaderFields, RecordBatch, base_offset, put_record, seal, total_len,
};
use crate::records::{CODEC_BITS, MAX_UNCOMPRESSED, Opened, RecordView, RecordsError, decompress};

use super::error::{Error, Result};

/// Attribute bit: a control batch, a message of the log to its readers without records of producers.
const CONTROL: i16 = 0x20;

/// A record to be appended.
///
/// ```
/// use keylane_engine::Record;
///
/// let record = Record::new("sensor-7", "21.5").with_header("unit", "celsius");
/// assert_eq!(record.key.as_deref(), Some(b"sensor-7".as_slice()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key; records with the same key belong into the same partition.
    pub key: Option<Bytes>,
    /// The value; a record without a value is a tombstone to Kafka's clients.
    pub value: Option<Bytes>,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// Timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Name of the header; names may repeat.
    pub name: String,
    /// Value of the header.
    pub value: Option<Bytes>,
}

/// A record that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Position of the record in its partition.
    pub offset: Offset,
    /// The record.
    pub record: Record,
}

impl Record {
    /// A record with the current time.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: Some(key.into()), ..Self::without_key(value) }
    }

    /// A record without a key, with the current time.
    pub fn without_key(value: impl Into<Bytes>) -> Self {
        Self { key: None, value: Some(value.into()), headers: Vec::new(), timestamp_ms: now_ms() }
    }

    /// The same record with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// The same record with another timestamp, in milliseconds since 1970.
    #[must_use]
    pub fn with_timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }
}

pub(super) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Encodes records as one batch without compression and without a producer id.
///
/// # Errors
///
/// [`Error::Empty`] without records, [`Error::TooLarge`] if they take more than 2 GiB.
pub fn encode(records: &[Record]) -> Result<Bytes> {
    let first = records.first().ok_or(Error::Empty)?;
    let base_timestamp = first.timestamp_ms;
    let max_timestamp = records.iter().map(|r| r.timestamp_ms).fold(base_timestamp, i64::max);
    let payload = |r: &Record| r.key.as_ref().map_or(0, Bytes::len) + r.value.as_ref().map_or(0, Bytes::len);
    let mut out = Vec::with_capacity(HEADER_BYTES + records.iter().map(|r| payload(r) + 24).sum::<usize>());
    out.resize(HEADER_BYTES, 0);
    for (offset_delta, record) in (0i32..).zip(records) {
        let headers: Vec<_> =
            record.headers.iter().map(|h| (h.name.as_bytes(), h.value.as_deref())).collect();
        let timestamp_delta = record.timestamp_ms.wrapping_sub(base_timestamp);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        put_record(&mut out, timestamp_delta, offset_delta, key, value, &headers);
    }
    if i32::try_from(out.len()).is_err() {
        return Err(Error::TooLarge { bytes: out.len(), max: i32::MAX as usize });
    }
    // A record takes more than a byte, so the number of records fits when their bytes do.
    let fields = BatchFields { max_timestamp, ..BatchFields::new(records.len() as i32, base_timestamp) };
    out[..HEADER_BYTES].copy_from_slice(&fields.header());
    seal(&mut out);
    Ok(out.into())
}

/// The records of stored batches that lie back to back in `slices`, from offset `from` on.
///
/// Each batch is copied, so that a record keeps only the memory of its own batch alive. Compressed batches are uncompressed, up to
/// [`MAX_UNCOMPRESSED`] bytes of one.
///
/// # Errors
///
/// [`Error::Unreadable`].
pub fn decode(slices: &[Bytes], from: Offset) -> Result<Vec<StoredRecord>> {
    let mut out = Vec::new();
    for slice in slices {
        let mut rest = slice.as_ref();
        while !rest.is_empty() {
            let len = total_len(rest).unwrap_or(rest.len()).clamp(1, rest.len());
            decode_batch(&Bytes::copy_from_slice(&rest[..len]), from, &mut out)?;
            rest = &rest[len..];
        }
    }
    Ok(out)
}

/// Adds the records of one batch, from offset `from` on, to `out`.
fn decode_batch(bytes: &Bytes, from: Offset, out: &mut Vec<StoredRecord>) -> Result<()> {
    let header = base_offset(bytes).zip(RecordBatch::peek(bytes));
    let cut_off = || Error::Unreadable { offset: from, cause: RecordsError::Header("it is cut off") };
    let (offset, batch) = header.ok_or_else(cut_off)?;
    let unreadable = |cause| Error::Unreadable { offset, cause };
    if batch.attributes & CONTROL != 0 {
        return Ok(());
    }
    let plain = match batch.attributes & CODEC_BITS {
        0 => bytes.clone(),
        codec => uncompressed(bytes, codec).map_err(unreadable)?,
    };
    let opened = Opened::of(&plain, plain.len()).map_err(unreadable)?;
    for (index, view) in (0u32..).zip(opened.records()) {
        let view = view.map_err(unreadable)?;
        if view.offset >= from {
            let malformed = || unreadable(RecordsError::Record { index, what: "its headers are malformed" });
            let record = record_of(&plain, &view).ok_or_else(malformed)?;
            out.push(StoredRecord { offset: view.offset, record });
        }
    }
    Ok(())
}

/// A batch with its records uncompressed and without the codec; length field and checksum are still those from before.
fn uncompressed(batch: &[u8], codec: i16) -> Result<Bytes, RecordsError> {
    let short = RecordsError::Header("it is cut off");
    let (header, records) = batch.split_at_checked(HEADER_BYTES).ok_or(short)?;
    let mut plain = header.to_vec();
    plain.extend_from_slice(&decompress(codec, records, MAX_UNCOMPRESSED)?);
    // The codec is in the lower byte of the attributes.
    plain[22] &= !(CODEC_BITS as u8);
    Ok(plain.into())
}

/// A record that shares the memory of its batch; `None` if its headers are malformed.
fn record_of(batch: &Bytes, view: &RecordView<'_>) -> Option<Record> {
    let shared = |part: &[u8]| batch.slice_ref(part);
    let header = |(name, value): HeaderFields<'_>| Header {
        name: String::from_utf8_lossy(name).into_owned(),
        value: value.map(shared),
    };
    Some(Record {
        key: view.key.map(shared),
        value: view.value.map(shared),
        headers: view.header_fields()?.into_iter().map(header).collect(),
        timestamp_ms: view.timestamp,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::record_batch::{build, patch};
    use crate::records::{APPEND_TIME, Compression, recompress};

    fn field() -> impl Strategy<Value = Option<Bytes>> {
        option::of(vec(any::<u8>(), 0..200).prop_map(Bytes::from))
    }

    fn record() -> impl Strategy<Value = Record> {
        let header = ("[a-z]{0,5}", field()).prop_map(|(name, value)| Header { name, value });
        let parts = (field(), field(), vec(header, 0..4), any::<i64>());
        parts.prop_map(|(key, value, headers, timestamp_ms)| Record { key, value, headers, timestamp_ms })
    }

    proptest! {
        #[test]
        fn records_read_back_and_the_log_takes_their_batch(
            records in vec(record(), 1..20), base in 0u64..1 << 40, skip in 0u64..20,
        ) {
            let mut batch = encode(&records).unwrap().to_vec();
            RecordBatch::check_stored(&batch).unwrap();
            patch(&mut batch, base, 0);
            let back = decode(&[batch.into()], base + skip).unwrap();
            let want: Vec<_> = records.into_iter().enumerate().skip(skip as usize)
                .map(|(i, record)| StoredRecord { offset: base + i as u64, record }).collect();
            prop_assert_eq!(back, want);
        }

        #[test]
        fn whatever_the_bytes_are_decoding_ends(
            records in vec(record(), 1..5), flips in vec((any::<usize>(), any::<u8>()), 1..8),
        ) {
            let mut batch = encode(&records).unwrap().to_vec();
            for (at, to) in flips {
                let at = at % batch.len();
                batch[at] = to;
            }
            let _either_way = decode(&[batch.into()], 0);
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        assert!(matches!(encode(&[]), Err(Error::Empty)));
        let mut batch = build(&[(b"k", b"v")], 5);
        patch(&mut batch, 7, 0);
        batch[22] = 4;
        let not_zstd = decode(&[batch.clone().into()], 0).unwrap_err();
        let cause = |e: &Error| match e {
            Error::Unreadable { offset: 7, cause } => cause.clone(),
            other => panic!("{other}"),
        };
        assert!(matches!(cause(&not_zstd), RecordsError::Decode(_)), "{not_zstd}");
        batch[22] = 0;
        batch[HEADER_BYTES] = 0;
        let malformed = decode(&[batch.into()], 0).unwrap_err();
        assert!(matches!(cause(&malformed), RecordsError::Record { index: 0, .. }), "{malformed}");
    }

    #[test]
    fn compressed_records_read_back_whatever_the_codec() {
        let records = [
            Record::new("k", vec![7; 10_000]).with_header("h", "v").with_timestamp_ms(5),
            Record::without_key("w").with_timestamp_ms(9),
        ];
        let plain = encode(&records).unwrap();
        for how in [
            Compression::Gzip { level: 6 },
            Compression::Snappy,
            Compression::Lz4 { level: 9 },
            Compression::Zstd { level: 3 },
        ] {
            let mut batch = recompress(&plain, how).unwrap().expect("another codec");
            assert!(batch.len() < plain.len());
            patch(&mut batch, 40, 0);
            let back = decode(&[batch.into()], 40).unwrap();
            let want = (40..).zip(records.clone()).map(|(offset, record)| StoredRecord { offset, record });
            assert_eq!(back, want.collect::<Vec<_>>(), "{how:?}");
        }
    }

    #[test]
    fn the_time_of_a_batch_that_has_one_is_that_of_its_records() {
        let records =
            [Record::new("k", "v").with_timestamp_ms(5), Record::new("k", "v").with_timestamp_ms(9)];
        let mut batch = encode(&records).unwrap().to_vec();
        batch[22] = APPEND_TIME as u8;
        let times = |b: &[u8]| {
            decode(&[Bytes::copy_from_slice(b)], 0)
                .unwrap()
                .iter()
                .map(|r| r.record.timestamp_ms)
                .collect::<Vec<_>>()
        };
        assert_eq!(times(&batch), [9, 9]);
        batch[22] = 0;
        assert_eq!(times(&batch), [5, 9]);
    }
}
