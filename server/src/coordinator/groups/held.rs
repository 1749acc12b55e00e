//! One partition of `__consumer_offsets`, and the groups in it: what is kept of them, and what is live.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use uuid::Uuid;

use crate::coordinator::log::{LoadError, Log, Place, WriteError};
use crate::runtime::clock::now_ms;
use crate::service::topics::{TopicKey, TopicTable};

use super::change::{Change, Committed, OffsetChange};
use super::classic::{Join, Joined, Leaving, Refused, State, Sync, Synced};
use super::consumers::Consumers;
use super::described::{CONSUMER, Described, Kind, Listed, describe, subscribed};
use super::error::GroupError;
use super::limits::Limits;
use super::live::{Live, ToStore};
use super::offsets::Offsets;
use super::table::Kept;

/// Most bytes of committed offsets in memory for one partition of `__consumer_offsets`: some 300,000 offsets
/// without metadata.
const BYTES_MAX: usize = 64 << 20;

/// An offset to be committed, and where.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The topic.
    pub topic: String,
    /// Which topic of that name, if that is said.
    pub topic_id: Option<Uuid>,
    /// The partition.
    pub partition: i32,
    /// The offset to read next.
    pub offset: i64,
    /// Epoch of the leader, or -1.
    pub leader_epoch: i32,
    /// What is kept beside it.
    pub metadata: String,
}

/// What a group has committed: of the partitions asked for (`None`: there is nothing), or of all that it has.
pub type Found = Vec<(String, Vec<(i32, Option<Committed>)>)>;

/// Who commits.
#[derive(Debug, Clone)]
pub struct Committer {
    /// Generation that the member was told; negative from who is no member.
    pub generation: i32,
    /// Id of the member; empty from who is none.
    pub member_id: String,
    /// The name that the member keeps over restarts.
    pub instance: Option<String>,
    /// The request could say the epoch of a member of a consumer group in place of a generation.
    pub says_epoch: bool,
}

/// Who fetches offsets.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// Id of the member, from who says one.
    pub member_id: Option<String>,
    /// Epoch of the member; negative from who is none.
    pub epoch: i32,
}

/// Which offsets of a group are removed.
pub type Which = Vec<(String, Vec<i32>)>;

/// See the module's header.
pub struct Held {
    log: Log<Kept>,
    live: Live,
    consumers: Consumers,
    topics: Rc<RefCell<TopicTable>>,
    /// It could not be read at the start.
    broken: Cell<bool>,
    /// A task does what is due.
    ticking: Cell<bool>,
}

impl Held {
    /// A partition, nothing read yet.
    pub fn new(place: Place, limits: Limits, topics: Rc<RefCell<TopicTable>>) -> Self {
        let off = || Cell::new(false);
        let log = Log::new(place, BYTES_MAX);
        let (live, consumers) = (Live::new(limits.classic), Consumers::new(limits.consumer));
        Self { log, live, consumers, topics, broken: off(), ticking: off() }
    }

    /// Whether it could not be read at the start.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Its groups are not available.
    pub fn give_up(&self) {
        self.broken.set(true);
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`LoadError`].
    pub async fn load(self: &Rc<Self>) -> Result<(), LoadError> {
        let records = self.log.load().await?;
        if records > 0 {
            self.log.look(|kept| {
                let groups = kept.offsets.groups().count();
                tracing::info!(records, groups, "committed offsets read back");
            });
        }
        let stored: Vec<_> = self.log.look(|kept| {
            kept.all_members().map(|(name, stored)| (Rc::clone(name), Rc::clone(stored))).collect()
        });
        for (name, stored) in stored {
            self.live.restore(&name, &stored);
        }
        let images: Vec<_> = self
            .log
            .look(|kept| kept.consumers().map(|(name, image)| (Rc::clone(name), image.clone())).collect());
        for (name, image) in images {
            self.consumers.restore(&name, image);
        }
        self.go_on();
        Ok(())
    }

    /// The server stops: nobody waits for a group any more.
    pub fn stop(&self) {
        self.live.stop();
        self.consumers.stop();
    }

    /// A member joins. The answer comes when the next generation begins.
    ///
    /// # Errors
    /// [`GroupError::Member`], [`GroupError::NotHere`].
    pub async fn join(self: &Rc<Self>, group: &str, join: Join) -> Result<Joined, GroupError> {
        let mixed = self.act_mixed(group, |group, topics, now| group.join_classic(&join, topics, now));
        if let Some(joined) = mixed.await {
            return joined;
        }
        self.make_classic(group).await?;
        let answer = self.live.join(group, join).ok_or(GroupError::NotHere)?;
        self.go_on();
        Ok(answer.await.map_err(|_| GroupError::NotHere)??)
    }

    /// A member asks for its assignment, which comes when the leader has brought it and it is stored.
    ///
    /// # Errors
    /// [`GroupError::Member`], [`GroupError::NotHere`].
    pub async fn sync(self: &Rc<Self>, group: &str, sync: Sync) -> Result<Synced, GroupError> {
        let mixed = self.act_mixed(group, |group, topics, now| group.sync_classic(&sync, topics, now));
        if let Some(synced) = mixed.await {
            return synced;
        }
        let answer = self.live.sync(group, sync).ok_or(GroupError::NotHere)?;
        self.go_on();
        Ok(answer.await.map_err(|_| GroupError::NotHere)??)
    }

    /// A member lives.
    ///
    /// # Errors
    /// [`GroupError::Member`].
    pub async fn heartbeat(
        self: &Rc<Self>,
        group: &str,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), GroupError> {
        let mixed =
            self.act_mixed(group, |group, _, now| group.heartbeat_classic(id, instance, generation, now));
        if let Some(heard) = mixed.await {
            return heard;
        }
        let heard = self.live.hear(group, |group, now| group.heartbeat(id, instance, generation, now));
        Ok(heard.unwrap_or(Err(Refused::UnknownMember))?)
    }

    /// Members leave; what became of each.
    ///
    /// # Errors
    /// [`GroupError`]: it is not known.
    pub async fn leave(
        self: &Rc<Self>,
        group: &str,
        leaving: &[Leaving],
    ) -> Result<Vec<Result<(), Refused>>, GroupError> {
        let mixed = self.act_mixed(group, |group, topics, now| {
            Ok(leaving.iter().map(|leaving| group.leave_classic(leaving, topics, now)).collect())
        });
        if let Some(left) = mixed.await {
            return left;
        }
        let left = self
            .live
            .act(group, |group, now| leaving.iter().map(|leaving| group.leave(leaving, now)).collect());
        self.go_on();
        Ok(left.unwrap_or_else(|| leaving.iter().map(|_| Err(Refused::UnknownMember)).collect()))
    }

    /// Has tasks run that do what follows from what was done.
    fn go_on(self: &Rc<Self>) {
        if !self.ticking.replace(true) {
            let held = Rc::clone(self);
            tokio::task::spawn_local(async move {
                while held.live.tick().await {
                    held.go_on();
                }
            });
            let held = Rc::clone(self);
            tokio::task::spawn_local(async move { held.tick_consumers().await });
        }
        let to_store = self.live.take_to_store();
        if to_store.is_empty() {
            return;
        }
        // Appended in the order of asking: the first poll of each task takes its place in line.
        let held = Rc::clone(self);
        tokio::task::spawn_local(async move { held.store(to_store).await });
    }

    /// Stores what groups want to be stored.
    async fn store(self: &Rc<Self>, to_store: Vec<ToStore>) {
        let turn = self.log.turn().await;
        let mut appended = Vec::with_capacity(to_store.len());
        for ToStore { group, serial, id, mut what } in to_store {
            if !self.live.has(&group, serial) {
                continue;
            }
            what.since_ms = now_ms();
            let change = Change::Members { group: Rc::clone(&group), value: Some(what.into()) };
            let change = vec![change];
            let outcome = match turn.admit(&change) {
                Ok(()) => turn.append(change).await,
                Err(full) => Err(full),
            };
            appended.push((group, serial, id, outcome));
        }
        drop(turn);
        for (group, serial, id, outcome) in appended {
            let outcome = match outcome {
                Ok(appended) => self.log.durable(appended).await,
                Err(error) => Err(error),
            };
            let outcome = outcome.map_err(|error| {
                tracing::warn!(%group, %error, "the members of a group are not stored");
                if error == WriteError::TooLarge { Refused::TooLarge } else { Refused::NotStored }
            });
            if self.live.has(&group, serial) {
                self.live.act(&group, |group, now| group.stored(id, outcome, now));
            }
        }
        self.go_on();
    }

    /// Whether offsets of a group may be committed.
    fn check_commit(&self, group: &str, who: &Committer) -> Result<(), GroupError> {
        let (id, instance, generation) = (&who.member_id, who.instance.as_deref(), who.generation);
        let consumer = self.consumers.look(group, |group| group.check_commit(id, generation, who.says_epoch));
        if let Some(checked) = consumer {
            return Ok(checked?);
        }
        let checked = self.live.hear(group, |group, now| group.check_commit(id, instance, generation, now));
        match checked {
            Some(checked) => Ok(checked?),
            None if generation < 0 => Ok(()),
            None if self.has_offsets(group) => Err(Refused::UnknownMember.into()),
            None => Err(GroupError::NoMembersNorGroup),
        }
    }

    /// Commits offsets of a group. Says of each whether its partition exists; if not, it is not committed.
    ///
    /// # Errors
    /// Nothing is committed then, or it is not known what.
    pub async fn commit(
        &self,
        group: &str,
        who: &Committer,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<bool>, GroupError> {
        // Who is a member now comes before everybody who joins, leaves or fetches later: turns are taken in order.
        self.check_commit(group, who)?;
        let turn = self.log.turn().await;
        let group: Rc<str> = group.into();
        let time_ms = now_ms();
        let mut known = Vec::with_capacity(wanted.len());
        let mut changes = Vec::with_capacity(wanted.len());
        for Wanted { topic, topic_id: wanted, partition, offset, leader_epoch, metadata } in wanted {
            let topic_id = topic_id(&self.topics.borrow(), &topic, partition);
            let topic_id = topic_id.filter(|id| wanted.is_none_or(|wanted| wanted == *id));
            known.push(topic_id.is_some());
            if let Some(topic_id) = topic_id {
                let value = Committed { offset, leader_epoch, metadata: metadata.into(), topic_id, time_ms };
                let (group, topic) = (Rc::clone(&group), topic.into());
                changes.push(Change::Offset(OffsetChange { group, topic, partition, value: Some(value) }));
            }
        }
        turn.admit(&changes)
            .inspect_err(|error| tracing::warn!(%group, %error, "offsets are not committed"))?;
        let appended = turn.append(changes).await?;
        drop(turn);
        self.log.durable(appended).await?;
        Ok(known)
    }

    fn has_offsets(&self, group: &str) -> bool {
        self.log.look(|kept| kept.offsets.group(group).is_some())
    }

    /// Its groups.
    pub fn list(&self) -> Vec<Listed> {
        let mut names: BTreeSet<Rc<str>> = self.live.names().into_iter().collect();
        names.extend(self.consumers.names());
        self.log.look(|kept| names.extend(kept.offsets.groups().map(|(name, _)| name.into())));
        let listed = |name: Rc<str>| {
            if let Some(state) = self.consumers.look(&name, |group| group.state()) {
                let (kind, protocol_type) = (Kind::Consumer, CONSUMER.to_owned());
                return Listed { name: name.to_string(), kind, protocol_type, state: state.name() };
            }
            let seen = self.live.look(&name, |group| {
                (group.protocol_type().map(|t| t.to_string()).unwrap_or_default(), group.state())
            });
            let (protocol_type, state) = seen.unwrap_or((String::new(), State::Empty));
            Listed { name: name.to_string(), kind: Kind::Classic, protocol_type, state: state.name() }
        };
        names.into_iter().map(listed).collect()
    }

    /// Describes a classic group. `None`: there is none.
    pub fn describe(&self, group: &str) -> Option<Described> {
        self.consumers.look(group, |_| ()).map_or(Some(()), |()| None)?;
        let live = self.live.look(group, describe);
        live.or_else(|| self.has_offsets(group).then(Described::empty))
    }

    /// Removes a group without members.
    ///
    /// # Errors
    /// [`GroupError::Unknown`], [`GroupError::NotEmpty`].
    pub async fn delete(&self, name: &str) -> Result<(), GroupError> {
        let turn = self.log.turn().await;
        let consumer = self.consumers.look(name, |group| group.is_empty());
        match self.live.look(name, |group| group.state()) {
            _ if consumer == Some(true) => {}
            _ if consumer == Some(false) => return Err(GroupError::NotEmpty),
            Some(State::Empty) => {}
            Some(_) => return Err(GroupError::NotEmpty),
            None if self.has_offsets(name) => {}
            None => return Err(GroupError::Unknown),
        }
        let mut changes = turn.look(|kept, line| {
            let removals = kept.offsets.removals_of(name, Kept::offset_changes(line), |_, _| true);
            let mut changes: Vec<Change> = removals.into_iter().map(Change::Offset).collect();
            changes.extend(kept.members(name).map(|_| Change::Members { group: name.into(), value: None }));
            changes
        });
        changes.extend(self.consumer_removal(&turn, &name.into()));
        self.live.forget(name);
        self.consumers.remove(name);
        let appended = turn.append(changes).await?;
        drop(turn);
        Ok(self.log.durable(appended).await?)
    }

    /// Removes offsets of a group. Returns the topics whose offsets stay, because members consume them.
    ///
    /// # Errors
    /// [`GroupError::Unknown`]; [`GroupError::NotEmpty`] if it cannot be told what its members consume.
    pub async fn delete_offsets(&self, name: &str, which: Which) -> Result<Vec<String>, GroupError> {
        let turn = self.log.turn().await;
        let busy = self.live.look(name, |group| {
            let consumes = group.protocol_type().is_some_and(|spoken| **spoken == *CONSUMER);
            match group.state() {
                State::Empty => Ok(Some(BTreeSet::new())),
                _ if consumes => Ok(subscribed(group)),
                _ => Err(GroupError::NotEmpty),
            }
        });
        let consumer = self.consumers.look(name, |group| {
            group.subscribed().into_iter().map(str::to_owned).collect::<BTreeSet<String>>()
        });
        let busy = match (consumer, busy) {
            (Some(busy), _) => Some(busy),
            (None, Some(busy)) => busy?,
            (None, None) if self.has_offsets(name) => Some(BTreeSet::new()),
            (None, None) => return Err(GroupError::Unknown),
        };
        let stays = |topic: &str| busy.as_ref().is_none_or(|busy| busy.contains(topic));
        let removals = turn.look(|kept, line| {
            kept.offsets.removals_of(name, Kept::offset_changes(line), |topic, partition| {
                let listed = |(t, list): &(String, Vec<i32>)| t == topic && list.contains(&partition);
                !stays(topic) && which.iter().any(listed)
            })
        });
        let appended = turn.append(removals.into_iter().map(Change::Offset).collect()).await?;
        drop(turn);
        self.log.durable(appended).await?;
        Ok(which.into_iter().map(|(topic, _)| topic).filter(|topic| stays(topic)).collect())
    }

    /// Removes offsets that were committed so long ago, of groups that have had no members for so long, and groups of
    /// which nothing is left.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn expire(&self, now_ms: i64, retention_ms: i64) -> Result<(), WriteError> {
        let turn = self.log.turn().await;
        let changes = turn.look(|kept, line| self.expired(kept, line, now_ms.saturating_sub(retention_ms)));
        for change in &changes {
            match change {
                Change::Members { group, .. } => self.live.forget(group),
                Change::Consumer { group, .. } => self.consumers.remove(group),
                Change::Offset(_) => {}
            }
        }
        let appended = turn.append(changes).await?;
        self.log.durable(appended).await
    }

    fn expired(&self, kept: &Kept, line: &mut dyn Iterator<Item = &Change>, until_ms: i64) -> Vec<Change> {
        let line: Vec<&Change> = line.collect();
        let vacant = |group: &str| {
            let classic = self.live.look(group, |group| group.is_vacant()).unwrap_or(true);
            classic && self.consumers.look(group, |group| group.is_empty()).unwrap_or(true)
        };
        let offsets = || Kept::offset_changes(line.iter().copied());
        let old = |group: &str, _: &str, _: i32, value: &Committed| {
            let since_ms = kept.members(group).map_or(i64::MIN, |stored| stored.since_ms);
            let since_ms = since_ms.max(self.consumers.empty_since_ms(group).unwrap_or(i64::MIN));
            value.time_ms.max(since_ms) <= until_ms && vacant(group)
        };
        // One that was just committed again, in line, is not old.
        let fresh = |change: &OffsetChange| {
            let again = |c: &OffsetChange| {
                let same =
                    c.group == change.group && c.topic == change.topic && c.partition == change.partition;
                same && c.value.as_ref().is_some_and(|value| value.time_ms > until_ms)
            };
            offsets().any(again)
        };
        let removals = kept.offsets.removals(std::iter::empty(), old);
        let mut changes: Vec<Change> =
            removals.into_iter().filter(|c| !fresh(c)).map(Change::Offset).collect();
        let left_over = |name: &Rc<str>| {
            let committed = kept.offsets.group(name).is_some() || offsets().any(|c| c.group == *name);
            !committed && vacant(name)
        };
        for (name, _) in kept.all_members().filter(|(name, _)| left_over(name)) {
            changes.push(Change::Members { group: Rc::clone(name), value: None });
        }
        for name in self.consumers.names().into_iter().filter(left_over) {
            let image = kept.consumer(&name, line.iter().copied());
            changes.extend(consumer::changes_of(&name, image.removal()));
        }
        changes
    }

    /// Removes what `which` picks, by group, topic, partition and value.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn remove(
        &self,
        which: impl FnMut(&str, &str, i32, &Committed) -> bool,
    ) -> Result<(), WriteError> {
        let turn = self.log.turn().await;
        let removals = turn.look(|kept, line| kept.offsets.removals(Kept::offset_changes(line), which));
        let appended = turn.append(removals.into_iter().map(Change::Offset).collect()).await?;
        self.log.durable(appended).await
    }

    /// What a group has committed, with all that was appended before.
    ///
    /// # Errors
    /// [`GroupError::Consumer`] if a member may not; [`GroupError::NotWritten`] if it is not known what.
    pub async fn fetch(
        &self,
        group: &str,
        who: &Fetcher,
        wanted: Option<Which>,
    ) -> Result<Found, GroupError> {
        let (id, epoch) = (who.member_id.as_deref(), who.epoch);
        self.consumers.look(group, |group| group.check_fetch(id, epoch)).unwrap_or(Ok(()))?;
        // Else a new member could read what the member before it has moved on from.
        let turn = self.log.turn().await;
        let appended = turn.last();
        drop(turn);
        self.log.durable(appended).await?;
        Ok(self.look_up(&self.topics.borrow(), group, wanted))
    }

    fn look_up(&self, topics: &TopicTable, group: &str, wanted: Option<Vec<(String, Vec<i32>)>>) -> Found {
        // One that was committed for another topic of that name counts for nothing.
        let known = |topic: &str, value: &Committed| {
            topics.get(TopicKey::Name(topic)).is_some_and(|t| t.topic.id == value.topic_id)
        };
        self.log.look(|kept| {
            let offsets: &Offsets = &kept.offsets;
            let Some(wanted) = wanted else {
                let mut found = Found::new();
                for (topic, partitions) in offsets.group(group).into_iter().flatten() {
                    let list = partitions.iter().filter(|(_, value)| known(topic, value));
                    let list: Vec<_> = list.map(|(index, value)| (*index, Some(value.clone()))).collect();
                    if !list.is_empty() {
                        found.push((topic.to_string(), list));
                    }
                }
                return found;
            };
            let value = |topic: &str, partition| {
                offsets.get(group, topic, partition).filter(|value| known(topic, value)).cloned()
            };
            let look = |(topic, list): (String, Vec<i32>)| {
                let found = list.into_iter().map(|p| (p, value(&topic, p))).collect();
                (topic, found)
            };
            wanted.into_iter().map(look).collect()
        })
    }
}

/// The id of a topic that has this partition.
fn topic_id(topics: &TopicTable, topic: &str, partition: i32) -> Option<Uuid> {
    let topic = topics.get(TopicKey::Name(topic))?;
    topic.route(partition).ok().map(|_| topic.topic.id)
}

mod consumer;

#[cfg(test)]
mod tests;
