//! Members of groups and their assignments as records of `__consumer_offsets`.
//!
//! ```text
//! key     i16 2 | group string
//! value   i16 3 | protocol type string | generation i32 | protocol string or null | leader string or null
//!         | time i64 in milliseconds, since which it is so | number of members i32 | members
//! member  id string | instance string or null | client id string | client host string | rebalance time-out i32
//!         | session time-out i32 | subscription bytes | assignment bytes
//! ```
//!
//! Strings have their length before them as an i16, -1 for null; bytes as an i32. Time-outs are in milliseconds.

use std::rc::Rc;

use bytes::{Buf, BufMut, BytesMut};
use keylane_engine::Record;

use super::parts::{
    RecordError, bytes, nullable_text, put_bytes, put_nullable_text, put_text, text, version,
};
use crate::coordinator::groups::classic::{Millis, Stored, StoredMember};

/// What the key of a group begins with.
pub const KEY_VERSION: i16 = 2;
const VALUE_VERSION: i16 = 3;
/// The fewest bytes of a member.
const MEMBER_BYTES_MIN: usize = 4 * 2 + 4 * 4;

/// A group as a record, of this time.
pub fn encode(group: &str, value: Option<&Stored>, now_ms: i64) -> Record {
    let mut key = BytesMut::new();
    key.put_i16(KEY_VERSION);
    put_text(&mut key, group);
    let value = value.map(|stored| {
        let mut out = BytesMut::with_capacity(stored.bytes());
        put(&mut out, stored);
        out.freeze()
    });
    Record { key: Some(key.freeze()), value, headers: Vec::new(), timestamp_ms: now_ms }
}

fn put(out: &mut BytesMut, stored: &Stored) {
    out.put_i16(VALUE_VERSION);
    put_text(out, &stored.protocol_type);
    out.put_i32(stored.generation);
    put_nullable_text(out, stored.protocol.as_deref());
    put_nullable_text(out, stored.leader.as_deref());
    out.put_i64(stored.since_ms);
    out.put_i32(i32::try_from(stored.members.len()).unwrap_or(i32::MAX));
    for member in &stored.members {
        put_text(out, &member.id);
        put_nullable_text(out, member.instance.as_deref());
        put_text(out, &member.client_id);
        put_text(out, &member.client_host);
        out.put_i32(i32::try_from(member.rebalance).unwrap_or(i32::MAX));
        out.put_i32(i32::try_from(member.session).unwrap_or(i32::MAX));
        put_bytes(out, &member.subscription);
        put_bytes(out, &member.assignment);
    }
}

/// The group that a record stands for, whose key goes on so after its version.
///
/// # Errors
/// [`RecordError`] if the record is not one that [`encode`] makes.
pub fn decode(mut key: &[u8], record: &Record) -> Result<(Rc<str>, Option<Stored>), RecordError> {
    let group = text(&mut key)?.into();
    let Some(mut rest) = record.value.as_deref() else { return Ok((group, None)) };
    version(&mut rest, VALUE_VERSION)?;
    let mut stored = Stored {
        protocol_type: text(&mut rest)?.into(),
        generation: rest.try_get_i32()?,
        protocol: nullable_text(&mut rest)?.map(Into::into),
        leader: nullable_text(&mut rest)?.map(Into::into),
        since_ms: rest.try_get_i64()?,
        members: Vec::new(),
    };
    let members = usize::try_from(rest.try_get_i32()?).map_err(|_| RecordError::Negative)?;
    stored.members.reserve(members.min(rest.len() / MEMBER_BYTES_MIN));
    for _ in 0..members {
        stored.members.push(member(&mut rest)?);
    }
    Ok((group, Some(stored)))
}

fn member(rest: &mut &[u8]) -> Result<StoredMember, RecordError> {
    Ok(StoredMember {
        id: text(rest)?.into(),
        instance: nullable_text(rest)?.map(Into::into),
        client_id: text(rest)?.into(),
        client_host: text(rest)?.into(),
        rebalance: millis(rest)?,
        session: millis(rest)?,
        subscription: bytes(rest)?,
        assignment: bytes(rest)?,
    })
}

fn millis(rest: &mut &[u8]) -> Result<Millis, RecordError> {
    Millis::try_from(rest.try_get_i32()?).map_err(|_| RecordError::Negative)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{decode, encode};
    use super::*;
    use crate::coordinator::groups::change::Change;

    fn group(members: Vec<StoredMember>) -> Change {
        let stored = Stored {
            protocol_type: "consumer".into(),
            generation: 7,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            since_ms: 0x0a0b,
            members,
        };
        Change::Members { group: "grp".into(), value: Some(stored.into()) }
    }

    fn one() -> StoredMember {
        StoredMember {
            id: "m".into(),
            instance: None,
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance: 300_000,
            session: 45_000,
            subscription: Bytes::from_static(b"want"),
            assignment: Bytes::from_static(b"have"),
        }
    }

    /// The bytes are Kafka's: written out by hand after its message definitions `GroupMetadataKey` version 2 and
    /// `GroupMetadataValue` version 3.
    #[test]
    fn records_have_the_bytes_of_kafka_and_read_back() {
        let change = group(vec![one()]);
        let record = encode(&change, 1);
        assert_eq!(record.key.as_deref(), Some(&b"\0\x02\0\x03grp"[..]));
        let value = [
            &b"\0\x03\0\x08consumer\0\0\0\x07\0\x05range\0\x01m\0\0\0\0\0\0\x0a\x0b\0\0\0\x01"[..],
            &b"\0\x01m\xff\xff\0\x01c\0\x02/h\0\x04\x93\xe0\0\0\xaf\xc8\0\0\0\x04want\0\0\0\x04have"[..],
        ];
        assert_eq!(record.value.as_deref(), Some(&value.concat()[..]));
        assert_eq!(decode(&record), Ok(change));
        let gone = Change::Members { group: "grp".into(), value: None };
        assert_eq!(decode(&encode(&gone, 1)), Ok(gone));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let good = encode(&group(vec![one(), StoredMember { instance: Some("i".into()), ..one() }]), 1);
        let value = good.value.clone().unwrap();
        let with = |value: Bytes| decode(&Record { value: Some(value), ..good.clone() });
        assert!(with(value.clone()).is_ok());
        for cut in 0..value.len() {
            assert!(with(value.slice(..cut)).is_err(), "{cut}");
        }
        // A count of members that are not there takes no memory.
        let mut many = value.to_vec();
        let at = 2 + 10 + 4 + 7 + 3 + 8;
        many[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(with(many.into()).is_err());
    }
}
