//! A committed offset, and a change of one.

use std::rc::Rc;

use uuid::Uuid;

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
    /// The group.
    pub group: Rc<str>,
    /// The topic.
    pub topic: Box<str>,
    /// The partition.
    pub partition: i32,
    /// The new value; `None` removes it.
    pub value: Option<Committed>,
}
