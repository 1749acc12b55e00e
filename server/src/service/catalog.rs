//! Changes of the catalog, which core 0 owns: topics are made, changed and deleted, producer ids given out.
//!
//! Promise: when a change is answered it is durable and every core knows of it. Everything here can be called on any
//! core.

use std::rc::Rc;
use std::sync::Arc;

use keylane_engine::catalog::{Catalog, CatalogError, NewTopic, Topic};
use tokio::sync::MutexGuard;

use crate::config::Values;
use crate::core::Core;
use crate::log_levels;
use crate::runtime::mesh::call;

use super::error::TopicError;
use super::settings::{BrokerSettings, Change, Layer};

/// The core that owns the catalog.
pub(super) const OWNER: usize = 0;

/// The catalog, for one change.
pub(super) async fn catalog(core: &Core) -> MutexGuard<'_, Catalog> {
    core.catalog.as_ref().expect("work on the catalog is sent to its owner only").lock().await
}

/// What came of a call; none comes of one that a stop overtook.
pub(super) fn answered<T, E: Into<TopicError>>(answer: Option<Result<T, E>>) -> Result<T, TopicError> {
    answer.ok_or(TopicError::Stopping)?.map_err(Into::into)
}

/// Creates a topic.
///
/// # Errors
/// [`TopicError::Catalog`] if the name is taken or the catalog cannot be written, [`TopicError::Stopping`].
pub async fn create(
    core: &Rc<Core>,
    name: String,
    partitions: usize,
    configs: Values,
) -> Result<Arc<Topic>, TopicError> {
    let made = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        let made = catalog.create(vec![NewTopic { name, partitions, configs }]).await?;
        let topic = Arc::clone(&made[0]);
        tell_all(&core, &topic).await;
        Ok::<_, CatalogError>(topic)
    });
    answered(made.await)
}

/// Creates a topic with something attached to it.
///
/// # Errors
/// As [`create`].
pub async fn create_attached(
    core: &Rc<Core>,
    name: String,
    partitions: usize,
    configs: Values,
    attached: String,
) -> Result<Arc<Topic>, TopicError> {
    let made = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        let topic = catalog.create_attached(NewTopic { name, partitions, configs }, attached).await?;
        tell_all(&core, &topic).await;
        Ok::<_, CatalogError>(topic)
    });
    answered(made.await)
}

/// Adds partitions to a topic until it has `partitions`.
///
/// # Errors
/// [`TopicError::Catalog`] if there is no such topic or the catalog cannot be written, [`TopicError::Stopping`].
pub async fn grow(core: &Rc<Core>, name: String, partitions: usize) -> Result<Arc<Topic>, TopicError> {
    let grown = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        if catalog.topic(&name).is_some_and(|topic| topic.attached.is_some()) {
            return Err(TopicError::Stream(name));
        }
        let topic = catalog.grow(&name, partitions).await?;
        tell_all(&core, &topic).await;
        Ok::<_, TopicError>(topic)
    });
    answered(grown.await)
}

/// Changes the settings of a topic; with `validate_only` this is only tried.
///
/// # Errors
/// [`TopicError::Settings`] if the topic cannot have such settings, [`TopicError::Catalog`] if there is no such topic or
/// the catalog cannot be written, [`TopicError::Stopping`].
pub async fn alter(
    core: &Rc<Core>,
    name: String,
    change: Change,
    validate_only: bool,
) -> Result<(), TopicError> {
    let altered = call(core, OWNER, move |core| async move {
        // Held from the look to the change, so that changes of two clients do not undo each other.
        let mut catalog = catalog(&core).await;
        let Some(known) = catalog.topic(&name) else {
            // What no topic could be told is said first, as in Kafka.
            change.apply(&Values::new(), &core.topic_base())?;
            return Err(CatalogError::Unknown(name).into());
        };
        let configs = change.apply(&known.configs, &core.topic_base())?;
        if validate_only {
            return Ok(());
        }
        let topic = catalog.configure(&name, configs).await.inspect_err(|e| {
            tracing::error!(%e, topic = name, "changing the settings of a topic failed");
        })?;
        tell_all(&core, &topic).await;
        Ok::<_, TopicError>(())
    });
    answered(altered.await)
}

/// Changes the settings that topics take from the broker; with `validate_only` this is only tried.
///
/// # Errors
/// [`TopicError::Settings`] if no topic can have such settings, [`TopicError::Catalog`] if the catalog cannot be
/// written, [`TopicError::Stopping`].
pub async fn alter_broker(
    core: &Rc<Core>,
    layer: Layer,
    change: Change,
    validate_only: bool,
) -> Result<(), TopicError> {
    let altered = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        let known = BrokerSettings::from(catalog.settings());
        let changed = known.changed(layer, &change, &core.config)?;
        if validate_only || changed == known {
            return Ok(());
        }
        keep(&core, &mut catalog, changed).await
    });
    answered(altered.await)
}

/// Changes levels of the log, which were checked: by name, `None` for the level that it had at the start.
///
/// # Errors
/// [`TopicError::Catalog`] if the catalog cannot be written, [`TopicError::Stopping`].
pub async fn alter_log_levels(
    core: &Rc<Core>,
    levels: Vec<(String, Option<String>)>,
) -> Result<(), TopicError> {
    let altered = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        let mut changed = BrokerSettings::from(catalog.settings());
        for (name, level) in levels {
            match level {
                Some(level) => drop(changed.log_levels.insert(name, level)),
                None => drop(changed.log_levels.remove(&name)),
            }
        }
        keep(&core, &mut catalog, changed.clone()).await?;
        log_levels::put_in_force(&changed.log_levels);
        Ok::<_, TopicError>(())
    });
    answered(altered.await)
}

/// Keeps changed settings of the broker, and puts them in force on every core.
async fn keep(core: &Rc<Core>, catalog: &mut Catalog, changed: BrokerSettings) -> Result<(), TopicError> {
    catalog.set_settings(changed.stored()).await.inspect_err(|e| {
        tracing::error!(%e, "changing the settings of the broker failed");
    })?;
    let changed = Arc::new(changed);
    for to in 0..core.cluster.cores {
        let changed = Arc::clone(&changed);
        call(core, to, move |core| async move { core.change_settings(changed) }).await;
    }
    Ok(())
}

/// Has every core take a new or changed topic in. No core knows of a partition before the core on which it lives.
pub(super) async fn tell_all(core: &Rc<Core>, topic: &Arc<Topic>) {
    for to in 0..core.cluster.cores {
        let topic = Arc::clone(topic);
        call(core, to, move |core| async move { core.prepare_topic(&topic) }).await;
    }
    for to in 0..core.cluster.cores {
        let topic = Arc::clone(topic);
        call(core, to, move |core| async move { core.add_topic(&topic) }).await;
    }
}

/// Deletes a topic, and what groups have committed for it.
///
/// # Errors
/// [`TopicError::Catalog`] if there is no such topic or the catalog cannot be written, [`TopicError::Stopping`].
pub async fn delete(core: &Rc<Core>, name: String) -> Result<Arc<Topic>, TopicError> {
    let deleted = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        let topic = catalog.delete(&name).await?;
        let id = topic.id;
        for to in 0..core.cluster.cores {
            call(&core, to, move |core| async move { core.remove_topic(id) }).await;
        }
        for to in 0..core.cluster.cores {
            call(&core, to, move |core| async move { core.groups.forget_topic(id).await }).await;
        }
        Ok::<_, CatalogError>(topic)
    });
    answered(deleted.await)
}

/// How many logs were ever made, which is how many partitions topics ever got. `None`: the server is stopping.
pub async fn logs_made(core: &Rc<Core>) -> Option<u32> {
    call(core, OWNER, move |core| async move { catalog(&core).await.logs_made() }).await
}

/// A producer id that was never given out before.
///
/// # Errors
/// [`TopicError::Catalog`] if the catalog cannot be written, [`TopicError::Stopping`].
pub async fn next_producer_id(core: &Rc<Core>) -> Result<i64, TopicError> {
    let next = call(core, OWNER, move |core| async move {
        let mut catalog = catalog(&core).await;
        catalog.next_producer_id().await
    });
    answered(next.await)
}
