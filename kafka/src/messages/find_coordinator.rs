//! FindCoordinator (API 10), versions 0 to 6: one key before version 4, several from then on (KIP-699).
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A FindCoordinator request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindCoordinatorRequest<'a> {
    /// 0: group, 1: transaction, 2: share group (v1).
    pub key_type: i8,
    /// Groups or transactions.
    pub keys: Vec<&'a str>,
}

impl<'a> FindCoordinatorRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::FindCoordinator.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::FindCoordinator.is_flexible(version);
        let mut keys = Vec::new();
        if version < 4 {
            keys.push(r.string(flexible, "key")?);
        }
        let key_type = if version >= 1 { r.i8("key_type")? } else { 0 };
        if version >= 4 {
            keys = r.vec(flexible, 1, "coordinator_keys", |r| r.string(flexible, "coordinator_keys"))?;
        }
        r.skip_tags(flexible)?;
        Ok(Self { key_type, keys })
    }
}

/// A FindCoordinator response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindCoordinatorResponse<'a> {
    /// The keys of the request, in its order; exactly one before version 4.
    pub coordinators: Vec<Coordinator<'a>>,
}

/// Who coordinates a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinator<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error (v1).
    pub error_message: Option<Cow<'a, str>>,
    /// The node; -1 in an error.
    pub node_id: i32,
    /// Its host.
    pub host: Cow<'a, str>,
    /// Its port; -1 in an error.
    pub port: i32,
}

impl FindCoordinatorResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::FindCoordinator.is_flexible(version);
        if version >= 1 {
            w.i32(0); // throttle_time_ms
        }
        if version < 4 {
            let first = self.coordinators.first();
            w.i16(first.map_or(ErrorCode::InvalidRequest, |c| c.error).code());
            if version >= 1 {
                w.nullable_string(flexible, first.and_then(|c| c.error_message.as_deref()));
            }
            w.i32(first.map_or(-1, |c| c.node_id));
            w.string(flexible, first.map_or("", |c| &c.host));
            w.i32(first.map_or(-1, |c| c.port));
            w.no_tags(flexible);
            return;
        }
        w.length(flexible, self.coordinators.len());
        for coordinator in &self.coordinators {
            w.string(flexible, &coordinator.key);
            w.i32(coordinator.node_id);
            w.string(flexible, &coordinator.host);
            w.i32(coordinator.port);
            w.i16(coordinator.error.code());
            w.nullable_string(flexible, coordinator.error_message.as_deref());
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::messages as theirs;
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    #[test]
    fn every_version_agrees_with_an_independent_codec() {
        for version in 0..=6 {
            let mut request = theirs::FindCoordinatorRequest::default();
            let key = StrBytes::from_static_str("g");
            if version < 4 {
                request.key = key
            } else {
                request.coordinator_keys = vec![key]
            }
            let mut bytes = BytesMut::new();
            request.encode(&mut bytes, version).unwrap();
            let ours = FindCoordinatorRequest::decode(version, &mut Reader::new(&bytes)).unwrap();
            assert_eq!(ours, FindCoordinatorRequest { key_type: 0, keys: vec!["g"] }, "version {version}");
            for len in 0..bytes.len() {
                assert!(FindCoordinatorRequest::decode(version, &mut Reader::new(&bytes[..len])).is_err());
            }
            let coordinator = Coordinator {
                key: "g".into(),
                error: ErrorCode::UnsupportedVersion,
                error_message: Some("why".into()),
                node_id: -1,
                host: "".into(),
                port: -1,
            };
            let mut out = BytesMut::new();
            FindCoordinatorResponse { coordinators: vec![coordinator] }
                .encode(version, &mut Writer::new(&mut out));
            let mut out = out.freeze();
            let back = theirs::FindCoordinatorResponse::decode(&mut out, version).unwrap();
            assert!(out.is_empty());
            let code = if version < 4 { back.error_code } else { back.coordinators[0].error_code };
            assert_eq!(code, 35, "version {version}");
        }
    }
}
