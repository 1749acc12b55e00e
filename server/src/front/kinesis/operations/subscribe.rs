//! SubscribeToShard: records are pushed to a registered consumer as they come, for some minutes.
//!
//! Promises: every record from the starting position on comes once, in order; the number that each event ends with goes on behind
//! it, without a gap or a repeat; a stream that ends before its time says why. A client that takes nothing holds up
//! one event, and no memory beyond it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::front::http::Body;
use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::{Context, Status};
use crate::front::kinesis::event;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::format::Format;
use crate::front::kinesis::names::shard_id;
use crate::front::kinesis::page::Room;
use crate::front::kinesis::reader::{Child, Position, Read, TYPES, children, read, start};
use crate::front::kinesis::sequence::Numbers;
use crate::front::kinesis::wire::Timestamp;
use crate::service::error::ReadRefused;
use crate::service::read::{Found, Wanted, wait_for_more};
use crate::service::streams::{self, Consumer, StreamError, Subscriber};
use crate::service::topics::TopicKey;

/// Records of an event, and bytes of them with their keys.
const ROOM: Room = Room { records: 10_000, bytes: 1 << 20 };
/// The rate of a consumer in a shard, if the server keeps to such rates.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const BYTES_PER_SECOND: f64 = (2 << 20) as f64;
/// How long nothing is sent while there is nothing new: then an event without records.
const QUIET: Duration = Duration::from_secs(5);
/// How often a subscription without new records looks whether its shard and its consumer are still there.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// SubscribeToShard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SubscribeRequest {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    shard_id: Option<String>,
    starting_position: Option<StartingPosition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartingPosition {
    r#type: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
}

/// What an event has behind its records.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rest {
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_sequence_number: Option<String>,
    millis_behind_latest: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<Child>>,
}

/// Answers SubscribeToShard.
pub async fn subscribe(context: &Context, request: SubscribeRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("consumerARN", &request.consumer_arn);
    checks.required("shardId", &request.shard_id);
    checks.name("shardId", request.shard_id.as_deref());
    checks.required("startingPosition", &request.starting_position);
    if let Some(position) = &request.starting_position {
        checks.required("startingPosition.type", &position.r#type);
        checks.word("startingPosition.type", position.r#type.as_deref(), TYPES);
        checks.sequence("startingPosition.sequenceNumber", position.sequence_number.as_deref());
    }
    checks.done()?;
    let (stream, consumer) = context.consumer_of(&request.consumer_arn.unwrap_or_default())?;
    let topic = context.usable(&stream)?;
    if context.status_since(consumer.created_ms) != Status::Active {
        return Err(Fault::in_use(format!(
            "Consumer {} with creation timestamp {} under stream {stream} and account {} is not in ACTIVE status.",
            consumer.name,
            consumer.created_ms / 1000,
            context.account()
        )));
    }
    let shard = context.shard_to_read(&topic, request.shard_id.as_deref().unwrap_or_default())?;
    let position = request.starting_position.map(|position| Position {
        kind: position.r#type.unwrap_or_default(),
        number: position.sequence_number,
        time: position.timestamp,
    });
    let position = position.ok_or_else(|| Fault::argument("StartingPosition must be given."))?;
    let next = start(context, &topic, shard, &position).await?;
    let subscriber = Subscriber {
        topic: topic.topic.id,
        consumer: consumer.name.clone(),
        created_ms: consumer.created_ms,
        shard,
    };
    let taken = streams::subscribe(&context.core, subscriber).await;
    let taken = taken.map_err(|e| match e {
        StreamError::Subscribed => Fault::in_use(format!(
            "Another active subscription exists for this consumer: {}:{stream}:{}:{}",
            context.account(),
            shard_id(shard),
            consumer.name
        )),
        other => context.refused(&stream, other),
    })?;
    let (events, body) = Body::coming();
    let topic = topic.topic.id;
    let free_at = Instant::now();
    let context = context.clone();
    let subscription = Subscription { context, topic, shard, consumer, next, sent: None, free_at };
    tokio::task::spawn_local(subscription.run(events, taken));
    Ok(Answer::Events(body))
}

/// A subscription while it lives.
struct Subscription {
    context: Context,
    topic: Uuid,
    shard: usize,
    consumer: Consumer,
    /// The offset to be read next.
    next: u64,
    /// When the last event was sent.
    sent: Option<Instant>,
    /// Nothing is read before this time.
    free_at: Instant,
}

impl Subscription {
    async fn run(mut self, events: mpsc::Sender<Bytes>, mut taken: oneshot::Receiver<()>) {
        let core = Rc::clone(&self.context.core);
        let format = self.context.format;
        let end = Instant::now() + Duration::from_millis(core.config.kinesis_subscription_ms);
        // It ends with the client, and so does the next one that is sent.
        if events.send(event::event("initial-response", format, &empty(format))).await.is_err() {
            return;
        }
        loop {
            let stop = core.stop.notified();
            if core.stopping.get() {
                return;
            }
            let step = tokio::select! {
                biased;
                _ = &mut taken => Err(Fault::in_use("Another subscription of this consumer to this shard has begun.")),
                () = events.closed() => return,
                () = stop => return,
                () = sleep_until(end) => return,
                step = self.next_event() => step,
            };
            let (event, last) = match step {
                Ok(step) => step,
                Err(fault) => (event::exception(&fault, format), true),
            };
            if events.send(event).await.is_err() || last {
                return;
            }
            self.sent = Some(Instant::now());
        }
    }

    /// The next event, and whether it is the last one.
    async fn next_event(&mut self) -> Result<(Bytes, bool), Fault> {
        sleep_until(self.free_at).await;
        loop {
            let topic = self.context.core.topics.borrow().get(TopicKey::Id(self.topic)).cloned();
            let topic = topic.ok_or_else(|| Fault::not_found("The stream was deleted."))?;
            let stream = topic.stream();
            if !stream.consumers.contains(&self.consumer) || self.shard >= stream.shards.len() {
                return Err(Fault::not_found("The consumer was deregistered."));
            }
            let found = read(&self.context, &topic, self.shard, self.next, ROOM).await?;
            let due = self.sent.is_none_or(|sent| sent.elapsed() >= QUIET);
            if found.page.count() > 0 || found.ended || due {
                self.next = found.next;
                if self.context.core.config.kinesis_throttle {
                    // A consumer has a rate of its own, which holds it up and refuses nothing.
                    self.free_at = self.free_at.max(Instant::now()) + time_of(found.page.bytes());
                }
                return Ok(self.event(found, stream));
            }
            let seen = [Found { high_watermark: found.tip, ..Found::default() }];
            drop(found);
            let route = topic.route(self.shard as i32).map_err(ReadRefused::from);
            let wanted = [Wanted { route, offset: self.next, bytes_max: 1 }];
            wait_for_more(&self.context.core, &wanted, &seen, Instant::now() + LOOK_EVERY).await;
        }
    }

    fn event(&self, found: Read, stream: &streams::Stream) -> (Bytes, bool) {
        let numbers = Numbers::of(stream.shards[self.shard].created_s, self.shard as u32);
        let ended = found.ended;
        let rest = Rest {
            continuation_sequence_number: (!ended).then(|| numbers.before_offset(found.next)),
            millis_behind_latest: found.behind_ms(),
            child_shards: ended.then(|| children(stream, self.shard)),
        };
        let body = found.page.finish(&rest);
        (event::event("SubscribeToShardEvent", self.context.format, &body), ended)
    }
}

/// How long so many bytes take at the rate of a consumer.
fn time_of(bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND)
}

/// A body without fields.
fn empty(format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode(&BTreeMap::<String, String>::new(), &mut out);
    out
}
