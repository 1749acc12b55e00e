//! Requests and responses of every API in the table, in every version, and the headers of requests. What is taken is
//! written again, and that is read as the same. Produce requests are read alike by the declaration and in place.

use bytes::BytesMut;
use keylane_kafka::hot::produce::ProduceRequest;
use keylane_kafka::{ApiKey, Message, Reader, RequestHeader, SERVED, Writer, frame, messages};
use keylane_sim_disk::Rng;

use crate::harness::{Outcome, fuzz, must_find};
use crate::spoil::{spoil, spoil_in_place};

macro_rules! written_again {
    ($(
        $name:ident = $key:literal, $min:literal..=$max:literal $(advertised $advertised:literal)?,
        flexible $flexible:literal,
        $module:ident::{$request:ident $(<$lt:lifetime>)?, $response:ident $(<$rlt:lifetime>)?};
    )*) => {
        /// What is read from a body, written again; `None`: it is refused.
        fn written_again(api: ApiKey, version: i16, answer: bool, body: &[u8]) -> Option<BytesMut> {
            match (api, answer) {
                $(
                    (ApiKey::$name, false) => again::<messages::$module::$request>(version, body),
                    (ApiKey::$name, true) => again::<messages::$module::$response>(version, body),
                )*
            }
        }
    };
}

keylane_kafka::for_each_api!(written_again);

fn again<'a, M: Message<'a>>(version: i16, body: &'a [u8]) -> Option<BytesMut> {
    let message = M::decode(version, &mut Reader::new(body)).ok()?;
    let mut out = BytesMut::new();
    message.encode(version, &mut Writer::new(&mut out));
    Some(out)
}

/// A spoiled body: API, version, whether it is a response, bytes.
fn body(rng: &mut Rng) -> (ApiKey, i16, bool, Vec<u8>) {
    let spec = SERVED[rng.below(SERVED.len() as u64) as usize];
    let version = spec.min + rng.below((spec.max - spec.min) as u64 + 1) as i16;
    let answer = rng.one_in(2);
    let sample = if answer { ApiKey::sample_response } else { ApiKey::sample_request };
    let mut bytes = sample(spec.key, version).to_vec();
    for _ in 0..rng.below(4) {
        if rng.one_in(3) { spoil(&mut bytes, rng) } else { spoil_in_place(&mut bytes, rng) }
    }
    (spec.key, version, answer, bytes)
}

#[test]
fn every_message_of_every_api() {
    fuzz("messages", 60_000, &mut |rng| {
        let (api, version, answer, bytes) = body(rng);
        let Some(first) = written_again(api, version, answer, &bytes) else { return Ok(Outcome::Refused) };
        match written_again(api, version, answer, &first) {
            Some(second) if second == first => Ok(Outcome::Taken),
            other => Err(format!("{api:?} v{version} {bytes:x?}: written {first:x?}, then {other:x?}")),
        }
    });
}

#[test]
fn produce_in_place() {
    fuzz("produce in place", 40_000, &mut |rng| {
        let spec = ApiKey::Produce.spec();
        let version = spec.min + rng.below((spec.max - spec.min) as u64 + 1) as i16;
        let mut bytes = ApiKey::Produce.sample_request(version).to_vec();
        spoil_in_place(&mut bytes, rng);
        let declared = messages::produce::ProduceRequest::decode(version, &mut Reader::new(&bytes));
        let in_place = ProduceRequest::decode(version, &mut Reader::new(&bytes));
        let (declared, in_place) = match (declared, in_place) {
            (Ok(declared), Ok(in_place)) => (declared, in_place),
            (Err(_), Err(_)) => return Ok(Outcome::Refused),
            (declared, in_place) => {
                let taken = (declared.is_ok(), in_place.is_ok());
                return Err(format!("v{version} {bytes:x?}: taken as declared, in place: {taken:?}"));
            }
        };
        let all = declared.topics.iter().flat_map(|topic| &topic.partitions);
        let all: Vec<_> = all.map(|p| (p.index, p.records)).collect();
        let found: Vec<_> = in_place.partitions().map(|p| (p.index, Some(p.records))).collect();
        let alike = all
            .iter()
            .zip(&found)
            .all(|(a, b)| a.0 == b.0 && a.1.unwrap_or_default() == b.1.unwrap_or_default());
        if alike && all.len() == found.len() {
            Ok(Outcome::Taken)
        } else {
            Err(format!("{all:x?}, {found:x?}"))
        }
    });
}

#[test]
fn frames_and_headers() {
    fuzz("headers", 40_000, &mut |rng| {
        let spec = SERVED[rng.below(SERVED.len() as u64) as usize];
        let header = RequestHeader {
            api: spec.key,
            version: spec.max,
            correlation_id: 7,
            client_id: Some("a client"),
        };
        let mut bytes = BytesMut::new();
        header.encode(&mut Writer::new(&mut bytes));
        let mut bytes = bytes.to_vec();
        spoil_in_place(&mut bytes, rng);
        if rng.one_in(4) {
            spoil(&mut bytes, rng);
        }
        if let Ok(frame::Frame::Complete(len)) = frame::peek(&bytes, 1 << 20)
            && len + 4 > bytes.len()
        {
            return Err(format!("a whole frame of {len} bytes in {}", bytes.len()));
        }
        let Ok(first) = RequestHeader::decode(&mut Reader::new(&bytes)) else { return Ok(Outcome::Refused) };
        let mut written = BytesMut::new();
        first.encode(&mut Writer::new(&mut written));
        let second = RequestHeader::decode(&mut Reader::new(&written));
        if second.as_ref() == Ok(&first) { Ok(Outcome::Taken) } else { Err(format!("{first:?}, {second:?}")) }
    });
}

/// The negative controls: a decoder that believes the length of a string, and an encoder that forgets the last byte.
#[test]
fn wrong_codecs_are_found() {
    must_find("a length that is believed", &mut |rng| {
        let (_, _, _, bytes) = body(rng);
        let len = bytes.first_chunk().map_or(0, |first| u16::from_be_bytes(*first));
        Ok(Outcome::of(bytes.len() < 2 || !bytes[2..2 + usize::from(len)].is_empty()))
    });
    must_find("an encoder that forgets", &mut |rng| {
        let (api, version, answer, bytes) = body(rng);
        let Some(mut first) = written_again(api, version, answer, &bytes) else {
            return Ok(Outcome::Refused);
        };
        first.truncate(first.len().saturating_sub(1));
        let second = written_again(api, version, answer, &first);
        if second == Some(first) { Ok(Outcome::Taken) } else { Err(format!("{api:?} v{version}")) }
    });
}
