//! What ApiVersions is answered.
//!
//! Promise: a client that asks in a version that is not served gets an answer it can read: version 0 with
//! UNSUPPORTED_VERSION and the versions of this API.
use bytes::BytesMut;

use crate::api::{ApiKey, ApiSpec, Message, SERVED};
use crate::error::ErrorCode;
use crate::frame::{FrameError, write_response};
use crate::header::ResponseHeader;
use crate::messages::api_versions::{ApiVersion, ApiVersionsResponse};

impl From<&ApiSpec> for ApiVersion {
    fn from(spec: &ApiSpec) -> Self {
        Self { api_key: spec.key.code(), min_version: spec.advertised_min, max_version: spec.max }
    }
}

/// Every API that is served.
pub fn served() -> ApiVersionsResponse {
    ApiVersionsResponse { apis: SERVED.iter().map(ApiVersion::from).collect(), ..Default::default() }
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
