//! What ApiVersions is answered.
//!
//! Promise: a client that asks in a version that is not served gets an answer it can read: version 0 with
//! UNSUPPORTED_VERSION and the versions of this API.
use bytes::BytesMut;

use crate::api::{ApiKey, ApiSpec, Message, SERVED};
use crate::error::ErrorCode;
use crate::frame::{FrameError, write_response};
use crate::header::ResponseHeader;
use crate::messages::api_versions::{ApiVersion, ApiVersionsResponse, FinalizedFeature, SupportedFeature};

impl From<&ApiSpec> for ApiVersion {
    fn from(spec: &ApiSpec) -> Self {
        Self { api_key: spec.key.code(), min_version: spec.advertised_min, max_version: spec.max }
    }
}

/// First version of ApiVersions whose clients understand features that could be off.
const OFF_SINCE: i16 = 4;

/// Features that are on for good, with their level (KIP-584): `group.version` 1 is the consumer protocol of KIP-848.
pub const FEATURES: [(&str, i16); 1] = [("group.version", 1)];

/// Every API and feature that is served, for a client that asks in this version.
pub fn served(version: i16) -> ApiVersionsResponse<'static> {
    let supported =
        FEATURES.map(|(name, level)| SupportedFeature { name, min_version: 0, max_version: level });
    let finalized = FEATURES.map(|(name, level)| FinalizedFeature {
        name,
        max_version_level: level,
        min_version_level: level,
    });
    ApiVersionsResponse {
        apis: SERVED.iter().map(ApiVersion::from).collect(),
        supported_features: if version >= OFF_SINCE { supported.to_vec() } else { Vec::new() },
        finalized_features_epoch: 0,
        finalized_features: finalized.to_vec(),
        ..Default::default()
    }
}

/// Answers an ApiVersions request whose version is not served.
///
/// # Errors
/// None: the answer is short.
pub fn encode_unsupported(out: &mut BytesMut, correlation_id: i32) -> Result<(), FrameError> {
    let version = 0;
    let header = ResponseHeader { api: ApiKey::ApiVersions, version, correlation_id };
    let apis = vec![ApiVersion::from(&ApiKey::ApiVersions.spec())];
    let response = ApiVersionsResponse { error: ErrorCode::UnsupportedVersion, apis, ..Default::default() };
    write_response(out, header, |w| response.encode(version, w))
}
