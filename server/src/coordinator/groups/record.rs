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

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use keylane_engine::{Header, Record};
use uuid::Uuid;

use super::change::{Change, Committed};

const KEY_VERSION: i16 = 1;
const VALUE_VERSION: i16 = 3;
const TOPIC_ID: &str = "keylane.topic.id";
/// Longest text that its length can state.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// Why a record is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends too early.
    #[error("the record is cut off: {0}")]
    Short(#[from] TryGetError),
    /// A text that is none.
    #[error("a text of the record has a negative length or is not UTF-8")]
    Text,
    /// Another version than the one that is written here.
    #[error("the record has version {0}, which is not known")]
    Version(i16),
}

/// A change as a record, of this time.
pub fn encode(change: &Change, now_ms: i64) -> Record {
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
        value.put_i64(now_ms);
        value.freeze()
    });
    let id = change.value.as_ref().map(|committed| Header {
        name: TOPIC_ID.to_owned(),
        value: Some(Bytes::copy_from_slice(committed.topic_id.as_bytes())),
    });
    Record { key: Some(key.freeze()), value, headers: id.into_iter().collect(), timestamp_ms: now_ms }
}

/// The change that a record stands for.
///
/// # Errors
/// [`RecordError`] if the record is not one that [`encode`] makes.
pub fn decode(record: &Record) -> Result<Change, RecordError> {
    let mut key = record.key.as_deref().unwrap_or_default();
    version(&mut key, KEY_VERSION)?;
    let group = text(&mut key)?.into();
    let topic = text(&mut key)?.into();
    let partition = key.try_get_i32()?;
    let value = match record.value.as_deref() {
        None => None,
        Some(mut value) => {
            version(&mut value, VALUE_VERSION)?;
            let committed = Committed {
                offset: value.try_get_i64()?,
                leader_epoch: value.try_get_i32()?,
                metadata: text(&mut value)?.into(),
                topic_id: topic_id(record),
            };
            let _commit_time = value.try_get_i64()?;
            Some(committed)
        }
    };
    Ok(Change { group, topic, partition, value })
}

/// Writes a text with its length before it. What is longer than that can state is cut off.
fn put_text(out: &mut BytesMut, text: &str) {
    let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, RecordError> {
    let len = usize::try_from(rest.try_get_i16()?).map_err(|_| RecordError::Text)?;
    let available = rest.len();
    let bytes = rest.split_off(..len).ok_or(TryGetError { requested: len, available })?;
    std::str::from_utf8(bytes).map_err(|_| RecordError::Text)
}

fn version(rest: &mut &[u8], known: i16) -> Result<(), RecordError> {
    match rest.try_get_i16()? {
        version if version == known => Ok(()),
        version => Err(RecordError::Version(version)),
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
        let change = Change { group: "grp".into(), topic: "tp".into(), partition: 3, value: Some(committed) };
        let record = encode(&change, 0x0a0b);
        assert_eq!(record.key.as_deref(), Some(&b"\0\x01\0\x03grp\0\x02tp\0\0\0\x03"[..]));
        let value = b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x05\0\x03m\xc3\xbc\0\0\0\0\0\0\x0a\x0b";
        assert_eq!(record.value.as_deref(), Some(&value[..]));
        assert_eq!(decode(&record), Ok(change));

        let gone = Change { group: "grp".into(), topic: "tp".into(), partition: 3, value: None };
        let tombstone = encode(&gone, 1);
        assert_eq!((tombstone.key.clone(), tombstone.value.clone()), (record.key.clone(), None));
        assert_eq!(decode(&tombstone), Ok(gone));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let committed =
            Committed { offset: 1, leader_epoch: -1, metadata: "".into(), topic_id: Uuid::from_u128(9) };
        let change = Change { group: "g".into(), topic: "t".into(), partition: 0, value: Some(committed) };
        let good = encode(&change, 1);
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
        assert_eq!(decode(&headless).unwrap().value.unwrap().topic_id, Uuid::nil());
    }
}
