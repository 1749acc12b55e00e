//! What is kept of consumer groups as records of `__consumer_offsets` (KIP-848).
//!
//! ```text
//! key 3   group                   value  epoch i32 | tag 0: hash of the topics i64
//! key 5   group, member           value  instance, rack, client id, client host | topics | regular expression
//!                                        | rebalance time-out i32 | assignor | tag 0: i8 1, session time-out i32, protocols
//! key 6   group                   value  epoch i32
//! key 7   group, member           value  partitions
//! key 8   group, member           value  epoch i32, epoch before i32 | state i8 | partitions assigned | partitions to give back
//! key 16  group, expression       value  topics | version i64 | time i64
//! ```
//!
//! Keys are an i16 and strings with an i16 for their length. Values begin with an i16 0 and have compact types and
//! tagged fields. Partitions are an array of topic id and array of i32. A record without a value removes what its key names.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use keylane_engine::Record;

use super::compact::{
    bytes, id, list, nullable_text, put_bytes, put_list, put_no_tags, put_nullable_text, put_number,
    skip_tags, tags, text,
};
use super::parts::{self, RecordError, put_text, version};
use crate::coordinator::groups::consumer::{
    Classic, Current, Entry, Epoch, Partitions, Resolved, State, Subscriber,
};

const EPOCH: i16 = 3;
const SUBSCRIBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;
const VALUE_VERSION: i16 = 0;

/// Whether the key of a record of a consumer group begins so.
pub fn is_key(version: i16) -> bool {
    matches!(version, EPOCH | SUBSCRIBER | TARGET_EPOCH | TARGET | CURRENT | REGEX)
}

/// An entry as a record, of this time.
pub fn encode(group: &str, entry: &Entry, now_ms: i64) -> Record {
    let (kind, name) = match entry {
        Entry::Epoch(_) => (EPOCH, None),
        Entry::Subscriber(id, _) => (SUBSCRIBER, Some(id)),
        Entry::TargetEpoch(_) => (TARGET_EPOCH, None),
        Entry::Target(id, _) => (TARGET, Some(id)),
        Entry::Current(id, _) => (CURRENT, Some(id)),
        Entry::Regex(text, _) => (REGEX, Some(text)),
    };
    let mut key = BytesMut::new();
    key.put_i16(kind);
    put_text(&mut key, group);
    name.into_iter().for_each(|name| put_text(&mut key, name));
    let mut out = BytesMut::with_capacity(entry.bytes());
    out.put_i16(VALUE_VERSION);
    let value = put_value(&mut out, entry).map(|()| out.freeze());
    Record { key: Some(key.freeze()), value, headers: Vec::new(), timestamp_ms: now_ms }
}

/// Writes the value of an entry; `None`: it has none.
fn put_value(out: &mut BytesMut, entry: &Entry) -> Option<()> {
    match entry {
        Entry::Epoch(value) => {
            let Epoch { epoch, topics_hash } = (*value)?;
            out.put_i32(epoch);
            // One tagged field: its number, its length, and the hash.
            [1, 0, 8].into_iter().for_each(|number| put_number(out, number));
            out.put_u64(topics_hash);
            return Some(());
        }
        Entry::TargetEpoch(value) => out.put_i32((*value)?),
        Entry::Subscriber(_, value) => {
            put_subscriber(out, value.as_ref()?);
            return Some(());
        }
        Entry::Target(_, value) => put_partitions(out, value.as_ref()?),
        Entry::Current(_, value) => {
            let current = value.as_ref()?;
            out.put_i32(current.epoch);
            out.put_i32(current.previous);
            out.put_i8(match current.state {
                State::Stable => 0,
                State::Unrevoked => 1,
                State::Unreleased => 2,
            });
            put_partitions(out, &current.assigned);
            put_partitions(out, &current.revoking);
        }
        Entry::Regex(_, value) => {
            let resolved = value.as_ref()?;
            put_list(out, resolved.topics.iter(), |out, topic| put_bytes(out, topic.as_bytes()));
            out.put_i64(resolved.version);
            out.put_i64(resolved.time_ms);
        }
    }
    put_no_tags(out);
    Some(())
}

fn put_subscriber(out: &mut BytesMut, said: &Subscriber) {
    put_nullable_text(out, said.instance.as_deref());
    put_nullable_text(out, said.rack.as_deref());
    put_bytes(out, said.client_id.as_bytes());
    put_bytes(out, said.client_host.as_bytes());
    put_list(out, said.topics.iter(), |out, topic| put_bytes(out, topic.as_bytes()));
    put_nullable_text(out, said.regex.as_deref());
    out.put_i32(said.rebalance_ms);
    put_nullable_text(out, said.assignor.as_deref());
    let Some(classic) = &said.classic else { return put_no_tags(out) };
    let mut field = BytesMut::new();
    field.put_i8(1);
    field.put_i32(classic.session_ms);
    put_list(&mut field, classic.protocols.iter(), |out, (name, wants)| {
        put_bytes(out, name.as_bytes());
        put_bytes(out, wants);
        put_no_tags(out);
    });
    put_no_tags(&mut field);
    put_number(out, 1);
    put_number(out, 0);
    put_number(out, field.len() as u32);
    out.put_slice(&field);
}

fn put_partitions(out: &mut BytesMut, partitions: &Partitions) {
    put_list(out, partitions.topics(), |out, (topic, numbers)| {
        out.put_slice(topic.as_bytes());
        put_list(out, numbers.iter(), |out, number| out.put_i32(*number));
        put_no_tags(out);
    });
}

/// The group and the entry that a record stands for, whose key goes on so after its version.
///
/// # Errors
/// [`RecordError`] if the record is not one that [`encode`] makes.
pub fn decode(kind: i16, mut key: &[u8], record: &Record) -> Result<(Rc<str>, Entry), RecordError> {
    let group = parts::text(&mut key)?.into();
    let mut name = || parts::text(&mut key).map(Arc::from);
    let mut value = record.value.as_deref();
    if let Some(rest) = &mut value {
        version(rest, VALUE_VERSION)?;
    }
    let entry = match kind {
        EPOCH => Entry::Epoch(read(value, epoch)?),
        SUBSCRIBER => Entry::Subscriber(name()?, read(value, subscriber)?.map(Rc::new)),
        TARGET_EPOCH => Entry::TargetEpoch(read_to_tags(value, |rest| Ok(rest.try_get_i32()?))?),
        TARGET => Entry::Target(name()?, read_to_tags(value, partitions)?.map(Rc::new)),
        CURRENT => Entry::Current(name()?, read_to_tags(value, current)?.map(Rc::new)),
        REGEX => Entry::Regex(name()?, read_to_tags(value, resolved)?.map(Rc::new)),
        other => return Err(RecordError::Version(other)),
    };
    Ok((group, entry))
}

/// Reads a value, and skips its tagged fields, none of which is known.
fn read_to_tags<'a, T>(
    value: Option<&'a [u8]>,
    fields: impl FnOnce(&mut &'a [u8]) -> Result<T, RecordError>,
) -> Result<Option<T>, RecordError> {
    read(value, |rest| {
        let value = fields(rest)?;
        skip_tags(rest)?;
        Ok(value)
    })
}

/// Reads a value with its tagged fields.
fn read<'a, T>(
    value: Option<&'a [u8]>,
    read: impl FnOnce(&mut &'a [u8]) -> Result<T, RecordError>,
) -> Result<Option<T>, RecordError> {
    value.map(|mut rest| read(&mut rest)).transpose()
}

fn epoch(rest: &mut &[u8]) -> Result<Epoch, RecordError> {
    let mut epoch = Epoch { epoch: rest.try_get_i32()?, topics_hash: 0 };
    tags(rest, |tag, field| {
        if tag == 0 {
            epoch.topics_hash = field.try_get_u64()?;
        }
        Ok(())
    })?;
    Ok(epoch)
}

fn subscriber(rest: &mut &[u8]) -> Result<Subscriber, RecordError> {
    let mut said = Subscriber {
        instance: nullable_text(rest)?.map(Into::into),
        rack: nullable_text(rest)?.map(Into::into),
        client_id: text(rest)?.into(),
        client_host: text(rest)?.into(),
        topics: list(rest, |rest| Ok(text(rest)?.into()))?,
        regex: nullable_text(rest)?.filter(|text| !text.is_empty()).map(Into::into),
        rebalance_ms: rest.try_get_i32()?,
        assignor: nullable_text(rest)?.map(Into::into),
        classic: None,
    };
    tags(rest, |tag, field| {
        if tag == 0 && field.try_get_i8()? >= 0 {
            said.classic = Some(classic(field)?);
        }
        Ok(())
    })?;
    Ok(said)
}

fn classic(rest: &mut &[u8]) -> Result<Classic, RecordError> {
    let session_ms = rest.try_get_i32()?;
    let protocols = list(rest, |rest| {
        let protocol = (text(rest)?.into(), bytes(rest)?);
        skip_tags(rest)?;
        Ok(protocol)
    })?;
    Ok(Classic { session_ms, protocols })
}

fn partitions(rest: &mut &[u8]) -> Result<Partitions, RecordError> {
    let topics = list(rest, |rest| {
        let topic = (id(rest)?, list(rest, |rest| Ok(rest.try_get_i32()?))?);
        skip_tags(rest)?;
        Ok(topic)
    })?;
    Ok(topics.into_iter().flat_map(|(topic, list)| list.into_iter().map(move |one| (topic, one))).collect())
}

fn current(rest: &mut &[u8]) -> Result<Current, RecordError> {
    Ok(Current {
        epoch: rest.try_get_i32()?,
        previous: rest.try_get_i32()?,
        state: match rest.try_get_i8()? {
            0 => State::Stable,
            1 => State::Unrevoked,
            2 => State::Unreleased,
            _ => return Err(RecordError::Number),
        },
        assigned: partitions(rest)?,
        revoking: partitions(rest)?,
    })
}

fn resolved(rest: &mut &[u8]) -> Result<Resolved, RecordError> {
    Ok(Resolved {
        topics: list(rest, |rest| Ok(text(rest)?.into()))?,
        version: rest.try_get_i64()?,
        time_ms: rest.try_get_i64()?,
    })
}

#[cfg(test)]
mod tests {
    use ::bytes::Bytes;
    use uuid::Uuid;

    use super::super::{decode, encode};
    use super::*;
    use crate::coordinator::groups::change::Change;

    fn change(entry: Entry) -> Change {
        Change::Consumer { group: "g".into(), entry }
    }

    fn subscriber() -> Subscriber {
        Subscriber {
            instance: None,
            rack: Some("r".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            topics: vec!["t".into(), "uv".into()],
            regex: None,
            rebalance_ms: 0x0102,
            assignor: Some("range".into()),
            classic: None,
        }
    }

    fn all() -> Vec<(Entry, &'static [u8], Vec<u8>)> {
        let partitions: Partitions = [(Uuid::from_u128(7), 0), (Uuid::from_u128(7), 3)].into_iter().collect();
        let topic = [&b"\x02"[..], &[0; 15], &b"\x07\x03\0\0\0\0\0\0\0\x03\0"[..]].concat();
        let classic = Classic { session_ms: 9, protocols: vec![("p".into(), Bytes::from_static(b"m"))] };
        let said = &b"\0\0\0\x02r\x02c\x03/h\x03\x02t\x03uv\0\0\0\x01\x02\x06range"[..];
        let current = Current {
            epoch: 5,
            previous: 4,
            state: State::Unrevoked,
            assigned: partitions.clone(),
            revoking: Partitions::default(),
        };
        let resolved = Resolved { topics: vec!["t".into()], version: 2, time_ms: 3 };
        let with_classic = Subscriber { classic: Some(classic), ..subscriber() };
        vec![
            (
                Entry::Epoch(Some(Epoch { epoch: 6, topics_hash: 0x0a0b })),
                b"\0\x03\0\x01g",
                b"\0\0\0\0\0\x06\x01\0\x08\0\0\0\0\0\0\x0a\x0b".to_vec(),
            ),
            (
                Entry::Subscriber("m".into(), Some(subscriber().into())),
                b"\0\x05\0\x01g\0\x01m",
                [said, b"\0"].concat(),
            ),
            (
                Entry::Subscriber("m".into(), Some(with_classic.into())),
                b"\0\x05\0\x01g\0\x01m",
                [said, b"\x01\0\x0c\x01\0\0\0\x09\x02\x02p\x02m\0\0"].concat(),
            ),
            (Entry::TargetEpoch(Some(5)), b"\0\x06\0\x01g", b"\0\0\0\0\0\x05\0".to_vec()),
            (
                Entry::Target("m".into(), Some(partitions.into())),
                b"\0\x07\0\x01g\0\x01m",
                [&b"\0\0"[..], &topic, b"\0"].concat(),
            ),
            (
                Entry::Current("m".into(), Some(current.into())),
                b"\0\x08\0\x01g\0\x01m",
                [&b"\0\0\0\0\0\x05\0\0\0\x04\x01"[..], &topic, b"\x01\0"].concat(),
            ),
            (
                Entry::Regex("t.*".into(), Some(resolved.into())),
                b"\0\x10\0\x01g\0\x03t.*",
                b"\0\0\x02\x02t\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0".to_vec(),
            ),
        ]
    }

    /// The bytes are Kafka's: written out by hand after its message definitions `ConsumerGroup*Key` and `ConsumerGroup*Value`.
    #[test]
    fn records_have_the_bytes_of_kafka_and_read_back() {
        for (entry, key, value) in all() {
            let record = encode(&change(entry.clone()), 1);
            assert_eq!(record.key.as_deref(), Some(key), "{entry:?}");
            assert_eq!(record.value.as_deref(), Some(&value[..]), "{entry:?}");
            assert_eq!(decode(&record), Ok(change(entry)));
        }
        let gone = change(Entry::Current("m".into(), None));
        let record = encode(&gone, 1);
        assert_eq!((record.value.clone(), decode(&record)), (None, Ok(gone)));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for (entry, _, value) in all() {
            let good = encode(&change(entry.clone()), 1);
            for cut in 0..value.len() {
                let value = Bytes::copy_from_slice(&value[..cut]);
                assert!(decode(&Record { value: Some(value), ..good.clone() }).is_err(), "{entry:?} {cut}");
            }
        }
        // A count of topics that are not there takes no memory, and a length beyond the end is none.
        let good = encode(&change(Entry::Target("m".into(), Some(Rc::default()))), 1);
        for value in [&b"\0\0\xff\xff\xff\xff\x0f"[..], b"\0\0\xff\xff\xff\xff\xff\xff", b"\0\x01\x01\0"] {
            let record = Record { value: Some(Bytes::copy_from_slice(value)), ..good.clone() };
            assert!(decode(&record).is_err(), "{value:?}");
        }
    }
}
