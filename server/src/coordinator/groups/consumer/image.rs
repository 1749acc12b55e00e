//! What of a consumer group outlives the server: entries, each of which is a record of the log, and what they make together.
//!
//! The same [`Image::apply`] takes an entry in when it is decided, when it is durable, and at a start, so that a group after a
//! restart is what it was before.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::partitions::Partitions;

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// It rises with every change of what members want.
    pub epoch: i32,
    /// Stands for the topics that members want, with their partitions.
    pub topics_hash: u64,
}

/// What a member said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// Where it is.
    pub rack: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// Topics that it wants, by name.
    pub topics: Vec<Arc<str>>,
    /// Topics that it wants, as a regular expression.
    pub regex: Option<Arc<str>>,
    /// How long it may take to give partitions back, in milliseconds.
    pub rebalance_ms: i32,
    /// How it wants partitions to be assigned.
    pub assignor: Option<Arc<str>>,
    /// What it said if it speaks the classic protocol.
    pub classic: Option<Classic>,
}

/// What a member that speaks the classic protocol said beyond that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classic {
    /// How long it may be silent, in milliseconds.
    pub session_ms: i32,
    /// The assignors that it knows, with what it wants of each.
    pub protocols: Vec<(Arc<str>, Bytes)>,
}

/// On its way to what it is to have, a member
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// has all that it can have in its epoch;
    #[default]
    Stable,
    /// is asked to give partitions back;
    Unrevoked,
    /// waits for partitions that others still have.
    Unreleased,
}

/// What a member has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Current {
    /// Its epoch; that of the group when it is where it is to be.
    pub epoch: i32,
    /// Its epoch before: the member may not have heard of the last one.
    pub previous: i32,
    /// How far it is.
    pub state: State,
    /// What it may read.
    pub assigned: Partitions,
    /// What it is to give back.
    pub revoking: Partitions,
}

/// What a regular expression stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Names of topics.
    pub topics: Vec<Arc<str>>,
    /// Which state of the topics that is.
    pub version: i64,
    /// When it was looked up, in milliseconds since 1970.
    pub time_ms: i64,
}

/// One thing that is kept of a group; `None` removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// How far the group is.
    Epoch(Option<Epoch>),
    /// What a member said of itself.
    Subscriber(Arc<str>, Option<Rc<Subscriber>>),
    /// The epoch for which partitions are assigned.
    TargetEpoch(Option<i32>),
    /// What a member is to have.
    Target(Arc<str>, Option<Rc<Partitions>>),
    /// What a member has.
    Current(Arc<str>, Option<Rc<Current>>),
    /// What a regular expression stands for.
    Regex(Arc<str>, Option<Rc<Resolved>>),
}

/// What is kept of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// How far it is; `None`: there is no such group.
    pub epoch: Option<Epoch>,
    /// Its members, by id.
    pub subscribers: BTreeMap<Arc<str>, Rc<Subscriber>>,
    /// The epoch for which partitions are assigned.
    pub target_epoch: Option<i32>,
    /// What members are to have.
    pub targets: BTreeMap<Arc<str>, Rc<Partitions>>,
    /// What they have.
    pub currents: BTreeMap<Arc<str>, Rc<Current>>,
    /// What regular expressions stand for.
    pub regexes: BTreeMap<Arc<str>, Rc<Resolved>>,
}

fn set<V>(map: &mut BTreeMap<Arc<str>, V>, key: &Arc<str>, value: Option<V>) {
    match value {
        Some(value) => map.insert(Arc::clone(key), value),
        None => map.remove(key),
    };
}

impl Image {
    /// Takes an entry in.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Epoch(epoch) => self.epoch = *epoch,
            Entry::Subscriber(id, value) => set(&mut self.subscribers, id, value.clone()),
            Entry::TargetEpoch(epoch) => self.target_epoch = *epoch,
            Entry::Target(id, value) => set(&mut self.targets, id, value.clone()),
            Entry::Current(id, value) => set(&mut self.currents, id, value.clone()),
            Entry::Regex(text, value) => set(&mut self.regexes, text, value.clone()),
        }
    }

    /// Whether nothing is kept.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What removes all that is kept.
    pub fn removal(&self) -> Vec<Entry> {
        let ids = |id: &Arc<str>| Arc::clone(id);
        let mut all = Vec::new();
        all.extend(self.currents.keys().map(ids).map(|id| Entry::Current(id, None)));
        all.extend(self.targets.keys().map(ids).map(|id| Entry::Target(id, None)));
        all.extend(self.target_epoch.map(|_| Entry::TargetEpoch(None)));
        all.extend(self.subscribers.keys().map(ids).map(|id| Entry::Subscriber(id, None)));
        all.extend(self.regexes.keys().map(ids).map(|text| Entry::Regex(text, None)));
        all.extend(self.epoch.map(|_| Entry::Epoch(None)));
        all
    }

    /// Bytes of what an entry would replace or remove; 0 if there is nothing.
    pub fn bytes_replaced(&self, entry: &Entry) -> usize {
        match entry {
            Entry::Epoch(_) => self.epoch.map(|_| entry_bytes(0, 0)),
            Entry::TargetEpoch(_) => self.target_epoch.map(|_| entry_bytes(0, 0)),
            Entry::Subscriber(id, _) => self.subscribers.get(id).map(|v| entry_bytes(id.len(), v.bytes())),
            Entry::Target(id, _) => self.targets.get(id).map(|v| entry_bytes(id.len(), v.bytes())),
            Entry::Current(id, _) => self.currents.get(id).map(|v| entry_bytes(id.len(), v.bytes())),
            Entry::Regex(text, _) => self.regexes.get(text).map(|v| entry_bytes(text.len(), v.bytes())),
        }
        .unwrap_or(0)
    }
}

fn entry_bytes(key: usize, value: usize) -> usize {
    const ENTRY: usize = 120;
    ENTRY + key + value
}

fn texts<'a>(all: impl IntoIterator<Item = &'a Arc<str>>) -> usize {
    const TEXT: usize = 32;
    all.into_iter().map(|text| TEXT + text.len()).sum()
}

impl Subscriber {
    fn bytes(&self) -> usize {
        let names = [&self.client_id, &self.client_host];
        let optional = [&self.instance, &self.rack, &self.regex, &self.assignor];
        let classic = self.classic.iter().flat_map(|classic| &classic.protocols);
        let classic: usize = classic.map(|(name, wants)| texts([name]) + 40 + wants.len()).sum();
        texts(names) + texts(optional.into_iter().flatten()) + texts(&self.topics) + classic
    }
}

impl Current {
    fn bytes(&self) -> usize {
        self.assigned.bytes() + self.revoking.bytes()
    }
}

impl Resolved {
    fn bytes(&self) -> usize {
        texts(&self.topics)
    }
}

impl Entry {
    /// Whether it removes something.
    pub fn is_removal(&self) -> bool {
        match self {
            Self::Epoch(value) => value.is_none(),
            Self::Subscriber(_, value) => value.is_none(),
            Self::TargetEpoch(value) => value.is_none(),
            Self::Target(_, value) => value.is_none(),
            Self::Current(_, value) => value.is_none(),
            Self::Regex(_, value) => value.is_none(),
        }
    }

    /// Bytes of it in memory and in a record, about.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Epoch(_) | Self::TargetEpoch(_) => entry_bytes(0, 0),
            Self::Subscriber(id, value) => entry_bytes(id.len(), value.as_ref().map_or(0, |v| v.bytes())),
            Self::Target(id, value) => entry_bytes(id.len(), value.as_ref().map_or(0, |v| v.bytes())),
            Self::Current(id, value) => entry_bytes(id.len(), value.as_ref().map_or(0, |v| v.bytes())),
            Self::Regex(text, value) => entry_bytes(text.len(), value.as_ref().map_or(0, |v| v.bytes())),
        }
    }
}
