//! What of a group outlives the server.

use std::sync::Arc;

use bytes::Bytes;

use super::limits::Millis;

/// A group as it is stored: a generation whose members have their assignments, or one without members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What the members speak, or spoke last; empty if there never were any.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// How partitions are assigned.
    pub protocol: Option<Arc<str>>,
    /// The member that assigned.
    pub leader: Option<Arc<str>>,
    /// Since when the group is so, in milliseconds since 1970. Whoever stores it fills it in.
    pub since_ms: i64,
    /// The members.
    pub members: Vec<StoredMember>,
}

/// A member of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMember {
    /// Its id.
    pub id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance: Millis,
    /// How long it may be silent.
    pub session: Millis,
    /// What it wants.
    pub subscription: Bytes,
    /// What it has.
    pub assignment: Bytes,
}

impl Stored {
    /// Bytes of it in memory and in a record, about.
    pub fn bytes(&self) -> usize {
        const GROUP: usize = 160;
        const MEMBER: usize = 240;
        let member = |m: &StoredMember| {
            let texts = m.id.len() + m.client_id.len() + m.client_host.len();
            MEMBER + texts + m.subscription.len() + m.assignment.len()
        };
        GROUP + self.protocol_type.len() + self.members.iter().map(member).sum::<usize>()
    }
}
