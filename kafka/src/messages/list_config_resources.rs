//! ListConfigResources (API 74): what has settings of its own. Version 0 was ListClientMetricsResources (KIP-714), version 1
//! lists other kinds too (KIP-1142).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;
use crate::messages::describe_configs::CLIENT_METRICS;

message! {
    /// A ListConfigResources request.
    pub struct ListConfigResourcesRequest {
        /// Kinds of resources that are asked for; none for all. In version 0, client metrics.
        kinds: Vec<i8>, 1..;
    }

    /// A ListConfigResources response.
    pub struct ListConfigResourcesResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// The resources.
        resources: Vec<ListedResource<'a>>, ..;
    }

    /// A resource.
    pub struct ListedResource<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its kind.
        kind: i8 = CLIENT_METRICS, 1..;
    }
}
