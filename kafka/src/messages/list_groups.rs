//! ListGroups (API 16).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A ListGroups request.
    pub struct ListGroupsRequest<'a> {
        /// States of the groups that are wanted; none: all.
        states: Vec<&'a str>, 4..;
        /// Types of the groups that are wanted; none: all.
        types: Vec<&'a str>, 5..;
    }

    /// A ListGroups response.
    pub struct ListGroupsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Outcome.
        error: ErrorCode, ..;
        /// The groups.
        groups: Vec<ListedGroup<'a>>, ..;
    }

    /// A group that there is.
    pub struct ListedGroup<'a> {
        /// Its name.
        group: Cow<'a, str>, ..;
        /// What its members speak; empty without members.
        protocol_type: Cow<'a, str>, ..;
        /// Its state.
        state: Cow<'a, str>, 4..;
        /// Its type.
        group_type: Cow<'a, str>, 5..;
    }
}
