//! A member of a classic group.

use std::sync::Arc;

use bytes::Bytes;

use super::effect::Ticket;
use super::limits::Millis;

/// How long a new member's JoinGroup may wait: a client that is gone by then is not noticed otherwise.
pub const NEW_MEMBER_JOIN: Millis = 5 * 60 * 1000;

/// A way to assign partitions: its name, and what the member wants in it.
pub type Protocol = (Arc<str>, Bytes);

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id.
    pub id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session: Millis,
    /// How long a rebalance waits for it.
    pub rebalance: Millis,
    /// How partitions may be assigned, the way that it likes best first.
    pub protocols: Vec<Protocol>,
    /// What it has in this generation; until the leader has assigned, what it had in the one before.
    pub assignment: Bytes,
    /// It has not been in a generation yet.
    pub is_new: bool,
    /// When it is taken for dead.
    pub deadline: Millis,
    /// Its JoinGroup that waits.
    pub joining: Option<Ticket>,
    /// Its SyncGroup that waits.
    pub syncing: Option<Ticket>,
}

impl Member {
    /// What it wants in a protocol; `None` if it does not know the protocol.
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| **name == *protocol).map(|(_, metadata)| metadata)
    }

    /// Bytes that it takes in memory, about.
    pub fn bytes(&self) -> usize {
        const MEMBER: usize = 512;
        const PROTOCOL: usize = 96;
        let protocols = self.protocols.iter().map(|(name, wants)| PROTOCOL + name.len() + wants.len());
        let instance = self.instance.as_ref().map_or(0, |name| name.len());
        let names = self.id.len() + 2 * instance + self.client_id.len();
        MEMBER + protocols.sum::<usize>() + self.assignment.len() + names
    }

    /// Gives it a full session from now.
    pub fn heard(&mut self, now: Millis) {
        self.deadline = now + self.session;
    }

    /// Gives a new member the time that its first JoinGroup may wait.
    pub fn begins(&mut self, now: Millis) {
        self.deadline = now + NEW_MEMBER_JOIN;
    }

    /// When it is taken for dead, if nothing is heard: never while the group owes it an answer, unless it is new.
    pub fn dies_at(&self) -> Option<Millis> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !waits).then_some(self.deadline)
    }

    /// Whether it wants the same as before.
    pub fn wants_the_same(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }
}
