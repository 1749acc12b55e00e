//! DescribeQuorum: who keeps the cluster's metadata.
//!
//! There is no Raft here: the only node keeps the catalog, and a change of it is durable when it is answered. In the words of the protocol
//! that is a quorum of one voter that leads, has all that there is, and has nobody behind it. Its offset is the number of changes that
//! the catalog has seen.

use std::time::{SystemTime, UNIX_EPOCH};

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, METADATA_TOPIC, QuorumListener, QuorumNode,
    QuorumPartition, QuorumReplica, QuorumTopic,
};

use crate::front::kafka::context::Context;
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::node::{NODE_ID, address};
use crate::service::catalog;

/// What Kafka says of a partition that has no quorum.
fn unknown(index: i32) -> QuorumPartition<'static> {
    let why = format!("the only quorum is that of partition 0 of {METADATA_TOPIC}");
    QuorumPartition {
        index,
        error: ErrorCode::UnknownTopicOrPartition,
        error_message: Some(why.into()),
        ..Default::default()
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The only quorum that there is, with the only voter.
fn own(log_end_offset: i64) -> QuorumPartition<'static> {
    let now = now_ms();
    let voter = QuorumReplica {
        id: NODE_ID,
        log_end_offset,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..QuorumReplica::default()
    };
    QuorumPartition {
        index: 0,
        error: ErrorCode::None,
        leader_id: NODE_ID,
        leader_epoch: 0,
        high_watermark: log_end_offset,
        current_voters: vec![voter],
        ..QuorumPartition::default()
    }
}

impl<'q> Handle<'q> for DescribeQuorumRequest<'q> {
    async fn handle(self, context: &Context) -> DescribeQuorumResponse<'static> {
        let Some(end) = catalog::logs_made(context.core()).await else {
            return DescribeQuorumResponse { error: ErrorCode::NotController, ..Default::default() };
        };
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| match (topic.name, partition.index) {
                (METADATA_TOPIC, 0) => own(i64::from(end)),
                (_, index) => unknown(index),
            });
            QuorumTopic { name: topic.name.to_owned().into(), partitions: partitions.collect() }
        });
        let topics: Vec<_> = topics.collect();
        let found =
            topics.iter().flat_map(|topic| &topic.partitions).any(|partition| partition.error.is_none());
        // Kafka has an empty text here where others have none.
        let error_message = Some("".into());
        let nodes = if found { vec![node(context)] } else { Vec::new() };
        DescribeQuorumResponse { error_message, topics, nodes, ..Default::default() }
    }
}

/// The only node, where clients reach it.
fn node(context: &Context) -> QuorumNode<'static> {
    let (host, port) = address(&context.connection);
    // A port is an unsigned number of 16 bits on the wire.
    let port = u16::try_from(port).unwrap_or(0).cast_signed();
    let listener = QuorumListener { name: "PLAINTEXT".into(), host: host.into(), port };
    QuorumNode { id: NODE_ID, listeners: vec![listener] }
}
