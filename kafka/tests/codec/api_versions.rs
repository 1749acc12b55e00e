//! ApiVersions, versions 0 to 4.
use bytes::BytesMut;
use kafka_protocol::messages::{ApiVersionsRequest as TheirRequest, ApiVersionsResponse as TheirResponse};
use keylane_kafka::frame::write_response;
use keylane_kafka::messages::api_versions::ApiVersionsRequest;
use keylane_kafka::versions::{encode_unsupported, served};
use keylane_kafka::{ApiKey, Message, Reader, ResponseHeader, SERVED};

use super::{decoded, encoded, text};

#[test]
fn requests_of_every_version_are_read() {
    for version in 0..=4 {
        let mut request = TheirRequest::default();
        if version >= 3 {
            request = request
                .with_client_software_name(text("apache-kafka-java"))
                .with_client_software_version(text("4.1.1"));
        }
        let body = encoded(&request, version);
        let ours = ApiVersionsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let (name, number) = if version >= 3 { ("apache-kafka-java", "4.1.1") } else { ("", "") };
        let expected = ApiVersionsRequest { client_software_name: name, client_software_version: number };
        assert_eq!(ours, expected);
    }
}

#[test]
fn responses_of_every_version_have_a_header_of_version_0() {
    for version in 0..=4 {
        let mut out = BytesMut::new();
        let header = ResponseHeader { api: ApiKey::ApiVersions, version, correlation_id: 4 };
        let response = served(version);
        write_response(&mut out, header, |w| response.encode(version, w)).unwrap();
        let theirs: TheirResponse = decoded(&out, version, 4, 0);
        assert_eq!((theirs.error_code, theirs.throttle_time_ms), (0, 0));
        assert_eq!(theirs.api_keys.len(), SERVED.len());
        for (theirs, spec) in theirs.api_keys.iter().zip(SERVED) {
            assert_eq!(theirs.api_key, spec.key.code());
            assert_eq!((theirs.min_version, theirs.max_version), (spec.advertised_min, spec.max));
        }
        let produce = &theirs.api_keys[0];
        assert_eq!((produce.api_key, produce.min_version, produce.max_version), (0, 0, 13));
        let supported: Vec<_> = theirs.supported_features.iter().map(|f| (&*f.name, f.min_version)).collect();
        assert_eq!(supported, if version >= 4 { vec![("group.version", 0)] } else { vec![] });
        let finalized: Vec<_> =
            theirs.finalized_features.iter().map(|f| (&*f.name, f.max_version_level)).collect();
        assert_eq!(finalized, if version >= 3 { vec![("group.version", 1)] } else { vec![] });
        assert_eq!(theirs.finalized_features_epoch, if version >= 3 { 0 } else { -1 });
    }
}

#[test]
fn an_unsupported_version_is_answered_in_version_0() {
    let mut out = BytesMut::new();
    encode_unsupported(&mut out, 8).unwrap();
    let theirs: TheirResponse = decoded(&out, 0, 8, 0);
    assert_eq!(theirs.error_code, 35);
    let [only] = &theirs.api_keys[..] else { panic!("{theirs:?}") };
    assert_eq!((only.api_key, only.min_version, only.max_version), (18, 0, 4));
}
