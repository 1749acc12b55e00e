//! Settings of the server for consumer groups.

use crate::coordinator::groups::classic::Millis;

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a member may be silent.
    pub session: Millis,
    /// How often a member is to be heard of.
    pub heartbeat: Millis,
    /// Most members of a group.
    pub size_max: usize,
}
