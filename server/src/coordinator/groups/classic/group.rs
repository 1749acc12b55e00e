//! What a classic group consists of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::effect::{Effect, Joined, JoinedMember, Refused, StoreId, Synced, Ticket};
use super::limits::{Limits, Millis};
use super::member::Member;
use super::purpose::Purpose;
use super::stored::Stored;

/// A rebalance that members are waited for in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gathering {
    /// When it goes on without those who are missing.
    pub until: Millis,
    /// The first rebalance of an empty group waits for everybody who might come; so much longer, if somebody does.
    pub more: Option<Millis>,
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has no members.
    Empty,
    /// Its members are asked to join again.
    PreparingRebalance,
    /// They have; the leader's assignment is waited for.
    CompletingRebalance,
    /// Every member has its assignment, or can ask for it.
    Stable,
}

impl State {
    /// Its name in Kafka.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// A group. See the header of `classic`.
#[derive(Debug)]
pub struct Group {
    pub(super) limits: Limits,
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    /// How partitions are assigned in this generation.
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    pub(super) members: BTreeMap<Arc<str>, Member>,
    /// Ids of static members by the names that they keep.
    pub(super) statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that were given out and did not join yet, with the time at which they are forgotten.
    pub(super) pending: BTreeMap<Arc<str>, Millis>,
    /// The rebalance that members are waited for in.
    pub(super) gathering: Option<Gathering>,
    /// Somebody joined while the first rebalance waited for more.
    pub(super) newcomers: bool,
    /// Members of this generation that did not ask for their assignment yet, and until when they may.
    pub(super) unsynced: BTreeSet<Arc<str>>,
    pub(super) sync_until: Option<Millis>,
    /// What is being stored, and what follows when it is.
    pub(super) storing: BTreeMap<StoreId, Purpose>,
    pub(super) last_store: StoreId,
    pub(super) effects: Vec<Effect>,
}

impl Group {
    /// A group without members that was never stored.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            gathering: None,
            newcomers: false,
            unsynced: BTreeSet::new(),
            sync_until: None,
            storing: BTreeMap::new(),
            last_store: 0,
            effects: Vec::new(),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its generation.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// What its members speak, or spoke last.
    pub fn protocol_type(&self) -> Option<&Arc<str>> {
        self.protocol_type.as_ref()
    }

    /// How partitions are assigned in this generation.
    pub fn protocol(&self) -> Option<&Arc<str>> {
        self.protocol.as_ref()
    }

    /// Its members.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether nothing would be lost with it beside what is stored.
    pub fn is_vacant(&self) -> bool {
        self.state == State::Empty && self.pending.is_empty() && self.storing.is_empty()
    }

    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        const GROUP: usize = 512;
        const PENDING: usize = 160;
        let pending = self.pending.keys().map(|id| PENDING + id.len());
        GROUP + pending.sum::<usize>() + self.members.values().map(Member::bytes).sum::<usize>()
    }

    /// What followed from what was asked since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What each member wants in the protocol of this generation.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Bytes> {
        let protocol = self.protocol.as_deref();
        self.members.values().filter_map(move |member| member.metadata(protocol?))
    }

    /// Whether a member is who it says: its id is known, and the name that it keeps belongs to this id.
    pub(super) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), Refused> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(Refused::UnknownMember),
                Some(current) if **current != *id => return Err(Refused::Fenced),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(Refused::UnknownMember) }
    }

    /// Answers a JoinGroup that waited.
    pub(super) fn answer_join(&mut self, to: Ticket, answer: Result<Joined, Refused>) {
        self.effects.push(Effect::Joined { to, answer });
    }

    /// Answers a SyncGroup that waited.
    pub(super) fn answer_sync(&mut self, to: Ticket, answer: Result<Synced, Refused>) {
        self.effects.push(Effect::Synced { to, answer });
    }

    /// The answer to a member of the current generation.
    pub(super) fn joined(&self, id: &Arc<str>, with_members: bool) -> Joined {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |m: &Member| JoinedMember {
            id: Arc::clone(&m.id),
            instance: m.instance.clone(),
            metadata: m.metadata(protocol).cloned().unwrap_or_default(),
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            member_id: Arc::clone(id),
            skip_assignment: false,
            members: if with_members { self.members.values().map(member).collect() } else { Vec::new() },
        }
    }

    /// What a member of the current generation gets.
    pub(super) fn synced(&self, id: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }

    /// Asks for something to be stored.
    pub(super) fn store(&mut self, what: Stored, purpose: Purpose) {
        self.last_store += 1;
        self.storing.insert(self.last_store, purpose);
        self.effects.push(Effect::Store { id: self.last_store, what });
    }
}
