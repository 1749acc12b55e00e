//! The handle of a topic.

use std::fmt;
use std::sync::Arc;

use crate::ids::Offset;

use super::error::{Error, Result};
use super::lane::PendingAppend;
use super::partition::Partition;
use super::partitioner::partition_for;
use super::record::{Record, encode};
use super::shared::{OpenTopic, Shared};
use super::threads::Route;
use super::topic_options::TopicOptions;

/// A topic: a name, and partitions that records are spread over by their keys. From
/// [`Keylane::create_topic`](crate::Keylane::create_topic) and [`Keylane::topic`](crate::Keylane::topic).
///
/// It is cheap to clone, and its methods take no lock: keep it, and share it between threads.
///
/// ```
/// use keylane_engine::{Keylane, Options, Record, TopicOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let log = Keylane::open(path, Options::default())?;
/// let payments = log.create_topic("payments", TopicOptions::new(4))?;
/// let (partition, offset) = payments.append(Record::new("alice", "10 EUR"))?;
///
/// // All records of a key are in one partition, in order.
/// assert_eq!(partition, payments.partition_for_key(b"alice").number());
/// let stored = payments.partition(partition)?.read(offset, 1 << 10)?;
/// assert_eq!(stored[0].record.key.as_deref(), Some(b"alice".as_slice()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Topic {
    shared: Arc<Shared>,
    topic: Arc<OpenTopic>,
}

impl Topic {
    pub(super) fn new(shared: Arc<Shared>, topic: Arc<OpenTopic>) -> Self {
        Self { shared, topic }
    }

    /// Name of the topic.
    pub fn name(&self) -> &str {
        &self.topic.topic.name
    }

    /// Number of partitions; they are numbered from 0.
    pub fn partition_count(&self) -> u32 {
        self.topic.topic.partitions.len() as u32
    }

    /// The settings of the topic.
    pub fn options(&self) -> TopicOptions {
        TopicOptions::of(self.topic.topic.partitions.len(), &self.topic.topic.configs)
    }

    /// A partition by its number.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPartition`].
    pub fn partition(&self, number: u32) -> Result<Partition> {
        Ok(self.at(self.topic.route(number)?))
    }

    /// All partitions, in the order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = Partition> {
        let partitions = (0..).zip(&self.topic.topic.partitions);
        partitions.map(|(partition, &placement)| self.at(Route { partition, placement }))
    }

    fn at(&self, route: Route) -> Partition {
        Partition::new(Arc::clone(&self.shared), Arc::clone(&self.topic), route)
    }

    /// The partition that a key belongs to: the same that Kafka's clients choose by default.
    pub fn partition_for_key(&self, key: &[u8]) -> Partition {
        self.at(self.route_of(key))
    }

    fn route_of(&self, key: &[u8]) -> Route {
        let placements = &self.topic.topic.partitions;
        let partition = partition_for(key, placements.len() as u32);
        Route { partition, placement: placements[partition as usize] }
    }

    /// Appends a record to the partition of its key; returns partition and offset when it is durable.
    ///
    /// Each call waits for a flush; for throughput use [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit) and [`PendingAppend::wait`].
    pub fn append(&self, record: Record) -> Result<(u32, Offset)> {
        let pending = self.submit(record)?;
        Ok((pending.partition(), pending.wait()?))
    }

    /// As [`append`](Self::append), but returns before the record is durable. Appends that wait at the same time share writes and
    /// flushes. Blocks only while the queue to the shard is full.
    ///
    /// # Errors
    ///
    /// Nothing was appended: [`Error::NoKey`] if the record has no key, [`Error::Batch`] if the topic does not take it,
    /// [`Error::TooLarge`], [`Error::Closed`].
    pub fn submit(&self, record: Record) -> Result<PendingAppend> {
        let route = self.route_of(record.key.as_deref().ok_or(Error::NoKey)?);
        self.shared.submit(&self.topic, &route, encode(std::slice::from_ref(&record))?)
    }

    /// As [`submit`](Self::submit), for any async runtime: while the queue is full, the future waits. Appends keep the order
    /// in which these futures complete.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_async(&self, record: Record) -> Result<PendingAppend> {
        let route = self.route_of(record.key.as_deref().ok_or(Error::NoKey)?);
        self.shared.submit_async(&self.topic, &route, encode(std::slice::from_ref(&record))?).await
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name())
            .field("partitions", &self.partition_count())
            .finish()
    }
}
