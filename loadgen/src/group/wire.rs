//! The requests of a member, over one connection.
//!
//! The versions are the last ones without compact types, which every broker serves that is not very old.

use std::net::SocketAddr;
use std::time::Duration;

use keylane_kafka::ErrorCode;
use keylane_kafka::client::{Client, ClientError};
use keylane_kafka::messages::fetch::FetchedPartition;
use keylane_kafka::messages::find_coordinator::FindCoordinatorRequest;
use keylane_kafka::messages::heartbeat::HeartbeatRequest;
use keylane_kafka::messages::join_group::{JoinGroupProtocol, JoinGroupRequest};
use keylane_kafka::messages::leave_group::{LeaveGroupRequest, LeavingMember};
use keylane_kafka::messages::offset_commit::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};
use keylane_kafka::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchTopic};
use keylane_kafka::messages::sync_group::{SyncGroupAssignment, SyncGroupRequest};

use crate::fetch_shape::{FetchLimits, FetchPlan};
use crate::protocol::{CLIENT_ID, fetch_request};

const COORDINATOR: i16 = 2;
const JOIN: i16 = 5;
const SYNC: i16 = 3;
const HEARTBEAT: i16 = 3;
const LEAVE: i16 = 3;
const COMMIT: i16 = 7;
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
    pub generation: i32,
}

/// A generation that was joined.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    pub identity: Identity,
    /// For the leader: each member's id and subscription.
    pub members: Vec<(String, Vec<u8>)>,
}

/// How long a group waits for its members, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub session_ms: i32,
    pub rebalance_ms: i32,
}

fn sound(error: ErrorCode) -> Result<(), Fault> {
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

    /// Joins, and waits for the others. Asks twice where the coordinator gives an id first (KIP-394).
    pub fn join(
        &mut self,
        who: &Identity,
        times: Timeouts,
        protocol: &str,
        subscription: &[u8],
    ) -> Result<Joined, Fault> {
        let mut id = who.id.clone();
        loop {
            let request = JoinGroupRequest {
                group: &who.group,
                session_timeout_ms: times.session_ms,
                rebalance_timeout_ms: times.rebalance_ms,
                member_id: &id,
                protocol_type: "consumer",
                protocols: vec![JoinGroupProtocol { name: protocol, metadata: subscription }],
                ..Default::default()
            };
            let joined = self.0.ask(JOIN, &request)?;
            if joined.error == ErrorCode::MemberIdRequired && id.is_empty() {
                id = joined.member_id.into_owned();
                continue;
            }
            sound(joined.error)?;
            let identity = Identity {
                group: who.group.clone(),
                id: joined.member_id.into_owned(),
                generation: joined.generation,
            };
            let members = joined.members.into_iter();
            let members = members.map(|m| (m.member_id.into_owned(), m.metadata.into_owned()));
            return Ok(Joined { identity, members: members.collect() });
        }
    }

    /// Gets what the leader has dealt, which the leader says here. The bytes of the assignment.
    pub fn sync(&mut self, who: &Identity, dealt: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Fault> {
        let part = |(id, bytes): &'_ (String, Vec<u8>)| (id.clone(), bytes.clone());
        let dealt: Vec<(String, Vec<u8>)> = dealt.iter().map(part).collect();
        let assignments =
            dealt.iter().map(|(member_id, assignment)| SyncGroupAssignment { member_id, assignment });
        let request = SyncGroupRequest {
            group: &who.group,
            generation: who.generation,
            member_id: &who.id,
            assignments: assignments.collect(),
            ..Default::default()
        };
        let synced = self.0.ask(SYNC, &request)?;
        sound(synced.error)?;
        Ok(synced.assignment.into_owned())
    }

    pub fn heartbeat(&mut self, who: &Identity) -> Result<(), Fault> {
        let request = HeartbeatRequest {
            group: &who.group,
            generation: who.generation,
            member_id: &who.id,
            ..Default::default()
        };
        sound(self.0.ask(HEARTBEAT, &request)?.error)
    }

    pub fn leave(&mut self, who: &Identity) -> Result<(), Fault> {
        let members = vec![LeavingMember { member_id: &who.id, ..Default::default() }];
        let request = LeaveGroupRequest { group: &who.group, members, ..Default::default() };
        let left = self.0.ask(LEAVE, &request)?;
        sound(left.error)
    }

    /// Commits offsets of partitions; the first refusal refuses all.
    pub fn commit(&mut self, who: &Identity, topic: &str, offsets: &[(i32, i64)]) -> Result<(), Fault> {
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
        let answer = self.0.ask(COMMIT, &request)?;
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
