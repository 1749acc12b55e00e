//! ApiVersions (API 18), versions 0 to 4: the first request of a connection (KIP-35, KIP-511).
//!
//! Promise: a client that asks in a version that is not served gets an answer it can read: version 0 with
//! UNSUPPORTED_VERSION and the versions of this API. No features (KIP-584) are supported or finalized.
use bytes::BytesMut;

use crate::error::ErrorCode;
use crate::frame::{FrameError, write_response};
use crate::header::ResponseHeader;
use crate::versions::{ApiKey, ApiSpec};
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// An ApiVersions request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiVersionsRequest<'a> {
    /// Name of the client library (v3).
    pub client_software_name: &'a str,
    /// Its version (v3).
    pub client_software_version: &'a str,
}

impl<'a> ApiVersionsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::ApiVersions.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::ApiVersions.is_flexible(version);
        let mut request = Self { client_software_name: "", client_software_version: "" };
        if version >= 3 {
            request.client_software_name = r.string(flexible, "client_software_name")?;
            request.client_software_version = r.string(flexible, "client_software_version")?;
        }
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

impl ApiVersionsRequest<'_> {
    /// Whether name and version of the client are what KIP-511 allows: letters and digits, and between them
    /// hyphens and dots. Before version 3 a client does not name itself.
    pub fn is_valid(&self, version: i16) -> bool {
        let valid = |text: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            let bytes = text.as_bytes();
            let ends = [bytes.first(), bytes.last()];
            bytes.iter().all(|b| allowed(*b)) && ends.iter().all(|b| b.is_some_and(u8::is_ascii_alphanumeric))
        };
        version < 3 || (valid(self.client_software_name) && valid(self.client_software_version))
    }
}

/// An ApiVersions response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiVersionsResponse<'a> {
    /// Outcome.
    pub error: ErrorCode,
    /// What is served.
    pub apis: &'a [ApiSpec],
}

impl ApiVersionsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::ApiVersions.is_flexible(version);
        w.i16(self.error.code());
        w.length(flexible, self.apis.len());
        for api in self.apis {
            w.i16(api.key.code());
            w.i16(api.advertised_min);
            w.i16(api.max);
            w.no_tags(flexible);
        }
        if version >= 1 {
            w.i32(0); // throttle_time_ms
        }
        w.no_tags(flexible); // supported and finalized features: none
    }
}

/// Answers an ApiVersions request whose version is not served.
pub fn encode_unsupported(out: &mut BytesMut, correlation_id: i32) -> Result<(), FrameError> {
    let version = 0;
    let header = ResponseHeader { api: ApiKey::ApiVersions, version, correlation_id };
    let apis = [ApiKey::ApiVersions.spec()];
    let response = ApiVersionsResponse { error: ErrorCode::UnsupportedVersion, apis: &apis };
    write_response(out, header, |w| response.encode(version, w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_name_themselves_by_the_rule() {
        let valid = |name, version| {
            ApiVersionsRequest { client_software_name: name, client_software_version: version }.is_valid(3)
        };
        assert!(valid("apache-kafka-java", "4.1.1") && valid("a", "1") && valid("a.b-c", "1.2-SNAPSHOT"));
        for bad in ["", "a b", "-a", "a-", ".a", "a.", "a_b", "a+b", "\u{e4}"] {
            assert!(!valid(bad, "1") && !valid("a", bad), "{bad:?}");
        }
        let nameless = ApiVersionsRequest { client_software_name: "", client_software_version: "" };
        assert!(nameless.is_valid(2) && !nameless.is_valid(3));
    }
}
