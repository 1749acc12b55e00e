//! A consumer group (KIP-848): members say what they want, the server assigns, and each member goes on its own from what it
//! has to what it is to have.
//!
//! A state machine without I/O. It is told what is asked, which topics there are and what time it is; it answers, and says what
//! of it changed ([`Group::take_entries`]). [`Group::due`] says when it wants to be called again. What is answered or
//! handed out holds when these entries are durable: whoever calls waits for that.
//!
//! Promises:
//! * A partition has one member at a time: it is given to the next one when the one before said that it has given it back, or
//!   is gone.
//! * Epochs rise. Whoever is not in its current epoch, or the one before with nothing it should not have, is fenced.
//! * A group is its entries and the sessions of its members, so that a restart costs no rebalance.
//! * Nobody holds partitions up longer than its rebalance time-out, or its session.
//!
//! `image` is what is kept, `group` what a group consists of, `heartbeat` what members ask, `membership` who joins and
//! leaves, `subscription` which topics they want (`pattern` by regular expression), `assign/` who is to have what, `reconcile` the way of one member there,
//! `timing` what happens without anybody asking, `offsets` who may commit, `described` what can be seen. Members may speak the
//! classic protocol (`mixed`, `embedded`), while a group goes from one protocol to the other (`convert`).

pub mod assign;
mod convert;
mod described;
mod embedded;
mod group;
mod heartbeat;
mod image;
mod limits;
mod membership;
mod mixed;
mod offsets;
mod partitions;
mod pattern;
mod planted;
mod reconcile;
mod refused;
mod subscription;
mod timing;
mod topics;

pub use described::{Described, DescribedMember};
pub use group::Group;
pub use heartbeat::{Beat, Heartbeat};
pub use image::{Classic, Current, Entry, Epoch, Image, Resolved, State, Subscriber};
pub use limits::Limits;
pub use partitions::Partitions;
pub use refused::Refused;
pub use topics::Topics;

#[cfg(test)]
mod model;
#[cfg(test)]
mod single;
