//! A member's place in a group of KIP-848: the coordinator deals the partitions, and tells each member its own in the answer
//! to a heartbeat.
//!
//! Promises: the member says what it has as soon as that has changed, so that what it gave up goes to somebody else; its
//! heart beats as often as the coordinator asks for, if not more often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_kafka::ErrorCode;
use keylane_kafka::field::Nullable;
use keylane_kafka::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, JOINS, LEAVES, TopicPartitions,
};
use uuid::Uuid;

use super::seat::{Meaning, Seat, Turn};
use super::spec::Spec;
use super::wire::{Fault, Identity, Link, sound};

/// Members choose their ids from this version on.
const HEARTBEAT: i16 = 1;
/// The first that says that an epoch is stale.
const COMMIT: i16 = 9;

/// See the module's header.
pub struct Consumer {
    spec: Arc<Spec>,
    /// The epoch is [`JOINS`] as long as the member is not in.
    identity: Identity,
    coordinator: Option<Link>,
    topic_id: Option<Uuid>,
    /// What it is to have, by the last answer that said so.
    told: Vec<i32>,
    /// What it has last said that it has.
    said: Vec<i32>,
    heard: Instant,
    every: Duration,
    /// The next heartbeat is due at once.
    now: bool,
    /// The next heartbeat says everything, so that its answer does, too.
    whole: bool,
}

impl Consumer {
    pub fn new(spec: &Arc<Spec>) -> Self {
        let id = Uuid::new_v4().to_string();
        Self {
            spec: Arc::clone(spec),
            identity: Identity { group: spec.group.clone(), id, generation: JOINS },
            coordinator: None,
            topic_id: None,
            told: Vec::new(),
            said: Vec::new(),
            heard: Instant::now(),
            every: spec.heartbeat,
            now: true,
            whole: true,
        }
    }

    fn link(&mut self) -> Result<&mut Link, Fault> {
        let link = match self.coordinator.take() {
            Some(link) => link,
            None => Link::connect(self.spec.address)?,
        };
        Ok(self.coordinator.insert(link))
    }

    /// Joins if it has not, and says what it has if that has changed.
    fn heartbeat(&mut self, owned: &[i32]) -> Result<(), Fault> {
        let spec = Arc::clone(&self.spec);
        let topic_id = match self.topic_id {
            Some(id) => id,
            None => self.link()?.topic_id(&spec.topic)?,
        };
        self.topic_id = Some(topic_id);
        let who = self.identity.clone();
        let mut request = ConsumerGroupHeartbeatRequest {
            group: &who.group,
            member_id: &who.id,
            member_epoch: who.generation,
            ..Default::default()
        };
        if self.whole {
            request.rebalance_timeout_ms = spec.times.rebalance_ms;
            request.subscribed_topic_names = Some(vec![&spec.topic]);
        }
        if self.whole || self.said != owned {
            let partitions = TopicPartitions { topic_id, partitions: owned.to_vec() };
            request.topic_partitions = Some(if owned.is_empty() { vec![] } else { vec![partitions] });
        }
        self.heard = Instant::now();
        let answer = self.link()?.ask(HEARTBEAT, &request)?;
        sound(answer.error)?;
        let (epoch, asked_for) = (answer.member_epoch, answer.heartbeat_interval_ms);
        if let Nullable(Some(assignment)) = answer.assignment {
            self.told = assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions).collect();
            self.told.sort_unstable();
        }
        self.identity.generation = epoch;
        self.every = spec.heartbeat.min(Duration::from_millis(asked_for.max(1) as u64));
        self.said = owned.to_vec();
        (self.now, self.whole) = (false, false);
        Ok(())
    }

    /// It has to join.
    fn out(&mut self) {
        self.identity.generation = JOINS;
        self.told.clear();
        (self.now, self.whole) = (true, true);
    }
}

impl Seat for Consumer {
    fn is_in(&self) -> bool {
        self.identity.generation != JOINS
    }

    fn turn(&mut self, owned: &[i32]) -> Result<Turn, Fault> {
        let joins = !self.is_in();
        if joins && !owned.is_empty() {
            return Ok(Turn::GiveUp);
        }
        // What was taken on or given up is said at once.
        self.now |= self.said != owned;
        self.beat(owned)?;
        Ok(if joins || self.told != owned { Turn::Have(self.told.clone()) } else { Turn::Stay })
    }

    fn beat(&mut self, owned: &[i32]) -> Result<(), Fault> {
        if self.now || self.heard.elapsed() >= self.every {
            self.heartbeat(owned)?;
        }
        Ok(())
    }

    fn refused(&mut self, code: ErrorCode) -> Meaning {
        match code {
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => {
                self.out();
                Meaning::Out
            }
            // The next heartbeat tells the epoch.
            ErrorCode::StaleMemberEpoch => {
                self.now = true;
                Meaning::Known
            }
            _ => Meaning::Unknown,
        }
    }

    fn disconnect(&mut self) {
        self.coordinator = None;
        // The answer that was on its way may have had a new assignment.
        self.whole = true;
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn commit_version(&self) -> i16 {
        COMMIT
    }

    fn arrive(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Fault> {
        if !self.is_in() {
            return Ok(());
        }
        let who = self.identity.clone();
        let request = ConsumerGroupHeartbeatRequest {
            group: &who.group,
            member_id: &who.id,
            member_epoch: LEAVES,
            ..Default::default()
        };
        sound(self.link()?.ask(HEARTBEAT, &request)?.error)
    }
}
