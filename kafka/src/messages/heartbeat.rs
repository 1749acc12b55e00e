//! Heartbeat (API 12): a member of a group lives, and hears whether the group rebalances.
use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A Heartbeat request.
    pub struct HeartbeatRequest<'a> {
        /// The group.
        group: &'a str, ..;
        /// Its generation.
        generation: i32, ..;
        /// The member's id.
        member_id: &'a str, ..;
        /// Name that the member keeps over restarts.
        group_instance_id: Option<&'a str>, 3..;
    }

    /// A Heartbeat response.
    #[derive(Copy)]
    pub struct HeartbeatResponse {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 1..;
        /// Outcome.
        error: ErrorCode, ..;
    }
}
