//! What members ask of a classic group.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::effect::{Refused, Ticket};
use super::group::{Group, State};
use super::limits::Millis;
use super::member::{Member, Protocol};
use super::planted;
use super::purpose::Purpose;

/// A JoinGroup.
#[derive(Debug, Clone)]
pub struct Join {
    /// The request.
    pub to: Ticket,
    /// The member's id; empty if it has none.
    pub member_id: Arc<str>,
    /// The id that it gets if it needs one.
    pub new_id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session: Millis,
    /// How long a rebalance is to wait for it.
    pub rebalance: Millis,
    /// What it speaks.
    pub protocol_type: Arc<str>,
    /// How partitions may be assigned, the way that it likes best first.
    pub protocols: Vec<Protocol>,
    /// A new dynamic member is given an id and has to come again with it (KIP-394).
    pub needs_id: bool,
    /// The client understands that it leads and is not to assign (KIP-814).
    pub can_skip: bool,
}

/// A SyncGroup.
#[derive(Debug, Clone)]
pub struct Sync {
    /// The request.
    pub to: Ticket,
    /// The member's id.
    pub member_id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// The generation that it was told.
    pub generation: i32,
    /// What the members speak, as it was told.
    pub protocol_type: Option<Arc<str>>,
    /// How partitions are assigned, as it was told.
    pub protocol: Option<Arc<str>>,
    /// What each member gets, from the leader.
    pub parts: Vec<(Arc<str>, Bytes)>,
}

/// A member that leaves: by its id, or by the name that it keeps.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// Its id; empty if the name says who it is.
    pub member_id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
}

impl Group {
    /// Takes a JoinGroup. Its answer is an effect, now or later.
    pub fn join(&mut self, join: Join, now: Millis) {
        let to = join.to;
        if let Err(refused) = self.try_join(join, now) {
            self.answer_join(to, Err(refused));
        }
        self.go_on(now);
    }

    fn try_join(&mut self, join: Join, now: Millis) -> Result<(), Refused> {
        if join.session < self.limits.session_min || join.session > self.limits.session_max {
            return Err(Refused::SessionTimeout);
        }
        if !self.has_room(&join.member_id) {
            self.remove(&join.member_id);
            return Err(Refused::Full);
        }
        if !self.speaks(&join) {
            return Err(Refused::Protocol);
        }
        if join.member_id.is_empty() {
            return self.join_anew(join, now);
        }
        if self.pending.contains_key(&join.member_id) {
            let id = Arc::clone(&join.member_id);
            self.add(join, id, now);
            return Ok(());
        }
        self.check_member(&join.member_id, join.instance.as_deref())?;
        self.join_again(join, now)
    }

    /// Whether one more may join. While a rebalance gathers members, those count who have come.
    fn has_room(&self, id: &str) -> bool {
        let max = self.limits.size_max;
        let known = self.members.get(id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waiting = self.members.values().filter(|m| m.joining.is_some()).count();
                known.is_some_and(|m| m.joining.is_some()) || waiting < max
            }
            State::CompletingRebalance | State::Stable => known.is_some() || self.members.len() < max,
        }
    }

    /// Whether a member that joins has a protocol in common with all others.
    fn speaks(&self, join: &Join) -> bool {
        if self.members.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let common = |name: &str| self.members.values().all(|m| m.metadata(name).is_some());
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join.protocols.iter().any(|(name, _)| common(name))
    }

    /// Somebody without an id joins.
    fn join_anew(&mut self, join: Join, now: Millis) -> Result<(), Refused> {
        let id = Arc::clone(&join.new_id);
        let known = join.instance.as_ref().and_then(|instance| self.statics.get(instance)).cloned();
        match known {
            Some(old) => self.take_over(join, &old, now),
            None if join.needs_id
                && join.instance.is_none()
                && self.pending.len() >= self.limits.size_max =>
            {
                return Err(Refused::Full);
            }
            None if join.needs_id && join.instance.is_none() => {
                self.pending.insert(Arc::clone(&id), now + join.session);
                return Err(Refused::MemberIdRequired(id));
            }
            None => self.add(join, id, now),
        }
        Ok(())
    }

    fn add(&mut self, join: Join, id: Arc<str>, now: Millis) {
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&join.protocol_type));
        }
        self.leader.get_or_insert_with(|| Arc::clone(&id));
        if let Some(instance) = &join.instance {
            self.statics.insert(Arc::clone(instance), Arc::clone(&id));
        }
        if self.state == State::PreparingRebalance && self.generation == 0 {
            self.newcomers = true;
        }
        let mut member = Member {
            id: Arc::clone(&id),
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            session: join.session,
            rebalance: join.rebalance,
            protocols: join.protocols,
            assignment: Bytes::new(),
            is_new: true,
            deadline: 0,
            joining: Some(join.to),
            syncing: None,
        };
        member.begins(now);
        self.members.insert(id, member);
        self.rebalance(now);
    }

    /// A process joins under a name that another one keeps: it gets a new id, and the other one is fenced.
    fn take_over(&mut self, join: Join, old: &Arc<str>, now: Millis) {
        let Some(mut member) = self.members.remove(old) else { return };
        let (joining, syncing) = (member.joining.take(), member.syncing.take());
        let before = member.clone();
        joining.into_iter().for_each(|to| self.answer_join(to, Err(Refused::Fenced)));
        syncing.into_iter().for_each(|to| self.answer_sync(to, Err(Refused::Fenced)));
        let leader_before = self.leader.clone();
        let id = Arc::clone(&join.new_id);
        if self.leader.as_ref() == Some(old) {
            self.leader = Some(Arc::clone(&id));
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(Arc::clone(&id));
        }
        if planted::is(planted::Bug::OldInstanceStays) {
            self.members.insert(Arc::clone(old), member.clone());
        }
        member.id = Arc::clone(&id);
        member.client_id = Arc::clone(&join.client_id);
        member.client_host = Arc::clone(&join.client_host);
        member.heard(now);
        if let Some(instance) = &join.instance {
            self.statics.insert(Arc::clone(instance), Arc::clone(&id));
        }
        self.members.insert(Arc::clone(&id), member);
        let can_skip = join.can_skip;
        let to = join.to;
        self.update(&id, join);
        match self.state {
            State::Stable if self.protocol == self.select_protocol() => {
                self.store_new_id(&id, leader_before, before, to, can_skip);
            }
            State::Stable | State::CompletingRebalance => self.prepare(now),
            State::PreparingRebalance | State::Empty => {}
        }
    }

    /// The group stays stable: the new id of a static member is stored, then its JoinGroup answered.
    fn store_new_id(
        &mut self,
        id: &Arc<str>,
        leader_before: Option<Arc<str>>,
        before: Member,
        to: Ticket,
        can_skip: bool,
    ) {
        let leads = self.leader.as_ref() == Some(id);
        let mut answer = self.joined(id, can_skip && leads);
        answer.skip_assignment = can_skip && leads;
        if !can_skip {
            // Told of the leader before it, the member does not assign.
            answer.leader = leader_before.unwrap_or_else(|| "".into());
        }
        let what = self.to_store(|member| member.assignment.clone());
        let purpose = Purpose::NewId { generation: self.generation, to, answer, before: Box::new(before) };
        self.store(what, purpose);
    }

    /// A member joins once more.
    fn join_again(&mut self, join: Join, now: Millis) -> Result<(), Refused> {
        let id = Arc::clone(&join.member_id);
        let Some(member) = self.members.get(&id) else { return Err(Refused::UnknownMember) };
        let same = member.wants_the_same(&join.protocols);
        let leads = self.leader.as_ref() == Some(&id);
        match self.state {
            State::Empty => Err(Refused::UnknownMember),
            // It may not have received its answer; a follower's says what its SyncGroup needs.
            State::CompletingRebalance if same => {
                let answer = self.joined(&id, leads);
                self.answer_join(join.to, Ok(answer));
                Ok(())
            }
            State::Stable if same && !leads => {
                let answer = self.joined(&id, false);
                self.answer_join(join.to, Ok(answer));
                Ok(())
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update(&id, join);
                self.rebalance(now);
                Ok(())
            }
        }
    }

    /// A member waits for the next generation with what it wants now.
    fn update(&mut self, id: &str, join: Join) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols = join.protocols;
        member.session = join.session;
        member.rebalance = join.rebalance;
        let replaced = member.joining.replace(join.to);
        replaced.into_iter().for_each(|to| self.answer_join(to, Err(Refused::Rebalancing)));
    }

    /// Takes a SyncGroup. Its answer is an effect, now or later.
    pub fn sync(&mut self, sync: Sync, now: Millis) {
        let to = sync.to;
        if let Err(refused) = self.try_sync(sync, now) {
            self.answer_sync(to, Err(refused));
        }
        self.go_on(now);
    }

    fn try_sync(&mut self, sync: Sync, now: Millis) -> Result<(), Refused> {
        let id = Arc::clone(&sync.member_id);
        self.check_member(&id, sync.instance.as_deref())?;
        if sync.generation != self.generation {
            return Err(Refused::IllegalGeneration);
        }
        let differs = |told: &Option<Arc<str>>, is: &Option<Arc<str>>| told.is_some() && told != is;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(Refused::Protocol);
        }
        match self.state {
            State::Empty => return Err(Refused::UnknownMember),
            State::PreparingRebalance => return Err(Refused::Rebalancing),
            State::CompletingRebalance => self.sync_and_wait(sync),
            State::Stable => {
                let answer = self.synced(&id);
                self.answer_sync(sync.to, Ok(answer));
                self.members.get_mut(&id).into_iter().for_each(|m| m.heard(now));
            }
        }
        self.unsynced.remove(&id);
        Ok(())
    }

    /// A member waits for its assignment; the leader brings all of them, which are stored first.
    fn sync_and_wait(&mut self, sync: Sync) {
        let replaced = self.members.get_mut(&sync.member_id).and_then(|m| m.syncing.replace(sync.to));
        replaced.into_iter().for_each(|to| self.answer_sync(to, Err(Refused::Rebalancing)));
        if self.leader.as_ref() != Some(&sync.member_id) {
            return;
        }
        let parts: BTreeMap<Arc<str>, Bytes> = sync.parts.into_iter().collect();
        let what = self.to_store(|member| parts.get(&member.id).cloned().unwrap_or_default());
        let purpose = Purpose::Assignment { generation: self.generation, parts };
        self.store(what, purpose);
    }

    /// A member lives. [`Refused::Rebalancing`] asks it to join again.
    ///
    /// # Errors
    /// Who is no member of this generation; a rebalance.
    pub fn heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Millis,
    ) -> Result<(), Refused> {
        self.check_member(id, instance)?;
        if generation != self.generation {
            return Err(Refused::IllegalGeneration);
        }
        self.members.get_mut(id).into_iter().for_each(|m| m.heard(now));
        match self.state {
            State::Empty => Err(Refused::UnknownMember),
            State::PreparingRebalance => Err(Refused::Rebalancing),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// A member leaves.
    ///
    /// # Errors
    /// Who is no member; another process has its name.
    pub fn leave(&mut self, leaving: &Leaving, now: Millis) -> Result<(), Refused> {
        let Leaving { member_id, instance } = leaving;
        let left = if member_id.is_empty() {
            let id =
                instance.as_ref().and_then(|i| self.statics.get(i)).cloned().ok_or(Refused::UnknownMember)?;
            self.expel(&id, now);
            Ok(())
        } else if self.pending.remove(member_id).is_some() {
            Ok(())
        } else {
            self.check_member(member_id, instance.as_deref())?;
            self.expel(member_id, now);
            Ok(())
        };
        self.go_on(now);
        left
    }

    /// Whether offsets may be committed: by a member of this generation, which counts as a sign of life, or by nobody in
    /// particular if there are no members.
    ///
    /// # Errors
    /// Everybody else.
    pub fn check_commit(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Millis,
    ) -> Result<(), Refused> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && id.is_empty() && instance.is_none() {
            return Err(Refused::UnknownMember);
        }
        self.check_member(id, instance)?;
        if generation != self.generation && !planted::is(planted::Bug::OldGenerationCommits) {
            return Err(Refused::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(Refused::Rebalancing);
        }
        self.members.get_mut(id).into_iter().for_each(|m| m.heard(now));
        Ok(())
    }
}
