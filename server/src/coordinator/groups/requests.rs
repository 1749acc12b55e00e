//! What can be asked of groups, on any core: each question goes to the core that has the group.

use std::future::Future;
use std::rc::Rc;

use keylane_engine::catalog::CatalogError;

use crate::config::Values;
use crate::core::Core;
use crate::runtime::mesh::call;
use crate::service::catalog;
use crate::service::error::TopicError;
use crate::service::settings::CLEANUP_POLICY;
use crate::service::topics::{OFFSETS_TOPIC, Route, TopicKey};

use super::error::GroupError;
use super::held::{Found, Held, Wanted};

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
    F: FnOnce(Rc<Core>, Rc<Held>) -> R + Send + 'static,
    R: Future<Output = Result<T, GroupError>> + 'static,
{
    let Some((owner, partition)) = place(core, group) else { return Ok(None) };
    let answer = call(core, owner, move |core| async move {
        let held = core.groups.find(partition)?;
        work(core, held).await
    });
    answer.await.unwrap_or(Err(GroupError::NotHere)).map(Some)
}

/// Commits offsets of a group. Says of each whether its partition exists; if not, it is not committed. Who commits as a
/// member of the group is refused.
///
/// # Errors
/// [`GroupError`]: nothing is committed, or it is not known what.
pub async fn commit(
    core: &Rc<Core>,
    group: &str,
    as_member: bool,
    wanted: Vec<Wanted>,
) -> Result<Vec<bool>, GroupError> {
    create_topic(core).await?;
    let name = group.to_owned();
    let committed = at_owner(core, group, move |core, held| async move {
        held.commit(&core.topics, &name, as_member, wanted).await
    });
    // The topic is there now.
    committed.await?.ok_or(GroupError::Unreadable)
}

/// Looks up what a group has committed, for these partitions or for all that it has.
///
/// # Errors
/// [`GroupError::Unreadable`], [`GroupError::NotHere`].
pub async fn fetch(
    core: &Rc<Core>,
    group: &str,
    wanted: Option<Vec<(String, Vec<i32>)>>,
) -> Result<Found, GroupError> {
    let asked = wanted.clone();
    let name = group.to_owned();
    let found = at_owner(core, group, move |core, held| async move {
        Ok(held.look_up(&core.topics.borrow(), &name, asked))
    });
    let nothing = |wanted: Option<Vec<(String, Vec<i32>)>>| {
        let topics = wanted.unwrap_or_default().into_iter();
        topics.map(|(topic, list)| (topic, list.into_iter().map(|p| (p, None)).collect())).collect()
    };
    Ok(found.await?.unwrap_or_else(|| nothing(wanted)))
}

/// Whether a group has committed offsets.
///
/// # Errors
/// [`GroupError::Unreadable`], [`GroupError::NotHere`].
pub async fn exists(core: &Rc<Core>, group: &str) -> Result<bool, GroupError> {
    let name = group.to_owned();
    let found = at_owner(core, group, move |_, held| async move { Ok(held.has(&name)) });
    Ok(found.await?.unwrap_or(false))
}

/// Removes offsets of a group: those of these partitions, or all of them.
///
/// # Errors
/// [`GroupError::Unknown`] if the group has none; others if it is not known whether they are removed.
pub async fn remove(
    core: &Rc<Core>,
    group: &str,
    which: Option<Vec<(String, Vec<i32>)>>,
) -> Result<(), GroupError> {
    let name = group.to_owned();
    let removed = at_owner(core, group, move |_, held| async move { held.remove_of(&name, which).await });
    removed.await?.ok_or(GroupError::Unknown)
}

/// Names of all groups, in order.
///
/// # Errors
/// [`GroupError::Unreadable`] if some are not known.
pub async fn list(core: &Rc<Core>) -> Result<Vec<String>, GroupError> {
    let mut names = Vec::new();
    for to in 0..core.cluster.cores {
        let here = call(core, to, |core| async move { core.groups.names() });
        names.extend(here.await.unwrap_or(Err(GroupError::Unreadable))?);
    }
    names.sort_unstable();
    Ok(names)
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
