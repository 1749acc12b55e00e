//! Which topics the members of a consumer group want, and who is to have their partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use uuid::Uuid;

use super::assign::{Consumer, assign, preferred};
use super::group::Group;
use super::image::{Entry, Epoch, Resolved, Subscriber};
use super::pattern;
use super::topics::Topics;
use crate::coordinator::groups::classic::Millis;

/// Regular expressions of a group are looked up once in this time at most, however fast topics come and go.
const LOOK_EVERY: Millis = 1_000;

impl Group {
    /// Looks at what members want, if that or the topics changed: the group's epoch rises if it makes a difference.
    pub(super) fn refresh(&mut self, changed: bool, topics: &impl Topics, now: Millis) {
        let revision = topics.revision();
        if !changed && self.topics_seen == Some(revision) {
            return;
        }
        let seen = self.look_up(topics, now);
        let topics_hash = self.topics_hash(topics);
        if changed || self.image.epoch.map(|epoch| epoch.topics_hash) != Some(topics_hash) {
            self.raise(topics_hash);
        }
        self.topics_seen = seen.then_some(revision);
    }

    /// Raises the group's epoch.
    pub(super) fn raise(&mut self, topics_hash: u64) {
        let epoch = self.epoch().checked_add(1).unwrap_or(1);
        self.put(Entry::Epoch(Some(Epoch { epoch, topics_hash })));
    }

    /// Finds the topics of regular expressions, and forgets expressions that nobody has. `false`: some are to be looked up later.
    fn look_up(&mut self, topics: &impl Topics, now: Millis) -> bool {
        let wanted: BTreeSet<Arc<str>> =
            self.image.subscribers.values().filter_map(|s| s.regex.clone()).collect();
        let unused: Vec<Arc<str>> =
            self.image.regexes.keys().filter(|text| !wanted.contains(*text)).cloned().collect();
        unused.into_iter().for_each(|text| self.put(Entry::Regex(text, None)));
        let stale = self.topics_seen != Some(topics.revision());
        let again = stale && now >= self.next_look;
        if again && !wanted.is_empty() {
            self.next_look = now + LOOK_EVERY;
        }
        for text in &wanted {
            let known = self.image.regexes.get(text);
            if known.is_some() && !again {
                continue;
            }
            let found = pattern::matching(text, topics);
            if known.is_none_or(|known| known.topics != found) {
                let version = i64::try_from(topics.revision()).unwrap_or(i64::MAX);
                let resolved = Resolved { topics: found, version, time_ms: crate::runtime::clock::now_ms() };
                self.put(Entry::Regex(Arc::clone(text), Some(resolved.into())));
            }
        }
        wanted.is_empty() || again || !stale
    }

    /// Names of the topics that a member wants.
    pub(super) fn names<'a>(&'a self, subscriber: &'a Subscriber) -> impl Iterator<Item = &'a Arc<str>> {
        let resolved = subscriber.regex.as_ref().and_then(|text| self.image.regexes.get(text));
        subscriber.topics.iter().chain(resolved.into_iter().flat_map(|resolved| &resolved.topics))
    }

    /// Names of the topics that its members want.
    pub fn subscribed(&self) -> BTreeSet<&str> {
        self.image.subscribers.values().flat_map(|s| self.names(s)).map(|name| &**name).collect()
    }

    /// Stands for the topics that members want, with their ids and partitions (FNV-1a, 64 bits).
    pub(super) fn topics_hash(&self, topics: &impl Topics) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut take = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        };
        for name in self.subscribed() {
            if let Some((id, partitions)) = topics.find(name) {
                take(id.as_bytes());
                take(&partitions.to_be_bytes());
            }
        }
        hash
    }

    /// The assignor that most members ask for.
    pub(super) fn assignor(&self) -> &'static str {
        preferred(self.image.subscribers.values().filter_map(|s| s.assignor.as_ref()))
    }

    /// Assigns partitions, unless that was done for the group's epoch.
    pub(super) fn assign(&mut self, topics: &impl Topics) {
        let epoch = self.epoch();
        if epoch <= self.target_epoch() {
            return;
        }
        let mut known: BTreeMap<Uuid, i32> = BTreeMap::new();
        let mut members = Vec::with_capacity(self.image.subscribers.len());
        for (id, subscriber) in &self.image.subscribers {
            let found: BTreeMap<Uuid, i32> =
                self.names(subscriber).filter_map(|name| topics.find(name)).collect();
            let had = self.image.targets.get(id).map(|had| (**had).clone()).unwrap_or_default();
            let wants = found.keys().copied().collect();
            members.push(Consumer { id: Arc::clone(id), instance: subscriber.instance.clone(), wants, had });
            known.extend(found);
        }
        for (id, target) in assign(self.assignor(), &members, &known) {
            if self.image.targets.get(&id).map(|had| &**had) != Some(&target) {
                self.put(Entry::Target(id, Some(Rc::new(target))));
            }
        }
        self.put(Entry::TargetEpoch(Some(epoch)));
    }
}
