//! What follows when something is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::effect::{Joined, Ticket};
use super::member::Member;

/// Why something is stored.
#[derive(Debug)]
pub enum Purpose {
    /// The leader has assigned.
    Assignment {
        /// For this generation.
        generation: i32,
        /// To each member.
        parts: BTreeMap<Arc<str>, Bytes>,
    },
    /// A static member has a new id in a stable group.
    NewId {
        /// The generation that goes on.
        generation: i32,
        /// The JoinGroup that waits.
        to: Ticket,
        /// The member.
        answer: Joined,
        /// The member as it was before.
        before: Box<Member>,
    },
    /// The last member is gone.
    Emptied,
}
