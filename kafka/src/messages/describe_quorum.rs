//! DescribeQuorum (API 55): the nodes that keep the metadata of the cluster (KIP-595, KIP-836, KIP-853).
use std::borrow::Cow;

use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;

/// The topic that stands for the metadata.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

message! {
    /// A DescribeQuorum request.
    pub struct DescribeQuorumRequest<'a> {
        /// What is asked for: partition 0 of [`METADATA_TOPIC`].
        topics: Vec<QuorumOf<'a>>, ..;
    }

    /// A topic asked for.
    pub struct QuorumOf<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<QuorumOfPartition>, ..;
    }

    /// A partition asked for.
    #[derive(Copy)]
    pub struct QuorumOfPartition {
        /// Its number.
        index: i32, ..;
    }

    /// A DescribeQuorum response.
    pub struct DescribeQuorumResponse<'a> {
        /// Outcome of the request as a whole.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, 2..;
        /// The topics of the request.
        topics: Vec<QuorumTopic<'a>>, ..;
        /// The nodes of the quorum.
        nodes: Vec<QuorumNode<'a>>, 2..;
    }

    /// The quorum of a topic.
    pub struct QuorumTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<QuorumPartition<'a>>, ..;
    }

    /// The quorum of a partition.
    pub struct QuorumPartition<'a> {
        /// Its number.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, 2..;
        /// Who leads.
        leader_id: i32, ..;
        /// Epoch of the leader.
        leader_epoch: i32, ..;
        /// Offset after what is committed.
        high_watermark: i64, ..;
        /// Who votes.
        current_voters: Vec<QuorumReplica>, ..;
        /// Who listens.
        observers: Vec<QuorumReplica>, ..;
    }

    /// A node that has the metadata.
    #[derive(Copy)]
    pub struct QuorumReplica {
        /// Its id.
        id: i32, ..;
        /// Id of its directory.
        directory_id: Uuid, 2..;
        /// Offset after its last record.
        log_end_offset: i64, ..;
        /// When it last asked the leader, in milliseconds; -1: not known.
        last_fetch_timestamp: i64 = -1, 1..;
        /// When it last had all that the leader had, in milliseconds; -1: not known.
        last_caught_up_timestamp: i64 = -1, 1..;
    }

    /// A node of the quorum.
    pub struct QuorumNode<'a> {
        /// Its id.
        id: i32, ..;
        /// Where it listens.
        listeners: Vec<QuorumListener<'a>>, ..;
    }

    /// An address.
    pub struct QuorumListener<'a> {
        /// Name of the listener.
        name: Cow<'a, str>, ..;
        /// Host.
        host: Cow<'a, str>, ..;
        /// Port, which is an unsigned number.
        port: i16, ..;
    }
}
