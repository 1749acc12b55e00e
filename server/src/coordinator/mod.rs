//! State that belongs to one core and lies in a topic of the server's own: the committed offsets of groups (`groups`).
//!
//! Promise: a change is answered when it is durable, and after any restart every answered change holds.

pub mod groups;
