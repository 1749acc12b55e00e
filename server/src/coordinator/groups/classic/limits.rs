//! Settings of the server for groups, and how time is told.

/// Milliseconds on a clock that never goes back.
pub type Millis = u64;

/// Settings of the server for groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the first rebalance of an empty group waits for more members.
    pub initial_delay: Millis,
    /// Most members of a group.
    pub size_max: usize,
    /// Shortest session time-out of a member.
    pub session_min: Millis,
    /// Longest session time-out of a member.
    pub session_max: Millis,
}
