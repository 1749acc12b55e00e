//! What can be asked of groups, on any core: each question goes to the core that has the group.

use std::future::Future;
use std::rc::Rc;

use keylane_engine::catalog::CatalogError;

use crate::config::Values;
use crate::core::Core;
use crate::runtime::mesh::call;
use crate::service::catalog;
use crate::service::error::TopicError;
use crate::service::settings::names::CLEANUP_POLICY;
use crate::service::topics::{OFFSETS_TOPIC, Route, TopicKey};

use super::classic::{Join, Joined, Leaving, Refused, Sync, Synced};
use super::consumer::{self, Beat, Heartbeat};
use super::described::{Described, Listed};
use super::error::GroupError;
use super::held::{Committer, Fetcher, Found, Held, Wanted, Which};

/// Longest name of a group with members: what its record can state.
const NAME_BYTES_MAX: usize = i16::MAX as usize;

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
    let topic = topics.get(TopicKey::Name(OFFSETS_TOPIC))?;
    let partition = partition_of(group, topic.routes.len());
    let owner = match topic.routes.get(partition)? {
        Route::Here { .. } => core.index,
        Route::There { core, .. } => *core,
    };
    Some((owner, partition))
}

/// Does something with a group's partition, on the core that has it. `None`: nothing was ever committed.
async fn at_owner<T, F, R>(core: &Rc<Core>, group: &str, work: F) -> Result<Option<T>, GroupError>
where
    T: Send + 'static,
    F: FnOnce(Rc<Held>) -> R + Send + 'static,
    R: Future<Output = Result<T, GroupError>> + 'static,
{
    let Some((owner, partition)) = place(core, group) else { return Ok(None) };
    let answer = call(core, owner, move |core| async move {
        let held = core.groups.find(partition)?;
        work(held).await
    });
    answer.await.unwrap_or(Err(GroupError::NotHere)).map(Some)
}

/// Commits offsets of a group. Says of each whether its partition exists; if not, it is not committed.
///
/// # Errors
/// [`GroupError`]: nothing is committed, or it is not known what.
pub async fn commit(
    core: &Rc<Core>,
    group: &str,
    who: Committer,
    wanted: Vec<Wanted>,
) -> Result<Vec<bool>, GroupError> {
    create_topic(core).await?;
    let name = group.to_owned();
    let committed = at_owner(core, group, move |held| async move { held.commit(&name, &who, wanted).await });
    // The topic is there now.
    committed.await?.ok_or(GroupError::Unreadable)
}

/// Looks up what a group has committed, for these partitions or for all that it has.
///
/// # Errors
/// [`GroupError::Consumer`] if a member may not; [`GroupError::Unreadable`], [`GroupError::NotHere`].
pub async fn fetch(
    core: &Rc<Core>,
    group: &str,
    who: Fetcher,
    wanted: Option<Vec<(String, Vec<i32>)>>,
) -> Result<Found, GroupError> {
    let asked = wanted.clone();
    let name = group.to_owned();
    let found = at_owner(core, group, move |held| async move { held.fetch(&name, &who, asked).await });
    let nothing = |wanted: Option<Vec<(String, Vec<i32>)>>| {
        let topics = wanted.unwrap_or_default().into_iter();
        topics.map(|(topic, list)| (topic, list.into_iter().map(|p| (p, None)).collect())).collect()
    };
    Ok(found.await?.unwrap_or_else(|| nothing(wanted)))
}

/// Describes a classic group. `None`: there is none.
///
/// # Errors
/// [`GroupError::Unreadable`], [`GroupError::NotHere`].
pub async fn describe(core: &Rc<Core>, group: &str) -> Result<Option<Described>, GroupError> {
    let name = group.to_owned();
    let found = at_owner(core, group, move |held| async move { Ok(held.describe(&name)) });
    Ok(found.await?.flatten())
}

/// Describes a consumer group. `None`: there is none.
///
/// # Errors
/// [`GroupError::Unreadable`], [`GroupError::NotHere`].
pub async fn describe_consumer(
    core: &Rc<Core>,
    group: &str,
) -> Result<Option<consumer::Described>, GroupError> {
    let name = group.to_owned();
    let found = at_owner(core, group, move |held| async move { Ok(held.describe_consumer(&name)) });
    Ok(found.await?.flatten())
}

/// A member of a consumer group joins, lives or leaves.
///
/// # Errors
/// [`GroupError`].
pub async fn consumer_heartbeat(core: &Rc<Core>, group: &str, asked: Heartbeat) -> Result<Beat, GroupError> {
    check_name(group)?;
    create_topic(core).await?;
    let name = group.to_owned();
    let heard =
        at_owner(core, group, move |held| async move { held.consumer_heartbeat(&name, &asked).await });
    heard.await?.ok_or(GroupError::Unreadable)
}

/// Removes a group without members.
///
/// # Errors
/// [`GroupError::Unknown`], [`GroupError::NotEmpty`]; others if it is not known whether it is removed.
pub async fn delete(core: &Rc<Core>, group: &str) -> Result<(), GroupError> {
    let name = group.to_owned();
    let removed = at_owner(core, group, move |held| async move { held.delete(&name).await });
    removed.await?.ok_or(GroupError::Unknown)
}

/// Removes offsets of a group. Returns the topics whose offsets stay, because members consume them.
///
/// # Errors
/// [`GroupError::Unknown`], [`GroupError::NotEmpty`]; others if it is not known whether they are removed.
pub async fn delete_offsets(core: &Rc<Core>, group: &str, which: Which) -> Result<Vec<String>, GroupError> {
    let name = group.to_owned();
    let removed = at_owner(core, group, move |held| async move { held.delete_offsets(&name, which).await });
    removed.await?.ok_or(GroupError::Unknown)
}

/// All groups, by name.
///
/// # Errors
/// [`GroupError::Unreadable`] if some are not known.
pub async fn list(core: &Rc<Core>) -> Result<Vec<Listed>, GroupError> {
    let mut groups = Vec::new();
    for to in 0..core.cluster.cores {
        let here = call(core, to, |core| async move { core.groups.list() });
        groups.extend(here.await.unwrap_or(Err(GroupError::Unreadable))?);
    }
    groups.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}

fn check_name(group: &str) -> Result<(), GroupError> {
    let fits = !group.is_empty() && group.len() <= NAME_BYTES_MAX;
    if fits { Ok(()) } else { Err(GroupError::Name { max: NAME_BYTES_MAX }) }
}

/// A member joins a group. The answer comes when the next generation begins.
///
/// # Errors
/// [`GroupError`].
pub async fn join(core: &Rc<Core>, group: &str, join: Join) -> Result<Joined, GroupError> {
    check_name(group)?;
    create_topic(core).await?;
    let name = group.to_owned();
    let joined = at_owner(core, group, move |held| async move { held.join(&name, join).await });
    joined.await?.ok_or(GroupError::Unreadable)
}

/// A member asks for its assignment.
///
/// # Errors
/// [`GroupError`].
pub async fn sync(core: &Rc<Core>, group: &str, sync: Sync) -> Result<Synced, GroupError> {
    check_name(group)?;
    let name = group.to_owned();
    let synced = at_owner(core, group, move |held| async move { held.sync(&name, sync).await });
    synced.await?.ok_or(Refused::UnknownMember.into())
}

/// A member lives.
///
/// # Errors
/// [`GroupError`].
pub async fn heartbeat(
    core: &Rc<Core>,
    group: &str,
    id: &str,
    instance: Option<&str>,
    generation: i32,
) -> Result<(), GroupError> {
    check_name(group)?;
    let (name, id, instance) = (group.to_owned(), id.to_owned(), instance.map(str::to_owned));
    let heard = at_owner(core, group, move |held| async move {
        held.heartbeat(&name, &id, instance.as_deref(), generation).await
    });
    heard.await?.ok_or(Refused::UnknownMember.into())
}

/// Members leave; what became of each.
///
/// # Errors
/// [`GroupError`]: of all of them.
pub async fn leave(
    core: &Rc<Core>,
    group: &str,
    leaving: Vec<Leaving>,
) -> Result<Vec<Result<(), Refused>>, GroupError> {
    check_name(group)?;
    let (name, count) = (group.to_owned(), leaving.len());
    let left = at_owner(core, group, move |held| async move { held.leave(&name, &leaving).await });
    let left = left.await?;
    Ok(left.unwrap_or_else(|| (0..count).map(|_| Err(Refused::UnknownMember)).collect()))
}

/// Removes what was committed too long ago, on this core.
pub async fn expire(core: &Core, now_ms: i64) {
    core.groups.expire(now_ms, core.config.offsets_retention_ms()).await;
}

/// Reads back what was committed, on a core that is starting.
pub async fn load(core: &Core) {
    core.groups.load(&core.topics).await;
}

/// Makes sure that `__consumer_offsets` exists.
async fn create_topic(core: &Rc<Core>) -> Result<(), GroupError> {
    if core.topics.borrow().get(TopicKey::Name(OFFSETS_TOPIC)).is_some() {
        return Ok(());
    }
    let settings = Values::from([(CLEANUP_POLICY.to_owned(), "compact".to_owned())]);
    let partitions = usize::from(core.cluster.shards);
    match catalog::create(core, OFFSETS_TOPIC.to_owned(), partitions, settings).await {
        // Somebody else was faster.
        Ok(_) | Err(TopicError::Catalog(CatalogError::Exists(_))) => Ok(()),
        Err(e) => {
            tracing::error!(%e, "could not create {OFFSETS_TOPIC}");
            Err(e.into())
        }
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
