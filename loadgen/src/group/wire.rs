//! The requests that a member of any protocol makes, over one connection.
//!
//! The versions are the last ones without compact types, which every broker serves that is not very old.

use std::net::SocketAddr;
use std::time::Duration;

use keylane_kafka::ErrorCode;
use keylane_kafka::api::Ask;
use keylane_kafka::client::{Client, ClientError};
use keylane_kafka::messages::fetch::FetchedPartition;
use keylane_kafka::messages::find_coordinator::FindCoordinatorRequest;
use keylane_kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use keylane_kafka::messages::offset_commit::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};
use keylane_kafka::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchTopic};

use uuid::Uuid;

use crate::fetch_shape::{FetchLimits, FetchPlan};
use crate::protocol::{CLIENT_ID, fetch_request};

const COORDINATOR: i16 = 2;
/// The first with the ids of topics.
const METADATA: i16 = 10;
const COMMITTED: i16 = 5;
const FETCH: i16 = 11;
/// JoinGroup waits for the other members.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The broker refused it.
    #[error("{0}")]
    Refused(ErrorCode),
    /// The connection is not to be used any more.
    #[error(transparent)]
    Broken(#[from] ClientError),
}

/// What a member is in its group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub group: String,
    /// Empty before the coordinator has given one.
    pub id: String,
    /// In KIP-848 the member's epoch.
    pub generation: i32,
}

/// How long a group waits for its members, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub session_ms: i32,
    pub rebalance_ms: i32,
}

pub(super) fn sound(error: ErrorCode) -> Result<(), Fault> {
    if error.is_none() { Ok(()) } else { Err(Fault::Refused(error)) }
}

/// Asks who coordinates a group.
pub fn find_coordinator(client: &mut Client, group: &str) -> Result<(), Fault> {
    let request = FindCoordinatorRequest { key: group, ..Default::default() };
    sound(client.ask(COORDINATOR, &request)?.error)
}

/// One connection. A group of a single broker has its coordinator where its partitions are.
pub struct Link(Client);

impl Link {
    pub fn connect(address: SocketAddr) -> Result<Self, Fault> {
        Ok(Self(Client::connect(address, CLIENT_ID, PATIENCE)?))
    }

    /// Connects, and asks who coordinates a group: Apache Kafka has no coordinators at all before somebody has asked.
    pub fn to_coordinator(address: SocketAddr, group: &str) -> Result<Self, Fault> {
        let mut link = Self::connect(address)?;
        find_coordinator(&mut link.0, group)?;
        Ok(link)
    }

    /// Sends a request, and takes its answer.
    pub(super) fn ask<'q, Q: Ask<'q>>(&mut self, version: i16, request: &Q) -> Result<Q::Answer<'_>, Fault> {
        Ok(self.0.ask(version, request)?)
    }

    /// The id of a topic.
    pub(super) fn topic_id(&mut self, topic: &str) -> Result<Uuid, Fault> {
        let wanted = MetadataRequestTopic { name: Some(topic), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = self.0.ask(METADATA, &request)?;
        let found = answer.topics.first().ok_or(Fault::Refused(ErrorCode::UnknownTopicOrPartition))?;
        sound(found.error)?;
        Ok(found.topic_id)
    }

    /// Commits offsets of partitions; the first refusal refuses all.
    pub fn commit(
        &mut self,
        version: i16,
        who: &Identity,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), Fault> {
        let partitions = offsets.iter().map(|&(index, offset)| OffsetCommitPartition {
            index,
            offset,
            leader_epoch: -1,
            metadata: Some(""),
        });
        let topics =
            vec![OffsetCommitTopic { name: topic, partitions: partitions.collect(), ..Default::default() }];
        let request = OffsetCommitRequest {
            group: &who.group,
            generation: who.generation,
            member_id: &who.id,
            topics,
            ..Default::default()
        };
        let answer = self.0.ask(version, &request)?;
        answer.topics.iter().flat_map(|topic| &topic.partitions).try_for_each(|p| sound(p.error))
    }

    /// Where the group is in each partition; -1: nowhere.
    pub fn committed(
        &mut self,
        group: &str,
        topic: &str,
        partitions: &[i32],
    ) -> Result<Vec<(i32, i64)>, Fault> {
        let wanted = OffsetFetchTopic { name: topic, partitions: partitions.to_vec(), ..Default::default() };
        let request = OffsetFetchRequest { group, topics: Some(vec![wanted]), ..Default::default() };
        let answer = self.0.ask(COMMITTED, &request)?;
        sound(answer.error)?;
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        found.map(|p| sound(p.error).map(|()| (p.index, p.offset))).collect()
    }

    /// Asks for what lies at these positions, and gives each partition's answer to `each`.
    pub fn fetch(
        &mut self,
        topic: &str,
        positions: Vec<(i32, i64)>,
        limits: FetchLimits,
        mut each: impl FnMut(&FetchedPartition<'_>),
    ) -> Result<(), Fault> {
        let plan = FetchPlan::without_session(positions);
        let request = fetch_request(topic, limits, &plan);
        let answer = self.0.ask(FETCH, &request)?;
        sound(answer.error)?;
        answer.topics.iter().flat_map(|topic| &topic.partitions).for_each(&mut each);
        Ok(())
    }
}
