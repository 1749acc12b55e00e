//! ApiVersions: what is served. Answered before everything else, because a client asks it first.

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use keylane_kafka::versions::served;

use crate::front::kafka::connection::Software;
use crate::front::kafka::context::Context;

/// Answers ApiVersions, and remembers what the client says of itself.
pub fn answer(context: &Context, request: &ApiVersionsRequest<'_>) -> ApiVersionsResponse<'static> {
    if !request.is_valid(context.version()) {
        return ApiVersionsResponse { error: ErrorCode::InvalidRequest, ..Default::default() };
    }
    if context.version() >= ApiVersionsRequest::SOFTWARE_FROM {
        let name = request.client_software_name.to_owned();
        let version = request.client_software_version.to_owned();
        *context.connection.software.borrow_mut() = Some(Software { name, version });
    }
    served(context.version())
}
