//! Who is a member of a consumer group: who joins, who takes a place over, who leaves.

use std::rc::Rc;
use std::sync::Arc;

use super::group::Group;
use super::heartbeat::{Beat, Heartbeat, JOINS, LEAVES_FOR_A_WHILE};
use super::image::{Current, Entry, State};
use super::planted::{self, Bug};
use super::refused::Refused;
use super::topics::Topics;
use crate::coordinator::groups::classic::Millis;

/// Where a member that asks belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is a member, or becomes one.
    Own,
    /// It takes over what this one had, which keeps the same name.
    Of(Arc<str>),
}

impl Group {
    /// Finds the place of a member that joins or lives.
    pub(super) fn find_place(&self, asked: &Heartbeat) -> Result<Place, Refused> {
        let id = &asked.member_id;
        let is_member = self.image.subscribers.contains_key(id);
        let joins = asked.epoch == JOINS;
        if !joins && !self.exists() {
            return Err(Refused::NoGroup);
        }
        let keeper = asked.instance.as_ref().and_then(|name| self.statics.get(name));
        if joins && let Some(keeper) = keeper.filter(|keeper| *keeper != id) {
            // Classic clients do not say that they leave for a while; and a classic client takes over without asking.
            let speaks_classic = asked.classic.is_some()
                || self.image.subscribers.get(keeper).is_some_and(|s| s.classic.is_some());
            if self.current(keeper).epoch != LEAVES_FOR_A_WHILE && !speaks_classic {
                return Err(Refused::UnreleasedInstance(Arc::clone(keeper)));
            }
            return Ok(Place::Of(Arc::clone(keeper)));
        }
        if joins && !is_member {
            let max = self.limits.size_max;
            return if self.image.subscribers.len() < max { Ok(Place::Own) } else { Err(Refused::Full(max)) };
        }
        self.check_instance(asked)?;
        if !is_member {
            return Err(Refused::UnknownMember);
        }
        // One that joins again has given everything up.
        if !joins {
            self.check_epoch(asked)?
        }
        Ok(Place::Own)
    }

    /// Refuses who says a name that belongs to another one, or to nobody.
    fn check_instance(&self, asked: &Heartbeat) -> Result<(), Refused> {
        let Some(name) = &asked.instance else { return Ok(()) };
        match self.statics.get(name) {
            Some(keeper) if *keeper != asked.member_id => Err(Refused::FencedInstance(Arc::clone(keeper))),
            Some(_) => Ok(()),
            None => Err(Refused::UnknownMember),
        }
    }

    /// A member may not have heard of its last epoch: it is taken if it has nothing that it is not to have.
    fn check_epoch(&self, asked: &Heartbeat) -> Result<(), Refused> {
        let current = self.current(&asked.member_id);
        let has_no_more = || asked.owned.as_ref().is_some_and(|owned| owned.is_subset(&current.assigned));
        let known = asked.epoch == current.epoch
            || (asked.epoch < current.epoch && asked.epoch == current.previous && has_no_more());
        if known || planted::is(Bug::OldEpochsLive) {
            Ok(())
        } else {
            Err(Refused::FencedEpoch { told: asked.epoch, is: current.epoch })
        }
    }

    /// Makes room for a member in the place of the one before it.
    pub(super) fn take_place(&mut self, asked: &Heartbeat, place: Place) {
        let id = &asked.member_id;
        let Place::Of(old) = place else { return };
        let subscriber = self.image.subscribers.get(&old).cloned();
        let target = self.image.targets.get(&old).cloned();
        let assigned = self.current(&old).assigned.clone();
        self.remove(&old);
        // The process before it is gone, and the new one has nothing yet.
        let current = Current { assigned, ..Current::default() };
        self.put(Entry::Subscriber(Arc::clone(id), subscriber));
        if target.is_some() {
            self.put(Entry::Target(Arc::clone(id), target));
        }
        self.put(Entry::Current(Arc::clone(id), Some(Rc::new(current))));
    }

    /// A member leaves, for good or for a while.
    pub(super) fn leave(
        &mut self,
        asked: &Heartbeat,
        topics: &impl Topics,
        now: Millis,
    ) -> Result<Beat, Refused> {
        if !self.exists() {
            return Err(Refused::NoGroup);
        }
        self.check_instance(asked)?;
        let id = &asked.member_id;
        if !self.image.subscribers.contains_key(id) {
            return Err(Refused::UnknownMember);
        }
        if asked.epoch == LEAVES_FOR_A_WHILE {
            let current = self.current(id);
            if current.epoch != LEAVES_FOR_A_WHILE {
                let away = Current {
                    epoch: LEAVES_FOR_A_WHILE,
                    previous: current.epoch,
                    state: State::Stable,
                    assigned: current.assigned.clone(),
                    ..Current::default()
                };
                self.revocations.remove(id);
                self.put(Entry::Current(Arc::clone(id), Some(Rc::new(away))));
            }
        } else {
            self.fence(&[Arc::clone(id)], topics, now);
        }
        Ok(Beat { member_id: Arc::clone(id), epoch: asked.epoch, interval: 0, assignment: None })
    }

    /// Removes members, whose partitions are for the others.
    pub(super) fn fence(&mut self, ids: &[Arc<str>], topics: &impl Topics, now: Millis) {
        ids.iter().for_each(|id| self.remove(id));
        self.refresh(true, topics, now);
    }

    fn remove(&mut self, id: &Arc<str>) {
        self.sessions.remove(id);
        self.revocations.remove(id);
        self.put(Entry::Current(Arc::clone(id), None));
        self.put(Entry::Target(Arc::clone(id), None));
        self.put(Entry::Subscriber(Arc::clone(id), None));
    }
}
