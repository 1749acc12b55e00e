//! The partitions of `__consumer_offsets` that a core has, and the groups in them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use uuid::Uuid;

use crate::coordinator::log::{LoadError, Log, Place, WriteError};
use crate::service::topics::{OFFSETS_TOPIC, TopicKey, TopicTable};

use super::change::{Change, Committed};
use super::error::GroupError;
use super::offsets::Offsets;

/// Most bytes of committed offsets in memory for one partition of `__consumer_offsets`: some 300,000 offsets
/// without metadata.
const BYTES_MAX: usize = 64 << 20;

/// An offset to be committed, and where.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The topic.
    pub topic: String,
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

/// The partitions of `__consumer_offsets` that a core has.
#[derive(Default)]
pub struct Groups {
    held: RefCell<BTreeMap<usize, Rc<Held>>>,
}

/// One of them.
pub struct Held {
    log: Log<Offsets>,
    /// It could not be read at the start.
    broken: Cell<bool>,
}

impl Groups {
    /// Takes a partition over, nothing read yet. One that is held already stays.
    pub fn hold(&self, partition: usize, place: Place) {
        let held = || Rc::new(Held { log: Log::new(place, BYTES_MAX), broken: Cell::new(false) });
        self.held.borrow_mut().entry(partition).or_insert_with(held);
    }

    /// A partition.
    ///
    /// # Errors
    /// [`GroupError::NotHere`], or [`GroupError::Unreadable`] if it could not be read at the start.
    pub fn find(&self, partition: usize) -> Result<Rc<Held>, GroupError> {
        let held = self.held.borrow().get(&partition).cloned().ok_or(GroupError::NotHere)?;
        if held.broken.get() { Err(GroupError::Unreadable) } else { Ok(held) }
    }

    fn all(&self) -> Vec<Rc<Held>> {
        self.held.borrow().values().cloned().collect()
    }

    /// Names of the groups that have committed something, in no particular order.
    ///
    /// # Errors
    /// [`GroupError::Unreadable`] if some of them are not known.
    pub fn names(&self) -> Result<Vec<String>, GroupError> {
        let mut names = Vec::new();
        for held in self.all() {
            if held.broken.get() {
                return Err(GroupError::Unreadable);
            }
            held.log.look(|offsets| names.extend(offsets.groups().map(|(name, _)| name.to_owned())));
        }
        Ok(names)
    }

    /// Removes what was committed for a topic that is deleted.
    pub async fn forget_topic(&self, id: Uuid) {
        for held in self.all() {
            if let Err(error) = held.remove(|_, _, _, value| value.topic_id == id).await {
                // They count for nothing any more, because they carry the topic's id.
                tracing::warn!(%error, "the committed offsets of a deleted topic stay in the log");
            }
        }
    }

    /// Reads back what was committed. What cannot be read is not available; the rest of the server works.
    pub async fn load(&self, topics: &RefCell<TopicTable>) {
        for held in self.all() {
            if let Err(e) = held.load().await {
                tracing::error!(%e, "a partition of {OFFSETS_TOPIC} cannot be read; its groups are not available");
                held.broken.set(true);
            }
            // Those of topics that were deleted when the server ended.
            let gone = |_: &str, topic: &str, _: i32, value: &Committed| {
                let topics = topics.borrow();
                topics.get(TopicKey::Name(topic)).map(|t| t.topic.id) != Some(value.topic_id)
            };
            if let Err(error) = held.remove(gone).await {
                tracing::warn!(%error, "committed offsets of deleted topics stay in the log");
            }
        }
    }
}

impl Held {
    async fn load(&self) -> Result<(), LoadError> {
        let records = self.log.load().await?;
        if records > 0 {
            self.log.look(|offsets| {
                let groups = offsets.groups().count();
                tracing::info!(records, groups, "committed offsets read back");
            });
        }
        Ok(())
    }

    /// Commits offsets of a group. Says of each whether its partition exists; if not, it is not committed. With
    /// `as_member` it is refused.
    ///
    /// # Errors
    /// Nothing is committed then, or it is not known what.
    pub async fn commit(
        &self,
        topics: &RefCell<TopicTable>,
        group: &str,
        as_member: bool,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<bool>, GroupError> {
        let turn = self.log.turn().await;
        if as_member {
            // Who is no member may commit; there are no members, so nobody else may.
            let known = self.has(group);
            return Err(if known { GroupError::NoMembers } else { GroupError::NoMembersNorGroup });
        }
        let group: Rc<str> = group.into();
        let mut known = Vec::with_capacity(wanted.len());
        let mut changes = Vec::with_capacity(wanted.len());
        for Wanted { topic, partition, offset, leader_epoch, metadata } in wanted {
            let topic_id = topic_id(&topics.borrow(), &topic, partition);
            known.push(topic_id.is_some());
            if let Some(topic_id) = topic_id {
                let value = Committed { offset, leader_epoch, metadata: metadata.into(), topic_id };
                let (group, topic) = (Rc::clone(&group), topic.into());
                changes.push(Change { group, topic, partition, value: Some(value) });
            }
        }
        turn.admit(&changes)
            .inspect_err(|error| tracing::warn!(%group, %error, "offsets are not committed"))?;
        let appended = turn.append(changes).await?;
        drop(turn);
        self.log.durable(appended).await?;
        Ok(known)
    }

    /// Whether a group has committed something.
    pub fn has(&self, group: &str) -> bool {
        self.log.look(|offsets| offsets.group(group).is_some())
    }

    /// Removes offsets of a group: those of these partitions, or all of them.
    ///
    /// # Errors
    /// [`GroupError::Unknown`] if the group has none.
    pub async fn remove_of(
        &self,
        name: &str,
        which: Option<Vec<(String, Vec<i32>)>>,
    ) -> Result<(), GroupError> {
        let turn = self.log.turn().await;
        if !self.has(name) {
            return Err(GroupError::Unknown);
        }
        let removals = turn.look(|offsets, line| {
            offsets.removals(line, |group, topic, partition, _| {
                let listed = |(t, list): &(String, Vec<i32>)| t == topic && list.contains(&partition);
                group == name && which.as_ref().is_none_or(|which| which.iter().any(listed))
            })
        });
        let appended = turn.append(removals).await?;
        drop(turn);
        Ok(self.log.durable(appended).await?)
    }

    /// Removes what `which` picks, by group, topic, partition and value.
    async fn remove(&self, which: impl FnMut(&str, &str, i32, &Committed) -> bool) -> Result<(), WriteError> {
        let turn = self.log.turn().await;
        let removals = turn.look(|offsets, line| offsets.removals(line, which));
        let appended = turn.append(removals).await?;
        self.log.durable(appended).await
    }

    /// What a group has committed.
    pub fn look_up(
        &self,
        topics: &TopicTable,
        group: &str,
        wanted: Option<Vec<(String, Vec<i32>)>>,
    ) -> Found {
        // One that was committed for another topic of that name counts for nothing.
        let known = |topic: &str, value: &Committed| {
            topics.get(TopicKey::Name(topic)).is_some_and(|t| t.topic.id == value.topic_id)
        };
        self.log.look(|offsets| {
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
