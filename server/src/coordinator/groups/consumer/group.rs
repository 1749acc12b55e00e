//! What a consumer group consists of.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::image::{Current, Entry, Image, State};
use super::limits::Limits;
use crate::coordinator::groups::classic::Millis;

/// A group. See the header of `consumer`.
#[derive(Debug)]
pub struct Group {
    pub(super) limits: Limits,
    pub(super) image: Image,
    /// Who has a partition, or is to give it back.
    pub(super) owners: HashMap<(Uuid, i32), Arc<str>>,
    /// Ids of static members by the names that they keep.
    pub(super) statics: BTreeMap<Arc<str>, Arc<str>>,
    /// When each member is taken for dead.
    pub(super) sessions: BTreeMap<Arc<str>, Millis>,
    /// Until when members have to give partitions back.
    pub(super) revocations: BTreeMap<Arc<str>, Millis>,
    /// The state of the topics that it knows.
    pub(super) topics_seen: Option<u64>,
    /// When regular expressions may be looked up again.
    pub(super) next_look: Millis,
    entries: Vec<Entry>,
}

impl Group {
    /// A group of which nothing is kept.
    pub fn new(limits: Limits) -> Self {
        Self::restore(Image::default(), limits, 0)
    }

    /// The group as it was kept. Its members have a full session from now.
    pub fn restore(image: Image, limits: Limits, now: Millis) -> Self {
        let mut group = Self {
            limits,
            image,
            owners: HashMap::new(),
            statics: BTreeMap::new(),
            sessions: BTreeMap::new(),
            revocations: BTreeMap::new(),
            topics_seen: None,
            next_look: 0,
            entries: Vec::new(),
        };
        let subscribers: Vec<_> =
            group.image.subscribers.iter().map(|(id, s)| (Arc::clone(id), Rc::clone(s))).collect();
        for (id, subscriber) in subscribers {
            if let Some(instance) = &subscriber.instance {
                group.statics.insert(Arc::clone(instance), Arc::clone(&id));
            }
            let current = group.current(&id);
            group.own(&id, &current);
            let session = group.session_of(&id);
            group.sessions.insert(Arc::clone(&id), now + session);
            if current.state == State::Unrevoked {
                group.revocations.insert(id, now + u64::from(subscriber.rebalance_ms.max(0).unsigned_abs()));
            }
        }
        group
    }

    /// Whether there is such a group: something is kept of it.
    pub fn exists(&self) -> bool {
        self.image.epoch.is_some() || !self.image.subscribers.is_empty()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.image.subscribers.is_empty()
    }

    /// Its epoch.
    pub(super) fn epoch(&self) -> i32 {
        self.image.epoch.map_or(0, |epoch| epoch.epoch)
    }

    /// The epoch for which partitions are assigned.
    pub(super) fn target_epoch(&self) -> i32 {
        self.image.target_epoch.unwrap_or(0)
    }

    /// What a member has.
    pub(super) fn current(&self, id: &str) -> Rc<Current> {
        self.image.currents.get(id).cloned().unwrap_or_default()
    }

    /// What changed since the last call, in order: it is to be kept.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Changes what is kept.
    pub(super) fn put(&mut self, entry: Entry) {
        match &entry {
            Entry::Subscriber(id, value) => {
                let before = self.image.subscribers.get(id).and_then(|s| s.instance.clone());
                if let Some(instance) = before.filter(|name| self.statics.get(name) == Some(id)) {
                    self.statics.remove(&instance);
                }
                if let Some(instance) = value.as_ref().and_then(|s| s.instance.as_ref()) {
                    self.statics.insert(Arc::clone(instance), Arc::clone(id));
                }
            }
            Entry::Current(id, value) => {
                let before = self.current(id);
                for one in before.assigned.iter().chain(before.revoking.iter()) {
                    if self.owners.get(&one) == Some(id) {
                        self.owners.remove(&one);
                    }
                }
                if let Some(value) = value {
                    self.own(id, value);
                }
            }
            Entry::Epoch(_) | Entry::TargetEpoch(_) | Entry::Target(..) | Entry::Regex(..) => {}
        }
        self.image.apply(&entry);
        self.entries.push(entry);
    }

    fn own(&mut self, id: &Arc<str>, current: &Current) {
        for one in current.assigned.iter().chain(current.revoking.iter()) {
            self.owners.insert(one, Arc::clone(id));
        }
    }
}
