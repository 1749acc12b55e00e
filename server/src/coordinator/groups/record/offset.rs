//! Committed offsets as records of `__consumer_offsets`.
//!
//! ```text
//! key    i16 1 | group string | topic string | partition i32
//! value  i16 3 | offset i64 | leader epoch i32 | metadata string | commit time i64 in milliseconds
//! ```
//!
//! Strings have their length before them as an i16. A record without a value removes the offset. The header
//! `keylane.topic.id` (16 bytes) says which topic of that name was meant: what was committed for a deleted topic
//! does not hold for one that is made anew under its name. Kafka ignores it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use keylane_engine::{Header, Record};
use uuid::Uuid;

use super::parts::{RecordError, put_text, text, version};
use crate::coordinator::groups::change::{Committed, OffsetChange};

/// What the key of a committed offset begins with.
pub const KEY_VERSION: i16 = 1;
const VALUE_VERSION: i16 = 3;
const TOPIC_ID: &str = "keylane.topic.id";

/// A change as a record, of this time.
pub fn encode(change: &OffsetChange, now_ms: i64) -> Record {
    let mut key = BytesMut::new();
    key.put_i16(KEY_VERSION);
    put_text(&mut key, &change.group);
    put_text(&mut key, &change.topic);
    key.put_i32(change.partition);
    let value = change.value.as_ref().map(|committed| {
        let mut value = BytesMut::new();
        value.put_i16(VALUE_VERSION);
        value.put_i64(committed.offset);
        value.put_i32(committed.leader_epoch);
        put_text(&mut value, &committed.metadata);
        value.put_i64(committed.time_ms);
        value.freeze()
    });
    let id = change.value.as_ref().map(|committed| Header {
        name: TOPIC_ID.to_owned(),
        value: Some(Bytes::copy_from_slice(committed.topic_id.as_bytes())),
    });
    Record { key: Some(key.freeze()), value, headers: id.into_iter().collect(), timestamp_ms: now_ms }
}

/// The change that a record stands for, whose key goes on so after its version.
///
/// # Errors
/// [`RecordError`] if the record is not one that [`encode`] makes.
pub fn decode(mut key: &[u8], record: &Record) -> Result<OffsetChange, RecordError> {
    let group = text(&mut key)?.into();
    let topic = text(&mut key)?.into();
    let partition = key.try_get_i32()?;
    let value = match record.value.as_deref() {
        None => None,
        Some(mut value) => {
            version(&mut value, VALUE_VERSION)?;
            Some(Committed {
                offset: value.try_get_i64()?,
                leader_epoch: value.try_get_i32()?,
                metadata: text(&mut value)?.into(),
                topic_id: topic_id(record),
                time_ms: value.try_get_i64()?,
            })
        }
    };
    Ok(OffsetChange { group, topic, partition, value })
}

/// Nil, which no topic has, where there is none.
fn topic_id(record: &Record) -> Uuid {
    let header = record.headers.iter().find(|h| h.name == TOPIC_ID).and_then(|h| h.value.as_deref());
    header.and_then(|id| Uuid::from_slice(id).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::{decode, encode};
    use super::*;
    use crate::coordinator::groups::change::Change;

    /// The bytes are Kafka's: written out by hand after its message definitions `OffsetCommitKey` version 1
    /// and `OffsetCommitValue` version 3.
    #[test]
    fn records_have_the_bytes_of_kafka_and_read_back() {
        let committed = Committed {
            offset: 0x0102,
            leader_epoch: 5,
            metadata: "m\u{fc}".into(),
            topic_id: Uuid::from_u128(9),
            time_ms: 0x0a0b,
        };
        let change =
            OffsetChange { group: "grp".into(), topic: "tp".into(), partition: 3, value: Some(committed) };
        let change = Change::Offset(change);
        let record = encode(&change, 0x0a0b);
        assert_eq!(record.key.as_deref(), Some(&b"\0\x01\0\x03grp\0\x02tp\0\0\0\x03"[..]));
        let value = b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x05\0\x03m\xc3\xbc\0\0\0\0\0\0\x0a\x0b";
        assert_eq!(record.value.as_deref(), Some(&value[..]));
        assert_eq!(decode(&record), Ok(change));

        let gone = OffsetChange { group: "grp".into(), topic: "tp".into(), partition: 3, value: None };
        let gone = Change::Offset(gone);
        let tombstone = encode(&gone, 1);
        assert_eq!((tombstone.key.clone(), tombstone.value.clone()), (record.key.clone(), None));
        assert_eq!(decode(&tombstone), Ok(gone));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let committed = Committed {
            offset: 1,
            leader_epoch: -1,
            metadata: "".into(),
            topic_id: Uuid::from_u128(9),
            time_ms: 1,
        };
        let change =
            OffsetChange { group: "g".into(), topic: "t".into(), partition: 0, value: Some(committed) };
        let change = Change::Offset(change);
        let good = encode(&change, 1);
        let with = |key: Option<Bytes>, value| Record { key, value, ..good.clone() };
        let (key, value) = (good.key.clone().unwrap(), good.value.clone().unwrap());
        let other = Bytes::from([b"\0\x09", &key[2..]].concat());
        assert!(decode(&with(Some(other), Some(value.clone()))).is_err());
        assert!(decode(&with(None, Some(value.clone()))).is_err());
        for cut in 0..value.len() {
            assert!(decode(&with(Some(key.clone()), Some(value.slice(..cut)))).is_err(), "{cut}");
        }
        for cut in 0..key.len() {
            assert!(decode(&with(Some(key.slice(..cut)), Some(value.clone()))).is_err(), "{cut}");
        }
        let headless = Record { headers: Vec::new(), ..good.clone() };
        let Ok(Change::Offset(OffsetChange { value: Some(value), .. })) = decode(&headless) else { panic!() };
        assert_eq!(value.topic_id, Uuid::nil());
    }
}
