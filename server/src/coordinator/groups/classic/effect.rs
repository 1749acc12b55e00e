//! What a group says: answers, refusals, and what must be stored.

use std::sync::Arc;

use bytes::Bytes;

use super::stored::Stored;

/// A request that waits for its answer; whoever asks chooses the number.
pub type Ticket = u64;

/// Something that is being stored.
pub type StoreId = u64;

/// What follows from what a group was told.
#[derive(Debug)]
pub enum Effect {
    /// The answer to a JoinGroup.
    Joined {
        /// The request.
        to: Ticket,
        /// Its answer.
        answer: Result<Joined, Refused>,
    },
    /// The answer to a SyncGroup.
    Synced {
        /// The request.
        to: Ticket,
        /// Its answer.
        answer: Result<Synced, Refused>,
    },
    /// This is to be stored, after what was to be stored before. `Group::stored` says what became of it.
    Store {
        /// Its number.
        id: StoreId,
        /// What is to be read at the next start.
        what: Stored,
    },
}

/// What a member learns when it has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// What the members speak.
    pub protocol_type: Option<Arc<str>>,
    /// How partitions are assigned.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub leader: Arc<str>,
    /// The member's own id.
    pub member_id: Arc<str>,
    /// The leader is to leave the assignment as it is (KIP-814).
    pub skip_assignment: bool,
    /// All members, for the leader.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub id: Arc<str>,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// What it wants.
    pub metadata: Bytes,
}

/// What a member gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// What the members speak.
    pub protocol_type: Option<Arc<str>>,
    /// How partitions are assigned.
    pub protocol: Option<Arc<str>>,
    /// The member's part.
    pub assignment: Bytes,
}

/// Why a member is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has this id.
    #[error("the group has no such member; join it again")]
    UnknownMember,
    /// Somebody else has the name that the member keeps.
    #[error("another process has joined under this group.instance.id; only one may")]
    Fenced,
    /// The generation is over, or never was.
    #[error("this is not the group's generation; join it again")]
    IllegalGeneration,
    /// A rebalance is under way.
    #[error("the group rebalances; join it again")]
    Rebalancing,
    /// The member speaks something else than the others.
    #[error("the member has no protocol in common with the others of its group")]
    Protocol,
    /// The session time-out is out of range.
    #[error(
        "the session time-out is not within group.min.session.timeout.ms and group.max.session.timeout.ms"
    )]
    SessionTimeout,
    /// There are as many members as there may be, or no memory for more.
    #[error("the group has as many members as it may have")]
    Full,
    /// The member has to come again with this id (KIP-394).
    #[error("join again as member {0}")]
    MemberIdRequired(Arc<str>),
    /// The assignment is too large to be stored.
    #[error("what the members want and get is too large to be stored; the server's log says how large")]
    TooLarge,
    /// The assignment could not be stored.
    #[error("the assignment could not be stored; the server's log says why")]
    NotStored,
}
