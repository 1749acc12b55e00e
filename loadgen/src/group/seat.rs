//! A member's place in its group, by whatever protocol: the seam between [`member`](super::member), which reads and
//! commits, and the protocols.
//!
//! Promises: a [`Seat`] never says that a member has partitions which its coordinator has not given to it. What the
//! member is told, it does before it asks for the next turn.

use keylane_kafka::ErrorCode;

use super::wire::{Fault, Identity};

/// What a member is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Go on with what it has.
    Stay,
    /// Go on, but commit nothing: it waits for the other members. The turn took a while if the member has nothing.
    Wait,
    /// Commit, and give up all that it has.
    GiveUp,
    /// These are its partitions from now on.
    Have(Vec<i32>),
}

/// What a refusal means to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// The seat does what is to be done.
    Known,
    /// The member is out: others may have its partitions.
    Out,
    /// Nothing that the protocol knows.
    Unknown,
}

/// See the module's header.
pub trait Seat: Send {
    /// Whether the member has its place, and does not have to join.
    fn is_in(&self) -> bool;

    /// Does what is due of the protocol, for a member that has these partitions.
    fn turn(&mut self, owned: &[i32]) -> Result<Turn, Fault>;

    /// Beats the heart if that is due, while the member has no time for a turn.
    fn beat(&mut self, owned: &[i32]) -> Result<(), Fault>;

    /// Does what a refusal says, whatever request it refused.
    fn refused(&mut self, code: ErrorCode) -> Meaning;

    /// Its connection broke.
    fn disconnect(&mut self);

    /// Who a commit is from.
    fn identity(&self) -> &Identity;

    /// The version of a commit.
    fn commit_version(&self) -> i16;

    /// Waits for a join that is under way, before the member leaves.
    fn arrive(&mut self) -> Result<(), Fault>;

    /// Gives the place up.
    fn leave(&mut self) -> Result<(), Fault>;
}
