//! AlterConfigs (API 33): replaces all settings of a resource.
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An AlterConfigs request.
    pub struct AlterConfigsRequest<'a> {
        /// What to change.
        resources: Vec<AlterConfigsResource<'a>>, ..;
        /// Check only, change nothing.
        validate_only: bool, ..;
    }

    /// A resource and the settings that it is to have; those that are not named go back to their defaults.
    pub struct AlterConfigsResource<'a> {
        /// As in DescribeConfigs.
        kind: i8, ..;
        /// Its name; a broker's is its id, or empty for the defaults of all.
        name: &'a str, ..;
        /// Its settings.
        configs: Vec<ConfigEntry<'a>>, ..;
    }

    /// A setting.
    pub struct ConfigEntry<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its value; null for the default.
        value: Option<&'a str>, ..;
    }

    /// An AlterConfigs response.
    pub struct AlterConfigsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The resources of the request.
        resources: Vec<AlteredResource<'a>>, ..;
    }

    /// Outcome for a resource; IncrementalAlterConfigs has the same.
    pub struct AlteredResource<'a> {
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// As in the request.
        kind: i8, ..;
        /// As in the request.
        name: Cow<'a, str>, ..;
    }
}
