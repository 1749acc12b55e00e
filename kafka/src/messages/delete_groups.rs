//! DeleteGroups (API 42, KIP-229).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A DeleteGroups request.
    pub struct DeleteGroupsRequest<'a> {
        /// Groups to delete.
        groups: Vec<&'a str>, ..;
    }

    /// A DeleteGroups response.
    pub struct DeleteGroupsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The groups of the request.
        results: Vec<DeletedGroup<'a>>, ..;
    }

    /// What became of a group.
    pub struct DeletedGroup<'a> {
        /// Its name.
        group: Cow<'a, str>, ..;
        /// Outcome.
        error: ErrorCode, ..;
    }
}
