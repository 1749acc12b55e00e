//! Registered consumers of a stream, and their subscriptions to shards. The core that owns the catalog knows all subscriptions.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::core::Core;
use crate::runtime::clock::now_ms;
use crate::runtime::mesh::call;
use crate::service::catalog::OWNER;
use crate::service::error::TopicError;

use super::change::{StreamError, change};
use super::stream::Consumer;
use super::subscriptions::Subscriber;

/// Most consumers of a stream.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const CONSUMERS_MAX: usize = 20;

/// Registers a consumer.
///
/// # Errors
/// [`StreamError::ConsumerExists`], [`StreamError::TooManyConsumers`]; what [`change`] says.
pub async fn register(
    core: &Rc<Core>,
    stream: String,
    name: String,
    tags: BTreeMap<String, String>,
) -> Result<Consumer, StreamError> {
    change(core, stream, move |stream, _| {
        if stream.consumers.iter().any(|consumer| consumer.name == name) {
            return Err(StreamError::ConsumerExists(name));
        }
        if stream.consumers.len() >= CONSUMERS_MAX {
            return Err(StreamError::TooManyConsumers(CONSUMERS_MAX));
        }
        let consumer = Consumer { name, created_ms: now_ms(), tags };
        stream.consumers.push(consumer.clone());
        Ok(consumer)
    })
    .await
}

/// Removes a consumer.
///
/// # Errors
/// [`StreamError::NoConsumer`]; what [`change`] says.
pub async fn deregister(core: &Rc<Core>, stream: String, consumer: Consumer) -> Result<(), StreamError> {
    change(core, stream, move |stream, _| {
        let before = stream.consumers.len();
        let same = |other: &Consumer| other.name == consumer.name && other.created_ms == consumer.created_ms;
        stream.consumers.retain(|other| !same(other));
        if stream.consumers.len() == before { Err(StreamError::NoConsumer(consumer.name)) } else { Ok(()) }
    })
    .await
}

/// Begins a subscription. The receiver gets a message when another one took its place.
///
/// # Errors
/// [`StreamError::Subscribed`].
pub async fn subscribe(
    core: &Rc<Core>,
    subscriber: Subscriber,
) -> Result<oneshot::Receiver<()>, StreamError> {
    let (sender, receiver) = oneshot::channel();
    let begun =
        call(
            core,
            OWNER,
            move |core| async move { core.subscriptions.take(subscriber, sender, Instant::now()) },
        );
    match begun.await {
        Some(true) => Ok(receiver),
        Some(false) => Err(StreamError::Subscribed),
        None => Err(StreamError::Topic(TopicError::Stopping)),
    }
}
