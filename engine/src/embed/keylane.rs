//! The handle of an open data directory.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::catalog::{self, NewTopic, valid_name};
use crate::data_dir::DirLock;
use crate::environment::{EnvironmentError, check_data_directory, check_uring};
use crate::error::OpenError;

use super::block_on::block_on;
use super::counters::Counters;
use super::error::{Error, Result};
use super::options::Options;
use super::shared::{OpenTopic, Shared};
use super::threads::{Order, Threads, start};
use super::topic::Topic;
use super::topic_options::TopicOptions;

/// An open data directory.
///
/// All methods take `&self`: share it between threads by reference or in an `Arc`. Methods block unless they say
/// otherwise; those with `_async` in their name, [`PendingAppend`](crate::PendingAppend), and
/// [`TailStream`](crate::TailStream) are for any async runtime.
///
/// Dropping the handle without [`close`](Self::close) is like a crash: appends that were not acked may be lost, and the next
/// open scans the last segments. The threads have ended then, so the directory can be opened again at once. Handles of topics
/// and partitions do not keep it open.
///
/// ```
/// use keylane_engine::{Error, Keylane, Options, TopicOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// // Creates the directory if it does not exist.
/// let log = Keylane::open(path, Options::default())?;
/// let payments = match log.topic("payments") {
///     Err(Error::UnknownTopic(_)) => log.create_topic("payments", TopicOptions::new(4))?,
///     other => other?,
/// };
/// assert_eq!(payments.partition_count(), 4);
/// log.close()?;
/// # Ok(())
/// # }
/// ```
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
    /// Needs Linux with io_uring and, unless [`Options::direct_io`] is off, a file system with O_DIRECT.
    ///
    /// # Errors
    ///
    /// [`Error::Open`]. If the system lacks something, [`OpenError::Environment`] names it and says what to do;
    /// [`OpenError::InUse`] if another process has the directory open, [`OpenError::NotOurs`] if it holds other files,
    /// [`OpenError::Damaged`] if durable data is gone, [`OpenError::Options`] if an option cannot work.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Ok(Self::open_at(path.as_ref(), options)?)
    }

    fn open_at(path: &Path, options: Options) -> Result<Self, OpenError> {
        options.check()?;
        check_uring()?;
        if path.exists() && !path.is_dir() {
            return Err(EnvironmentError::NotADirectory { path: path.to_owned() }.into());
        }
        let lock = DirLock::take(path)?;
        check_data_directory(path, options.direct_io)?;
        let started = start(path.to_owned(), &options)?;
        let opened = |t: &Arc<catalog::Topic>| (t.name.clone(), Arc::new(OpenTopic::new(Arc::clone(t))));
        let topics = started.topics.iter().map(opened).collect();
        let shared = Shared { links: started.links, lanes: started.lanes, topics: RwLock::new(topics) };
        Ok(Self {
            shared: Arc::new(shared),
            changing: Mutex::new(()),
            running: Mutex::new(Some(Running { threads: started.threads, _lock: lock })),
        })
    }

    /// Creates a topic, durably. Names follow Kafka's rule: 1 to 249 of `a-z A-Z 0-9 . _ -`.
    ///
    /// # Errors
    ///
    /// [`Error::TopicExists`], [`Error::InvalidTopic`] for a name or a setting that cannot be, [`Error::Catalog`],
    /// [`Error::Closed`]. The topic was not created then; only after [`Error::Catalog`] it may be there at the next open.
    pub fn create_topic(&self, name: &str, options: TopicOptions) -> Result<Topic> {
        let invalid = |rule| Error::InvalidTopic { name: name.to_owned(), rule };
        if !valid_name(name) {
            return Err(invalid(
                "a name is 1 to 249 letters, digits, dots, underscores and hyphens, not . or ..",
            ));
        }
        options.check().map_err(invalid)?;
        let _turn = locked(&self.changing);
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: options.partitions() as usize,
            configs: options.settings().clone(),
        };
        let topic = block_on(self.shared.links[0].call(move |core| async move {
            let Some(catalog) = &core.catalog else { return Err(Error::Closed) };
            // One topic was asked for, so one was made.
            Ok(catalog.lock().await.create(vec![topic]).await?.pop())
        }))??;
        let topic = topic.ok_or_else(|| Error::UnknownTopic(name.to_owned()))?;
        for link in &self.shared.links {
            let topic = Arc::clone(&topic);
            block_on(link.call(move |core| async move { core.attach(&topic) }))?;
        }
        let topic = Arc::new(OpenTopic::new(topic));
        self.shared.change_topics(|topics| topics.insert(name.to_owned(), Arc::clone(&topic)));
        Ok(Topic::new(Arc::clone(&self.shared), topic))
    }

    /// Deletes a topic and its records, durably. Handles of it are of no use afterwards, even if a topic of the same name is created.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`], [`Error::Catalog`], [`Error::Closed`].
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let _turn = locked(&self.changing);
        let wanted = name.to_owned();
        let gone = block_on(self.shared.links[0].call(move |core| async move {
            let Some(catalog) = &core.catalog else { return Err(Error::Closed) };
            Ok(catalog.lock().await.delete(&wanted).await?)
        }))??;
        self.shared.change_topics(|topics| topics.remove(name));
        for link in &self.shared.links {
            let gone = Arc::clone(&gone);
            block_on(link.call(move |core| async move { core.detach(&gone.partitions) }))?;
        }
        Ok(())
    }

    /// A topic by its name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`].
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let topic = self.shared.topics().get(name).cloned();
        let topic = topic.ok_or_else(|| Error::UnknownTopic(name.to_owned()))?;
        Ok(Topic::new(Arc::clone(&self.shared), topic))
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> Vec<Topic> {
        let topics = self.shared.topics();
        let mut all: Vec<_> =
            topics.values().map(|t| Topic::new(Arc::clone(&self.shared), Arc::clone(t))).collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }

    /// What the engine has done since it was opened.
    ///
    /// ```
    /// use keylane_engine::{Keylane, Options, Record, TopicOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let log = Keylane::open(path, Options::default())?;
    /// let topic = log.create_topic("t", TopicOptions::new(1))?;
    /// topic.append(Record::new("key", "value"))?;
    /// assert_eq!(log.counters()?.batches, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub fn counters(&self) -> Result<Counters> {
        let mut sum = Counters::default();
        for link in &self.shared.links {
            let shards = block_on(link.call(|core| async move { core.counters() }))?;
            shards.iter().for_each(|shard| sum.add(shard));
        }
        Ok(sum)
    }

    /// Makes everything durable that was submitted, and closes the directory, so that the next open has nothing to scan. Tails
    /// end; every later operation returns [`Error::Closed`]. Closing twice is not an error.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the disk failed: what was acked is there at the next open. [`Error::Panicked`].
    pub fn close(&self) -> Result<()> {
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
