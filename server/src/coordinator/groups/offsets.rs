//! Committed offsets in memory: those of the groups of one partition of `__consumer_offsets`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::change::{Committed, OffsetChange};

/// Beside its texts an entry takes about as much in memory.
const ENTRY_BYTES: usize = 160;

/// Offsets of a group, by topic and partition.
pub type Topics = BTreeMap<Box<str>, BTreeMap<i32, Committed>>;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Offsets {
    groups: BTreeMap<Rc<str>, Topics>,
    bytes: usize,
}

fn entry_bytes(group: &str, topic: &str, value: Option<&Committed>) -> usize {
    ENTRY_BYTES + group.len() + topic.len() + value.map_or(0, |v| v.metadata.len())
}

impl Offsets {
    /// Bytes that a change takes, at most.
    pub fn bytes_of(change: &OffsetChange) -> usize {
        entry_bytes(&change.group, &change.topic, change.value.as_ref())
    }

    /// Makes a change.
    pub fn apply(&mut self, change: OffsetChange) {
        let (cost, replaced) = (Self::bytes_of(&change), self.bytes_replaced(&change));
        let OffsetChange { group, topic, partition, value } = change;
        if let Some(value) = value {
            self.groups.entry(group).or_default().entry(topic).or_default().insert(partition, value);
            self.bytes += cost;
        } else if let Some(topics) = self.groups.get_mut(&group) {
            if let Some(partitions) = topics.get_mut(&topic) {
                partitions.remove(&partition);
                if partitions.is_empty() {
                    topics.remove(&topic);
                }
            }
            if topics.is_empty() {
                self.groups.remove(&group);
            }
        }
        self.bytes -= replaced;
    }

    /// Bytes of all offsets.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the offset that a change would replace or remove; 0 if there is none.
    pub fn bytes_replaced(&self, change: &OffsetChange) -> usize {
        let value = self.get(&change.group, &change.topic, change.partition);
        value.map_or(0, |value| entry_bytes(&change.group, &change.topic, Some(value)))
    }

    /// One offset.
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// All offsets of a group.
    pub fn group(&self, group: &str) -> Option<&Topics> {
        self.groups.get(group)
    }

    /// The groups that have offsets.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Topics)> {
        self.groups.iter().map(|(name, topics)| (&**name, topics))
    }

    /// What removes every offset that `which` picks (by group, topic, partition and value), also of those that the changes
    /// `in_line` will make.
    pub fn removals<'a>(
        &self,
        in_line: impl Iterator<Item = &'a OffsetChange>,
        which: impl FnMut(&str, &str, i32, &Committed) -> bool,
    ) -> Vec<OffsetChange> {
        removals_from(self.groups.iter(), in_line, which)
    }

    /// The same for the offsets of one group, picked by topic and partition. Other groups are not looked at: there may be many.
    pub fn removals_of<'a>(
        &self,
        group: &str,
        in_line: impl Iterator<Item = &'a OffsetChange>,
        mut which: impl FnMut(&str, i32) -> bool,
    ) -> Vec<OffsetChange> {
        let in_line = in_line.filter(|change| &*change.group == group);
        removals_from(self.groups.get_key_value(group).into_iter(), in_line, |_, topic, partition, _| {
            which(topic, partition)
        })
    }
}

/// What removes the offsets of these groups, and of those that changes in line will make, which are picked.
fn removals_from<'a, 'g>(
    groups: impl Iterator<Item = (&'g Rc<str>, &'g Topics)>,
    in_line: impl Iterator<Item = &'a OffsetChange>,
    mut which: impl FnMut(&str, &str, i32, &Committed) -> bool,
) -> Vec<OffsetChange> {
    let mut gone: BTreeSet<(Rc<str>, Box<str>, i32)> = BTreeSet::new();
    let mut look = |group: &Rc<str>, topic: &str, partition: i32, value: &Committed| {
        if which(group, topic, partition, value) {
            gone.insert((Rc::clone(group), topic.into(), partition));
        }
    };
    for (group, topics) in groups {
        for (topic, partitions) in topics {
            partitions.iter().for_each(|(partition, value)| look(group, topic, *partition, value));
        }
    }
    for OffsetChange { group, topic, partition, value } in in_line {
        if let Some(value) = value {
            look(group, topic, *partition, value);
        }
    }
    let removal = |(group, topic, partition)| OffsetChange { group, topic, partition, value: None };
    gone.into_iter().map(removal).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn set(group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) -> OffsetChange {
        let value = Committed {
            offset,
            leader_epoch: -1,
            metadata: metadata.into(),
            topic_id: Uuid::from_u128(1),
            time_ms: 0,
        };
        OffsetChange { group: group.into(), topic: topic.into(), partition, value: Some(value) }
    }

    fn remove(group: &str, topic: &str, partition: i32) -> OffsetChange {
        OffsetChange { group: group.into(), topic: topic.into(), partition, value: None }
    }

    #[test]
    fn bytes_are_those_of_what_is_there() {
        let mut offsets = Offsets::default();
        let changes = [set("g", "t", 0, 5, "long metadata"), set("g", "t", 1, 5, "")];
        let want: usize = changes.iter().map(Offsets::bytes_of).sum();
        assert_eq!(offsets.bytes_replaced(&changes[0]), 0);
        changes.iter().for_each(|change| offsets.apply(change.clone()));
        assert_eq!(offsets.bytes(), want);
        // The same once more replaces what is there.
        assert_eq!(changes.iter().map(|c| offsets.bytes_replaced(c)).sum::<usize>(), want);
        offsets.apply(set("g", "t", 0, 6, ""));
        assert_eq!(offsets.bytes(), want - "long metadata".len());
        offsets.apply(remove("g", "t", 9));
        for partition in [0, 1, 1] {
            offsets.apply(remove("g", "t", partition));
        }
        assert_eq!((offsets.bytes(), offsets.groups().count()), (0, 0));
    }

    #[test]
    fn removals_include_what_is_still_in_line() {
        let mut offsets = Offsets::default();
        offsets.apply(set("a", "t", 0, 1, ""));
        offsets.apply(set("a", "u", 0, 1, ""));
        offsets.apply(set("b", "t", 2, 1, ""));
        let line = [set("b", "t", 3, 1, ""), set("b", "t", 2, 2, ""), remove("c", "t", 0)];
        let removals = offsets.removals(line.iter(), |_, topic, _, _| topic == "t");
        assert_eq!(removals, [remove("a", "t", 0), remove("b", "t", 2), remove("b", "t", 3)]);
        let removals = offsets.removals_of("b", line.iter(), |_, partition| partition > 2);
        assert_eq!(removals, [remove("b", "t", 3)]);
        assert_eq!(
            offsets.removals_of("a", line.iter(), |_, _| true),
            [remove("a", "t", 0), remove("a", "u", 0)]
        );
    }
}
