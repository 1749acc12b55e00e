//! Request headers of every API and version.
use bytes::BytesMut;
use kafka_protocol::messages::RequestHeader as Theirs;
use kafka_protocol::protocol::Encodable;
use keylane_kafka::{ApiKey, HeaderError, Reader, RequestHeader, SERVED};

use super::text;

#[test]
fn headers_of_every_version_are_read() {
    for spec in SERVED {
        for version in spec.min..=spec.max {
            for client_id in [None, Some("client-ä")] {
                let header = Theirs::default()
                    .with_request_api_key(spec.key.code())
                    .with_request_api_version(version)
                    .with_correlation_id(-7)
                    .with_client_id(client_id.map(text));
                let mut out = BytesMut::new();
                header.encode(&mut out, if spec.key.is_flexible(version) { 2 } else { 1 }).unwrap();
                let mut r = Reader::new(&out);
                let decoded = RequestHeader::decode(&mut r).unwrap();
                assert_eq!(decoded, RequestHeader { api: spec.key, version, correlation_id: -7, client_id });
                assert_eq!(r.finish(), Ok(()));
            }
        }
    }
}

#[test]
fn what_is_not_served_is_told_with_its_correlation_id() {
    let unsupported = [0, 18, 0, 99, 0, 0, 0, 5];
    assert_eq!(
        RequestHeader::decode(&mut Reader::new(&unsupported)),
        Err(HeaderError::UnsupportedVersion { api: ApiKey::ApiVersions, version: 99, correlation_id: 5 })
    );
    let old_produce = [0, 0, 0, 2, 0, 0, 0, 6];
    assert_eq!(
        RequestHeader::decode(&mut Reader::new(&old_produce)),
        Err(HeaderError::UnsupportedVersion { api: ApiKey::Produce, version: 2, correlation_id: 6 })
    );
    let unknown = [0, 17, 0, 1, 0, 0, 0, 7];
    assert_eq!(
        RequestHeader::decode(&mut Reader::new(&unknown)),
        Err(HeaderError::UnknownApi { key: 17, version: 1, correlation_id: 7 })
    );
    assert!(matches!(RequestHeader::decode(&mut Reader::new(&[0, 18])), Err(HeaderError::Wire(_))));
}

#[test]
fn a_request_without_records_has_a_limit_of_its_own() {
    let mut frame = vec![0; (16 << 20) + 1];
    frame[1] = 3;
    let error = RequestHeader::decode(&mut Reader::new(&frame)).unwrap_err();
    assert_eq!(error, HeaderError::TooLong { api: ApiKey::Metadata, length: frame.len() });
    frame[1] = 0;
    frame[3] = 3;
    assert!(RequestHeader::decode(&mut Reader::new(&frame)).is_ok());
}
