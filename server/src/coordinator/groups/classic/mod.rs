//! A classic group: members join, one of them assigns, and a generation says who is current.
//!
//! A state machine without I/O. It is told what is asked and what time it is, and says what follows ([`Effect`]): answers to
//! requests that waited, and what must be stored. [`Group::due`] says when it wants to be called again.
//!
//! Promises:
//! * A request that waits is answered once: when its rebalance or assignment is decided, or when its member goes.
//! * An assignment is handed out only when it is stored, so that a restart goes on with it ([`Group::restore`]).
//! * The generation rises with every completed rebalance. Whoever is not a member of the current one is refused.
//! * Nobody holds a rebalance up longer than the largest rebalance time-out, or an id that nobody uses than its session.
//!
//! States and rules are Kafka's; a group that is Dead there does not exist here. `group` is what a group consists of, `requests` has
//! what members ask, `rebalance` the way from one generation to the next, `timing` what happens without anybody asking,
//! `restore` the way back at a start.

mod effect;
mod group;
mod limits;
mod member;
mod planted;
mod purpose;
mod rebalance;
mod requests;
mod restore;
mod stored;
mod timing;

#[cfg(test)]
mod cost;
#[cfg(test)]
mod model;
#[cfg(test)]
mod single;

pub use effect::{Effect, Joined, Refused, StoreId, Synced, Ticket};
pub use group::{Group, State};
pub use limits::{Limits, Millis};
pub use member::Member;
pub use requests::{Join, Leaving, Sync};
pub use stored::{Stored, StoredMember};
