//! SyncGroup (API 14): the leader of a generation says who gets what, and every member hears its part.
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A SyncGroup request.
    pub struct SyncGroupRequest<'a> {
        /// The group.
        group: &'a str, ..;
        /// Its generation.
        generation: i32, ..;
        /// The member's id.
        member_id: &'a str, ..;
        /// Name that the member keeps over restarts.
        group_instance_id: Option<&'a str>, 3..;
        /// What the members speak, as JoinGroup answered it.
        protocol_type: Option<&'a str>, 5..;
        /// How partitions are assigned, as JoinGroup answered it.
        protocol_name: Option<&'a str>, 5..;
        /// What each member gets; empty from those who do not lead.
        assignments: Vec<SyncGroupAssignment<'a>>, ..;
    }

    /// What a member gets.
    #[derive(Copy)]
    pub struct SyncGroupAssignment<'a> {
        /// Its id.
        member_id: &'a str, ..;
        /// Its part, as the protocol says it.
        assignment: &'a [u8], ..;
    }

    /// A SyncGroup response.
    pub struct SyncGroupResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Outcome.
        error: ErrorCode, ..;
        /// What the members speak.
        protocol_type: Option<Cow<'a, str>>, 5..;
        /// How partitions are assigned.
        protocol_name: Option<Cow<'a, str>>, 5..;
        /// The member's part, as the protocol says it.
        assignment: Cow<'a, [u8]>, ..;
    }
}
