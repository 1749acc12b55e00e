//! A consumer of the group: it joins, is assigned partitions, reads on where the group has committed, commits what it has
//! processed, and joins again when it is told to. It has no session of its own to lose: a broken connection is made again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FetchRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use keylane_tests::e2e::batch;
use keylane_tests::e2e::client::{Client, FETCH, name};
use uuid::Uuid;

use super::history::{Committed, Processed};
use super::world::{GROUP, PARTITIONS, TOPIC, World};

const SESSION_MS: i32 = 600;
const REBALANCE_MS: i32 = 3000;
const HEARTBEAT: Duration = Duration::from_millis(60);
const NONE: i16 = 0;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER_ID: i16 = 25;
const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;
const FENCED_MEMBER_EPOCH: i16 = 110;
const STALE_MEMBER_EPOCH: i16 = 113;
/// The coordinator is not available, or not here: the server is stopping.
const NOT_NOW: [i16; 2] = [15, 16];

const RUN: u8 = 0;
const LEAVE: u8 = 1;
const DIE: u8 = 2;

pub(super) fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

pub(super) fn group() -> GroupId {
    GroupId(text(GROUP))
}

/// A member on a thread of its own.
pub struct Running {
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Orders {
    what: AtomicU8,
    /// The connection of the moment.
    stream: std::sync::Mutex<Option<std::net::TcpStream>>,
}

impl Running {
    /// Starts the member with this number. One that commits `ahead` is wrong on purpose: it commits so many records before it
    /// has processed them.
    pub fn start(world: &Arc<World>, number: usize, speaks: Speaks, ahead: i64) -> Self {
        let orders = Arc::new(Orders::default());
        let mut member = Member {
            world: Arc::clone(world),
            orders: Arc::clone(&orders),
            number,
            speaks,
            ahead,
            client: None,
            id: match speaks {
                Speaks::Classic => String::new(),
                Speaks::Consumer => format!("member-{number}"),
            },
            generation: -1,
            joined: false,
            told: BTreeSet::new(),
            topic_id: None,
            positions: BTreeMap::new(),
            committed: BTreeMap::new(),
            heard: Instant::now(),
        };
        let thread = std::thread::spawn(move || member.run());
        Self { orders, thread }
    }

    /// Has it leave the group.
    pub fn leave(self) {
        self.orders.what.store(LEAVE, Ordering::Relaxed);
        self.thread.join().expect("a member does not panic");
    }

    /// Ends it where it is: its connection closes, and nobody is told.
    pub fn kill(self) {
        self.orders.what.store(DIE, Ordering::Relaxed);
        if let Some(stream) = self.orders.stream.lock().expect("a lock").take() {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.thread.join().expect("a member does not panic");
    }
}

/// What members speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// JoinGroup, SyncGroup, Heartbeat.
    Classic,
    /// The heartbeat of KIP-848.
    Consumer,
}

pub(super) struct Member {
    pub(super) world: Arc<World>,
    orders: Arc<Orders>,
    number: usize,
    speaks: Speaks,
    ahead: i64,
    client: Option<Client>,
    pub(super) id: String,
    /// Or the epoch, in a consumer group.
    pub(super) generation: i32,
    /// It has its part of the generation, or is a member of the consumer group.
    pub(super) joined: bool,
    /// The partitions that it is to read, in a consumer group.
    pub(super) told: BTreeSet<i32>,
    pub(super) topic_id: Option<Uuid>,
    /// The offset to read next of each partition that it has.
    pub(super) positions: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
    pub(super) heard: Instant,
}

impl Member {
    fn run(&mut self) {
        loop {
            let order = self.orders.what.load(Ordering::Relaxed);
            if order != RUN {
                if order == LEAVE && (self.joined || self.speaks == Speaks::Classic && !self.id.is_empty()) {
                    // One that cannot say so is missed when its session ends.
                    let _ = self.leave();
                }
                return;
            }
            if let Err(error) = self.step() {
                if self.client.is_some() && !self.world.is_restarting() {
                    let ours = self.orders.what.load(Ordering::Relaxed) != RUN;
                    self.world.trouble(|| format!("member {}: {error:#}", self.number), ours);
                }
                self.client = None;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn step(&mut self) -> Result<()> {
        if self.client.is_none() {
            let client = Client::connect(self.world.address())?;
            *self.orders.stream.lock().expect("a lock") = Some(client.stream.try_clone()?);
            self.client = Some(client);
        }
        if !self.joined {
            return match self.speaks {
                Speaks::Classic => self.join(),
                Speaks::Consumer => self.join_consumers(),
            };
        }
        self.process()?;
        self.commit()?;
        if self.speaks == Speaks::Consumer {
            return if self.joined && self.heard.elapsed() > HEARTBEAT { self.beat() } else { Ok(()) };
        }
        if self.joined && self.heard.elapsed() > HEARTBEAT {
            let request = HeartbeatRequest::default()
                .with_group_id(group())
                .with_generation_id(self.generation)
                .with_member_id(text(&self.id));
            let answer = self.call(3, &request)?;
            self.heard = Instant::now();
            self.obey(answer.error_code)?;
        }
        Ok(())
    }

    pub(super) fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.client.as_mut().context("a connection")?.call(version, request)
    }

    /// Does what an error says. Everything that is not expected of a sound group ends the connection and is told.
    pub(super) fn obey(&mut self, error: i16) -> Result<()> {
        match error {
            NONE => return Ok(()),
            REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => {}
            // One of a consumer group has chosen its id, and keeps it.
            UNKNOWN_MEMBER_ID if self.speaks == Speaks::Classic => self.id.clear(),
            UNKNOWN_MEMBER_ID | FENCED_MEMBER_EPOCH => {}
            // The next heartbeat says which epoch it is in.
            STALE_MEMBER_EPOCH => return Ok(()),
            soon if NOT_NOW.contains(&soon) => return Ok(()),
            other => anyhow::bail!("error {other}"),
        }
        self.joined = false;
        Ok(())
    }

    fn join(&mut self) -> Result<()> {
        self.forget();
        let protocol = JoinGroupRequestProtocol::default().with_name(text("even"));
        let request = JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(SESSION_MS)
            .with_rebalance_timeout_ms(REBALANCE_MS)
            .with_member_id(text(&self.id))
            .with_protocol_type(text("churn"))
            .with_protocols(vec![protocol]);
        let joined = self.call(5, &request)?;
        if joined.error_code == MEMBER_ID_REQUIRED {
            self.id = joined.member_id.to_string();
            return Ok(());
        }
        if joined.error_code != NONE {
            std::thread::sleep(Duration::from_millis(5));
            return self.obey(joined.error_code);
        }
        self.id = joined.member_id.to_string();
        self.generation = joined.generation_id;
        let members: Vec<StrBytes> = joined.members.into_iter().map(|m| m.member_id).collect();
        let parts = members.iter().enumerate().map(|(at, id)| {
            let assignment: Vec<u8> = (0..PARTITIONS as u8).skip(at).step_by(members.len()).collect();
            SyncGroupRequestAssignment::default()
                .with_member_id(id.clone())
                .with_assignment(assignment.into())
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group())
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(parts.collect());
        let synced = self.call(3, &request)?;
        if synced.error_code != NONE {
            return self.obey(synced.error_code);
        }
        self.begin(&synced.assignment)
    }

    /// It has nothing any more.
    pub(super) fn forget(&mut self) {
        self.positions.clear();
        self.committed.clear();
    }

    /// Reads on where the group has committed.
    fn begin(&mut self, assignment: &Bytes) -> Result<()> {
        self.begin_at_commits(assignment.iter().map(|p| i32::from(*p)).collect())
    }

    /// The same for some partitions.
    pub(super) fn begin_at_commits(&mut self, list: Vec<i32>) -> Result<()> {
        // What was answered before the question must be in the answer.
        let floor = self.world.floor();
        let topic = OffsetFetchRequestTopic::default().with_name(name(TOPIC)).with_partition_indexes(list);
        let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
        let fetched = self.call(7, &request)?;
        if fetched.error_code != NONE {
            return self.obey(fetched.error_code);
        }
        for partition in fetched.topics.into_iter().flat_map(|t| t.partitions) {
            let (index, offset) = (partition.partition_index, partition.committed_offset.max(0));
            if offset < floor.get(&index).copied().unwrap_or(0) {
                let number = self.number;
                self.world.find(format!("back: member {number} is told {offset} of {index}, not {floor:?}"));
            }
            self.positions.insert(index, offset);
            self.committed.insert(index, offset);
        }
        self.joined = true;
        self.heard = Instant::now();
        Ok(())
    }

    fn process(&mut self) -> Result<()> {
        let wanted = self.positions.iter().map(|(partition, offset)| {
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(64 << 10)
        });
        let topic = FetchTopic::default().with_topic(name(TOPIC)).with_partitions(wanted.collect());
        let request = FetchRequest::default()
            .with_max_wait_ms(20)
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_topics(vec![topic]);
        let mut processed = Vec::new();
        let fetched = self.call(FETCH, &request)?;
        ensure!(fetched.error_code == NONE, "Fetch: error {}", fetched.error_code);
        for partition in fetched.responses.into_iter().flat_map(|t| t.partitions) {
            let index = partition.partition_index;
            if partition.error_code == OFFSET_OUT_OF_RANGE && self.ahead > 0 {
                continue;
            }
            ensure!(partition.error_code == NONE, "Fetch of {index}: error {}", partition.error_code);
            let position = self.positions.get_mut(&index).context("a partition that was asked for")?;
            for (offset, value) in batch::values(&partition.records.unwrap_or_default())? {
                // An answer begins with the batch that holds the offset.
                if offset >= *position {
                    let value = std::str::from_utf8(&value)?.trim_end_matches('.').parse()?;
                    let (generation, member) = (self.generation, self.number);
                    processed.push(Processed { generation, member, at: (index, offset), value });
                    *position = offset + 1;
                }
            }
        }
        self.world.processed(processed);
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        let new: Vec<(i32, i64)> = self
            .positions
            .iter()
            .map(|(p, offset)| (*p, *offset + if self.ahead > 0 { self.ahead } else { 0 }))
            .filter(|(p, offset)| self.committed.get(p) != Some(offset))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let partition = |(index, offset): &(i32, i64)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(*index)
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(text("")))
        };
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name(TOPIC))
            .with_partitions(new.iter().map(partition).collect());
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_topics(vec![topic]);
        // An epoch is said from version 9 on.
        let version = if self.speaks == Speaks::Consumer { 9 } else { 7 };
        let answer = self.call(version, &request)?;
        let errors = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
        let error = errors.max().context("an answer for each partition")?;
        if error != NONE {
            return self.obey(error);
        }
        let generation = self.generation;
        self.world.committed(new.iter().map(|at| Committed { generation, at: *at }).collect());
        self.committed.extend(new);
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        if self.speaks == Speaks::Consumer {
            return self.leave_consumers();
        }
        let one = MemberIdentity::default().with_member_id(text(&self.id));
        self.call(3, &LeaveGroupRequest::default().with_group_id(group()).with_members(vec![one]))?;
        Ok(())
    }
}
