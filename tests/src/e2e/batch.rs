//! Record batches, written and read with the `kafka-protocol` crate.

use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

/// Time of records in milliseconds: now, so that they are young enough to be retained.
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since_epoch.as_millis()).expect("a time in this age")
}

/// Who wrote a batch.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    pub producer_id: i64,
    pub epoch: i16,
    /// Sequence of the batch's first record.
    pub sequence: i32,
}

/// A producer that is not idempotent.
pub const NOBODY: Writer = Writer { producer_id: -1, epoch: -1, sequence: -1 };

/// A batch with these values.
pub fn batch(values: &[Bytes], writer: Writer) -> Bytes {
    encoded(&under(Some("key"), values), writer, now_ms())
}

/// A batch of records with these keys and values; without a value a record is a tombstone.
pub fn keyed(pairs: &[(&str, Option<Bytes>)]) -> Bytes {
    let owned =
        |(key, value): &(&str, Option<Bytes>)| (Some(Bytes::copy_from_slice(key.as_bytes())), value.clone());
    let pairs: Vec<Pair> = pairs.iter().map(owned).collect();
    encoded(&pairs, NOBODY, now_ms())
}

/// Key and value of a record.
type Pair = (Option<Bytes>, Option<Bytes>);

fn under(key: Option<&'static str>, values: &[Bytes]) -> Vec<Pair> {
    values.iter().map(|value| (key.map(Bytes::from), Some(value.clone()))).collect()
}

/// A batch of one record without a key.
pub fn keyless(value: impl Into<Bytes>) -> Bytes {
    encoded(&under(None, &[value.into()]), NOBODY, now_ms())
}

/// A batch of one record of this time.
pub fn dated(value: impl Into<Bytes>, timestamp_ms: i64) -> Bytes {
    encoded(&under(Some("key"), &[value.into()]), NOBODY, timestamp_ms)
}

/// A batch of records of these times, in milliseconds.
pub fn timed(times_ms: &[i64]) -> Bytes {
    let pairs = under(Some("key"), &vec![Bytes::from("value"); times_ms.len()]);
    encoded_at(&pairs, NOBODY, |number| times_ms[number])
}

fn encoded(pairs: &[Pair], writer: Writer, timestamp: i64) -> Bytes {
    encoded_at(pairs, writer, |_| timestamp)
}

fn encoded_at(pairs: &[Pair], writer: Writer, timestamp: impl Fn(usize) -> i64) -> Bytes {
    let idempotent = writer.producer_id >= 0;
    let record = |(number, (key, value)): (i32, &Pair)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: writer.producer_id,
        producer_epoch: writer.epoch,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(number),
        // Without a producer the codec still wants sequences that rise with the offsets.
        sequence: if idempotent { writer.sequence + number } else { number - 1 },
        timestamp: timestamp(number as usize),
        key: key.clone(),
        value: value.clone(),
        headers: Default::default(),
    };
    let records: Vec<Record> = (0i32..).zip(pairs).map(record).collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode(&mut out, &records, &options).expect("a batch of plain records");
    out.freeze()
}

/// A batch of one record.
pub fn single(value: impl Into<Bytes>) -> Bytes {
    batch(&[value.into()], NOBODY)
}

/// A value of `len` bytes that says which one it is.
pub fn numbered(number: u64, len: usize) -> Bytes {
    let mut value = format!("{number:016}").into_bytes();
    value.resize(len.max(16), b'.');
    value.into()
}

/// Offsets and values of whole batches; a batch that was cut off at the end is left out.
pub fn values(records: &Bytes) -> Result<Vec<(i64, Bytes)>> {
    let value = |record: Record| Ok((record.offset, record.value.context("a record without value")?));
    stored(records)?.into_iter().map(value).collect()
}

/// The records of whole batches; a batch that was cut off at the end is left out.
pub fn stored(records: &Bytes) -> Result<Vec<Record>> {
    let mut rest = records.clone();
    let mut out = Vec::new();
    while let Some(length) = rest.get(8..12) {
        let length = i32::from_be_bytes(length.try_into().context("four bytes")?);
        let whole = 12 + usize::try_from(length).context("a batch of negative length")?;
        if rest.len() < whole {
            break;
        }
        let set = RecordBatchDecoder::decode(&mut rest.split_to(whole))?;
        out.extend(set.records);
    }
    ensure!(records.is_empty() || !out.is_empty(), "{} bytes without a whole batch", records.len());
    Ok(out)
}
