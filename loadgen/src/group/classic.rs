//! A member's place in a classic group (KIP-429, KIP-394): it joins a generation, waits for the others, is told its part by
//! the member that leads, and joins again when a heartbeat is answered so.
//!
//! Promises: JoinGroup waits in a thread of its own, so that a cooperative member reads on meanwhile; a member that has
//! nothing to read sleeps until it has joined.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::heartbeat::HeartbeatRequest;
use keylane_kafka::messages::join_group::{JoinGroupProtocol, JoinGroupRequest};
use keylane_kafka::messages::leave_group::{LeaveGroupRequest, LeavingMember};
use keylane_kafka::messages::sync_group::{SyncGroupAssignment, SyncGroupRequest};

use super::assignor::{self, Strategy};
use super::seat::{Meaning, Seat, Turn};
use super::spec::Spec;
use super::wire::{Fault, Identity, Link, sound};

const JOIN: i16 = 5;
const SYNC: i16 = 3;
const HEARTBEAT: i16 = 3;
const LEAVE: i16 = 3;
const COMMIT: i16 = 7;

/// How long a turn waits for a join, so that a member that is killed ends.
const WAIT: Duration = Duration::from_millis(20);

/// What a join came to: its connection, who the member is now, and its part.
type Outcome = (Link, Identity, Result<Vec<i32>, Fault>);

enum State {
    /// It has to join.
    Out,
    Joining(Receiver<Outcome>),
    /// It has its part of the generation.
    In,
}

/// See the module's header.
pub struct Classic {
    spec: Arc<Spec>,
    strategy: Strategy,
    identity: Identity,
    /// JoinGroup waits on it.
    coordinator: Option<Link>,
    state: State,
    heard: Instant,
}

impl Classic {
    pub fn new(spec: &Arc<Spec>, strategy: Strategy) -> Self {
        let identity = Identity { group: spec.group.clone(), generation: -1, ..Identity::default() };
        let (coordinator, state, heard) = (None, State::Out, Instant::now());
        Self { spec: Arc::clone(spec), strategy, identity, coordinator, state, heard }
    }

    /// Starts to join.
    fn join(&mut self, owned: &[i32]) -> Result<Turn, Fault> {
        if self.strategy == Strategy::Eager && !owned.is_empty() {
            return Ok(Turn::GiveUp);
        }
        let mut link = match self.coordinator.take() {
            Some(link) => link,
            None => Link::connect(self.spec.address)?,
        };
        let (spec, strategy, mut identity) = (Arc::clone(&self.spec), self.strategy, self.identity.clone());
        let owned = owned.to_vec();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let outcome = join_and_sync(&mut link, &spec, strategy, &mut identity, &owned);
            // Nobody listens any more if the member was killed.
            let _killed = tell.send((link, identity, outcome));
        });
        self.state = State::Joining(told);
        Ok(Turn::Wait)
    }

    /// Takes what a join came to: the partitions that the member has.
    fn joined(&mut self, (link, identity, outcome): Outcome) -> Result<Vec<i32>, Fault> {
        self.state = State::Out;
        let broken = matches!(outcome, Err(Fault::Broken(_)));
        self.coordinator = (!broken).then_some(link);
        // Also of a join that failed: the coordinator knows the id, and waits for it in the next round.
        self.identity = identity;
        let assigned = outcome?;
        self.heard = Instant::now();
        self.state = State::In;
        Ok(assigned)
    }
}

impl Seat for Classic {
    fn is_in(&self) -> bool {
        matches!(self.state, State::In)
    }

    fn turn(&mut self, owned: &[i32]) -> Result<Turn, Fault> {
        match &self.state {
            State::Out => self.join(owned),
            State::Joining(told) => {
                let wait = if owned.is_empty() { WAIT } else { Duration::ZERO };
                let outcome = match told.recv_timeout(wait) {
                    Ok(outcome) => outcome,
                    Err(RecvTimeoutError::Timeout) => return Ok(Turn::Wait),
                    Err(RecvTimeoutError::Disconnected) => {
                        self.state = State::Out;
                        return Ok(Turn::Wait);
                    }
                };
                let assigned = self.joined(outcome)?;
                if owned.iter().any(|partition| !assigned.contains(partition)) {
                    // What it gives up is dealt in the next round.
                    self.state = State::Out;
                }
                Ok(Turn::Have(assigned))
            }
            State::In => self.beat(owned).map(|()| Turn::Stay),
        }
    }

    fn beat(&mut self, _owned: &[i32]) -> Result<(), Fault> {
        if !self.is_in() || self.heard.elapsed() < self.spec.heartbeat {
            return Ok(());
        }
        self.heard = Instant::now();
        match &mut self.coordinator {
            Some(link) => heartbeat(link, &self.identity),
            None => Ok(()),
        }
    }

    fn refused(&mut self, code: ErrorCode) -> Meaning {
        match code {
            ErrorCode::RebalanceInProgress => {
                if self.is_in() {
                    self.state = State::Out;
                }
                Meaning::Known
            }
            ErrorCode::IllegalGeneration => {
                self.state = State::Out;
                Meaning::Out
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                self.identity.id.clear();
                self.state = State::Out;
                Meaning::Out
            }
            _ => Meaning::Unknown,
        }
    }

    fn disconnect(&mut self) {
        self.coordinator = None;
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn commit_version(&self) -> i16 {
        COMMIT
    }

    fn arrive(&mut self) -> Result<(), Fault> {
        let State::Joining(told) = std::mem::replace(&mut self.state, State::Out) else { return Ok(()) };
        told.recv().map_or(Ok(()), |outcome| self.joined(outcome).map(|_| ()))
    }

    fn leave(&mut self) -> Result<(), Fault> {
        if self.identity.id.is_empty() {
            return Ok(());
        }
        let mut link = match self.coordinator.take() {
            Some(link) => link,
            None => Link::connect(self.spec.address)?,
        };
        leave(&mut link, &self.identity)
    }
}

/// Joins a generation and gets its part of it; deals the partitions if it leads.
fn join_and_sync(
    link: &mut Link,
    spec: &Spec,
    strategy: Strategy,
    who: &mut Identity,
    owned: &[i32],
) -> Result<Vec<i32>, Fault> {
    let members = join(link, spec, strategy, who, &assignor::subscription(&spec.topic, owned))?;
    let claims: Vec<Vec<i32>> =
        members.iter().map(|(_, wants)| assignor::owned(wants).unwrap_or_default()).collect();
    let dealt = if claims.is_empty() {
        Vec::new()
    } else {
        assignor::deal(strategy, &claims, spec.begin.len() as i32)
    };
    let dealt = members.into_iter().zip(dealt);
    let dealt: Vec<(String, Vec<u8>)> =
        dealt.map(|((id, _), part)| (id, assignor::assignment(&spec.topic, &part))).collect();
    let bytes = sync(link, who, &dealt)?;
    Ok(assignor::assigned(&bytes).unwrap_or_default())
}

/// Joins, and waits for the others; who leads gets each member's id and subscription. Asks twice where the coordinator
/// gives an id first (KIP-394).
fn join(
    link: &mut Link,
    spec: &Spec,
    strategy: Strategy,
    who: &mut Identity,
    subscription: &[u8],
) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    loop {
        let request = JoinGroupRequest {
            group: &who.group,
            session_timeout_ms: spec.times.session_ms,
            rebalance_timeout_ms: spec.times.rebalance_ms,
            member_id: &who.id,
            protocol_type: "consumer",
            protocols: vec![JoinGroupProtocol { name: strategy.name(), metadata: subscription }],
            ..Default::default()
        };
        let joined = link.ask(JOIN, &request)?;
        if joined.error == ErrorCode::MemberIdRequired && who.id.is_empty() {
            let id = joined.member_id.into_owned();
            who.id = id;
            continue;
        }
        sound(joined.error)?;
        let (id, generation) = (joined.member_id.into_owned(), joined.generation);
        let members = joined.members.into_iter();
        let members = members.map(|m| (m.member_id.into_owned(), m.metadata.into_owned())).collect();
        (who.id, who.generation) = (id, generation);
        return Ok(members);
    }
}

/// Gets what the leader has dealt, which the leader says here: the bytes of the assignment.
fn sync(link: &mut Link, who: &Identity, dealt: &[(String, Vec<u8>)]) -> Result<Vec<u8>, Fault> {
    let assignments =
        dealt.iter().map(|(member_id, assignment)| SyncGroupAssignment { member_id, assignment });
    let request = SyncGroupRequest {
        group: &who.group,
        generation: who.generation,
        member_id: &who.id,
        assignments: assignments.collect(),
        ..Default::default()
    };
    let synced = link.ask(SYNC, &request)?;
    sound(synced.error)?;
    Ok(synced.assignment.into_owned())
}

fn heartbeat(link: &mut Link, who: &Identity) -> Result<(), Fault> {
    let request = HeartbeatRequest {
        group: &who.group,
        generation: who.generation,
        member_id: &who.id,
        ..Default::default()
    };
    sound(link.ask(HEARTBEAT, &request)?.error)
}

fn leave(link: &mut Link, who: &Identity) -> Result<(), Fault> {
    let members = vec![LeavingMember { member_id: &who.id, ..Default::default() }];
    let request = LeaveGroupRequest { group: &who.group, members, ..Default::default() };
    let left = link.ask(LEAVE, &request)?;
    sound(left.error)
}
