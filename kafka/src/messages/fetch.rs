//! Fetch (API 1): topics by id from version 13 (KIP-516), the replica's state tagged from 15 (KIP-903).
//!
//! The server writes responses with [`crate::hot::fetch`], which copies no records.
use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;
use crate::field::TopicRef;

message! {
    /// A Fetch request.
    pub struct FetchRequest<'a> {
        /// Follower that asks; -1 for a consumer.
        replica_id: i32 = -1, ..=14;
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32, ..;
        /// What to wait for.
        min_bytes: i32, ..;
        /// Most bytes of the response, but for a first batch that is larger.
        max_bytes: i32 = i32::MAX, ..;
        /// 0: read uncommitted, 1: read committed.
        isolation_level: i8, ..;
        /// Session; 0 for none.
        session_id: i32, 7..;
        /// Epoch of the session; -1 for a full fetch without a session.
        session_epoch: i32 = -1, 7..;
        /// What to read.
        topics: Vec<FetchTopic<'a>>, ..;
        /// What to take out of the session.
        forgotten_topics: Vec<ForgottenTopic<'a>>, 7..;
        /// Rack of the consumer.
        rack_id: &'a str, 11..;
        /// Cluster that the client thinks it talks to.
        cluster_id: Option<&'a str>, 12.., tag 0;
        /// Follower that asks, with its epoch.
        replica_state: ReplicaState, 15.., tag 1;
    }

    /// A follower.
    #[derive(Copy)]
    pub struct ReplicaState {
        /// Its id; -1 for a consumer.
        replica_id: i32 = -1, ..;
        /// Its epoch; -1 for a consumer.
        replica_epoch: i64 = -1, ..;
    }

    /// A topic to read from.
    pub struct FetchTopic<'a> {
        /// Which topic.
        topic: TopicRef<'a>, ..;
        /// Its partitions.
        partitions: Vec<FetchPartition>, ..;
    }

    /// A partition to read from.
    #[derive(Copy)]
    pub struct FetchPartition {
        /// Which partition.
        index: i32, ..;
        /// Epoch of the leader as the client knows it; -1 if it does not.
        current_leader_epoch: i32 = -1, 9..;
        /// First offset wanted.
        fetch_offset: i64, ..;
        /// Epoch of the last record a follower has; -1 for a consumer.
        last_fetched_epoch: i32 = -1, 12..;
        /// Log start of a follower; -1 for a consumer.
        log_start_offset: i64 = -1, 5..;
        /// Most bytes from this partition.
        max_bytes: i32, ..;
        /// Directory of a follower.
        replica_directory_id: Uuid, 17.., tag 0;
        /// High watermark that a follower knows.
        high_watermark: i64 = i64::MAX, 18.., tag 1;
    }

    /// A topic that leaves the session.
    pub struct ForgottenTopic<'a> {
        /// Which topic.
        topic: TopicRef<'a>, ..;
        /// Its partitions.
        partitions: Vec<i32>, ..;
    }

    /// A Fetch response.
    pub struct FetchResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome of the request as a whole.
        error: ErrorCode, 7..;
        /// Session; 0 for none.
        session_id: i32, 7..;
        /// What was read.
        topics: Vec<FetchedTopic<'a>>, ..;
    }

    /// What was read of a topic.
    pub struct FetchedTopic<'a> {
        /// Which topic.
        topic: TopicRef<'a>, ..;
        /// Its partitions.
        partitions: Vec<FetchedPartition<'a>>, ..;
    }

    /// What was read of a partition.
    pub struct FetchedPartition<'a> {
        /// Which partition.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// End of what is durable; -1 in an error.
        high_watermark: i64 = -1, ..;
        /// End of what `read_committed` may see; -1 in an error.
        last_stable_offset: i64 = -1, ..;
        /// First offset of the log; -1 in an error (but told with OFFSET_OUT_OF_RANGE).
        log_start_offset: i64 = -1, 5..;
        /// Aborted transactions in the records; null for `read_uncommitted`.
        aborted_transactions: Option<Vec<AbortedTransaction>>, ..;
        /// Another replica to read from; -1 for none.
        preferred_read_replica: i32 = -1, 11..;
        /// Whole batches.
        records: Option<&'a [u8]>, ..;
    }

    /// A transaction whose records do not count.
    #[derive(Copy)]
    pub struct AbortedTransaction {
        /// Its producer.
        producer_id: i64, ..;
        /// Its first offset in the partition.
        first_offset: i64, ..;
    }
}

impl FetchRequest<'_> {
    /// The follower that asks, whatever the version; -1 for a consumer.
    pub fn follower(&self) -> i32 {
        self.replica_id.max(self.replica_state.replica_id)
    }
}

impl FetchedPartition<'_> {
    /// A partition that could not be read.
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        Self { index, error, ..Self::default() }
    }
}
