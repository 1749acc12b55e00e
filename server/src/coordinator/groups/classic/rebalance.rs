//! The way of a classic group from one generation to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::effect::{Refused, StoreId};
use super::group::{Gathering, Group, State};
use super::limits::Millis;
use super::member::Member;
use super::planted;
use super::purpose::Purpose;

impl Group {
    /// Begins a rebalance, unless one is already gathering members.
    pub(super) fn rebalance(&mut self, now: Millis) {
        if self.state != State::PreparingRebalance {
            self.prepare(now);
        }
    }

    /// Begins a rebalance: members are asked to join again by their next heartbeat.
    pub(super) fn prepare(&mut self, now: Millis) {
        if self.state == State::CompletingRebalance {
            self.refuse_syncs(&Refused::Rebalancing, now);
        }
        self.sync_until = None;
        let patience = self.patience();
        let initial = self.limits.initial_delay;
        self.gathering = Some(match self.state {
            State::Empty => Gathering { until: now + initial, more: Some(patience.saturating_sub(initial)) },
            _ => Gathering { until: now + patience, more: None },
        });
        self.state = State::PreparingRebalance;
    }

    /// Begins a rebalance in a group that was made of another one: its leader has to assign anew.
    pub fn begin_again(&mut self, now: Millis) {
        self.rebalance(now);
        self.go_on(now);
    }

    /// Ends the group, whose members go on elsewhere: whoever waits is told to join again.
    pub fn disband(&mut self) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.remove(&id) else { continue };
            member.joining.into_iter().for_each(|to| self.answer_join(to, Err(Refused::Rebalancing)));
            member.syncing.into_iter().for_each(|to| self.answer_sync(to, Err(Refused::Rebalancing)));
        }
        self.pending.clear();
        self.statics.clear();
        self.storing.clear();
        self.unsynced.clear();
        self.gathering = None;
        self.sync_until = None;
        self.state = State::Empty;
    }

    /// How long the members of the group wait for each other.
    fn patience(&self) -> Millis {
        self.members.values().map(|m| m.rebalance).max().unwrap_or(0)
    }

    /// Completes a rebalance if it is time.
    pub(super) fn go_on(&mut self, now: Millis) {
        let Some(Gathering { until, more }) = self.gathering else { return };
        match more {
            Some(left) if until <= now && self.newcomers && left > 0 => {
                self.newcomers = false;
                let longer = self.limits.initial_delay.min(left);
                self.gathering = Some(Gathering { until: now + longer, more: Some(left - longer) });
            }
            None if self.all_joined() => self.complete(now),
            _ if until <= now => self.complete(now),
            _ => {}
        }
    }

    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|m| m.joining.is_some())
    }

    /// The next generation begins with those who joined. Static members stay even if they did not.
    fn complete(&mut self, now: Millis) {
        let absent = self.members.values().filter(|m| m.joining.is_none() && m.instance.is_none());
        let absent: Vec<Arc<str>> = absent.map(|m| Arc::clone(&m.id)).collect();
        absent.iter().for_each(|id| self.remove(id));
        if !self.members.is_empty() && !self.elect() {
            // Nobody is there to assign: wait until sessions end, or somebody comes.
            self.gathering = Some(Gathering { until: now + self.patience().max(1), more: None });
            return;
        }
        self.gathering = None;
        self.newcomers = false;
        self.unsynced.clear();
        if !planted::is(planted::Bug::GenerationStays) {
            self.generation = self.generation.checked_add(1).unwrap_or(1);
        }
        self.protocol = self.select_protocol();
        if self.members.is_empty() {
            self.state = State::Empty;
            self.leader = None;
            let what = self.to_store(|_| Bytes::new());
            self.store(what, Purpose::Emptied);
            return;
        }
        self.state = State::CompletingRebalance;
        self.sync_until = Some(now + self.patience());
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined(&id, self.leader.as_ref() == Some(&id));
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.is_new = false;
            member.heard(now);
            let joining = member.joining.take();
            self.unsynced.insert(id);
            joining.into_iter().for_each(|to| self.answer_join(to, Ok(answer.clone())));
        }
    }

    /// Has a member lead that joined. `false`: nobody did.
    fn elect(&mut self) -> bool {
        let joined = |id: &Arc<str>| self.members.get(id).is_some_and(|m| m.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.values().find(|m| m.joining.is_some()).map(|m| Arc::clone(&m.id));
        let elected = next.is_some();
        self.leader = next.or_else(|| self.leader.take());
        elected
    }

    /// The protocol that most members like best of those that all know; of several, the one that the leader likes best.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let all_know = |name: &str| self.members.values().all(|m| m.metadata(name).is_some());
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().map(|(name, _)| name).find(|name| all_know(name));
            *votes.entry(vote?).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let liked = leader.protocols.iter().map(|(name, _)| name);
        liked.into_iter().find(|name| votes.get(name) == Some(&most)).cloned()
    }

    /// What was to be stored is, or is not.
    pub fn stored(&mut self, id: StoreId, outcome: Result<(), Refused>, now: Millis) {
        match self.storing.remove(&id) {
            Some(Purpose::Assignment { generation, parts }) => {
                if self.state == State::CompletingRebalance && self.generation == generation {
                    match outcome {
                        Ok(()) => self.hand_out(&parts, now),
                        Err(refused) => {
                            self.refuse_syncs(&refused, now);
                            self.rebalance(now);
                        }
                    }
                }
            }
            Some(Purpose::NewId { generation, to, answer, before }) => {
                let member = self.members.get_mut(&answer.member_id);
                // Another rebalance answers it if one has begun.
                let goes_on = self.state == State::Stable && self.generation == generation;
                if let Some(member) = member.filter(|m| goes_on && m.joining == Some(to)) {
                    member.joining = None;
                    member.heard(now);
                    if outcome.is_err() {
                        self.take_back(&answer.member_id, *before, now);
                    }
                    self.answer_join(to, outcome.map(|()| answer));
                }
            }
            Some(Purpose::Emptied) | None => {}
        }
        self.go_on(now);
    }

    /// A static member keeps the id that it had, since the new one is not stored: a restart would know the old one only.
    fn take_back(&mut self, id: &Arc<str>, mut before: Member, now: Millis) {
        self.members.remove(id);
        let old = Arc::clone(&before.id);
        if self.leader.as_ref() == Some(id) {
            self.leader = Some(Arc::clone(&old));
        }
        if self.unsynced.remove(id) {
            self.unsynced.insert(Arc::clone(&old));
        }
        if let Some(instance) = &before.instance {
            self.statics.insert(Arc::clone(instance), Arc::clone(&old));
        }
        before.heard(now);
        self.members.insert(old, before);
    }

    /// The assignment is stored: everybody who waits gets its part.
    fn hand_out(&mut self, parts: &BTreeMap<Arc<str>, Bytes>, now: Millis) {
        self.state = State::Stable;
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = parts.get(&id).cloned().unwrap_or_default();
            let Some(to) = member.syncing.take() else { continue };
            member.heard(now);
            let answer = self.synced(&id);
            self.answer_sync(to, Ok(answer));
        }
    }

    /// Nobody gets a part of this generation.
    fn refuse_syncs(&mut self, why: &Refused, now: Millis) {
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(to) = member.syncing.take() {
                member.heard(now);
                waiting.push(to);
            }
        }
        waiting.into_iter().for_each(|to| self.answer_sync(to, Err(why.clone())));
    }

    /// Removes a member, whose requests are answered, and has the others share what it had.
    pub(super) fn expel(&mut self, id: &str, now: Millis) {
        self.remove(id);
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare(now),
            State::Empty | State::PreparingRebalance => {}
        }
    }

    /// Removes a member, whose requests are answered.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        member.joining.into_iter().for_each(|to| self.answer_join(to, Err(Refused::UnknownMember)));
        member.syncing.into_iter().for_each(|to| self.answer_sync(to, Err(Refused::UnknownMember)));
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        self.unsynced.remove(id);
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }
}
