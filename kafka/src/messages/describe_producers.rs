//! DescribeProducers (API 61): the producers that a partition remembers (KIP-664).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A DescribeProducers request.
    pub struct DescribeProducersRequest<'a> {
        /// What is asked for.
        topics: Vec<ProducersOf<'a>>, ..;
    }

    /// A topic asked for.
    pub struct ProducersOf<'a> {
        /// Its name.
        name: &'a str, ..;
        /// Its partitions.
        partitions: Vec<i32>, ..;
    }

    /// A DescribeProducers response.
    pub struct DescribeProducersResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics of the request.
        topics: Vec<ProducersTopic<'a>>, ..;
    }

    /// What is known of a topic's producers.
    pub struct ProducersTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its partitions.
        partitions: Vec<ProducersPartition<'a>>, ..;
    }

    /// What is known of a partition's producers.
    pub struct ProducersPartition<'a> {
        /// Its number.
        index: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// The producers.
        producers: Vec<ActiveProducer>, ..;
    }

    /// A producer.
    #[derive(Copy)]
    pub struct ActiveProducer {
        /// Its id.
        id: i64, ..;
        /// Its epoch.
        epoch: i32, ..;
        /// Sequence of its last record; -1: not known.
        last_sequence: i32 = -1, ..;
        /// Largest timestamp of its last batch, in milliseconds; -1: not known.
        last_timestamp: i64 = -1, ..;
        /// Epoch of its transaction coordinator; -1 without transactions.
        coordinator_epoch: i32, ..;
        /// First offset of its open transaction; -1: there is none.
        transaction_start_offset: i64 = -1, ..;
    }
}
