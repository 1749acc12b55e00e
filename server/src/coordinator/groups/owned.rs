//! The partitions of `__consumer_offsets` that a core has.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use uuid::Uuid;

use crate::coordinator::log::Place;
use crate::service::topics::{OFFSETS_TOPIC, TopicKey, TopicTable};

use super::change::Committed;
use super::described::Listed;
use super::error::GroupError;
use super::held::Held;
use super::limits::Limits;

/// See the module's header.
pub struct Groups {
    limits: Limits,
    topics: Rc<RefCell<TopicTable>>,
    held: RefCell<BTreeMap<usize, Rc<Held>>>,
}

impl Groups {
    /// No partitions; groups have these limits, and consume these topics.
    pub fn new(limits: Limits, topics: Rc<RefCell<TopicTable>>) -> Self {
        Self { limits, topics, held: RefCell::default() }
    }

    /// Takes a partition over, nothing read yet. One that is held already stays.
    pub fn hold(&self, partition: usize, place: Place) {
        let held = || Rc::new(Held::new(place, self.limits, Rc::clone(&self.topics)));
        self.held.borrow_mut().entry(partition).or_insert_with(held);
    }

    /// A partition.
    ///
    /// # Errors
    /// [`GroupError::NotHere`], or [`GroupError::Unreadable`] if it could not be read at the start.
    pub fn find(&self, partition: usize) -> Result<Rc<Held>, GroupError> {
        let held = self.held.borrow().get(&partition).cloned().ok_or(GroupError::NotHere)?;
        if held.is_broken() { Err(GroupError::Unreadable) } else { Ok(held) }
    }

    fn all(&self) -> Vec<Rc<Held>> {
        self.held.borrow().values().cloned().collect()
    }

    /// All groups, in no particular order.
    ///
    /// # Errors
    /// [`GroupError::Unreadable`] if some of them are not known.
    pub fn list(&self) -> Result<Vec<Listed>, GroupError> {
        let mut groups = Vec::new();
        for held in self.all() {
            if held.is_broken() {
                return Err(GroupError::Unreadable);
            }
            groups.extend(held.list());
        }
        Ok(groups)
    }

    /// Nobody waits for a group any more: the server stops.
    pub fn stop(&self) {
        self.all().iter().for_each(|held| held.stop());
    }

    /// Removes offsets that were committed so long ago, of groups that have had no members for so long.
    pub async fn expire(&self, now_ms: i64, retention_ms: i64) {
        for held in self.all().iter().filter(|held| !held.is_broken()) {
            if let Err(error) = held.expire(now_ms, retention_ms).await {
                tracing::warn!(%error, "committed offsets that are too old stay in the log");
            }
        }
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
                held.give_up();
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
