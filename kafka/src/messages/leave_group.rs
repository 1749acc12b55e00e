//! LeaveGroup (API 13): one member leaves; from version 3 on several do, by id or by the name that they keep (KIP-345).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A LeaveGroup request.
    pub struct LeaveGroupRequest<'a> {
        /// The group.
        group: &'a str, ..;
        /// The member's id.
        member_id: &'a str, ..=2;
        /// Who leaves.
        members: Vec<LeavingMember<'a>>, 3..;
    }

    /// A member that leaves.
    #[derive(Copy)]
    pub struct LeavingMember<'a> {
        /// Its id; empty if it is named by its instance alone.
        member_id: &'a str, ..;
        /// Name that the member keeps over restarts.
        group_instance_id: Option<&'a str>, ..;
        /// Why it leaves (KIP-800).
        reason: Option<&'a str>, 5..;
    }

    /// A LeaveGroup response.
    pub struct LeaveGroupResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Outcome of all of it.
        error: ErrorCode, ..;
        /// Outcome of each member.
        members: Vec<LeftMember<'a>>, 3..;
    }

    /// A member that has left, or not.
    pub struct LeftMember<'a> {
        /// Its id.
        member_id: Cow<'a, str>, ..;
        /// Name that the member keeps over restarts.
        group_instance_id: Option<Cow<'a, str>>, ..;
        /// Outcome.
        error: ErrorCode, ..;
    }
}

impl<'a> LeaveGroupRequest<'a> {
    /// Who leaves, whatever the version.
    pub fn leaving(&self, version: i16) -> Vec<LeavingMember<'a>> {
        if version < 3 {
            return vec![LeavingMember { member_id: self.member_id, ..LeavingMember::default() }];
        }
        self.members.clone()
    }
}
