//! What is kept of the groups of one partition of `__consumer_offsets`: committed offsets, members of
//! classic groups with their assignments, and consumer groups.

use std::collections::BTreeMap;
use std::rc::Rc;

use keylane_engine::Record;

use super::change::{Change, OffsetChange};
use super::classic::Stored;
use super::consumer::{Entry, Image};
use super::offsets::Offsets;
use super::record::{self, RecordError};
use crate::coordinator::log::Table;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Kept {
    /// Committed offsets.
    pub offsets: Offsets,
    members: BTreeMap<Rc<str>, Rc<Stored>>,
    members_bytes: usize,
    consumers: BTreeMap<Rc<str>, Image>,
    consumers_bytes: usize,
}

fn entry_bytes(group: &str, entry: &Entry) -> usize {
    group.len() + entry.bytes()
}

fn members_bytes(group: &str, value: &Stored) -> usize {
    group.len() + value.bytes()
}

impl Table for Kept {
    type Change = Change;
    type Error = RecordError;

    fn bytes_of(change: &Change) -> usize {
        match change {
            Change::Offset(change) => Offsets::bytes_of(change),
            Change::Members { group, value: Some(value) } => members_bytes(group, value),
            Change::Members { group, value: None } => group.len(),
            Change::Consumer { group, entry } => entry_bytes(group, entry),
        }
    }

    fn encode(change: &Change, now_ms: i64) -> Record {
        record::encode(change, now_ms)
    }

    fn decode(record: &Record) -> Result<Change, RecordError> {
        record::decode(record)
    }

    fn apply(&mut self, change: Change) {
        let replaced = self.bytes_replaced(&change);
        match change {
            Change::Offset(change) => self.offsets.apply(change),
            Change::Members { group, value } => {
                match value {
                    Some(value) => {
                        self.members_bytes += members_bytes(&group, &value);
                        self.members.insert(group, value);
                    }
                    None => {
                        self.members.remove(&group);
                    }
                }
                self.members_bytes -= replaced;
            }
            Change::Consumer { group, entry } => {
                let image = self.consumers.entry(Rc::clone(&group)).or_default();
                image.apply(&entry);
                if !entry.is_removal() {
                    self.consumers_bytes += entry_bytes(&group, &entry);
                } else if image.is_nothing() {
                    self.consumers.remove(&group);
                }
                self.consumers_bytes -= replaced;
            }
        }
    }

    fn bytes(&self) -> usize {
        self.offsets.bytes() + self.members_bytes + self.consumers_bytes
    }

    fn bytes_replaced(&self, change: &Change) -> usize {
        match change {
            Change::Offset(change) => self.offsets.bytes_replaced(change),
            Change::Members { group, .. } => {
                self.members.get(group).map_or(0, |value| members_bytes(group, value))
            }
            Change::Consumer { group, entry } => {
                let bytes = self.consumers.get(group).map_or(0, |image| image.bytes_replaced(entry));
                if bytes == 0 { 0 } else { group.len() + bytes }
            }
        }
    }
}

impl Kept {
    /// The members of a group as they were stored last.
    pub fn members(&self, group: &str) -> Option<&Rc<Stored>> {
        self.members.get(group)
    }

    /// All groups whose members were stored.
    pub fn all_members(&self) -> impl Iterator<Item = (&Rc<str>, &Rc<Stored>)> {
        self.members.iter()
    }

    /// A consumer group, when these changes are made, too.
    pub fn consumer<'a>(&self, group: &str, line: impl Iterator<Item = &'a Change>) -> Image {
        let mut image = self.consumers.get(group).cloned().unwrap_or_default();
        for change in line {
            if let Change::Consumer { group: of, entry } = change
                && **of == *group
            {
                image.apply(entry);
            }
        }
        image
    }

    /// All consumer groups.
    pub fn consumers(&self) -> impl Iterator<Item = (&Rc<str>, &Image)> {
        self.consumers.iter()
    }

    /// The changes of offsets among these.
    pub fn offset_changes<'a>(
        line: impl Iterator<Item = &'a Change>,
    ) -> impl Iterator<Item = &'a OffsetChange> {
        line.filter_map(|change| match change {
            Change::Offset(change) => Some(change),
            Change::Members { .. } | Change::Consumer { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_what_is_there() {
        let stored = |protocol_type: &str| Stored {
            protocol_type: protocol_type.into(),
            generation: 1,
            protocol: None,
            leader: None,
            since_ms: 0,
            members: Vec::new(),
        };
        let set = |value: &str| Change::Members { group: "g".into(), value: Some(stored(value).into()) };
        let mut kept = Kept::default();
        kept.apply(set("consumer"));
        let bytes = kept.bytes();
        assert_eq!((bytes, kept.bytes_replaced(&set(""))), (Kept::bytes_of(&set("consumer")), bytes));
        kept.apply(set(""));
        assert_eq!(kept.bytes(), bytes - "consumer".len());
        let gone = Change::Members { group: "g".into(), value: None };
        kept.apply(gone.clone());
        kept.apply(gone);
        assert_eq!((kept.bytes(), kept.members("g")), (0, None));
    }
}
