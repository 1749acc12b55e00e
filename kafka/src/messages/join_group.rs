//! JoinGroup (API 11): a client becomes a member of a group, or says that it still is one, and learns the next generation.
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A JoinGroup request.
    pub struct JoinGroupRequest<'a> {
        /// The group.
        group: &'a str, ..;
        /// How long the member may be silent, in milliseconds.
        session_timeout_ms: i32, ..;
        /// How long the other members wait for it in a rebalance, in milliseconds; -1 where the session time-out stands in.
        rebalance_timeout_ms: i32 = -1, 1..;
        /// Its id; empty from who has none.
        member_id: &'a str, ..;
        /// Name that the member keeps over restarts (KIP-345).
        group_instance_id: Option<&'a str>, 5..;
        /// What the members of the group speak.
        protocol_type: &'a str, ..;
        /// How partitions may be assigned, the one that it likes best first.
        protocols: Vec<JoinGroupProtocol<'a>>, ..;
        /// Why it joins (KIP-800).
        reason: Option<&'a str>, 8..;
    }

    /// A way to assign partitions.
    #[derive(Copy)]
    pub struct JoinGroupProtocol<'a> {
        /// Its name.
        name: &'a str, ..;
        /// What the member wants, as the protocol says it.
        metadata: &'a [u8], ..;
    }

    /// A JoinGroup response.
    pub struct JoinGroupResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 2..;
        /// Outcome.
        error: ErrorCode, ..;
        /// The generation; -1 in an error.
        generation: i32 = -1, ..;
        /// What the members speak.
        protocol_type: Option<Cow<'a, str>>, 7..;
        /// How partitions are assigned.
        protocol_name: Option<Cow<'a, str>>, .., null 7..;
        /// The member that assigns.
        leader: Cow<'a, str>, ..;
        /// Whether the leader is not to assign (KIP-814).
        skip_assignment: bool, 9..;
        /// The member's id.
        member_id: Cow<'a, str>, ..;
        /// All members, for the leader.
        members: Vec<JoinedMember<'a>>, ..;
    }

    /// A member of the generation.
    pub struct JoinedMember<'a> {
        /// Its id.
        member_id: Cow<'a, str>, ..;
        /// Name that it keeps over restarts.
        group_instance_id: Option<Cow<'a, str>>, 5..;
        /// What it wants, as the protocol says it.
        metadata: Cow<'a, [u8]>, ..;
    }
}
