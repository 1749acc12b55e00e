//! Settings of the server for groups of both kinds.

use super::{classic, consumer};

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of classic groups.
    pub classic: classic::Limits,
    /// Of consumer groups.
    pub consumer: consumer::Limits,
}
