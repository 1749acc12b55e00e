//! State that belongs to one core and lies in a topic of the server's own: `log` is such a table with its log, `groups` has
//! the committed offsets of groups, its first user.
//!
//! Promise: a change is answered when it is durable, and after any restart every answered change holds. Nothing here knows a
//! protocol, though records have the bytes that other brokers give them.

pub mod groups;
pub mod log;
