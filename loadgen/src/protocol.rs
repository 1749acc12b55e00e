//! The versions that the load generator speaks, and the one request that it makes anew each time: Fetch.

use bytes::BytesMut;
use keylane_kafka::client::{self, put_request};
use keylane_kafka::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use keylane_kafka::{ApiKey, TopicRef};

use crate::fetch_shape::{FetchLimits, FetchPlan};

/// The client id sent with every request.
pub const CLIENT_ID: &str = "keylane-loadgen";

/// Where the broker's versions and ours meet: the highest of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub produce: i16,
    pub fetch: i16,
    pub list_offsets: i16,
    pub metadata: i16,
    pub create_topics: i16,
}

impl Versions {
    /// `None`: an API has no version in common.
    pub fn agreed(theirs: &client::Versions) -> Option<Self> {
        Some(Self {
            produce: theirs.highest(ApiKey::Produce, 3..=11)?,
            fetch: theirs.highest(ApiKey::Fetch, 4..=12)?,
            list_offsets: theirs.highest(ApiKey::ListOffsets, 1..=5)?,
            metadata: theirs.highest(ApiKey::Metadata, 1..=8)?,
            create_topics: theirs.highest(ApiKey::CreateTopics, 2..=4)?,
        })
    }
}

/// A Fetch of partitions of one topic. Sessions begin with version 7; before, everything must be planned each time.
pub fn fetch_request<'a>(topic: &'a str, limits: FetchLimits, plan: &FetchPlan) -> FetchRequest<'a> {
    let topic = TopicRef::Name(topic);
    let partition = |&(index, fetch_offset): &(i32, i64)| FetchPartition {
        index,
        fetch_offset,
        max_bytes: limits.partition_max_bytes,
        ..FetchPartition::default()
    };
    let partitions: Vec<_> = plan.partitions.iter().map(partition).collect();
    // An incremental request may have nothing new to say.
    let topics = if partitions.is_empty() { vec![] } else { vec![FetchTopic { topic, partitions }] };
    let partitions = plan.forgotten.clone();
    let forgotten_topics =
        if partitions.is_empty() { vec![] } else { vec![ForgottenTopic { topic, partitions }] };
    FetchRequest {
        max_wait_ms: limits.max_wait_ms,
        min_bytes: 1,
        max_bytes: limits.max_bytes,
        session_id: plan.session_id,
        session_epoch: plan.session_epoch,
        topics,
        forgotten_topics,
        ..FetchRequest::default()
    }
}

/// Makes `out` the frame of a Fetch.
pub fn encode_fetch(out: &mut BytesMut, correlation: i32, version: i16, request: &FetchRequest<'_>) {
    out.clear();
    put_request(out, CLIENT_ID, correlation, version, request).expect("a request of less than 2 GiB");
}

/// A frame's length, after it grew or shrank.
pub fn set_length(frame: &mut [u8]) {
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
}
