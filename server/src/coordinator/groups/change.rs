//! What is kept of a group, and a change of it.

use std::rc::Rc;

use uuid::Uuid;

use super::classic::Stored;
use super::consumer::Entry;

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
    /// When it was committed, in milliseconds since 1970.
    pub time_ms: i64,
}

/// A change of one offset of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetChange {
    /// The group.
    pub group: Rc<str>,
    /// The topic.
    pub topic: Box<str>,
    /// The partition.
    pub partition: i32,
    /// The new value; `None` removes it.
    pub value: Option<Committed>,
}

/// A change of what is kept of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// One of its offsets.
    Offset(OffsetChange),
    /// Its members and their assignments; `None` removes them.
    Members {
        /// The group.
        group: Rc<str>,
        /// The new value.
        value: Option<Rc<Stored>>,
    },
    /// Something of it, if it is a consumer group.
    Consumer {
        /// The group.
        group: Rc<str>,
        /// What.
        entry: Entry,
    },
}
