//! DescribeGroups (API 15).
use std::borrow::Cow;

use super::metadata::OPERATIONS_OMITTED;
use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A DescribeGroups request.
    pub struct DescribeGroupsRequest<'a> {
        /// Groups asked for.
        groups: Vec<&'a str>, ..;
        /// Whether operations on each group are to be listed.
        include_authorized_operations: bool, 3..;
    }

    /// A DescribeGroups response.
    pub struct DescribeGroupsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// The groups of the request.
        groups: Vec<DescribedGroup<'a>>, ..;
    }

    /// A group's answer.
    pub struct DescribedGroup<'a> {
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, 6..;
        /// Its name.
        group: Cow<'a, str>, ..;
        /// Its state.
        state: Cow<'a, str>, ..;
        /// What its members speak; empty without members.
        protocol_type: Cow<'a, str>, ..;
        /// How its partitions are assigned; empty without members.
        protocol_data: Cow<'a, str>, ..;
        /// Its members.
        members: Vec<GroupMember<'a>>, ..;
        /// Bits of what the client may do with it, or [`OPERATIONS_OMITTED`].
        authorized_operations: i32 = OPERATIONS_OMITTED, 3..;
    }

    /// A member of a group.
    pub struct GroupMember<'a> {
        /// Its id.
        member_id: Cow<'a, str>, ..;
        /// Name that it keeps over restarts.
        group_instance_id: Option<Cow<'a, str>>, 4..;
        /// What it calls itself.
        client_id: Cow<'a, str>, ..;
        /// Where it connects from.
        client_host: Cow<'a, str>, ..;
        /// What it wants, as its protocol says it.
        member_metadata: Cow<'a, [u8]>, ..;
        /// What it has, as its protocol says it.
        member_assignment: Cow<'a, [u8]>, ..;
    }
}
