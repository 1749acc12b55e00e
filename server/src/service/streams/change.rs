//! Streams are made, changed and deleted.

use std::rc::Rc;
use std::time::Duration;

use keylane_engine::catalog::{CatalogError, Revised};

use crate::config::Values;
use crate::core::Core;
use crate::runtime::clock::now_ms;
use crate::runtime::mesh::call;
use crate::service::catalog::{self, OWNER, answered, tell_all};
use crate::service::error::TopicError;
use crate::service::settings;
use crate::service::settings::names::{
    LOG_APPEND_TIME, MAX_MESSAGE_BYTES, MESSAGE_TIMESTAMP_TYPE, RETENTION_MS,
};
use crate::service::topics::{TopicKey, check_changeable};

use super::hash::HashRange;
use super::stream::{Stream, of_topic};

/// What a batch has beside one record of the largest size: headers, lengths, an explicit hash key.
const BATCH_OVERHEAD_BYTES: usize = 4 << 10;

/// Why a stream is not made or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// There is no such stream.
    #[error("there is no stream of this name")]
    Unknown,
    /// The name is taken.
    #[error("there is a stream or topic of this name already")]
    Exists,
    /// It is being deleted.
    #[error("the stream is being deleted")]
    Deleting,
    /// It has no such shard.
    #[error("the stream has no shard {0}")]
    NoShard(usize),
    /// The shard was split or merged already.
    #[error("shard {0} has ended: it was split or merged")]
    Ended(usize),
    /// The hash does not split the shard.
    #[error("a shard is split at a hash more than one above its first one and below its last one")]
    SplitAt(HashRange),
    /// The server chooses the number of its shards.
    #[error("the stream is in on-demand mode")]
    OnDemand,
    /// The shards are no neighbours.
    #[error("shards {0} and {1} are no neighbours: the range of one must begin where that of the other ends")]
    NotAdjacent(usize, usize),
    /// It would have too many shards, or partitions with those that ended.
    #[error("a stream may not have so many shards")]
    TooMany,
    /// It would have too many tags.
    #[error("a stream or consumer has at most {0} tags")]
    TooManyTags(usize),
    /// It has a consumer of this name.
    #[error("there is a consumer of the name {0} already")]
    ConsumerExists(String),
    /// It has no consumer of this name.
    #[error("there is no consumer of the name {0}")]
    NoConsumer(String),
    /// It has as many consumers as it may.
    #[error("a stream has at most {0} registered consumers")]
    TooManyConsumers(usize),
    /// It is not deleted as long as it has consumers.
    #[error("the stream has registered consumers")]
    HasConsumers,
    /// The consumer has a young subscription to the shard.
    #[error("the consumer has a subscription to this shard that is younger than five seconds")]
    Subscribed,
    /// The topic below the stream.
    #[error(transparent)]
    Topic(TopicError),
    /// What was put into a shard that ends could not be made durable.
    #[error("the disk failed; the server's log says how")]
    Storage,
}

impl From<TopicError> for StreamError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Catalog(CatalogError::Unknown(_)) | TopicError::Unknown => Self::Unknown,
            TopicError::Catalog(CatalogError::Exists(_)) | TopicError::Exists(_) => Self::Exists,
            other => Self::Topic(other),
        }
    }
}

impl From<CatalogError> for StreamError {
    fn from(error: CatalogError) -> Self {
        TopicError::from(error).into()
    }
}

/// Makes a stream that keeps records for `retention_ms`.
///
/// # Errors
/// [`StreamError::Exists`], [`StreamError::Topic`].
pub async fn create(
    core: &Rc<Core>,
    name: String,
    stream: Stream,
    retention_ms: i64,
) -> Result<(), StreamError> {
    check_changeable(&name)?;
    if core.topics.borrow().get(TopicKey::Name(&name)).is_some() {
        return Err(StreamError::Exists);
    }
    let mut configs = Values::new();
    // A record has the time of its arrival, whatever protocol brought it.
    configs.insert(MESSAGE_TIMESTAMP_TYPE.to_owned(), LOG_APPEND_TIME.to_owned());
    configs.insert(RETENTION_MS.to_owned(), retention_ms.to_string());
    fit_batches(core, &stream, &mut configs);
    let partitions = stream.shards.len();
    catalog::create_attached(core, name, partitions, configs, stream.to_text()).await?;
    Ok(())
}

/// Lets the topic take batches of one record of the largest size, if it does not yet.
fn fit_batches(core: &Core, stream: &Stream, configs: &mut Values) {
    let bytes = ((stream.record_kib_max as usize) << 10) + BATCH_OVERHEAD_BYTES;
    let bytes = bytes.min(core.config.batch_bytes_max());
    if settings::max_message_bytes(configs, &core.topic_base()) < bytes {
        configs.insert(MAX_MESSAGE_BYTES.to_owned(), bytes.to_string());
    }
}

/// Changes a stream, and the settings of its topic, as one. The shards stay as they are.
///
/// # Errors
/// What `change` says, [`StreamError::Unknown`], [`StreamError::Deleting`], [`StreamError::Topic`]: nothing is changed then.
pub async fn change<T: Send + 'static>(
    core: &Rc<Core>,
    name: String,
    change: impl FnOnce(&mut Stream, &mut Values) -> Result<T, StreamError> + Send + 'static,
) -> Result<T, StreamError> {
    check_changeable(&name)?;
    let changed = call(core, OWNER, move |core| async move {
        let mut catalog = catalog::catalog(&core).await;
        let topic = catalog.topic(&name).ok_or(StreamError::Unknown)?;
        let (mut stream, mut configs) = (of_topic(topic), topic.configs.clone());
        if stream.deleting_ms.is_some() {
            return Err(StreamError::Deleting);
        }
        let before = (stream.clone(), configs.clone());
        let out = change(&mut stream, &mut configs)?;
        if stream.record_kib_max != before.0.record_kib_max {
            fit_batches(&core, &stream, &mut configs);
        }
        if before != (stream.clone(), configs.clone()) {
            let revised =
                Revised { partitions: stream.shards.len(), configs, attached: Some(stream.to_text()) };
            let topic = catalog.revise(&name, revised).await?;
            tell_all(&core, &topic).await;
        }
        Ok(out)
    });
    changed.await.ok_or(StreamError::Topic(TopicError::Stopping))?
}

/// Deletes a stream. With a delay it is marked first, and deleted when the delay is over, also if the server restarts.
/// A stream that has consumers is deleted only with them.
///
/// # Errors
/// [`StreamError::Unknown`], [`StreamError::Deleting`], [`StreamError::HasConsumers`], [`StreamError::Topic`].
pub async fn delete(
    core: &Rc<Core>,
    name: String,
    with_consumers: bool,
    delay: Duration,
) -> Result<(), StreamError> {
    let has_consumers = {
        let topics = core.topics.borrow();
        topics.get(TopicKey::Name(&name)).is_some_and(|topic| !topic.stream().consumers.is_empty())
    };
    if has_consumers && !with_consumers {
        return Err(StreamError::HasConsumers);
    }
    if delay.is_zero() {
        check_changeable(&name)?;
        catalog::delete(core, name).await?;
        return Ok(());
    }
    let mark = |stream: &mut Stream, _: &mut Values| {
        stream.deleting_ms = Some(now_ms());
        Ok(())
    };
    change(core, name.clone(), mark).await?;
    let marked = call(core, OWNER, move |core| async move { delete_later(core, name, delay) });
    answered(marked.await.map(Ok::<_, TopicError>))?;
    Ok(())
}

fn delete_later(core: Rc<Core>, name: String, delay: Duration) {
    tokio::task::spawn_local(async move {
        tokio::time::sleep(delay).await;
        if let Err(error) = catalog::delete(&core, name).await {
            tracing::warn!(%error, "a stream that was to be deleted is still there");
        }
    });
}

/// On the catalog's owner at its start: goes on with deletions that were marked.
pub fn resume_deletions(core: &Rc<Core>) {
    if core.index != OWNER {
        return;
    }
    let marked = |topic: &keylane_engine::catalog::Topic| of_topic(topic).deleting_ms.is_some();
    let names: Vec<String> = {
        let topics = core.topics.borrow();
        let attached = topics.all().filter(|t| t.topic.attached.is_some() && marked(&t.topic));
        attached.map(|t| t.topic.name.clone()).collect()
    };
    names.into_iter().for_each(|name| delete_later(Rc::clone(core), name, Duration::ZERO));
}
