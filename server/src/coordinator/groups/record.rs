//! Committed offsets as records of `__consumer_offsets`, in Kafka's own format, so that the log can be read by
//! Kafka's tools and carried over to a Kafka cluster.
//!
//! ```text
//! key    i16 1 | group string | topic string | partition i32
//! value  i16 3 | offset i64 | leader epoch i32 | metadata string | commit time i64 in milliseconds
//! ```
//!
//! Strings have their length before them as an i16. A record without a value removes the offset. The header
//! `keylane.topic.id` (16 bytes) says which topic of that name was meant: what was committed for a deleted topic
//! does not hold for one that is made anew under its name. Kafka ignores it.

use bytes::{Bytes, BytesMut};
use keylane_engine::{Header, Record};
use keylane_kafka::wire::{Reader, WireError, WireErrorKind, Writer};
use uuid::Uuid;

use super::offsets::{Change, Committed};

const KEY_VERSION: i16 = 1;
const VALUE_VERSION: i16 = 3;
const TOPIC_ID: &str = "keylane.topic.id";

/// A change as a record, of this time.
pub fn encode(group: &str, change: &Change, now_ms: i64) -> Record {
    let mut key = BytesMut::new();
    let mut w = Writer::new(&mut key);
    w.i16(KEY_VERSION);
    w.string(false, group);
    w.string(false, &change.topic);
    w.i32(change.partition);
    let value = change.value.as_ref().map(|committed| {
        let mut value = BytesMut::new();
        let mut w = Writer::new(&mut value);
        w.i16(VALUE_VERSION);
        w.i64(committed.offset);
        w.i32(committed.leader_epoch);
        w.string(false, &committed.metadata);
        w.i64(now_ms);
        value.freeze()
    });
    let id = change.value.as_ref().map(|committed| Header {
        name: TOPIC_ID.to_owned(),
        value: Some(Bytes::copy_from_slice(committed.topic_id.as_bytes())),
    });
    Record { key: Some(key.freeze()), value, headers: id.into_iter().collect(), timestamp_ms: now_ms }
}

/// The group and the change that a record stands for.
pub fn decode(record: &Record) -> Result<(String, Change), WireError> {
    let mut r = Reader::new(record.key.as_deref().unwrap_or_default());
    version(&mut r, "key version", KEY_VERSION)?;
    let group = r.string(false, "group")?.to_owned();
    let topic = r.string(false, "topic")?.into();
    let partition = r.i32("partition")?;
    let value = match &record.value {
        None => None,
        Some(value) => {
            let mut r = Reader::new(value);
            version(&mut r, "value version", VALUE_VERSION)?;
            let committed = Committed {
                offset: r.i64("offset")?,
                leader_epoch: r.i32("leader_epoch")?,
                metadata: r.string(false, "metadata")?.into(),
                topic_id: topic_id(record),
            };
            r.i64("commit_timestamp")?;
            Some(committed)
        }
    };
    Ok((group, Change { topic, partition, value }))
}

fn version(r: &mut Reader<'_>, field: &'static str, known: i16) -> Result<(), WireError> {
    let before = r.clone();
    match r.i16(field)? {
        version if version == known => Ok(()),
        version => Err(before.error(field, WireErrorKind::Version(version))),
    }
}

/// Nil, which no topic has, where there is none.
fn topic_id(record: &Record) -> Uuid {
    let header = record.headers.iter().find(|h| h.name == TOPIC_ID).and_then(|h| h.value.as_deref());
    header.and_then(|id| Uuid::from_slice(id).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are Kafka's: written out by hand after its message definitions `OffsetCommitKey` version 1
    /// and `OffsetCommitValue` version 3.
    #[test]
    fn records_have_the_bytes_of_kafka_and_read_back() {
        let committed = Committed {
            offset: 0x0102,
            leader_epoch: 5,
            metadata: "m\u{fc}".into(),
            topic_id: Uuid::from_u128(9),
        };
        let change = Change { topic: "tp".into(), partition: 3, value: Some(committed) };
        let record = encode("grp", &change, 0x0a0b);
        assert_eq!(record.key.as_deref(), Some(&b"\0\x01\0\x03grp\0\x02tp\0\0\0\x03"[..]));
        let value = b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x05\0\x03m\xc3\xbc\0\0\0\0\0\0\x0a\x0b";
        assert_eq!(record.value.as_deref(), Some(&value[..]));
        assert_eq!(decode(&record), Ok(("grp".to_owned(), change)));

        let gone = Change { topic: "tp".into(), partition: 3, value: None };
        let tombstone = encode("grp", &gone, 1);
        assert_eq!((tombstone.key.clone(), tombstone.value.clone()), (record.key.clone(), None));
        assert_eq!(decode(&tombstone), Ok(("grp".to_owned(), gone)));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let committed =
            Committed { offset: 1, leader_epoch: -1, metadata: "".into(), topic_id: Uuid::from_u128(9) };
        let good = encode("g", &Change { topic: "t".into(), partition: 0, value: Some(committed) }, 1);
        let with = |key: Option<Bytes>, value| Record { key, value, ..good.clone() };
        let (key, value) = (good.key.clone().unwrap(), good.value.clone().unwrap());
        // Key version 2 is metadata of a group with members.
        let other = Bytes::from([b"\0\x02", &key[2..]].concat());
        assert!(decode(&with(Some(other), Some(value.clone()))).is_err());
        assert!(decode(&with(None, Some(value.clone()))).is_err());
        for cut in 0..value.len() {
            assert!(decode(&with(Some(key.clone()), Some(value.slice(..cut)))).is_err(), "{cut}");
        }
        for cut in 0..key.len() {
            assert!(decode(&with(Some(key.slice(..cut)), Some(value.clone()))).is_err(), "{cut}");
        }
        let headless = Record { headers: Vec::new(), ..good.clone() };
        assert_eq!(decode(&headless).unwrap().1.value.unwrap().topic_id, Uuid::nil());
    }
}
