//! Sets of partitions, by topic.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// See the module's header. A topic is there only with partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<Uuid, BTreeSet<i32>>);

impl FromIterator<(Uuid, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32)>>(all: I) -> Self {
        let mut partitions = Self::default();
        all.into_iter().for_each(|(topic, partition)| partitions.insert(topic, partition));
        partitions
    }
}

impl Partitions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// The topics with their partitions.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (&Uuid, &BTreeSet<i32>)> {
        self.0.iter()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.0.iter().flat_map(|(topic, list)| list.iter().map(|partition| (*topic, *partition)))
    }

    /// Those of a topic.
    pub fn of(&self, topic: Uuid) -> Option<&BTreeSet<i32>> {
        self.0.get(&topic)
    }

    /// Adds one.
    pub fn insert(&mut self, topic: Uuid, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    /// Takes one out, if it is there.
    pub fn remove(&mut self, topic: Uuid, partition: i32) {
        if let Some(list) = self.0.get_mut(&topic) {
            list.remove(&partition);
            if list.is_empty() {
                self.0.remove(&topic);
            }
        }
    }

    /// Whether one is there.
    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.of(topic).is_some_and(|list| list.contains(&partition))
    }

    /// Those that are in both.
    pub fn and(&self, other: &Self) -> Self {
        self.iter().filter(|(topic, partition)| other.contains(*topic, *partition)).collect()
    }

    /// Those that are not in the other.
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|(topic, partition)| !other.contains(*topic, *partition)).collect()
    }

    /// Those that are in one of both.
    pub fn or(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Whether all of them are in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|(topic, partition)| other.contains(topic, partition))
    }

    /// Whether one of them is in the other.
    pub fn meets(&self, other: &Self) -> bool {
        self.iter().any(|(topic, partition)| other.contains(topic, partition))
    }

    /// Bytes of them in memory, about, and at least as many as in a record.
    pub fn bytes(&self) -> usize {
        const TOPIC: usize = 64;
        const PARTITION: usize = 8;
        TOPIC * self.0.len() + PARTITION * self.len()
    }
}
