//! What all members of a group have in common.

use std::net::SocketAddr;
use std::time::Duration;

use super::assignor::Strategy;
use super::wire::Timeouts;
use crate::fetch_shape::FetchLimits;

/// How members are in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// JoinGroup, SyncGroup, Heartbeat: all join again for each rebalance, and one of them deals the partitions.
    Classic(Strategy),
    /// ConsumerGroupHeartbeat (KIP-848): the coordinator deals the partitions, one member at a time.
    Consumer,
}

impl Protocol {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic(Strategy::Eager) => "eager",
            Self::Classic(Strategy::Cooperative) => "cooperative",
            Self::Consumer => "KIP-848",
        }
    }
}

/// See the module's header.
#[derive(Debug, Clone)]
pub struct Spec {
    pub address: SocketAddr,
    pub group: String,
    pub topic: String,
    /// Where a partition is read from if nothing was committed, by partition.
    pub begin: Vec<i64>,
    pub protocol: Protocol,
    pub times: Timeouts,
    /// From one heartbeat to the next; sooner where the coordinator asks for it (KIP-848).
    pub heartbeat: Duration,
    /// From one commit to the next.
    pub commit_every: Duration,
    /// Spoiled: commits what it has fetched, and reads it so many milliseconds later.
    pub ahead: u64,
    /// The broker may go away: a broken connection is nothing to tell.
    pub restarts: bool,
    /// What a Fetch asks for.
    pub limits: FetchLimits,
}
