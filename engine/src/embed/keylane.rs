//! The handle of an open data directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

use crate::catalog::{CatalogError, NewTopic, Topic, valid_name};
use crate::data_dir::DirLock;
use crate::environment::{EnvironmentError, check_data_directory, check_uring};
use crate::error::OpenError;
use crate::ids::Offset;
use crate::shard::{Batches, Offsets};

use super::block_on::block_on;
use super::core::{Order, Threads};
use super::error::{EmbedError, of_read};
use super::lane::PendingAppend;
use super::options::Options;
use super::partitioner::partition_for;
use super::record::{Record, StoredRecord, decode, encode};
use super::shared::Shared;
use super::tail::Tail;

/// Most partitions of one topic.
const PARTITIONS_MAX: u32 = 100_000;

/// A topic: its name and how many partitions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Name of the topic.
    pub name: String,
    /// Number of partitions; they are numbered from 0.
    pub partitions: u32,
}

/// An open data directory. See the module's header for what it promises.
///
/// All methods take `&self`: share it between threads by reference or in an `Arc`. Methods block unless they say
/// otherwise; those with `_async` in their name, and [`PendingAppend`], are for any async runtime.
///
/// Dropping the handle without [`close`](Self::close) is like a crash: appends that were not acked may be lost, and the next
/// open scans the last segments. The threads have ended then, so the directory can be opened again at once.
pub struct Keylane {
    shared: Arc<Shared>,
    /// Held during a change of the topics: one at a time.
    changing: Mutex<()>,
    running: Mutex<Option<Running>>,
}

/// The fields are dropped in this order, so that the directory stays locked until its threads have ended.
struct Running {
    threads: Threads,
    _lock: DirLock,
}

impl Keylane {
    /// Opens the data directory at `path`, with recovery if needed; creates and formats a directory that does not exist.
    ///
    /// Needs Linux with io_uring and, unless [`Options::direct_io`] is off, a file system with O_DIRECT. If the system
    /// lacks something, [`OpenError::Environment`] names it and says what to do.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        options.check()?;
        let path = path.as_ref();
        check_uring()?;
        if path.exists() && !path.is_dir() {
            return Err(EnvironmentError::NotADirectory { path: path.to_owned() }.into());
        }
        let lock = DirLock::take(path)?;
        check_data_directory(path, options.direct_io)?;
        let started = super::core::start(path.to_owned(), &options)?;
        let topics = started.topics.iter().map(|t| (t.name.clone(), Arc::clone(t))).collect();
        let shared = Shared { links: started.links, lanes: started.lanes, topics: RwLock::new(topics) };
        Ok(Self {
            shared: Arc::new(shared),
            changing: Mutex::new(()),
            running: Mutex::new(Some(Running { threads: started.threads, _lock: lock })),
        })
    }

    /// Creates a topic, durably. Names follow Kafka's rule: 1 to 249 of `a-z A-Z 0-9 . _ -`.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<(), EmbedError> {
        let invalid = |rule| EmbedError::InvalidTopic { name: name.to_owned(), rule };
        if !valid_name(name) {
            return Err(invalid(
                "a name is 1 to 249 letters, digits, dots, underscores and hyphens, not . or ..",
            ));
        }
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(invalid("a topic has 1 to 100,000 partitions"));
        }
        let _turn = locked(&self.changing);
        let topic =
            NewTopic { name: name.to_owned(), partitions: partitions as usize, configs: BTreeMap::new() };
        let made = block_on(self.shared.links[0].call(move |core| async move {
            let Some(catalog) = &core.catalog else { return Err(EmbedError::Closed) };
            Ok(catalog.lock().await.create(vec![topic]).await?)
        }))??;
        for topic in made {
            for link in &self.shared.links {
                let topic = Arc::clone(&topic);
                block_on(link.call(move |core| async move { core.attach(&topic.partitions) }))?;
            }
            self.shared.change_topics(|topics| topics.insert(topic.name.clone(), topic));
        }
        Ok(())
    }

    /// Deletes a topic and its records, durably.
    pub fn delete_topic(&self, name: &str) -> Result<(), EmbedError> {
        let _turn = locked(&self.changing);
        let wanted = name.to_owned();
        let gone = block_on(self.shared.links[0].call(move |core| async move {
            let Some(catalog) = &core.catalog else { return Err(EmbedError::Closed) };
            catalog.lock().await.delete(&wanted).await.map_err(|e| match e {
                CatalogError::Unknown(name) => EmbedError::UnknownTopic(name),
                other => EmbedError::Catalog(other),
            })
        }))??;
        self.shared.change_topics(|topics| topics.remove(name));
        for link in &self.shared.links {
            let gone = Arc::clone(&gone);
            block_on(link.call(move |core| async move { core.detach(&gone.partitions) }))?;
        }
        Ok(())
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> Vec<TopicInfo> {
        let topics = self.shared.topics();
        let info = |t: &Arc<Topic>| TopicInfo { name: t.name.clone(), partitions: t.partitions.len() as u32 };
        let mut all: Vec<_> = topics.values().map(info).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The partition that a key belongs to: the same that Kafka's clients choose by default.
    pub fn partition_for_key(&self, topic: &str, key: &[u8]) -> Result<u32, EmbedError> {
        let partitions = self.shared.topic(topic)?.partitions.len() as u32;
        Ok(partition_for(key, partitions))
    }

    /// Appends records as one batch, all of them or nothing, and returns the offset of the first when they are durable.
    ///
    /// Each call waits for a flush; for throughput use [`submit`](Self::submit).
    pub fn append(&self, topic: &str, partition: u32, records: &[Record]) -> Result<Offset, EmbedError> {
        self.submit(topic, partition, records)?.wait()
    }

    /// Appends a record to the partition of its key; returns partition and offset when it is durable.
    pub fn append_keyed(&self, topic: &str, record: Record) -> Result<(u32, Offset), EmbedError> {
        let pending = self.submit_keyed(topic, record)?;
        Ok((pending.partition(), pending.wait()?))
    }

    /// As [`append`](Self::append), but returns before the records are durable. Appends that wait at the same time share
    /// writes and flushes. Blocks only while the queue to the shard is full.
    pub fn submit(
        &self,
        topic: &str,
        partition: u32,
        records: &[Record],
    ) -> Result<PendingAppend, EmbedError> {
        self.submit_batch(topic, partition, encode(records)?)
    }

    /// As [`submit`](Self::submit), to the partition of the record's key.
    pub fn submit_keyed(&self, topic: &str, record: Record) -> Result<PendingAppend, EmbedError> {
        let key = record.key.as_deref().ok_or(EmbedError::NoKey)?;
        let partition = self.partition_for_key(topic, key)?;
        self.submit(topic, partition, std::slice::from_ref(&record))
    }

    /// As [`submit`](Self::submit), for any async runtime: while the queue is full, the future waits. Appends keep the order
    /// in which these futures complete.
    pub async fn submit_async(
        &self,
        topic: &str,
        partition: u32,
        records: &[Record],
    ) -> Result<PendingAppend, EmbedError> {
        let (route, batch) = (self.shared.route(topic, partition)?, encode(records)?);
        let room = self.shared.lane(&route).room(batch.len()).await?;
        self.shared.send(&route, room, batch)
    }

    /// As [`submit`](Self::submit), but returns [`EmbedError::Busy`] while the queue is full.
    pub fn try_submit(
        &self,
        topic: &str,
        partition: u32,
        records: &[Record],
    ) -> Result<PendingAppend, EmbedError> {
        let (route, batch) = (self.shared.route(topic, partition)?, encode(records)?);
        let room = self.shared.lane(&route).try_room(batch.len())?;
        self.shared.send(&route, room, batch)
    }

    /// Appends one encoded record batch (Kafka's version 2, with any compression), for programs with their own encoder. The
    /// batch is checked as [`check`](crate::records::check) says, and stored byte for byte. Only base offset, leader epoch,
    /// and a maximum timestamp that is not that of the records are changed.
    pub fn append_batch(
        &self,
        topic: &str,
        partition: u32,
        batch: impl Into<Bytes>,
    ) -> Result<Offset, EmbedError> {
        self.submit_batch(topic, partition, batch)?.wait()
    }

    /// As [`append_batch`](Self::append_batch), but returns before the batch is durable, as [`submit`](Self::submit).
    pub fn submit_batch(
        &self,
        topic: &str,
        partition: u32,
        batch: impl Into<Bytes>,
    ) -> Result<PendingAppend, EmbedError> {
        let (route, batch) = (self.shared.route(topic, partition)?, batch.into());
        let lane = self.shared.lane(&route);
        let room = match lane.try_room(batch.len()) {
            Err(EmbedError::Busy) => block_on(lane.room(batch.len())),
            other => other,
        }?;
        self.shared.send(&route, room, batch)
    }

    /// Reads durable records from `offset` on: about `bytes_max` bytes and at least one record, or nothing at the end of the
    /// partition. The next call continues at the last record's offset plus 1.
    pub fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, EmbedError> {
        block_on(self.read_async(topic, partition, offset, bytes_max))
    }

    /// As [`read`](Self::read), for any runtime.
    pub async fn read_async(
        &self,
        topic: &str,
        partition: u32,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, EmbedError> {
        let route = self.shared.route(topic, partition)?;
        let mut from = offset;
        loop {
            let batches = self.shared.read(&route, from, bytes_max, Duration::ZERO).await?;
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
    pub fn read_batches(
        &self,
        topic: &str,
        partition: u32,
        offset: Offset,
        bytes_max: usize,
    ) -> Result<Batches, EmbedError> {
        let route = self.shared.route(topic, partition)?;
        block_on(self.shared.read(&route, offset, bytes_max, Duration::ZERO))
    }

    /// Follows a partition from an offset on: as a blocking iterator, with time-outs, or in an async runtime.
    pub fn tail(&self, topic: &str, partition: u32, from: Offset) -> Result<Tail, EmbedError> {
        let route = self.shared.route(topic, partition)?;
        Ok(Tail::new(Arc::clone(&self.shared), route, from))
    }

    /// Offset of the first record with this timestamp or a later one, in milliseconds; `None` if no record has one.
    pub fn offset_for_time(
        &self,
        topic: &str,
        partition: u32,
        timestamp_ms: i64,
    ) -> Result<Option<Offset>, EmbedError> {
        let route = self.shared.route(topic, partition)?;
        let placement = route.placement;
        let link = self.shared.link(&route);
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

    /// First offset, high watermark (readers stop there) and end of a partition.
    pub fn offsets(&self, topic: &str, partition: u32) -> Result<Offsets, EmbedError> {
        let route = self.shared.route(topic, partition)?;
        let placement = route.placement;
        block_on(self.shared.link(&route).call(move |core| async move {
            let (shard, at) = core.find(placement)?;
            shard.offsets(at).map_err(of_read)
        }))?
    }

    /// Makes everything durable that was submitted, and closes the directory, so that the next open has nothing to scan. Tails
    /// end; every later operation returns [`EmbedError::Closed`]. Closing twice is not an error.
    pub fn close(&self) -> Result<(), EmbedError> {
        let _turn = locked(&self.changing);
        for lane in &self.shared.lanes {
            lane.end();
        }
        match locked(&self.running).take() {
            Some(mut running) => running.threads.end(Order::Close),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Keylane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shards, threads) = (self.shared.lanes.len(), self.shared.links.len());
        f.debug_struct("Keylane").field("shards", &shards).field("threads", &threads).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
