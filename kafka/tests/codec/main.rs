//! The protocol. Its codec against an independent one: requests encoded by the `kafka-protocol` crate must be decoded to the
//! same fields, and responses that we encode must be decoded by it to the same fields, in every version.
mod admin;
mod alter;
mod api_versions;
mod delete_records;
mod describe;
mod every_api;
mod fetch;
mod find_coordinator;
mod groups;
mod header;
mod hot;
mod list_offsets;
mod metadata;
mod offsets;
mod produce;
mod structure;
mod table;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use keylane_kafka::frame::write_response;
use keylane_kafka::{ApiKey, Reader, ResponseHeader, Writer};
use uuid::Uuid;

/// An id to recognise a topic by.
fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x1234_5678_0000_0000_0000_0000_0000_0000 + n)
}

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn name(s: &str) -> TopicName {
    TopicName(text(s))
}

/// The header of a response.
fn to(api: ApiKey, version: i16, correlation_id: i32) -> ResponseHeader {
    ResponseHeader { api, version, correlation_id }
}

/// The body of a request, as a client would send it.
fn encoded(request: &impl Encodable, version: i16) -> Bytes {
    let mut out = BytesMut::new();
    request.encode(&mut out, version).expect("a request of theirs");
    out.freeze()
}

/// The body of a response, as a client would read it: length, correlation id and header are checked on the way.
fn decoded<R: Decodable>(frame: &[u8], version: i16, correlation_id: i32, header_version: i16) -> R {
    let mut frame = Bytes::copy_from_slice(frame);
    let length = i32::from_be_bytes(frame.split_to(4)[..].try_into().expect("four bytes"));
    assert_eq!(usize::try_from(length).expect("a positive length"), frame.len(), "length prefix");
    let header = kafka_protocol::messages::ResponseHeader::decode(&mut frame, header_version)
        .expect("a response header");
    assert_eq!(header.correlation_id, correlation_id);
    let response = R::decode(&mut frame, version).expect("a response body");
    assert!(frame.is_empty(), "{} bytes follow the response", frame.len());
    response
}

/// Writes a whole response with `body` and reads it as a client would.
fn answered<R: Decodable>(api: ApiKey, version: i16, body: impl FnOnce(&mut Writer<'_>)) -> R {
    let mut out = BytesMut::new();
    write_response(&mut out, ResponseHeader { api, version, correlation_id: 9 }, body)
        .expect("a short response");
    decoded(&out, version, 9, i16::from(api.is_flexible(version)))
}

/// Every proper prefix of a request is refused.
fn prefixes_are_refused<T, E>(body: &[u8], mut decode: impl FnMut(&mut Reader<'_>) -> Result<T, E>) {
    for len in 0..body.len() {
        assert!(decode(&mut Reader::new(&body[..len])).is_err(), "{len} of {} bytes", body.len());
    }
}
