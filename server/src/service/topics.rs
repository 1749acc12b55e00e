//! The topics as one core sees them: a copy of the catalog with the way to each partition.
//!
//! Each core has its own; core 0 tells the others of changes before it answers who asked for them.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use keylane_engine::catalog::{Topic, valid_name};
use keylane_engine::records::BatchRules;
use keylane_engine::shard::PartitionRef;
use keylane_engine::{LogConfig, LogId};
use uuid::Uuid;

use super::error::{NoPartition, PARTITIONS_MAX, TopicError};
use super::streams::stream::{Stream, of_topic};

/// Where committed offsets are kept. The server alone writes to it.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Whether a topic belongs to the server: clients may read it, and do nothing else with it.
pub fn is_internal(name: &str) -> bool {
    name == OFFSETS_TOPIC
}

/// How a client names a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicKey<'a> {
    /// By its name.
    Name(&'a str),
    /// By its id, which a later topic of the same name does not have.
    Id(Uuid),
}

/// Refuses a name that no topic can have.
pub fn check_name(name: &str) -> Result<(), TopicError> {
    if valid_name(name) { Ok(()) } else { Err(TopicError::Name) }
}

/// Refuses a topic that clients may not change.
pub fn check_changeable(name: &str) -> Result<(), TopicError> {
    check_name(name)?;
    if is_internal(name) { Err(TopicError::Internal(name.to_owned())) } else { Ok(()) }
}

/// The number of partitions of a new topic.
pub fn check_partitions(wanted: i32) -> Result<usize, TopicError> {
    match usize::try_from(wanted) {
        Ok(n) if (1..=PARTITIONS_MAX).contains(&n) => Ok(n),
        _ => Err(TopicError::Partitions(wanted)),
    }
}

/// The way to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// It lives on this core.
    Here {
        /// Its shard, by its place on this core.
        shard: usize,
        /// Where in the shard.
        at: PartitionRef,
    },
    /// It lives on another core.
    There {
        /// Which one.
        core: usize,
        /// Its shard, by its place on that core.
        shard: usize,
        /// Its log.
        log: LogId,
    },
}

/// A topic with its routes.
#[derive(Debug)]
pub struct LocalTopic {
    /// The topic.
    pub topic: Arc<Topic>,
    /// The way to each partition.
    pub routes: Vec<Route>,
    /// Largest batch it takes, in bytes.
    pub max_message_bytes: usize,
    /// What is kept of it.
    pub log: Arc<LogConfig>,
    /// What it asks of the batches that are appended to it.
    pub rules: Arc<BatchRules>,
    /// The server alone writes to it.
    pub internal: bool,
    /// The stream that it is, when somebody has asked for it.
    pub stream: OnceCell<Rc<Stream>>,
}

impl LocalTopic {
    /// The stream that the topic is.
    pub fn stream(&self) -> &Rc<Stream> {
        self.stream.get_or_init(|| Rc::new(of_topic(&self.topic)))
    }

    /// The way to a partition, by the number that a client gives it.
    #[inline]
    pub fn route(&self, partition: i32) -> Result<Route, NoPartition> {
        let route = usize::try_from(partition).ok().and_then(|index| self.routes.get(index));
        route.copied().ok_or(NoPartition::Number)
    }
}

/// Topics by name and by id.
#[derive(Debug, Default)]
pub struct TopicTable {
    /// Looked up for each request: SipHash takes one percent of the time of a request for one small record.
    by_name: HashMap<Box<str>, Rc<LocalTopic>, RandomState>,
    by_id: HashMap<Uuid, Rc<LocalTopic>, RandomState>,
    revision: u64,
}

impl TopicTable {
    /// A number that rises with every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Adds a topic.
    pub fn insert(&mut self, topic: Rc<LocalTopic>) {
        self.revision += 1;
        self.by_name.insert(topic.topic.name.as_str().into(), Rc::clone(&topic));
        self.by_id.insert(topic.topic.id, topic);
    }

    /// Removes a topic, unless its name belongs to another one by now.
    pub fn remove(&mut self, id: Uuid) -> Option<Rc<LocalTopic>> {
        let topic = self.by_id.remove(&id)?;
        self.revision += 1;
        if self.by_name.get(topic.topic.name.as_str()).is_some_and(|t| t.topic.id == id) {
            self.by_name.remove(topic.topic.name.as_str());
        }
        Some(topic)
    }

    /// Finds a topic.
    #[inline]
    pub fn get(&self, topic: TopicKey<'_>) -> Option<&Rc<LocalTopic>> {
        match topic {
            TopicKey::Name(name) => self.by_name.get(name),
            TopicKey::Id(id) => self.by_id.get(&id),
        }
    }

    /// Finds a topic, or says in what way there is none.
    #[inline]
    pub fn find(&self, topic: TopicKey<'_>) -> Result<&Rc<LocalTopic>, NoPartition> {
        self.get(topic).ok_or(match topic {
            TopicKey::Name(_) => NoPartition::Topic,
            TopicKey::Id(_) => NoPartition::Id,
        })
    }

    /// Refuses a name that a new topic cannot have.
    pub fn check_new(&self, name: &str) -> Result<(), TopicError> {
        check_changeable(name)?;
        if self.get(TopicKey::Name(name)).is_some() {
            return Err(TopicError::Exists(name.to_owned()));
        }
        match self.colliding(name) {
            Some(other) => Err(TopicError::Collides { name: name.to_owned(), other: other.to_owned() }),
            None => Ok(()),
        }
    }

    /// A topic whose name is the same as this one where dots are written as underscores, as in the names of
    /// metrics.
    pub fn colliding(&self, name: &str) -> Option<&str> {
        let metric = |name: &str| name.replace('.', "_");
        if !name.contains(['.', '_']) {
            return None;
        }
        let wanted = metric(name);
        let same_length = self.by_name.keys().filter(|other| other.len() == name.len());
        same_length.map(|other| &**other).find(|other| *other != name && metric(other) == wanted)
    }

    /// All topics, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = &Rc<LocalTopic>> {
        self.by_id.values()
    }
}
