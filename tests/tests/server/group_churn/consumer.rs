//! A member of a consumer group (KIP-848): its heartbeat says what it reads, and tells it what to read. It gives partitions back when
//! it has committed what it processed of them, and begins new ones where the group has committed.

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, MetadataRequest};
use keylane_tests::e2e::client::name;
use std::time::Instant;

use super::member::{Member, group, text};
use super::world::TOPIC;

const VERSION: i16 = 1;
const REBALANCE_MS: i32 = 3000;
const LEAVES: i32 = -1;

impl Member {
    /// Joins, with nothing to read yet.
    pub(super) fn join_consumers(&mut self) -> Result<()> {
        self.forget();
        self.told.clear();
        self.generation = 0;
        if self.topic_id.is_none() {
            let answer = self.call(12, &MetadataRequest::default().with_topics(None))?;
            let topic = answer.topics.into_iter().find(|t| t.name.as_ref() == Some(&name(TOPIC)));
            self.topic_id = Some(topic.context("the topic")?.topic_id);
        }
        let request = self
            .says()
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_subscribed_topic_names(Some(vec![name(TOPIC)]));
        self.ask(&request)
    }

    /// Says that it lives and what it reads, and does what it is told.
    pub(super) fn beat(&mut self) -> Result<()> {
        let request = self.says();
        self.ask(&request)
    }

    pub(super) fn leave_consumers(&mut self) -> Result<()> {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text(&self.id))
            .with_member_epoch(LEAVES);
        self.call(VERSION, &request)?;
        Ok(())
    }

    fn says(&self) -> ConsumerGroupHeartbeatRequest {
        let reads = TopicPartitions::default()
            .with_topic_id(self.topic_id.unwrap_or_default())
            .with_partitions(self.positions.keys().copied().collect());
        let reads = if self.positions.is_empty() { Vec::new() } else { vec![reads] };
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(text(&self.id))
            .with_member_epoch(self.generation)
            .with_topic_partitions(Some(reads))
    }

    fn ask(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<()> {
        let answer = self.call(VERSION, request)?;
        self.heard = Instant::now();
        if answer.error_code != 0 {
            return self.obey(answer.error_code);
        }
        ensure!(answer.member_id.as_deref() == Some(&*self.id), "the answer is for {:?}", answer.member_id);
        self.joined = true;
        self.generation = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let partitions = assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions);
            self.told = partitions.collect();
        }
        // What it processed is committed already: it commits after each fetch.
        self.positions.retain(|partition, _| self.told.contains(partition));
        let new: Vec<i32> =
            self.told.iter().copied().filter(|partition| !self.positions.contains_key(partition)).collect();
        if new.is_empty() { Ok(()) } else { self.begin_at_commits(new) }
    }
}
