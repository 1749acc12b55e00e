//! What handles and tails share, on any thread: the topics, and the way to the threads of the engine.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;

use crate::catalog;
use crate::ids::Offset;
use crate::records::{BatchRules, CheckedBatch, TimestampType, check};
use crate::shard::Batches;

use super::block_on::block_on;
use super::error::{Error, Result};
use super::lane::{Lane, PendingAppend};
use super::record::now_ms;
use super::threads::{Core, CoreLink, Route};
use super::topic_settings::batch_rules;

/// A topic, and what it asks of batches.
#[derive(Debug)]
pub struct OpenTopic {
    /// The topic as the catalog has it.
    pub topic: Arc<catalog::Topic>,
    rules: BatchRules,
    /// Whether the rules ask what time it is.
    needs_clock: bool,
}

impl OpenTopic {
    /// A topic of the catalog.
    pub fn new(topic: Arc<catalog::Topic>) -> Self {
        let rules = batch_rules(&topic.configs);
        let needs_clock = rules.timestamps == TimestampType::LogAppendTime
            || rules.timestamp_before_max_ms != i64::MAX
            || rules.timestamp_after_max_ms != i64::MAX;
        Self { topic, rules, needs_clock }
    }

    /// Where a partition lives.
    pub fn route(&self, partition: u32) -> Result<Route> {
        match self.topic.partitions.get(partition as usize) {
            Some(&placement) => Ok(Route { partition, placement }),
            None => Err(Error::UnknownPartition {
                topic: self.topic.name.clone(),
                partition,
                last: self.topic.partitions.len().saturating_sub(1) as u32,
            }),
        }
    }

    fn check(&self, batch: Bytes) -> Result<CheckedBatch<'static>> {
        let now_ms = if self.needs_clock { now_ms() } else { 0 };
        Ok(check(batch, &self.rules, now_ms)?)
    }
}

/// Topics by name.
pub type Topics = HashMap<String, Arc<OpenTopic>>;

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

    /// The way to the thread of a partition.
    pub fn link(&self, route: &Route) -> &CoreLink {
        &self.links[usize::from(route.placement.shard) % self.links.len()]
    }

    fn lane(&self, route: &Route) -> &Lane {
        &self.lanes[usize::from(route.placement.shard)]
    }

    /// Submits a batch; blocks while the queue is full.
    pub fn submit(&self, topic: &OpenTopic, route: &Route, batch: Bytes) -> Result<PendingAppend> {
        let lane = self.lane(route);
        let room = match lane.try_room(batch.len()) {
            Err(Error::Busy) => block_on(lane.room(batch.len())),
            other => other,
        }?;
        lane.send(room, (route.partition, route.placement.log), topic.check(batch)?)
    }

    /// The same for async code: waits while the queue is full.
    pub async fn submit_async(
        &self,
        topic: &OpenTopic,
        route: &Route,
        batch: Bytes,
    ) -> Result<PendingAppend> {
        let lane = self.lane(route);
        let room = lane.room(batch.len()).await?;
        lane.send(room, (route.partition, route.placement.log), topic.check(batch)?)
    }

    /// The same, but an error while the queue is full.
    pub fn try_submit(&self, topic: &OpenTopic, route: &Route, batch: Bytes) -> Result<PendingAppend> {
        let lane = self.lane(route);
        let room = lane.try_room(batch.len())?;
        lane.send(room, (route.partition, route.placement.log), topic.check(batch)?)
    }

    /// Reads batches; waits up to `patience` for the first one.
    pub async fn read(
        &self,
        route: &Route,
        offset: Offset,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Batches> {
        let placement = route.placement;
        let work =
            move |core: Rc<Core>| async move { core.read(placement, offset, bytes_max, patience).await };
        self.link(route).call(work).await?
    }
}
