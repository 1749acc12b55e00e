//! Committed offsets of groups: which core has them, how they are kept, what is read back at a start.
//!
//! Promises: a change is answered when the commit that holds it is durable, and nothing else is ever shown;
//! after a restart, clean or not, every answered change holds. No lock is on the way of a record: the groups of
//! a partition of `__consumer_offsets` belong to the core that has its shard, and everybody else asks there.
//!
//! The log of a change is `__consumer_offsets`, an internal topic with `cleanup.policy=compact` and as many
//! partitions as the directory has shards, made when something is first committed. A group belongs to the
//! partition that Kafka's rule gives it. [`record`] is the format, [`offsets`] what is in memory: at most
//! [`held::BYTES_MAX`] a partition, and further offsets are refused. Offsets do not expire; groups have no members.

mod held;
pub mod offsets;
mod record;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use keylane_engine::catalog::CatalogError;
use keylane_kafka::ErrorCode;
use keylane_kafka::TopicRef;
use uuid::Uuid;

use crate::core::Core;
use crate::runtime::mesh::call;
use crate::service::controller;
use crate::service::settings::{CLEANUP_POLICY, Values};
use crate::service::topics::{OFFSETS_TOPIC, Route};

use held::Held;
use offsets::Committed;

/// The partitions of `__consumer_offsets` that a core has.
#[derive(Default)]
pub struct Groups {
    held: RefCell<BTreeMap<usize, Rc<Held>>>,
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

impl Groups {
    /// Takes over the partitions of `__consumer_offsets` that live on this core.
    pub fn hold(&self, routes: &[Route]) {
        let mut held = self.held.borrow_mut();
        for (partition, route) in routes.iter().enumerate() {
            if let Route::Here { shard, at } = *route {
                held.entry(partition).or_insert_with(|| Rc::new(Held::new(shard, at)));
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
