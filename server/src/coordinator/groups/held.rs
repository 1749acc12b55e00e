//! One partition of `__consumer_offsets` and the groups in it, on the core that has it.
//!
//! Promise: changes are appended in the order in which they arrive, and are visible when they are durable.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use keylane_engine::embed::{decode_batches, encode_batch};
use keylane_engine::records::{BatchRules, check};
use keylane_engine::shard::{Cached, CommitState, PartitionRef, Shard};
use keylane_engine::{AppendError, CommitSeq, EmbedError, ReadError, Record};
use keylane_kafka::ErrorCode;
use keylane_kafka::TopicRef;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::core::{Core, now_ms};
use crate::service::topics::OFFSETS_TOPIC;

use super::offsets::{Change, Committed, GroupChanges, Offsets, bytes_of};
use super::{Committer, Found, Wanted, record};

/// Most bytes of committed offsets in memory for one partition of `__consumer_offsets`: some 300,000 offsets
/// without metadata.
pub const BYTES_MAX: usize = 64 << 20;
/// Changes of one batch take about so many bytes, unless one alone takes more.
const BATCH_BYTES: usize = 128 << 10;
/// The server's own records, in a compacted topic.
const RULES: BatchRules = BatchRules { keys_required: true, ..BatchRules::WITHOUT_TOPIC };
/// Read at once at a start.
const READ_BYTES: usize = 1 << 20;

/// See the module's header.
pub struct Held {
    shard: usize,
    at: PartitionRef,
    /// Appends of several batches are not mixed with others, and take their turn in the order of arrival.
    pub turn: Mutex<()>,
    /// The groups.
    pub offsets: RefCell<Offsets>,
    /// It could not be read at the start.
    pub broken: Cell<bool>,
}

/// Why the records of a partition of `__consumer_offsets` could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// They could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They could not be decoded.
    #[error(transparent)]
    Records(#[from] EmbedError),
}

impl Held {
    /// The partition at this place, nothing read yet.
    pub fn new(shard: usize, at: PartitionRef) -> Self {
        Self { shard, at, turn: Mutex::new(()), offsets: RefCell::default(), broken: Cell::new(false) }
    }

    fn shard<'c>(&self, core: &'c Core) -> &'c Shard {
        &core.shards[self.shard]
    }

    /// Makes visible what is durable by now.
    pub fn settle(&self, core: &Core) {
        let shard = self.shard(core);
        let durable = |seq| shard.commit_state(seq) == CommitState::Durable;
        self.offsets.borrow_mut().settle(durable);
    }

    /// Commits offsets of a group: the outcome of each.
    pub async fn commit(
        &self,
        core: &Rc<Core>,
        group: Box<str>,
        committer: Committer,
        wanted: Vec<Wanted>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let turn = self.turn.lock().await;
        self.settle(core);
        self.admit(&group, committer)?;
        let mut outcomes = Vec::with_capacity(wanted.len());
        let mut changes = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let Some(topic_id) = topic_id(core, &wanted.topic, wanted.partition) else {
                outcomes.push(ErrorCode::UnknownTopicOrPartition);
                continue;
            };
            let value = Committed {
                offset: wanted.offset,
                leader_epoch: wanted.leader_epoch,
                metadata: wanted.metadata.into(),
                topic_id,
            };
            outcomes.push(ErrorCode::None);
            changes.push(Change {
                topic: wanted.topic.into(),
                partition: wanted.partition,
                value: Some(value),
            });
        }
        {
            let offsets = self.offsets.borrow();
            let bytes = offsets.bytes_with(&group, &changes);
            // A group that only moves on is served even when there is no room for another.
            if bytes > BYTES_MAX && bytes > offsets.bytes() {
                tracing::warn!(%group, bytes, "no room for more committed offsets; delete groups that are not used");
                return Err(ErrorCode::InvalidCommitOffsetSize);
            }
        }
        let seq = self.append(core, vec![(group, changes)]).await?;
        drop(turn);
        self.durable(core, seq).await?;
        Ok(outcomes)
    }

    /// Who is no member may commit; there are no members, so nobody else may.
    fn admit(&self, group: &str, committer: Committer) -> Result<(), ErrorCode> {
        if committer.generation < 0 {
            return Ok(());
        }
        Err(match self.offsets.borrow().group(group) {
            Some(_) => ErrorCode::UnknownMemberId,
            None if committer.version >= 9 => ErrorCode::GroupIdNotFound,
            None => ErrorCode::IllegalGeneration,
        })
    }

    /// Appends changes and puts them in line. Returns the commit that holds the last of them; to be called in
    /// turn.
    pub async fn append(
        &self,
        core: &Core,
        changes: Vec<GroupChanges>,
    ) -> Result<Option<CommitSeq>, ErrorCode> {
        let shard = self.shard(core);
        let now_ms = now_ms();
        let batch_bytes = BATCH_BYTES.min(core.config.batch_bytes_max() / 2);
        let mut last = None;
        for (group, changes) in changes {
            let mut rest = changes.into_iter().peekable();
            while rest.peek().is_some() {
                let mut part: Vec<Change> = Vec::new();
                let mut bytes = 0;
                while let Some(next) = rest.peek()
                    && (part.is_empty() || bytes + bytes_of(&group, next) <= batch_bytes)
                {
                    bytes += bytes_of(&group, next);
                    part.extend(rest.next());
                }
                let records: Vec<Record> = part.iter().map(|c| record::encode(&group, c, now_ms)).collect();
                let batch = encode_batch(&records).map_err(|_| ErrorCode::InvalidCommitOffsetSize)?;
                let batch = check(batch, &RULES, now_ms).map_err(|e| code_of(&e.into()))?;
                let appended = loop {
                    match shard.append(self.at, &batch) {
                        Err(AppendError::Busy) if !core.stopping.get() => shard.space().await,
                        Err(e) => return Err(code_of(&e)),
                        Ok(appended) => break appended,
                    }
                };
                self.offsets.borrow_mut().queue(appended.seq, (group.clone(), part));
                last = Some(appended.seq);
            }
        }
        Ok(last)
    }

    /// Appends changes and waits until they are durable.
    pub async fn write(&self, core: &Core, changes: Vec<GroupChanges>) -> Result<(), ErrorCode> {
        let seq = self.append(core, changes).await?;
        self.durable(core, seq).await
    }

    /// Waits until a commit is durable, and makes it visible.
    pub async fn durable(&self, core: &Core, seq: Option<CommitSeq>) -> Result<(), ErrorCode> {
        let Some(seq) = seq else { return Ok(()) };
        let state = self.shard(core).committed(seq).await;
        self.settle(core);
        if state == CommitState::Durable { Ok(()) } else { Err(ErrorCode::KafkaStorageError) }
    }

    /// What a group has committed.
    pub fn look_up(&self, core: &Core, group: &str, wanted: Option<Vec<(String, Vec<i32>)>>) -> Found {
        self.settle(core);
        let offsets = self.offsets.borrow();
        let topics = core.topics.borrow();
        // One that was committed for another topic of that name counts for nothing.
        let known = |topic: &str, value: &Committed| {
            topics.get(TopicRef::Name(topic)).is_some_and(|t| t.topic.id == value.topic_id)
        };
        let value = |topic: &str, partition| {
            offsets.get(group, topic, partition).filter(|value| known(topic, value)).cloned()
        };
        let Some(wanted) = wanted else {
            let mut found = Found::new();
            for (topic, partitions) in offsets.group(group).into_iter().flatten() {
                let list = partitions.iter().filter(|(_, value)| known(topic, value));
                let list: Vec<_> = list.map(|(index, value)| (*index, Some(value.clone()))).collect();
                if !list.is_empty() {
                    found.push((topic.to_string(), list));
                }
            }
            return found;
        };
        let look = |(topic, list): (String, Vec<i32>)| {
            let found = list.into_iter().map(|p| (p, value(&topic, p))).collect();
            (topic, found)
        };
        wanted.into_iter().map(look).collect()
    }

    /// Reads the whole log. Returns the number of records.
    pub async fn load(&self, core: &Core) -> Result<usize, LoadError> {
        let shard = self.shard(core);
        let mut next = shard.offsets(self.at)?.start;
        let mut records = 0;
        loop {
            let batches = match shard.read_cached(self.at, next, READ_BYTES)? {
                Cached::Here(batches) => batches,
                Cached::OnDisk => shard.read(self.at, next, READ_BYTES).await?,
            };
            if batches.bytes == 0 {
                return Ok(records);
            }
            for stored in decode_batches(&batches.slices, next)? {
                match record::decode(&stored.record) {
                    Ok((group, change)) => self.offsets.borrow_mut().apply(&group, change),
                    Err(e) => {
                        tracing::warn!(offset = stored.offset, %e, "a record of {OFFSETS_TOPIC} is not understood");
                    }
                }
                records += 1;
            }
            next = batches.next_offset;
        }
    }
}

/// The id of a topic that has this partition.
fn topic_id(core: &Core, topic: &str, partition: i32) -> Option<Uuid> {
    let topics = core.topics.borrow();
    let topic = topics.get(TopicRef::Name(topic))?;
    usize::try_from(partition).is_ok_and(|p| p < topic.routes.len()).then_some(topic.topic.id)
}

fn code_of(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::TooLarge { .. } => ErrorCode::InvalidCommitOffsetSize,
        // Busy gets this far only when the server stops: the client tries again elsewhere, or later.
        AppendError::Busy | AppendError::UnknownPartition => ErrorCode::NotCoordinator,
        other => {
            tracing::error!(%other, "writing committed offsets failed");
            ErrorCode::KafkaStorageError
        }
    }
}
