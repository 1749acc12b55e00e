//! ElectLeaders (API 43): has partitions led by their preferred replica, or by any (KIP-460).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

/// Election of the preferred replica.
pub const PREFERRED: i8 = 0;
/// Election of a replica that may lack records.
pub const UNCLEAN: i8 = 1;

message! {
    /// An ElectLeaders request.
    pub struct ElectLeadersRequest<'a> {
        /// [`PREFERRED`] or [`UNCLEAN`].
        election_type: i8, 1..;
        /// Partitions to elect leaders of; null for all.
        topics: Option<Vec<ElectTopic<'a>>>, ..;
        /// How long the client waits, in milliseconds.
        timeout_ms: i32 = 60_000, ..;
    }

    /// A topic to elect leaders of.
    pub struct ElectTopic<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<i32>, ..;
    }

    /// An ElectLeaders response.
    pub struct ElectLeadersResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome of the request as a whole.
        error: ErrorCode, 1..;
        /// The topics of the request.
        topics: Vec<ElectedTopic<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct ElectedTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<ElectedPartition<'a>>, ..;
    }

    /// Outcome for a partition.
    pub struct ElectedPartition<'a> {
        /// Its number.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
    }
}
