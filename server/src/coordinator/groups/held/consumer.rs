//! Consumer groups of a partition: what members and others ask of them, and what happens in time.

use std::rc::Rc;

use super::Held;
use crate::coordinator::groups::change::Change;
use crate::coordinator::groups::classic::State;
use crate::coordinator::groups::consumer::{Beat, Described, Entry, Group, Heartbeat, Refused};
use crate::coordinator::groups::error::GroupError;
use crate::coordinator::groups::known_topics::Known;
use crate::coordinator::groups::table::Kept;
use crate::coordinator::log::{Appended, Turn};

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
        let mut changes = Vec::new();
        if self.consumers.look(group, |_| ()).is_none() {
            changes = self.classic_removal(&turn, &name)?;
        }
        let act = |group: &mut Group, now| group.heartbeat(asked, &Known(&self.topics), now);
        let (beat, entries) = self.consumers.act(&name, act);
        let beat = beat?;
        self.live.forget(group);
        changes.extend(changes_of(&name, entries));
        let appended = self.keep(&turn, &name, changes).await?;
        drop(turn);
        self.go_on();
        self.log.durable(appended).await?;
        Ok(beat)
    }

    /// What removes a classic group without members, so that it becomes a consumer group.
    fn classic_removal(&self, turn: &Turn<'_, Kept>, name: &Rc<str>) -> Result<Vec<Change>, Refused> {
        if self.live.look(name, |group| group.state() != State::Empty).unwrap_or(false) {
            return Err(Refused::NotConvertible("it is a classic group"));
        }
        let is_it = |change: &Change| matches!(change, Change::Members { group, .. } if group == name);
        let removal = |kept: &Kept, line: &mut dyn Iterator<Item = &Change>| {
            let is_kept = line.filter(|change| is_it(change)).count() > 0 || kept.members(name).is_some();
            is_kept.then(|| Change::Members { group: Rc::clone(name), value: None })
        };
        Ok(turn.look(removal).into_iter().collect())
    }

    /// Keeps what changed of a consumer group. If that is not possible, the group is again what is kept of it.
    async fn keep(
        &self,
        turn: &Turn<'_, Kept>,
        name: &Rc<str>,
        changes: Vec<Change>,
    ) -> Result<Appended, GroupError> {
        let outcome = match turn.admit(&changes) {
            Ok(()) => turn.append(changes).await,
            Err(full) => Err(full),
        };
        outcome.map(|appended| self.consumers.appended(name, appended)).map_err(|error| {
            tracing::warn!(group = %name, %error, "what changed in a consumer group is not kept");
            self.consumers.restore(name, turn.look(|kept, line| kept.consumer(name, line)));
            error.into()
        })
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
    /// [`GroupError::Consumer`] if it has members.
    pub(super) async fn make_classic(&self, group: &str) -> Result<(), GroupError> {
        let turn = self.log.turn().await;
        match self.consumers.look(group, |group| group.is_empty()) {
            None => return Ok(()),
            Some(false) => return Err(Refused::NotConvertible("it is a consumer group").into()),
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
