//! What a stream is beyond its topic: shards with their hash ranges and parents, tags, consumers.

use std::collections::BTreeMap;

use keylane_engine::Offset;
use keylane_engine::catalog::Topic;
use serde::{Deserialize, Serialize};

use super::hash::{HashRange, even_ranges};

/// KiB of the largest record, if a stream has no limit of its own.
pub const RECORD_KIB_DEFAULT: u32 = 1024;

/// A shard: what its partition has beside records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamShard {
    /// The hashes of its keys.
    pub range: HashRange,
    /// When it was made, in seconds since 1970; later than its parents were.
    pub created_s: u64,
    /// The shards that it was split from or merged of: none, one or two.
    #[serde(default)]
    pub parents: Vec<u32>,
    /// Where it ended, and when in milliseconds since 1970; `None`: it is open.
    #[serde(default)]
    pub ended: Option<(Offset, i64)>,
}

impl StreamShard {
    /// Whether it takes records.
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }
}

/// A registered consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumer {
    /// Its name, unique in the stream.
    pub name: String,
    /// When it was registered, in milliseconds since 1970.
    pub created_ms: i64,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A stream. See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// When it was made, in milliseconds since 1970; 0: it was made as a topic, and the time is not known.
    pub created_ms: i64,
    /// Its shards, by partition.
    pub shards: Vec<StreamShard>,
    /// The server chooses the number of shards.
    #[serde(default)]
    pub on_demand: bool,
    /// Largest record with its key, in KiB.
    pub record_kib_max: u32,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its consumers.
    #[serde(default)]
    pub consumers: Vec<Consumer>,
    /// Names of metrics that somebody asked for. They are kept; nothing is measured for them.
    #[serde(default)]
    pub metrics: Vec<String>,
    /// The key that somebody asked to encrypt with. It is kept; nothing is encrypted.
    #[serde(default)]
    pub encryption_key: Option<String>,
    /// Policies, by the resource that they were put on. They are kept; nobody is refused by them.
    #[serde(default)]
    pub policies: BTreeMap<String, String>,
    /// Throughput in MiB/s that somebody asked for. It is kept; the server is as fast as it can be.
    #[serde(default)]
    pub warm_mib: Option<u32>,
    /// Somebody asked for this time, in milliseconds since 1970, to delete it.
    #[serde(default)]
    pub deleting_ms: Option<i64>,
    /// The open shards by their first hash.
    #[serde(skip)]
    open: Vec<(u128, u32)>,
}

impl Stream {
    /// A stream with even hash ranges.
    pub fn new(shards: usize, created_ms: i64) -> Self {
        let created_s = u64::try_from(created_ms / 1000).unwrap_or(0);
        let shard = |range| StreamShard { range, created_s, parents: Vec::new(), ended: None };
        let mut stream = Self {
            created_ms,
            shards: even_ranges(shards).into_iter().map(shard).collect(),
            on_demand: false,
            record_kib_max: RECORD_KIB_DEFAULT,
            tags: BTreeMap::new(),
            consumers: Vec::new(),
            metrics: Vec::new(),
            encryption_key: None,
            policies: BTreeMap::new(),
            warm_mib: None,
            deleting_ms: None,
            open: Vec::new(),
        };
        stream.index();
        stream
    }

    /// Brings the list of open shards up to date.
    pub(super) fn index(&mut self) {
        let all = self.shards.iter().enumerate();
        self.open = all.filter(|(_, s)| s.is_open()).map(|(n, s)| (s.range.first, n as u32)).collect();
        self.open.sort_unstable();
    }

    /// The open shard that a hash belongs to.
    pub fn shard_of(&self, hash: u128) -> Option<usize> {
        let behind = self.open.partition_point(|(first, _)| *first <= hash);
        let (_, shard) = self.open.get(behind.checked_sub(1)?)?;
        Some(*shard as usize)
    }

    /// The open shards, by their hash ranges.
    pub fn open(&self) -> impl Iterator<Item = (usize, &StreamShard)> {
        self.open.iter().filter_map(|(_, n)| Some((*n as usize, self.shards.get(*n as usize)?)))
    }

    /// Number of open shards.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The shards that came out of a shard.
    pub fn children(&self, shard: usize) -> impl Iterator<Item = (usize, &StreamShard)> {
        let all = self.shards.iter().enumerate().skip(shard + 1);
        all.filter(move |(_, s)| s.parents.iter().any(|parent| *parent as usize == shard))
    }

    /// As it is kept with its topic.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The stream that a topic is. One that was made as a topic has even ranges; one whose text is not understood, too.
pub fn of_topic(topic: &Topic) -> Stream {
    let even = || Stream::new(topic.partitions.len(), 0);
    let Some(text) = &topic.attached else { return even() };
    match serde_json::from_str::<Stream>(text) {
        Ok(mut stream) if stream.shards.len() == topic.partitions.len() => {
            stream.index();
            stream
        }
        Ok(_) => {
            tracing::error!(topic = topic.name, "a stream has other shards than its topic has partitions");
            even()
        }
        Err(error) => {
            tracing::error!(%error, topic = topic.name, "what is kept of a stream is not understood");
            even()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_go_to_the_open_shard_of_their_range() {
        let mut stream = Stream::new(2, 5_000);
        assert_eq!(stream.shard_of(0), Some(0));
        assert_eq!(stream.shard_of(u128::MAX), Some(1));
        let range = stream.shards[1].range;
        let middle = range.first + (range.last - range.first) / 2;
        stream.shards[1].ended = Some((7, 6_000));
        for range in
            [HashRange { first: range.first, last: middle - 1 }, HashRange { first: middle, ..range }]
        {
            stream.shards.push(StreamShard { range, created_s: 6, parents: vec![1], ended: None });
        }
        stream.index();
        assert_eq!(
            [range.first, middle - 1, middle, range.last].map(|h| stream.shard_of(h)),
            [2, 2, 3, 3].map(Some)
        );
        assert_eq!(stream.children(1).map(|(n, _)| n).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(stream.open().map(|(n, _)| n).collect::<Vec<_>>(), [0, 2, 3]);
    }

    #[test]
    fn a_stream_reads_back_as_it_was_kept() {
        let mut stream = Stream::new(3, 1_700_000_000_123);
        stream.tags.insert("team".to_owned(), "data".to_owned());
        stream.shards[2].ended = Some((u64::MAX, 9));
        stream.index();
        let topic = |text: String, partitions| Topic {
            name: "s".to_owned(),
            id: uuid::Uuid::nil(),
            partitions: vec![
                keylane_engine::catalog::Placement { log: keylane_engine::LogId(1), shard: 0 };
                partitions
            ],
            configs: BTreeMap::new(),
            attached: Some(text),
        };
        assert_eq!(of_topic(&topic(stream.to_text(), 3)), stream);
        // Neither is believed: the partitions that there are have all hashes.
        for odd in [topic(stream.to_text(), 2), topic("{".to_owned(), 2)] {
            assert_eq!(of_topic(&odd), Stream::new(2, 0));
        }
    }
}
