//! Consumer groups of a partition: what members and others ask of them, and what happens in time.

use std::rc::Rc;

use super::Held;
use crate::coordinator::groups::change::Change;
use crate::coordinator::groups::classic::{self, Millis, State, Stored};
use crate::coordinator::groups::consumer::{Beat, Described, Entry, Group, Heartbeat, Refused};
use crate::coordinator::groups::error::GroupError;
use crate::coordinator::groups::known_topics::Known;
use crate::coordinator::groups::table::Kept;
use crate::coordinator::log::{Appended, Turn};
use crate::runtime::clock::now_ms;

/// The changes that entries of a group are.
pub(super) fn changes_of(group: &Rc<str>, entries: Vec<Entry>) -> impl Iterator<Item = Change> {
    entries.into_iter().map(|entry| Change::Consumer { group: Rc::clone(group), entry })
}

impl Held {
    /// A member of a consumer group joins, lives or leaves. What it is told is durable.
    ///
    /// # Errors
    /// [`GroupError::Consumer`]; others if it is not known what became of it.
    pub async fn consumer_heartbeat(
        self: &Rc<Self>,
        group: &str,
        asked: &Heartbeat,
    ) -> Result<Beat, GroupError> {
        asked.check()?;
        let name: Rc<str> = group.into();
        let turn = self.log.turn().await;
        let known = self.consumers.look(group, |_| ()).is_some();
        let removal = if known { Vec::new() } else { self.classic_removal(&turn, &name) };
        let act = |group: &mut Group, now| {
            let topics = Known(&self.topics);
            let takes_over = |members: &classic::Group| match members.state() {
                State::Empty => Ok(()),
                _ if asked.epoch != 0 => Err(Refused::NoGroup),
                _ => group.take_over(members, &topics, now),
            };
            if !known {
                self.live.look(&name, takes_over).unwrap_or(Ok(()))?;
            }
            group.heartbeat(asked, &topics, now)
        };
        let (beat, entries) = self.consumers.act(&name, act);
        if beat.is_err() && !known {
            // What it took over stays where it was.
            self.consumers.remove(group);
        }
        let beat = beat?;
        let changes = removal.into_iter().chain(changes_of(&name, entries)).collect();
        let appended = self.keep(&turn, &name, changes).await?;
        if !known {
            self.live.act(group, |group, _| group.disband());
            self.live.forget(group);
        }
        drop(turn);
        self.go_on();
        self.log.durable(appended).await?;
        Ok(beat)
    }

    /// Has a member of a consumer group that speaks the classic protocol do something. `None`: the group is none, or has no
    /// members.
    pub(super) async fn act_mixed<R>(
        self: &Rc<Self>,
        group: &str,
        act: impl FnOnce(&mut Group, &Known<'_>, Millis) -> Result<R, classic::Refused>,
    ) -> Option<Result<R, GroupError>> {
        self.consumers.look(group, |group| group.is_empty()).filter(|is_empty| !is_empty)?;
        let name: Rc<str> = group.into();
        let turn = self.log.turn().await;
        if self.consumers.look(group, |group| group.is_empty()) != Some(false) {
            return Some(Err(classic::Refused::UnknownMember.into()));
        }
        let (done, entries) = self.consumers.act(&name, |group, now| act(group, &Known(&self.topics), now));
        let appended = match self.keep(&turn, &name, changes_of(&name, entries).collect()).await {
            Ok(appended) => appended,
            Err(error) => return Some(Err(error)),
        };
        drop(turn);
        self.go_on();
        if let Err(error) = self.log.durable(appended).await {
            return Some(Err(error.into()));
        }
        Some(done.map_err(Into::into))
    }

    /// What removes a classic group, so that it becomes a consumer group.
    fn classic_removal(&self, turn: &Turn<'_, Kept>, name: &Rc<str>) -> Vec<Change> {
        let is_it = |change: &Change| matches!(change, Change::Members { group, .. } if group == name);
        let removal = |kept: &Kept, line: &mut dyn Iterator<Item = &Change>| {
            let is_kept = line.filter(|change| is_it(change)).count() > 0 || kept.members(name).is_some();
            is_kept.then(|| Change::Members { group: Rc::clone(name), value: None })
        };
        turn.look(removal).into_iter().collect()
    }

    /// Keeps what changed of a consumer group. If that is not possible, the group is again what is kept of it.
    async fn keep(
        &self,
        turn: &Turn<'_, Kept>,
        name: &Rc<str>,
        mut changes: Vec<Change>,
    ) -> Result<Appended, GroupError> {
        let becomes_classic = self.becomes_classic(turn, name, &mut changes);
        let outcome = match turn.admit(&changes) {
            Ok(()) => turn.append(changes).await,
            Err(full) => Err(full),
        };
        if outcome.is_ok()
            && let Some(stored) = becomes_classic
        {
            self.consumers.remove(name);
            self.live.restore(name, &stored);
            self.live.act(name, |group, now| group.begin_again(now));
        }
        outcome.map(|appended| self.consumers.appended(name, appended)).map_err(|error| {
            tracing::warn!(group = %name, %error, "what changed in a consumer group is not kept");
            self.consumers.restore(name, turn.look(|kept, line| kept.consumer(name, line)));
            error.into()
        })
    }

    /// A group whose last member of KIP-848 is gone becomes a classic one, when these changes are made.
    fn becomes_classic(
        &self,
        turn: &Turn<'_, Kept>,
        name: &Rc<str>,
        changes: &mut Vec<Change>,
    ) -> Option<Rc<Stored>> {
        self.consumers.look(name, Group::is_classic).filter(|is_classic| *is_classic)?;
        let mut stored = self.consumers.look(name, |group| group.as_classic(&Known(&self.topics)))?;
        stored.since_ms = now_ms();
        let stored = Rc::new(stored);
        let mut image = turn.look(|kept, line| kept.consumer(name, line));
        for change in changes.iter() {
            if let Change::Consumer { entry, .. } = change {
                image.apply(entry);
            }
        }
        changes.extend(changes_of(name, image.removal()));
        changes.push(Change::Members { group: Rc::clone(name), value: Some(Rc::clone(&stored)) });
        Some(stored)
    }

    /// Does what consumer groups want to be done in time, until the server stops.
    pub(super) async fn tick_consumers(&self) {
        while let Some(names) = self.consumers.due().await {
            for name in names {
                let turn = self.log.turn().await;
                if self.consumers.look(&name, |_| ()).is_none() {
                    continue;
                }
                let act = |group: &mut Group, now| group.tick(&Known(&self.topics), now);
                let ((), entries) = self.consumers.act(&name, act);
                let changes = changes_of(&name, entries).collect();
                // Told of in the log; it is tried again when the sessions end anew.
                let _kept = self.keep(&turn, &name, changes).await;
            }
        }
    }

    /// Makes room for a classic group: a consumer group without members is removed.
    ///
    /// # Errors
    /// [`GroupError::Member`] if it has members by now.
    pub(super) async fn make_classic(&self, group: &str) -> Result<(), GroupError> {
        let turn = self.log.turn().await;
        match self.consumers.look(group, |group| group.is_empty()) {
            None => return Ok(()),
            Some(false) => return Err(classic::Refused::Rebalancing.into()),
            Some(true) => {}
        }
        let name: Rc<str> = group.into();
        let changes = self.consumer_removal(&turn, &name);
        self.consumers.remove(group);
        // What the classic group stores is appended later, and is not durable before this.
        let _in_order = self.keep(&turn, &name, changes).await?;
        Ok(())
    }

    /// What removes a consumer group.
    pub(super) fn consumer_removal(&self, turn: &Turn<'_, Kept>, name: &Rc<str>) -> Vec<Change> {
        let image = turn.look(|kept, line| kept.consumer(name, line));
        changes_of(name, image.removal()).collect()
    }

    /// Describes a consumer group. `None`: there is none.
    pub fn describe_consumer(&self, group: &str) -> Option<Described> {
        self.consumers.look(group, Group::describe)
    }
}
