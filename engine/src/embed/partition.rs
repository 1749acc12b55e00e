//! The handle of one partition.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::Offset;
use crate::shard::{Batches, Offsets};

use super::block_on::block_on;
use super::error::{Result, of_read};
use super::lane::PendingAppend;
use super::record::{Record, StoredRecord, decode, encode};
use super::shared::{OpenTopic, Shared};
use super::tail::Tail;
use super::threads::Route;

/// A partition: a log of records with dense offsets from 0. From [`Topic::partition`](crate::Topic::partition).
///
/// It is cheap to clone, and its methods look nothing up and take no lock: keep it, and share it between threads. After its topic was
/// deleted, or the engine closed, every operation is an error.
///
/// ```
/// use keylane_engine::{Keylane, Options, Record, TopicOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let log = Keylane::open(path, Options::default())?;
/// let partition = log.create_topic("steps", TopicOptions::new(1))?.partition(0)?;
///
/// // One batch: all of it or nothing, durable when the call returns.
/// partition.append(&[Record::without_key("one"), Record::without_key("two")])?;
///
/// // On their way together: they share writes and flushes.
/// let pending = (3..=100)
///     .map(|n| partition.submit(&[Record::without_key(n.to_string())]))
///     .collect::<keylane_engine::Result<Vec<_>>>()?;
/// for append in pending {
///     append.wait()?;
/// }
/// assert_eq!(partition.offsets()?.high_watermark, 100);
/// assert_eq!(partition.read(1, 1 << 10)?[0].record.value.as_deref(), Some(b"two".as_slice()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Partition {
    shared: Arc<Shared>,
    topic: Arc<OpenTopic>,
    route: Route,
}

impl Partition {
    pub(super) fn new(shared: Arc<Shared>, topic: Arc<OpenTopic>, route: Route) -> Self {
        Self { shared, topic, route }
    }

    /// Name of the topic.
    pub fn topic(&self) -> &str {
        &self.topic.topic.name
    }

    /// Number of the partition in its topic, from 0.
    pub fn number(&self) -> u32 {
        self.route.partition
    }

    /// Appends records as one batch, all of them or nothing, and returns the offset of the first when they are durable.
    ///
    /// Each call waits for a flush; for throughput use [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit) and [`PendingAppend::wait`].
    pub fn append(&self, records: &[Record]) -> Result<Offset> {
        self.submit(records)?.wait()
    }

    /// As [`append`](Self::append), but returns before the records are durable. Appends that wait at the same time share
    /// writes and flushes. Blocks only while the queue to the shard is full.
    ///
    /// # Errors
    ///
    /// Nothing was appended: [`Error::Empty`](crate::Error::Empty) without records, [`Error::Batch`](crate::Error::Batch) if the
    /// topic does not take them, [`Error::TooLarge`](crate::Error::TooLarge), [`Error::Closed`](crate::Error::Closed).
    pub fn submit(&self, records: &[Record]) -> Result<PendingAppend> {
        self.submit_batch(encode(records)?)
    }

    /// As [`submit`](Self::submit), for any async runtime: while the queue is full, the future waits. Appends keep the order
    /// in which these futures complete.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_async(&self, records: &[Record]) -> Result<PendingAppend> {
        self.shared.submit_async(&self.topic, &self.route, encode(records)?).await
    }

    /// As [`submit`](Self::submit), but never waits.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`](crate::Error::Busy) while the queue is full, and as [`submit`](Self::submit).
    pub fn try_submit(&self, records: &[Record]) -> Result<PendingAppend> {
        self.shared.try_submit(&self.topic, &self.route, encode(records)?)
    }

    /// Appends one encoded record batch (Kafka's version 2, with any compression), for programs with their own encoder, and for
    /// idempotent producers. Every record of it is checked. It is stored byte for byte, but for base offset, leader epoch, a
    /// maximum timestamp that is not that of the records, and what the topic's settings change.
    ///
    /// # Errors
    ///
    /// [`Error::Batch`](crate::Error::Batch) says what is wrong with the batch, [`Error::Sequence`](crate::Error::Sequence) that it
    /// does not continue the sequence of its producer; else as [`append`](Self::append).
    pub fn append_batch(&self, batch: impl Into<Bytes>) -> Result<Offset> {
        self.submit_batch(batch)?.wait()
    }

    /// As [`append_batch`](Self::append_batch), but returns before the batch is durable, as [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch).
    pub fn submit_batch(&self, batch: impl Into<Bytes>) -> Result<PendingAppend> {
        self.shared.submit(&self.topic, &self.route, batch.into())
    }

    /// Reads durable records from `offset` on: about `bytes_max` bytes and at least one record, or nothing at the end of the
    /// partition. The next call continues at the last record's offset plus 1. Compressed batches are uncompressed; `bytes_max` counts
    /// them as they are stored.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) if the offset lies before the first one, for example after
    /// retention, or beyond the end; [`Error::Deleted`](crate::Error::Deleted), [`Error::Closed`](crate::Error::Closed),
    /// [`Error::Read`](crate::Error::Read), [`Error::Unreadable`](crate::Error::Unreadable).
    pub fn read(&self, offset: Offset, bytes_max: usize) -> Result<Vec<StoredRecord>> {
        block_on(self.read_async(offset, bytes_max))
    }

    /// As [`read`](Self::read), for any async runtime.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn read_async(&self, offset: Offset, bytes_max: usize) -> Result<Vec<StoredRecord>> {
        let mut from = offset;
        loop {
            let batches = self.shared.read(&self.route, from, bytes_max, Duration::ZERO).await?;
            let records = decode(&batches.slices, offset)?;
            // Batches without records (control batches) are skipped.
            if !records.is_empty() || batches.next_offset == from {
                return Ok(records);
            }
            from = batches.next_offset;
        }
    }

    /// Reads stored batches as they are, beginning with the one that holds `offset`. The slices share the engine's memory:
    /// keeping a few bytes alive keeps up to a whole commit alive.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), but for [`Error::Unreadable`](crate::Error::Unreadable): batches are not looked into.
    pub fn read_batches(&self, offset: Offset, bytes_max: usize) -> Result<Batches> {
        block_on(self.shared.read(&self.route, offset, bytes_max, Duration::ZERO))
    }

    /// Follows the partition from an offset on: as a blocking iterator, with time-outs, or in an async runtime.
    ///
    /// ```
    /// use std::time::Duration;
    /// use keylane_engine::{Keylane, Options, Record, TopicOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let log = Keylane::open(path, Options::default())?;
    /// let partition = log.create_topic("news", TopicOptions::new(1))?.partition(0)?;
    /// let mut tail = partition.tail(0);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| partition.append(&[Record::without_key("hello")]));
    ///     let stored = tail.recv(Duration::from_secs(10))?.expect("the append of the other thread");
    ///     assert_eq!(stored.record.value.as_deref(), Some(b"hello".as_slice()));
    ///     Ok::<_, keylane_engine::Error>(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// In async code a tail becomes a stream:
    ///
    /// ```
    /// use futures_util::StreamExt;
    /// use keylane_engine::{Keylane, Options, Record, TopicOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// let log = Keylane::open(path, Options::default())?;
    /// let partition = log.create_topic("news", TopicOptions::new(1))?.partition(0)?;
    /// let pending = partition.submit_async(&[Record::without_key("hello")]).await?;
    /// let mut news = partition.tail(0).into_stream();
    /// let stored = news.next().await.expect("the engine is open")?;
    /// assert_eq!(stored.offset, pending.await?);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn tail(&self, from: Offset) -> Tail {
        Tail::new(Arc::clone(&self.shared), self.route, from)
    }

    /// Offset of the first record with this timestamp or a later one, in milliseconds since 1970; `None` if no record has one.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn offset_for_time(&self, timestamp_ms: i64) -> Result<Option<Offset>> {
        let placement = self.route.placement;
        let link = self.shared.link(&self.route);
        let mut from = 0;
        loop {
            let found =
                block_on(link.call(move |core| async move {
                    core.find_by_time(placement, timestamp_ms, from).await
                }))??;
            let Some((offset, batches)) = found else { return Ok(None) };
            let records = decode(&batches.slices, offset)?;
            if let Some(found) = records.iter().find(|r| r.record.timestamp_ms >= timestamp_ms) {
                return Ok(Some(found.offset));
            }
            // The record was deleted, or the header of the batch states a time that no record has.
            from = batches.next_offset.max(offset + 1);
        }
    }

    /// First offset, high watermark (readers stop there) and end of the partition.
    ///
    /// # Errors
    ///
    /// [`Error::Deleted`](crate::Error::Deleted), [`Error::Closed`](crate::Error::Closed).
    pub fn offsets(&self) -> Result<Offsets> {
        let placement = self.route.placement;
        block_on(self.shared.link(&self.route).call(move |core| async move {
            let (shard, at) = core.find(placement)?;
            shard.offsets(at).map_err(of_read)
        }))?
    }

    /// Deletes the records below `offset`, and returns the first offset when that is durable. Their space is given back to the
    /// file system in the background. An offset at or below the first one changes nothing.
    ///
    /// ```
    /// use keylane_engine::{Error, Keylane, Options, Record, TopicOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let log = Keylane::open(path, Options::default())?;
    /// let partition = log.create_topic("jobs", TopicOptions::new(1))?.partition(0)?;
    /// partition.append(&[Record::without_key("done"), Record::without_key("to do")])?;
    ///
    /// assert_eq!(partition.trim(1)?, 1);
    /// assert_eq!(partition.read(1, 1 << 10)?.len(), 1);
    /// assert!(matches!(partition.read(0, 1 << 10), Err(Error::OffsetOutOfRange { start: 1, .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::TrimOutOfRange`](crate::Error::TrimOutOfRange) above the high watermark, [`Error::DiskFull`](crate::Error::DiskFull),
    /// [`Error::Failed`](crate::Error::Failed), [`Error::Deleted`](crate::Error::Deleted), [`Error::Closed`](crate::Error::Closed).
    pub fn trim(&self, offset: Offset) -> Result<Offset> {
        block_on(self.trim_async(offset))
    }

    /// As [`trim`](Self::trim), for any async runtime.
    ///
    /// # Errors
    ///
    /// As [`trim`](Self::trim).
    pub async fn trim_async(&self, offset: Offset) -> Result<Offset> {
        let placement = self.route.placement;
        let work =
            move |core: std::rc::Rc<super::threads::Core>| async move { core.trim(placement, offset).await };
        self.shared.link(&self.route).call(work).await?
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition").field("topic", &self.topic()).field("number", &self.number()).finish()
    }
}
