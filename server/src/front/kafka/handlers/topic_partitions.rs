//! DescribeTopicPartitions (KIP-966): the partitions of topics, a page at a time.
//!
//! Promise: pages follow each other by topic and number, and a page has at most [`PAGE_MAX`] partitions, however many
//! the client asks for.

use std::collections::BTreeSet;

use keylane_kafka::ErrorCode;
use keylane_kafka::field::Nullable;
use keylane_kafka::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, PartitionDescription,
    PartitionedTopic,
};
use keylane_kafka::messages::metadata::OPERATIONS_OMITTED;

use crate::front::kafka::context::Context;
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::handlers::metadata::{REPLICAS, TOPIC_OPERATIONS};
use crate::front::kafka::node::NODE_ID;
use crate::service::topics::{LocalTopic, TopicKey, TopicTable, check_name};

/// Partitions of a page (`max.request.partition.size.limit`).
const PAGE_MAX: i32 = 2_000;

impl<'q> Handle<'q> for DescribeTopicPartitionsRequest<'q> {
    async fn handle(self, context: &Context) -> DescribeTopicPartitionsResponse<'static> {
        let topics = context.core().topics.borrow();
        let (from, first) = self.cursor.0.as_ref().map_or(("", 0), |at| (&*at.topic, at.partition));
        let named: BTreeSet<&str> = self.topics.iter().map(|topic| topic.name).collect();
        let all = named.is_empty();
        if first < 0 || (!all && !from.is_empty() && !named.contains(from)) {
            return refused(&self);
        }
        let names: BTreeSet<&str> = match all {
            true => topics.all().map(|t| &*t.topic.name).collect(),
            false => named,
        };
        let first = usize::try_from(first).unwrap_or(0);
        let left = usize::try_from(self.partitions_max.clamp(1, PAGE_MAX)).unwrap_or(1);
        page(&topics, names.range(from..).copied(), (from, first), left, all)
    }
}

/// A cursor that points to nothing: every topic that was asked for gets the error.
fn refused(request: &DescribeTopicPartitionsRequest<'_>) -> DescribeTopicPartitionsResponse<'static> {
    let refused = |name: &str| PartitionedTopic {
        topic_authorized_operations: OPERATIONS_OMITTED,
        ..unknown(name, ErrorCode::InvalidRequest)
    };
    let topics = request.topics.iter().map(|topic| refused(topic.name));
    DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() }
}

/// Describes topics, which rise by name, from a place on, until a page is full. A topic that does not exist is left out where all
/// were asked for.
fn page<'n>(
    topics: &TopicTable,
    names: impl Iterator<Item = &'n str>,
    (from, first): (&str, usize),
    mut left: usize,
    all: bool,
) -> DescribeTopicPartitionsResponse<'static> {
    let mut described = Vec::new();
    let cursor = |topic: &str, partition: usize| {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        Nullable(Some(Cursor { topic: topic.to_owned().into(), partition }))
    };
    for name in names {
        if left == 0 {
            return DescribeTopicPartitionsResponse {
                topics: described,
                next: cursor(name, 0),
                ..Default::default()
            };
        }
        let Some(topic) = topics.get(TopicKey::Name(name)) else {
            let valid = check_name(name).is_ok();
            let error =
                if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
            described.extend((!all).then(|| unknown(name, error)));
            continue;
        };
        let begin = if name == from { first } else { 0 };
        let count = topic.routes.len();
        let end = count.min(begin.saturating_add(left));
        described.push(describe(topic, begin, end));
        if end < count {
            return DescribeTopicPartitionsResponse {
                topics: described,
                next: cursor(name, end),
                ..Default::default()
            };
        }
        left -= end.saturating_sub(begin);
    }
    DescribeTopicPartitionsResponse { topics: described, ..Default::default() }
}

fn unknown(name: &str, error: ErrorCode) -> PartitionedTopic<'static> {
    PartitionedTopic {
        error,
        name: Some(name.to_owned().into()),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..Default::default()
    }
}

fn describe(topic: &LocalTopic, begin: usize, end: usize) -> PartitionedTopic<'static> {
    let partition = |index: usize| PartitionDescription {
        error: ErrorCode::None,
        index: i32::try_from(index).unwrap_or(i32::MAX),
        leader_id: NODE_ID,
        leader_epoch: 0,
        replicas: REPLICAS.into(),
        isr_nodes: REPLICAS.into(),
        eligible_leader_replicas: Some(Vec::new()),
        last_known_eligible: Some(Vec::new()),
        offline_replicas: Vec::new(),
    };
    PartitionedTopic {
        topic_id: topic.topic.id,
        is_internal: topic.internal,
        partitions: (begin..end).map(partition).collect(),
        ..unknown(&topic.topic.name, ErrorCode::None)
    }
}
