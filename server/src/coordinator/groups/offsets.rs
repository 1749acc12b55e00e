//! Committed offsets in memory: those of the groups of one partition of `__consumer_offsets`.
//!
//! What is visible is durable. A change that has been appended waits in line until its commit is durable; the
//! line is worked off in the order of the log, so that memory never says anything else than the log will say
//! after a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keylane_engine::CommitSeq;
use uuid::Uuid;

/// Beside its texts an entry takes about as much in memory.
const ENTRY_BYTES: usize = 160;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The offset to read next.
    pub offset: i64,
    /// Epoch of the leader; -1 if the consumer did not say.
    pub leader_epoch: i32,
    /// What the consumer keeps beside it.
    pub metadata: Box<str>,
    /// Which topic of that name it is for.
    pub topic_id: Uuid,
}

/// A change of one offset of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The topic.
    pub topic: Box<str>,
    /// The partition.
    pub partition: i32,
    /// The new value; `None` removes it.
    pub value: Option<Committed>,
}

/// A group and changes of it.
pub type GroupChanges = (Box<str>, Vec<Change>);
/// Offsets of a group, by topic and partition.
pub type Topics = BTreeMap<Box<str>, BTreeMap<i32, Committed>>;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Offsets {
    groups: BTreeMap<Box<str>, Topics>,
    bytes: usize,
    line: VecDeque<(CommitSeq, GroupChanges)>,
    line_bytes: usize,
}

/// Bytes in memory that a change may add, at most; about as much in the log.
pub fn bytes_of(group: &str, change: &Change) -> usize {
    let metadata = change.value.as_ref().map_or(0, |v| v.metadata.len());
    ENTRY_BYTES + group.len() + change.topic.len() + metadata
}

impl Offsets {
    /// Takes a change that is durable.
    pub fn apply(&mut self, group: &str, change: Change) {
        let cost = bytes_of(group, &change);
        let mut before = Change { topic: change.topic.clone(), partition: change.partition, value: None };
        if let Some(value) = change.value {
            let topics = self.groups.entry(group.into()).or_default();
            before.value = topics.entry(change.topic).or_default().insert(change.partition, value);
            self.bytes += cost;
        } else if let Some(topics) = self.groups.get_mut(group) {
            if let Some(partitions) = topics.get_mut(&change.topic) {
                before.value = partitions.remove(&change.partition);
                if partitions.is_empty() {
                    topics.remove(&change.topic);
                }
            }
            if topics.is_empty() {
                self.groups.remove(group);
            }
        }
        if before.value.is_some() {
            self.bytes -= bytes_of(group, &before);
        }
    }

    /// Puts changes that were appended in line.
    pub fn queue(&mut self, seq: CommitSeq, changes: GroupChanges) {
        self.line_bytes += line_bytes(&changes);
        self.line.push_back((seq, changes));
    }

    /// Makes visible what is durable.
    pub fn settle(&mut self, durable: impl Fn(CommitSeq) -> bool) {
        while let Some((seq, _)) = self.line.front()
            && durable(*seq)
        {
            let Some((_, (group, changes))) = self.line.pop_front() else { return };
            for change in &changes {
                self.line_bytes -= bytes_of(&group, change);
            }
            for change in changes {
                self.apply(&group, change);
            }
        }
    }

    /// Bytes that there may be when everything in line is visible and these changes are made too. What they
    /// replace is counted off.
    pub fn bytes_with(&self, group: &str, changes: &[Change]) -> usize {
        let replaced = |c: &Change| {
            let value = self.get(group, &c.topic, c.partition)?;
            let before =
                Change { topic: c.topic.clone(), partition: c.partition, value: Some(value.clone()) };
            Some(bytes_of(group, &before))
        };
        let more: usize = changes.iter().map(|c| bytes_of(group, c)).sum();
        let less: usize = changes.iter().filter_map(replaced).sum();
        (self.bytes + self.line_bytes + more).saturating_sub(less)
    }

    /// Bytes that are taken now.
    pub fn bytes(&self) -> usize {
        self.bytes + self.line_bytes
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

    /// What removes every offset that `which` picks (by group, topic, partition and value), those in line
    /// included.
    pub fn removals(&self, mut which: impl FnMut(&str, &str, i32, &Committed) -> bool) -> Vec<GroupChanges> {
        let mut gone: BTreeMap<Box<str>, BTreeSet<(Box<str>, i32)>> = BTreeMap::new();
        let mut look = |group: &str, topic: &str, partition: i32, value: &Committed| {
            if which(group, topic, partition, value) {
                gone.entry(group.into()).or_default().insert((topic.into(), partition));
            }
        };
        for (group, topics) in self.groups() {
            for (topic, partitions) in topics {
                partitions.iter().for_each(|(partition, value)| look(group, topic, *partition, value));
            }
        }
        for (_, (group, changes)) in &self.line {
            for change in changes {
                if let Some(value) = &change.value {
                    look(group, &change.topic, change.partition, value);
                }
            }
        }
        let removal = |(topic, partition)| Change { topic, partition, value: None };
        gone.into_iter().map(|(group, keys)| (group, keys.into_iter().map(removal).collect())).collect()
    }
}

fn line_bytes((group, changes): &GroupChanges) -> usize {
    changes.iter().map(|change| bytes_of(group, change)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(topic: &str, partition: i32, offset: i64, metadata: &str) -> Change {
        let value =
            Committed { offset, leader_epoch: -1, metadata: metadata.into(), topic_id: Uuid::from_u128(1) };
        Change { topic: topic.into(), partition, value: Some(value) }
    }

    fn remove(topic: &str, partition: i32) -> Change {
        Change { topic: topic.into(), partition, value: None }
    }

    #[test]
    fn changes_become_visible_in_the_order_of_the_log_and_only_when_durable() {
        let mut offsets = Offsets::default();
        offsets.queue(1, ("g".into(), vec![set("t", 0, 5, "")]));
        offsets.queue(2, ("g".into(), vec![set("t", 0, 6, ""), set("t", 1, 7, "")]));
        offsets.queue(3, ("g".into(), vec![remove("t", 1)]));
        offsets.settle(|_| false);
        assert_eq!(offsets.get("g", "t", 0), None);
        // A later commit that is durable does not overtake an earlier one that is not.
        offsets.settle(|seq| seq != 1);
        assert_eq!(offsets.get("g", "t", 0), None);
        offsets.settle(|seq| seq < 3);
        let found = |o: &Offsets, p| o.get("g", "t", p).map(|c| c.offset);
        assert_eq!((found(&offsets, 0), found(&offsets, 1)), (Some(6), Some(7)));
        offsets.settle(|_| true);
        assert_eq!((found(&offsets, 0), found(&offsets, 1)), (Some(6), None));
    }

    #[test]
    fn bytes_are_those_of_what_is_there_and_in_line() {
        let mut offsets = Offsets::default();
        let changes = [set("t", 0, 5, "long metadata"), set("t", 1, 5, "")];
        let want: usize = changes.iter().map(|c| bytes_of("g", c)).sum();
        assert_eq!(offsets.bytes_with("g", &changes), want);
        offsets.queue(1, ("g".into(), changes.to_vec()));
        assert_eq!(offsets.bytes(), want);
        offsets.settle(|_| true);
        assert_eq!(offsets.bytes(), want);
        // The same once more replaces what is there.
        assert_eq!(offsets.bytes_with("g", &changes), want);
        offsets.apply("g", set("t", 0, 6, ""));
        assert_eq!(offsets.bytes(), want - "long metadata".len());
        offsets.apply("g", remove("t", 9));
        for partition in [0, 1, 1] {
            offsets.apply("g", remove("t", partition));
        }
        assert_eq!((offsets.bytes(), offsets.groups().count()), (0, 0));
    }

    #[test]
    fn removals_include_what_is_still_in_line() {
        let mut offsets = Offsets::default();
        offsets.apply("a", set("t", 0, 1, ""));
        offsets.apply("a", set("u", 0, 1, ""));
        offsets.apply("b", set("t", 2, 1, ""));
        offsets.queue(1, ("b".into(), vec![set("t", 3, 1, ""), set("t", 2, 2, "")]));
        let removals = offsets.removals(|_, topic, _, _| topic == "t");
        let expected: Vec<GroupChanges> =
            vec![("a".into(), vec![remove("t", 0)]), ("b".into(), vec![remove("t", 2), remove("t", 3)])];
        assert_eq!(removals, expected);
    }
}
