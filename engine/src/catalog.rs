//! The catalog: which topics there are, which logs their partitions have and in which shard, and which
//! producer ids were given out.
//!
//! Promises: a change is durable before it is answered; log ids are never reused; a failed change
//! leaves the catalog as it was. The catalog is one small file that is replaced as a whole.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aligned::round_up;
use crate::bytes_at::u32_le;
use crate::disk::{Disk, DiskFile, DynDisk, read_exact_at};
use crate::error::OpenError;
use crate::error::is_full;
use crate::ids::{LogId, ShardId};
use crate::log::files;

const FILE: &str = "catalog";
const MAGIC: &[u8; 8] = b"KLcatalg";
const HEADER_BYTES: usize = 20;
/// A catalog is written as the first of these that has all that is in it, so that earlier versions read it: topics alone; topics with
/// something attached; settings of the server.
const VERSION_TOPICS: u32 = 1;
const VERSION_ATTACHED: u32 = 2;
const VERSION_SETTINGS: u32 = 3;
const VERSION: u32 = VERSION_SETTINGS;
/// Producer ids are reserved in blocks, so that only one request in many writes the catalog.
const PRODUCER_ID_BLOCK: i64 = 1000;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Name of the topic.
    pub name: String,
    /// Id of the topic, for as long as the topic exists.
    pub id: uuid::Uuid,
    /// The partitions, by number.
    pub partitions: Vec<Placement>,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub configs: BTreeMap<String, String>,
    /// What a server keeps with the topic; the engine does not look into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<String>,
}

/// Where a partition lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Log of the partition.
    pub log: LogId,
    /// Number of the shard that holds the partition.
    pub shard: u16,
}

impl Placement {
    /// The shard that holds the partition.
    pub fn shard_id(self) -> ShardId {
        ShardId(self.shard)
    }
}

/// A topic to be created.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Name of the topic.
    pub name: String,
    /// How many partitions.
    pub partitions: usize,
    /// Settings.
    pub configs: BTreeMap<String, String>,
}

/// What a topic becomes in one change.
#[derive(Debug, Clone)]
pub struct Revised {
    /// How many partitions; never fewer than there are.
    pub partitions: usize,
    /// Settings.
    pub configs: BTreeMap<String, String>,
    /// What is kept with the topic.
    pub attached: Option<String>,
}

/// Why a change was refused. The catalog is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The name is taken.
    #[error("topic {0} exists already")]
    Exists(String),
    /// There is no topic of this name.
    #[error("there is no topic {0}")]
    Unknown(String),
    /// All log ids are used up.
    #[error("all 4,294,967,295 log numbers of this directory have been used: use another directory")]
    Exhausted,
    /// All producer ids are used up.
    #[error("all producer ids of this directory have been used: use another directory")]
    NoProducerIds,
    /// Writing the catalog failed.
    #[error("writing the catalog: {0}")]
    Io(#[source] Arc<io::Error>),
}

/// Kafka's rule for topic names: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
pub fn valid_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(allowed)
}

/// Settings of a server, by group and name, as texts. The engine does not look into them.
pub type ServerSettings = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Content {
    next_log: u32,
    next_producer_id: i64,
    topics: BTreeMap<String, Arc<Topic>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: ServerSettings,
}

/// The catalog of a data directory.
pub struct Catalog {
    disk: DynDisk,
    content: Content,
    loads: Vec<usize>,
    producer_ids: std::ops::Range<i64>,
    failed: Option<Arc<io::Error>>,
}

impl Catalog {
    /// Loads the catalog; writes an empty one if the directory has no catalog yet.
    pub async fn open(disk: impl Disk, shards: u16) -> Result<Self, OpenError> {
        Self::open_on(DynDisk::new(disk), shards).await
    }

    async fn open_on(disk: DynDisk, shards: u16) -> Result<Self, OpenError> {
        let content = match disk.open(FILE).await {
            Ok(file) => {
                let io = || OpenError::io(format!("reading {FILE}"));
                let size = file.size().await.map_err(io())? as usize;
                if size == 0 || size != round_up(size) {
                    return Err(OpenError::damaged(FILE, 0, format!("it has {size} bytes")));
                }
                decode(&read_exact_at(&file, 0, size).await.map_err(io())?)?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // The catalog is written before the first shard is: without a catalog every partition would count as deleted.
                for shard in (0..shards).map(ShardId) {
                    let path = files::checkpoint(&files::shard_dir(shard));
                    if disk.open(&path).await.is_ok() {
                        let what = format!("it is missing, but there is {path}");
                        return Err(OpenError::damaged(FILE, 0, what));
                    }
                }
                let content = Content::default();
                files::replace(&disk, "", FILE, encode(&content))
                    .await
                    .map_err(OpenError::io(format!("writing {FILE}")))?;
                content
            }
            Err(e) => return Err(OpenError::io(format!("opening {FILE}"))(e)),
        };
        let mut loads = vec![0; usize::from(shards)];
        for placement in content.topics.values().flat_map(|t| &t.partitions) {
            match loads.get_mut(usize::from(placement.shard)) {
                Some(load) => *load += 1,
                None => {
                    return Err(OpenError::Catalog { shard: placement.shard_id(), log: placement.log });
                }
            }
        }
        Ok(Self { disk, content, loads, producer_ids: 0..0, failed: None })
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.content.topics.values()
    }

    /// One topic.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.content.topics.get(name)
    }

    /// The settings that the server keeps here.
    pub fn settings(&self) -> &ServerSettings {
        &self.content.settings
    }

    /// Replaces the settings that the server keeps here, durably. Groups without settings are left out.
    pub async fn set_settings(&mut self, mut settings: ServerSettings) -> Result<(), CatalogError> {
        settings.retain(|_, group| !group.is_empty());
        if settings == self.content.settings {
            return Ok(());
        }
        let content = Content { settings, ..self.content.clone() };
        self.store(content).await
    }

    /// How many logs were ever made: the next one has this number.
    pub fn logs_made(&self) -> u32 {
        self.content.next_log
    }

    /// Logs that live in a shard.
    pub fn logs_of(&self, shard: ShardId) -> HashSet<LogId> {
        let all = self.content.topics.values().flat_map(|t| &t.partitions);
        all.filter(|p| p.shard_id() == shard).map(|p| p.log).collect()
    }

    /// Creates all of these topics, durably, or nothing. Each partition goes to the shard that has the fewest.
    pub async fn create(&mut self, new: Vec<NewTopic>) -> Result<Vec<Arc<Topic>>, CatalogError> {
        self.create_each(new.into_iter().map(|topic| (topic, None)).collect()).await
    }

    /// Creates a topic with something attached to it, durably.
    pub async fn create_attached(
        &mut self,
        new: NewTopic,
        attached: String,
    ) -> Result<Arc<Topic>, CatalogError> {
        self.create_each(vec![(new, Some(attached))]).await.map(|mut made| made.remove(0))
    }

    async fn create_each(
        &mut self,
        new: Vec<(NewTopic, Option<String>)>,
    ) -> Result<Vec<Arc<Topic>>, CatalogError> {
        let mut content = self.content.clone();
        let mut loads = self.loads.clone();
        let mut made = Vec::with_capacity(new.len());
        for (topic, attached) in new {
            if content.topics.contains_key(&topic.name) {
                return Err(CatalogError::Exists(topic.name));
            }
            let mut partitions = Vec::with_capacity(topic.partitions);
            for _ in 0..topic.partitions {
                partitions.push(place(&mut content, &mut loads)?);
            }
            let NewTopic { name, configs, .. } = topic;
            let topic = Arc::new(Topic { name, id: uuid::Uuid::new_v4(), partitions, configs, attached });
            content.topics.insert(topic.name.clone(), Arc::clone(&topic));
            made.push(topic);
        }
        self.store(content).await?;
        self.loads = loads;
        Ok(made)
    }

    /// Adds partitions to a topic until it has `partitions`, durably. Existing partitions stay as they are.
    pub async fn grow(&mut self, name: &str, partitions: usize) -> Result<Arc<Topic>, CatalogError> {
        let known = self.content.topics.get(name).ok_or_else(|| CatalogError::Unknown(name.to_owned()))?;
        let (configs, attached) = (known.configs.clone(), known.attached.clone());
        self.revise(name, Revised { partitions, configs, attached }).await
    }

    /// Replaces the settings of a topic, durably.
    pub async fn configure(
        &mut self,
        name: &str,
        configs: BTreeMap<String, String>,
    ) -> Result<Arc<Topic>, CatalogError> {
        let known = self.content.topics.get(name).ok_or_else(|| CatalogError::Unknown(name.to_owned()))?;
        if known.configs == configs {
            return Ok(Arc::clone(known));
        }
        let (partitions, attached) = (known.partitions.len(), known.attached.clone());
        self.revise(name, Revised { partitions, configs, attached }).await
    }

    /// Changes partitions, settings and what is attached of a topic at once, durably. Existing partitions stay as they are.
    pub async fn revise(&mut self, name: &str, revised: Revised) -> Result<Arc<Topic>, CatalogError> {
        let mut content = self.content.clone();
        let mut loads = self.loads.clone();
        let known = content.topics.get(name).ok_or_else(|| CatalogError::Unknown(name.to_owned()))?;
        let Revised { partitions, configs, attached } = revised;
        let mut topic = Topic { configs, attached, ..(**known).clone() };
        while topic.partitions.len() < partitions {
            topic.partitions.push(place(&mut content, &mut loads)?);
        }
        let topic = Arc::new(topic);
        content.topics.insert(name.to_owned(), Arc::clone(&topic));
        self.store(content).await?;
        self.loads = loads;
        Ok(topic)
    }

    /// Deletes a topic, durably. Its partitions may be detached from their shards afterwards.
    pub async fn delete(&mut self, name: &str) -> Result<Arc<Topic>, CatalogError> {
        let mut content = self.content.clone();
        let topic = content.topics.remove(name).ok_or_else(|| CatalogError::Unknown(name.to_owned()))?;
        self.store(content).await?;
        for placement in &topic.partitions {
            self.loads[usize::from(placement.shard)] -= 1;
        }
        Ok(topic)
    }

    /// A producer id that was never given out before.
    pub async fn next_producer_id(&mut self) -> Result<i64, CatalogError> {
        if self.producer_ids.is_empty() {
            let mut content = self.content.clone();
            let from = content.next_producer_id;
            let end = from.checked_add(PRODUCER_ID_BLOCK).ok_or(CatalogError::NoProducerIds)?;
            content.next_producer_id = end;
            self.store(content).await?;
            self.producer_ids = from..end;
        }
        let id = self.producer_ids.start;
        self.producer_ids.start += 1;
        Ok(id)
    }

    async fn store(&mut self, content: Content) -> Result<(), CatalogError> {
        if let Some(cause) = &self.failed {
            return Err(CatalogError::Io(Arc::clone(cause)));
        }
        match files::replace(&self.disk, "", FILE, encode(&content)).await {
            Ok(()) => {
                self.content = content;
                Ok(())
            }
            Err(cause) => {
                let full = is_full(&cause);
                let cause = Arc::new(cause);
                if !full {
                    // Whether the disk holds the old or the new catalog is uncertain now; a restart finds out.
                    self.failed = Some(Arc::clone(&cause));
                }
                Err(CatalogError::Io(cause))
            }
        }
    }
}

/// A new log, in the shard that has the fewest.
fn place(content: &mut Content, loads: &mut [usize]) -> Result<Placement, CatalogError> {
    let log = LogId(content.next_log);
    content.next_log = content.next_log.checked_add(1).ok_or(CatalogError::Exhausted)?;
    let fewest = (0..loads.len()).min_by_key(|s| loads[*s]).unwrap_or(0);
    loads[fewest] += 1;
    Ok(Placement { log, shard: fewest as u16 })
}

fn encode(content: &Content) -> bytes::Bytes {
    let json = serde_json::to_vec(content).expect("the catalog has only string keys");
    let mut out = MAGIC.to_vec();
    let attached = content.topics.values().any(|topic| topic.attached.is_some());
    let version = match (content.settings.is_empty(), attached) {
        (false, _) => VERSION_SETTINGS,
        (true, true) => VERSION_ATTACHED,
        (true, false) => VERSION_TOPICS,
    };
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&(json.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), &json);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&json);
    files::padded(&out)
}

fn decode(bytes: &[u8]) -> Result<Content, OpenError> {
    let damaged = |what: &str| OpenError::damaged(FILE, 0, what);
    if bytes.get(..8) != Some(MAGIC.as_slice()) {
        return Err(damaged("it does not begin as a catalog does"));
    }
    let len = u32_le(bytes, 12).unwrap_or(0) as usize;
    let json =
        bytes.get(HEADER_BYTES..).and_then(|b| b.get(..len)).ok_or_else(|| damaged("it is cut off"))?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..16]), json);
    if Some(crc) != u32_le(bytes, 16) {
        return Err(damaged("its checksum is wrong"));
    }
    let version = u32_le(bytes, 8).unwrap_or(0);
    if version > VERSION {
        return Err(OpenError::Newer { file: FILE.to_owned(), found: version, known: VERSION });
    }
    serde_json::from_slice(json).map_err(|e| damaged(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_reads_back_and_every_flipped_byte_is_found() {
        let mut content = Content { next_log: 9, next_producer_id: 1000, ..Content::default() };
        let topic = Topic {
            name: "t".to_owned(),
            id: uuid::Uuid::new_v4(),
            partitions: vec![Placement { log: LogId(8), shard: 1 }],
            configs: BTreeMap::new(),
            attached: None,
        };
        content.topics.insert("t".to_owned(), Arc::new(topic));
        let good = encode(&content).to_vec();
        assert_eq!(decode(&good).unwrap().topics, content.topics);
        assert_eq!(u32_le(&good, 8), Some(VERSION_TOPICS), "earlier versions read it");
        let broker = BTreeMap::from([("log.retention.ms".to_owned(), "5".to_owned())]);
        let set = Content { settings: BTreeMap::from([("broker".to_owned(), broker)]), ..content.clone() };
        let stored = encode(&set);
        assert_eq!(u32_le(&stored, 8), Some(VERSION_SETTINGS), "earlier versions would lose them");
        assert_eq!(decode(&stored).unwrap().settings, set.settings);
        let len = HEADER_BYTES + u32_le(&good, 12).unwrap() as usize;
        for at in 0..len {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(decode(&bad).is_err(), "byte {at}");
        }
    }
}
