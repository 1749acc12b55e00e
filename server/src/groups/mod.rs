//! Committed offsets of groups: which core has them, how they are kept, what is read back at a start.
//!
//! Promises: a change is answered when the commit that holds it is durable, and nothing else is ever shown;
//! after a restart, clean or not, every answered change holds. No lock is on the way of a record: the groups of
//! a partition of `__consumer_offsets` belong to the core that has its shard, and everybody else asks there.
//!
//! The log of a change is `__consumer_offsets`, an internal topic with `cleanup.policy=compact` and as many
//! partitions as the directory has shards, made when something is first committed. A group belongs to the
//! partition that Kafka's rule gives it. [`record`] is the format, [`offsets`] what is in memory: at most
//! [`BYTES_MAX`] a partition, and further offsets are refused. Offsets do not expire; groups have no members.

pub mod offsets;
pub mod record;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::SystemTime;

use keylane_engine::catalog::CatalogError;
use keylane_engine::embed::{decode_batches, encode_batch};
use keylane_engine::shard::{Cached, CommitState, PartitionRef, Shard};
use keylane_engine::{AppendError, CommitSeq, EmbedError, ReadError, Record};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::controller;
use crate::core::Core;
use crate::kafka::ErrorCode;
use crate::kafka::produce::TopicRef;
use crate::mesh::call;
use crate::topic_settings::{CLEANUP_POLICY, Values};
use crate::topics::{OFFSETS_TOPIC, Route};

use offsets::{Change, Committed, GroupChanges, Offsets, bytes_of};

/// Most bytes of committed offsets in memory for one partition of `__consumer_offsets`: some 300,000 offsets
/// without metadata.
pub const BYTES_MAX: usize = 64 << 20;
/// Changes of one batch take about so many bytes, unless one alone takes more.
const BATCH_BYTES: usize = 128 << 10;
/// Read at once at a start.
const READ_BYTES: usize = 1 << 20;

/// The partitions of `__consumer_offsets` that a core has.
#[derive(Default)]
pub struct Groups {
    held: RefCell<BTreeMap<usize, Rc<Held>>>,
}

/// One of them.
struct Held {
    shard: usize,
    at: PartitionRef,
    /// Appends of several batches are not mixed with others, and take their turn in the order of arrival.
    turn: Mutex<()>,
    offsets: RefCell<Offsets>,
    /// It could not be read at the start.
    broken: Cell<bool>,
}

/// An offset to be committed, and where.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset to read next.
    pub offset: i64,
    /// Epoch of the leader, or -1.
    pub leader_epoch: i32,
    /// What is kept beside it.
    pub metadata: String,
}

/// Who commits.
#[derive(Debug, Clone, Copy)]
pub struct Committer {
    /// Generation that the committer believes in; below 0: it is no member.
    pub generation: i32,
    /// Version of its request.
    pub version: i16,
}

/// Why the records of a partition of `__consumer_offsets` could not be read.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Records(#[from] EmbedError),
}

impl Groups {
    /// Takes over the partitions of `__consumer_offsets` that live on this core.
    pub fn hold(&self, routes: &[Route]) {
        let mut held = self.held.borrow_mut();
        for (partition, route) in routes.iter().enumerate() {
            if let Route::Here { shard, at } = *route {
                held.entry(partition).or_insert_with(|| {
                    let (turn, offsets, broken) = (Mutex::new(()), RefCell::default(), Cell::new(false));
                    Rc::new(Held { shard, at, turn, offsets, broken })
                });
            }
        }
    }

    fn find(&self, partition: usize) -> Result<Rc<Held>, ErrorCode> {
        let held = self.held.borrow().get(&partition).cloned().ok_or(ErrorCode::NotCoordinator)?;
        if held.broken.get() { Err(ErrorCode::CoordinatorNotAvailable) } else { Ok(held) }
    }

    fn all(&self) -> Vec<Rc<Held>> {
        self.held.borrow().values().cloned().collect()
    }
}

/// The partition of a group, by Kafka's rule: Java's hash of the string.
fn partition_of(group: &str, partitions: usize) -> usize {
    let hash = group.encode_utf16().fold(0i32, |h, unit| h.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // As Kafka's `Utils.abs`: the one number without an absolute value counts as 0.
    let hash = hash.checked_abs().unwrap_or(0) as usize;
    hash % partitions.max(1)
}

/// The core that has a group, and the group's partition. `None`: nothing was ever committed.
fn place(core: &Core, group: &str) -> Option<(usize, usize)> {
    let topics = core.topics.borrow();
    let topic = topics.get(TopicRef::Name(OFFSETS_TOPIC))?;
    let partition = partition_of(group, topic.routes.len());
    let owner = match topic.routes.get(partition)? {
        Route::Here { .. } => core.index,
        Route::There { core, .. } => *core,
    };
    Some((owner, partition))
}

/// Does something with a group's partition, on the core that has it.
async fn at_owner<T, F, R>(core: &Rc<Core>, group: &str, work: F) -> Result<Option<T>, ErrorCode>
where
    T: Send + 'static,
    F: FnOnce(Rc<Core>, Rc<Held>) -> R + Send + 'static,
    R: Future<Output = Result<T, ErrorCode>> + 'static,
{
    let Some((owner, partition)) = place(core, group) else { return Ok(None) };
    let answer = call(core, owner, move |core| async move {
        let held = core.groups.find(partition)?;
        work(core, held).await
    });
    answer.await.unwrap_or(Err(ErrorCode::NotCoordinator)).map(Some)
}

/// Commits offsets of a group: the outcome of each. Callable on any core.
pub async fn commit(
    core: &Rc<Core>,
    group: &str,
    committer: Committer,
    wanted: Vec<Wanted>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    create_topic(core).await?;
    let name: Box<str> = group.into();
    let committed =
        at_owner(
            core,
            group,
            move |core, held| async move { held.commit(&core, name, committer, wanted).await },
        );
    // The topic is there now.
    committed.await?.ok_or(ErrorCode::CoordinatorNotAvailable)
}

/// What a group has committed: of the partitions asked for (`None`: there is nothing), or of all that it has.
pub type Found = Vec<(String, Vec<(i32, Option<Committed>)>)>;

/// Looks up what a group has committed. Callable on any core.
pub async fn fetch(
    core: &Rc<Core>,
    group: &str,
    wanted: Option<Vec<(String, Vec<i32>)>>,
) -> Result<Found, ErrorCode> {
    let asked = wanted.clone();
    let name = group.to_owned();
    let found = at_owner(core, group, move |core, held| async move { Ok(held.look_up(&core, &name, asked)) });
    let nothing = |wanted: Option<Vec<(String, Vec<i32>)>>| {
        let topics = wanted.unwrap_or_default().into_iter();
        topics.map(|(topic, list)| (topic, list.into_iter().map(|p| (p, None)).collect())).collect()
    };
    Ok(found.await?.unwrap_or_else(|| nothing(wanted)))
}

/// Whether a group has committed offsets. Callable on any core.
pub async fn exists(core: &Rc<Core>, group: &str) -> Result<bool, ErrorCode> {
    let name = group.to_owned();
    let found = at_owner(core, group, move |core, held| async move {
        held.settle(&core);
        Ok(held.offsets.borrow().group(&name).is_some())
    });
    Ok(found.await?.unwrap_or(false))
}

/// Removes offsets of a group: those of these partitions, or all of them. `GroupIdNotFound` if it has none.
/// Callable on any core.
pub async fn remove(
    core: &Rc<Core>,
    group: &str,
    which: Option<Vec<(String, Vec<i32>)>>,
) -> Result<(), ErrorCode> {
    let name = group.to_owned();
    let removed = at_owner(core, group, move |core, held| async move {
        let turn = held.turn.lock().await;
        held.settle(&core);
        let removals = {
            let offsets = held.offsets.borrow();
            if offsets.group(&name).is_none() {
                return Err(ErrorCode::GroupIdNotFound);
            }
            offsets.removals(|group, topic, partition, _| {
                let listed = |(t, list): &(String, Vec<i32>)| t == topic && list.contains(&partition);
                group == name && which.as_ref().is_none_or(|which| which.iter().any(listed))
            })
        };
        let seq = held.append(&core, removals).await?;
        drop(turn);
        held.durable(&core, seq).await
    });
    removed.await?.ok_or(ErrorCode::GroupIdNotFound)
}

/// Names of all groups, in order. Callable on any core.
pub async fn list(core: &Rc<Core>) -> Result<Vec<String>, ErrorCode> {
    let mut names = Vec::new();
    for to in 0..core.cluster.cores {
        let here = call(core, to, |core| async move {
            let mut names = Vec::new();
            for held in core.groups.all() {
                if held.broken.get() {
                    return Err(ErrorCode::CoordinatorNotAvailable);
                }
                held.settle(&core);
                names.extend(held.offsets.borrow().groups().map(|(name, _)| name.to_owned()));
            }
            Ok(names)
        });
        names.extend(here.await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))?);
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes what was committed for a topic that is deleted, on this core.
pub async fn forget_topic(core: &Rc<Core>, id: Uuid) {
    for held in core.groups.all() {
        let turn = held.turn.lock().await;
        let removals = held.offsets.borrow().removals(|_, _, _, value| value.topic_id == id);
        let removed = held.write(core, removals).await;
        drop(turn);
        if let Err(code) = removed {
            // They count for nothing any more, because they carry the topic's id.
            tracing::warn!(%code, "the committed offsets of a deleted topic stay in the log");
        }
    }
}

/// Reads back what was committed, on a core that is starting. What cannot be read is not available; the rest of
/// the server works.
pub async fn load(core: &Rc<Core>) {
    for held in core.groups.all() {
        match held.load(core).await {
            Ok(records) if records > 0 => {
                let offsets = held.offsets.borrow();
                let (groups, bytes) = (offsets.groups().count(), offsets.bytes());
                tracing::info!(records, groups, bytes, "committed offsets read back");
            }
            Ok(_) => {}
            Err(e) => {
                tracing::error!(%e, "a partition of {OFFSETS_TOPIC} cannot be read; its groups are not available");
                held.broken.set(true);
            }
        }
        // Those of topics that were deleted when the server ended.
        let removals = {
            let topics = core.topics.borrow();
            let id = |topic: &str| topics.get(TopicRef::Name(topic)).map(|t| t.topic.id);
            held.offsets.borrow().removals(|_, topic, _, value| id(topic) != Some(value.topic_id))
        };
        if let Err(code) = held.write(core, removals).await {
            tracing::warn!(%code, "committed offsets of deleted topics stay in the log");
        }
    }
}

/// Makes sure that `__consumer_offsets` exists.
async fn create_topic(core: &Rc<Core>) -> Result<(), ErrorCode> {
    if core.topics.borrow().get(TopicRef::Name(OFFSETS_TOPIC)).is_some() {
        return Ok(());
    }
    let settings = Values::from([(CLEANUP_POLICY.to_owned(), "compact".to_owned())]);
    let partitions = usize::from(core.cluster.shards);
    match controller::create(core, OFFSETS_TOPIC.to_owned(), partitions, settings).await {
        // Somebody else was faster.
        Some(Ok(_) | Err(CatalogError::Exists(_))) => Ok(()),
        Some(Err(e)) => {
            tracing::error!(%e, "could not create {OFFSETS_TOPIC}");
            Err(ErrorCode::KafkaStorageError)
        }
        None => Err(ErrorCode::NotCoordinator),
    }
}

impl Held {
    fn shard<'c>(&self, core: &'c Core) -> &'c Shard<keylane_engine::disk::uring::UringDisk> {
        &core.shards[self.shard]
    }

    /// Makes visible what is durable by now.
    fn settle(&self, core: &Core) {
        let shard = self.shard(core);
        let durable = |seq| shard.commit_state(seq) == CommitState::Durable;
        self.offsets.borrow_mut().settle(durable);
    }

    async fn commit(
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
    async fn append(&self, core: &Core, changes: Vec<GroupChanges>) -> Result<Option<CommitSeq>, ErrorCode> {
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
    async fn write(&self, core: &Core, changes: Vec<GroupChanges>) -> Result<(), ErrorCode> {
        let seq = self.append(core, changes).await?;
        self.durable(core, seq).await
    }

    /// Waits until a commit is durable, and makes it visible.
    async fn durable(&self, core: &Core, seq: Option<CommitSeq>) -> Result<(), ErrorCode> {
        let Some(seq) = seq else { return Ok(()) };
        let state = self.shard(core).committed(seq).await;
        self.settle(core);
        if state == CommitState::Durable { Ok(()) } else { Err(ErrorCode::KafkaStorageError) }
    }

    fn look_up(&self, core: &Core, group: &str, wanted: Option<Vec<(String, Vec<i32>)>>) -> Found {
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
    async fn load(&self, core: &Core) -> Result<usize, LoadError> {
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

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    /// Values of Java's `Utils.abs("...".hashCode()) % 50`.
    #[test]
    fn groups_have_the_partition_that_kafka_gives_them() {
        for (group, partition) in [("", 0), ("a", 47), ("test", 48), ("polygenelubricants", 0)] {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
        assert_eq!(partition_of("gr\u{fc}n-\u{1f600}", 1), 0);
    }
}
