//! What handles and tails share, on any thread: the topics, and the way to the threads of the engine.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;

use crate::catalog::Topic;
use crate::ids::Offset;
use crate::records::{BatchRules, check};
use crate::shard::Batches;

use super::core::{Core, CoreLink, Route};
use super::error::EmbedError;
use super::lane::{Lane, PendingAppend, Room};

/// Topics by name.
pub type Topics = HashMap<String, Arc<Topic>>;

/// What methods on any thread need.
pub struct Shared {
    /// Handles of the threads, by number.
    pub links: Vec<CoreLink>,
    /// Lanes of the shards, by number, for appends.
    pub lanes: Vec<Lane>,
    /// The topics.
    pub topics: RwLock<Topics>,
}

impl Shared {
    /// The topics now.
    pub fn topics(&self) -> RwLockReadGuard<'_, Topics> {
        // A panic cannot leave the topics half changed, so a poisoned lock is usable.
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the topics.
    pub fn change_topics<T>(&self, change: impl FnOnce(&mut Topics) -> T) {
        change(&mut self.topics.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Result<Arc<Topic>, EmbedError> {
        self.topics().get(name).cloned().ok_or_else(|| EmbedError::UnknownTopic(name.to_owned()))
    }

    /// Where a partition lives.
    pub fn route(&self, name: &str, partition: u32) -> Result<Route, EmbedError> {
        let topics = self.topics();
        let topic = topics.get(name).ok_or_else(|| EmbedError::UnknownTopic(name.to_owned()))?;
        match topic.partitions.get(partition as usize) {
            Some(&placement) => Ok(Route { partition, placement }),
            None => Err(EmbedError::UnknownPartition {
                topic: name.to_owned(),
                partition,
                last: topic.partitions.len().saturating_sub(1) as u32,
            }),
        }
    }

    /// The way of appends to a partition.
    pub fn lane(&self, route: &Route) -> &Lane {
        &self.lanes[usize::from(route.placement.shard)]
    }

    /// The way to the thread of a partition.
    pub fn link(&self, route: &Route) -> &CoreLink {
        &self.links[usize::from(route.placement.shard) % self.links.len()]
    }

    /// Sends a batch to be appended.
    pub fn send(&self, route: &Route, room: Room, batch: Bytes) -> Result<PendingAppend, EmbedError> {
        let batch = check(batch, &BatchRules::WITHOUT_TOPIC, 0)?;
        self.lane(route).send(room, (route.partition, route.placement.log), batch)
    }

    /// Reads batches; waits up to `patience` for the first one.
    pub async fn read(
        &self,
        route: &Route,
        offset: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Batches, EmbedError> {
        let placement = route.placement;
        let work =
            move |core: Rc<Core>| async move { core.read(placement, offset, bytes_max, patience).await };
        self.link(route).call(work).await?
    }
}
