//! ConsumerGroupDescribe (API 69): consumer groups with their members (KIP-848); what a member speaks from version 1 on
//! (KIP-1099).
use std::borrow::Cow;

use uuid::Uuid;

use super::metadata::OPERATIONS_OMITTED;
use crate::declare::message;
use crate::error::ErrorCode;

/// A member that speaks the classic protocol.
pub const CLASSIC_MEMBER: i8 = 0;
/// A member that speaks the consumer protocol.
pub const CONSUMER_MEMBER: i8 = 1;

message! {
    /// A ConsumerGroupDescribe request.
    pub struct ConsumerGroupDescribeRequest<'a> {
        /// Groups asked for.
        groups: Vec<&'a str>, ..;
        /// Whether operations on each group are to be listed.
        include_authorized_operations: bool, ..;
    }

    /// A ConsumerGroupDescribe response.
    pub struct ConsumerGroupDescribeResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The groups of the request.
        groups: Vec<DescribedGroup<'a>>, ..;
    }

    /// A group's answer.
    pub struct DescribedGroup<'a> {
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// Its name.
        group: Cow<'a, str>, ..;
        /// Its state.
        state: Cow<'a, str>, ..;
        /// Its epoch, which rises with every change of what members want.
        group_epoch: i32, ..;
        /// The epoch for which partitions are assigned.
        assignment_epoch: i32, ..;
        /// How partitions are assigned.
        assignor: Cow<'a, str>, ..;
        /// Its members.
        members: Vec<DescribedMember<'a>>, ..;
        /// Bits of what the client may do with it, or [`OPERATIONS_OMITTED`].
        authorized_operations: i32 = OPERATIONS_OMITTED, ..;
    }

    /// A member of a group.
    pub struct DescribedMember<'a> {
        /// Its id.
        member_id: Cow<'a, str>, ..;
        /// Name that it keeps over restarts.
        instance_id: Option<Cow<'a, str>>, ..;
        /// Where it is.
        rack_id: Option<Cow<'a, str>>, ..;
        /// Its epoch.
        member_epoch: i32, ..;
        /// What it calls itself.
        client_id: Cow<'a, str>, ..;
        /// Where it connects from.
        client_host: Cow<'a, str>, ..;
        /// Topics that it wants.
        subscribed_topic_names: Vec<Cow<'a, str>>, ..;
        /// Topics that it wants, as a regular expression; empty for none.
        subscribed_topic_regex: Option<Cow<'a, str>>, ..;
        /// What it has.
        assignment: DescribedAssignment<'a>, ..;
        /// What it is to have.
        target_assignment: DescribedAssignment<'a>, ..;
        /// What it speaks: [`CLASSIC_MEMBER`], [`CONSUMER_MEMBER`], or -1 if that is not known.
        member_type: i8 = -1, 1..;
    }

    /// What a member has.
    pub struct DescribedAssignment<'a> {
        /// Its partitions.
        topic_partitions: Vec<DescribedPartitions<'a>>, ..;
    }

    /// Partitions of a topic.
    pub struct DescribedPartitions<'a> {
        /// The topic's id.
        topic_id: Uuid, ..;
        /// Its name.
        topic_name: Cow<'a, str>, ..;
        /// Their numbers.
        partitions: Vec<i32>, ..;
    }
}
