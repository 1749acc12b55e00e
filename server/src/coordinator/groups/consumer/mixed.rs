//! Members of a consumer group that speak the classic protocol: a group whose members are restarted one by one has both for a while.
//!
//! To them the group looks like a classic one in which somebody else leads: they are told to join again when their part
//! changes, and get it at once. Epochs are their generations.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::embedded;
use super::group::Group;
use super::heartbeat::{Heartbeat, JOINS};
use super::image::{Classic, State, Subscriber};
use super::partitions::Partitions;
use super::refused::Refused as ConsumerRefused;
use super::topics::Topics;
use crate::coordinator::groups::classic::{Join, Joined, Leaving, Millis, Refused, Sync, Synced};

/// What consumers speak.
pub(super) const CONSUMER: &str = "consumer";

/// Partitions that are given by the names of their topics.
pub(super) fn by_id(named: &[(String, Vec<i32>)], topics: &impl Topics) -> Partitions {
    let known = named.iter().filter_map(|(name, list)| topics.find(name).map(|(id, _)| (id, list)));
    known.flat_map(|(id, list)| list.iter().map(move |partition| (id, *partition))).collect()
}

fn translated(refused: ConsumerRefused) -> Refused {
    match refused {
        ConsumerRefused::Full(_) => Refused::Full,
        ConsumerRefused::FencedInstance(_) | ConsumerRefused::UnreleasedInstance(_) => Refused::Fenced,
        _ => Refused::UnknownMember,
    }
}

impl Group {
    /// Whether all members speak the classic protocol.
    pub fn is_classic(&self) -> bool {
        !self.is_empty() && self.image.subscribers.values().all(|s| s.classic.is_some())
    }

    /// Whether a protocol is known to all members that speak the classic protocol.
    fn all_know(&self, name: &str) -> bool {
        let mut classic = self.image.subscribers.values().filter_map(|s| s.classic.as_ref());
        classic.all(|classic| classic.protocols.iter().any(|(known, _)| **known == *name))
    }

    /// A protocol that all members that speak the classic protocol know.
    pub(super) fn common_protocol(&self) -> Option<Arc<str>> {
        let first = self.image.subscribers.values().find_map(|s| s.classic.as_ref())?;
        first.protocols.iter().map(|(name, _)| name).find(|name| self.all_know(name)).cloned()
    }

    /// Takes a JoinGroup. The answer holds when the entries are durable.
    ///
    /// # Errors
    /// [`Refused`]: nothing changed.
    pub fn join_classic(
        &mut self,
        join: &Join,
        topics: &impl Topics,
        now: Millis,
    ) -> Result<Joined, Refused> {
        let speaks = *join.protocol_type == *CONSUMER;
        let common = join.protocols.iter().find(|(name, _)| self.all_know(name));
        let Some((protocol, wants)) = common.filter(|_| speaks) else { return Err(Refused::Protocol) };
        let is_new = join.member_id.is_empty();
        if is_new && join.needs_id && join.instance.is_none() {
            return Err(Refused::MemberIdRequired(Arc::clone(&join.new_id)));
        }
        let wants = embedded::subscription(wants).ok_or(Refused::Protocol)?;
        let millis = |time: Millis| i32::try_from(time).unwrap_or(i32::MAX);
        let asked = Heartbeat {
            member_id: Arc::clone(if is_new { &join.new_id } else { &join.member_id }),
            epoch: JOINS,
            instance: join.instance.clone(),
            rack: wants.rack.filter(|rack| !rack.is_empty()).map(Into::into),
            rebalance_ms: millis(join.rebalance),
            topics: Some(wants.topics.into_iter().map(Into::into).collect()),
            regex: Some("".into()),
            assignor: None,
            owned: Some(by_id(&wants.owned, topics)),
            client_id: Arc::clone(&join.client_id),
            client_host: Arc::clone(&join.client_host),
            classic: Some(Classic { session_ms: millis(join.session), protocols: join.protocols.clone() }),
        };
        let (protocol, id) = (Arc::clone(protocol), Arc::clone(&asked.member_id));
        // One that waits for nothing more joins, so that it is not waited for either.
        let beat = self.enter(&asked, topics, now).map_err(translated)?;
        if self.current(&id).state != State::Unrevoked {
            self.revocations.remove(&id);
        }
        Ok(Joined {
            generation: beat.epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol: Some(protocol),
            leader: "".into(),
            member_id: id,
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// Finds a member that speaks the classic protocol, and is who it says.
    fn classic_member(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<Arc<str>, Refused> {
        if let Some(instance) = instance {
            let keeper = self.statics.get(instance).ok_or(Refused::UnknownMember)?;
            if **keeper != *id {
                return Err(Refused::Fenced);
            }
        }
        let found = self.image.subscribers.get_key_value(id).filter(|(_, s)| s.classic.is_some());
        let (id, _) = found.ok_or(Refused::UnknownMember)?;
        if self.current(id).epoch == generation {
            Ok(Arc::clone(id))
        } else {
            Err(Refused::IllegalGeneration)
        }
    }

    /// Whether a member has to join again to get on.
    fn has_to_join(&self, id: &str) -> bool {
        let current = self.current(id);
        let target = self.image.targets.get(id);
        let is_free = |one: (Uuid, i32)| !self.owners.contains_key(&one);
        let gets_more = || target.is_some_and(|target| target.without(&current.assigned).iter().any(is_free));
        current.epoch < self.epoch()
            || current.state == State::Unrevoked
            || (current.state == State::Unreleased && gets_more())
    }

    /// A member is told to join again, and has as long for it as its rebalance time-out says.
    fn call_back(&mut self, id: &Arc<str>, now: Millis) -> Refused {
        let patience = self.image.subscribers.get(id).map_or(0, |s| s.rebalance_ms);
        let until = now + u64::from(patience.max(0).unsigned_abs());
        self.revocations.entry(Arc::clone(id)).or_insert(until);
        Refused::Rebalancing
    }

    /// A member lives. [`Refused::Rebalancing`] asks it to join again.
    ///
    /// # Errors
    /// Who is no member of this generation; a rebalance.
    pub fn heartbeat_classic(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Millis,
    ) -> Result<(), Refused> {
        let id = self.classic_member(id, instance, generation)?;
        self.hear(&id, now);
        if self.has_to_join(&id) { Err(self.call_back(&id, now)) } else { Ok(()) }
    }

    /// A member asks for its assignment.
    ///
    /// # Errors
    /// As [`Self::heartbeat_classic`].
    pub fn sync_classic(
        &mut self,
        sync: &Sync,
        topics: &impl Topics,
        now: Millis,
    ) -> Result<Synced, Refused> {
        let id = self.classic_member(&sync.member_id, sync.instance.as_deref(), sync.generation)?;
        let protocol = self.common_protocol();
        let differs = |told: &Option<Arc<str>>, is: Option<&str>| told.is_some() && told.as_deref() != is;
        if differs(&sync.protocol_type, Some(CONSUMER)) || differs(&sync.protocol, protocol.as_deref()) {
            return Err(Refused::Protocol);
        }
        self.hear(&id, now);
        // One that is to give partitions back has to hear of it first.
        let current = self.current(&id);
        if current.epoch < self.epoch() && current.state != State::Unrevoked {
            return Err(self.call_back(&id, now));
        }
        Ok(Synced {
            protocol_type: Some(CONSUMER.into()),
            protocol,
            assignment: self.classic_assignment(&id, topics),
        })
    }

    /// What a member has, as it reads it.
    pub(super) fn classic_assignment(&self, id: &str, topics: &impl Topics) -> bytes::Bytes {
        let Some(subscriber) = self.image.subscribers.get(id) else { return bytes::Bytes::new() };
        let current = self.current(id);
        let named = self.names(subscriber).filter_map(|name| {
            let list = current.assigned.of(topics.find(name)?.0)?;
            Some((&**name, list.iter().copied().collect::<Vec<i32>>()))
        });
        // Each topic once, however often it is wanted.
        let named: BTreeMap<&str, Vec<i32>> = named.collect();
        let protocols = subscriber.classic.iter().flat_map(|classic| &classic.protocols);
        let wants = protocols.map(|(_, wants)| &**wants).next().unwrap_or_default();
        embedded::assignment(wants, named.into_iter())
    }

    fn hear(&mut self, id: &Arc<str>, now: Millis) {
        self.sessions.insert(Arc::clone(id), now + self.session_of(id));
    }

    /// How long a member may be silent.
    pub(super) fn session_of(&self, id: &str) -> Millis {
        let classic =
            |s: &Subscriber| s.classic.as_ref().map(|c| u64::from(c.session_ms.max(0).unsigned_abs()));
        let own = self.image.subscribers.get(id).and_then(|s| classic(s));
        own.unwrap_or(self.limits.session)
    }

    /// A member leaves with a LeaveGroup.
    ///
    /// # Errors
    /// Who is no member; another process has its name.
    pub fn leave_classic(
        &mut self,
        leaving: &Leaving,
        topics: &impl Topics,
        now: Millis,
    ) -> Result<(), Refused> {
        let Leaving { member_id, instance } = leaving;
        let keeper = instance.as_ref().map(|name| self.statics.get(name).ok_or(Refused::UnknownMember));
        let id = match keeper.transpose()?.cloned() {
            Some(keeper) if member_id.is_empty() || *member_id == keeper => keeper,
            Some(_) => return Err(Refused::Fenced),
            None => Arc::clone(member_id),
        };
        if !self.image.subscribers.contains_key(&id) {
            return Err(Refused::UnknownMember);
        }
        self.fence(&[id], topics, now);
        Ok(())
    }
}
