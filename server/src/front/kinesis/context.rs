//! What an operation knows of its request and of the server.

use std::rc::Rc;

use serde::Serialize;

use crate::core::Core;
use crate::runtime::clock::now_ms;
use crate::service::streams::{Consumer, Stream, StreamError};
use crate::service::topics::{LocalTopic, TopicKey, is_internal};

use super::answer::{Answer, Outcome};
use super::check::{Checks, pattern};
use super::fault::Fault;
use super::format::Format;
use super::kept::is_kept;
use super::names::{parse_arn, shard_id, shard_of, stream_arn};
use super::token::Tokens;

/// One request's view of the server.
#[derive(Clone)]
pub struct Context {
    /// The core that took it.
    pub core: Rc<Core>,
    /// Tokens of this directory.
    pub tokens: Rc<Tokens>,
    /// The format of its bodies.
    pub format: Format,
    /// The region that the client's credentials name.
    pub region: String,
}

/// The state of a stream, as the protocol names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is not used yet.
    Creating,
    /// It is in use.
    Active,
    /// It is not used any more.
    Deleting,
}

impl Status {
    /// The protocol's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }
}

impl Context {
    /// The account that streams belong to.
    pub fn account(&self) -> &str {
        &self.core.config.kinesis_account
    }

    /// A value as answer.
    pub fn answer<T: Serialize>(&self, value: &T) -> Outcome {
        Ok(Answer::of(self.format, value))
    }

    /// The stream that a request names, by name or ARN.
    ///
    /// # Errors
    /// ValidationException, InvalidArgumentException.
    pub fn name(&self, name: Option<String>, arn: Option<&str>) -> Result<String, Fault> {
        let mut checks = Checks::default();
        checks.name("streamName", name.as_deref());
        checks.done()?;
        let by_arn = arn.map(|arn| parse_arn("streamARN", arn, self.account())).transpose()?;
        match (name, by_arn) {
            (Some(name), Some(named)) if named.stream != name => {
                Err(Fault::argument("StreamName and StreamARN name different streams."))
            }
            (Some(name), _) => Ok(name),
            (None, Some(named)) => Ok(named.stream.to_owned()),
            (None, None) => Err(Fault::argument("Either StreamName or StreamARN must be given.")),
        }
    }

    /// The ARN of a stream.
    pub fn arn(&self, name: &str) -> String {
        stream_arn(&self.region, self.account(), name)
    }

    /// The ARN of a consumer.
    pub fn consumer_arn(&self, stream: &str, consumer: &Consumer) -> String {
        format!("{}/consumer/{}:{}", self.arn(stream), consumer.name, consumer.created_ms / 1000)
    }

    /// The consumer that an ARN names, and its stream.
    ///
    /// # Errors
    /// ValidationException, ResourceNotFoundException.
    pub fn consumer_of(&self, arn: &str) -> Result<(String, Consumer), Fault> {
        let named = parse_arn("consumerARN", arn, self.account())?;
        let (name, second) = named.consumer.ok_or_else(|| {
            let mut checks = Checks::default();
            let rule = "^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+";
            checks.wrong("consumerARN", Some(arn), &pattern(rule));
            checks.done().err().unwrap_or_else(|| Fault::argument("no ARN of a consumer"))
        })?;
        let topic = self.find(named.stream)?;
        let mut all = topic.stream().consumers.iter();
        let found = all.find(|consumer| consumer.name == name && consumer.created_ms / 1000 == second);
        let found = found.cloned().ok_or_else(|| self.no_consumer(named.stream, name))?;
        Ok((named.stream.to_owned(), found))
    }

    /// There is no such consumer.
    pub fn no_consumer(&self, stream: &str, name: &str) -> Fault {
        let account = self.account();
        Fault::not_found(format!("Consumer {name} of stream {stream} under account {account} not found."))
    }

    /// A stream in any state.
    ///
    /// # Errors
    /// ResourceNotFoundException.
    pub fn find(&self, name: &str) -> Result<Rc<LocalTopic>, Fault> {
        let found = self.core.topics.borrow().get(TopicKey::Name(name)).cloned();
        found.filter(|topic| !is_internal(&topic.topic.name)).ok_or_else(|| self.no_stream(name))
    }

    /// A stream whose records can be written and read.
    ///
    /// # Errors
    /// ResourceNotFoundException.
    pub fn usable(&self, name: &str) -> Result<Rc<LocalTopic>, Fault> {
        let topic = self.find(name)?;
        if self.status(topic.stream()) == Status::Active { Ok(topic) } else { Err(self.no_stream(name)) }
    }

    /// A shard of a stream by its id, open or not. One whose records have all expired is gone.
    ///
    /// # Errors
    /// ResourceNotFoundException.
    pub fn shard_to_read(&self, topic: &LocalTopic, id: &str) -> Result<usize, Fault> {
        let shard = shard_of(id).filter(|shard| is_kept(topic, topic.stream().shards.get(*shard)));
        shard.ok_or_else(|| {
            let (name, account) = (&topic.topic.name, self.account());
            Fault::not_found(format!("Shard {id} in stream {name} under account {account} does not exist"))
        })
    }

    /// The state of a stream.
    pub fn status(&self, stream: &Stream) -> Status {
        if stream.deleting_ms.is_some() { Status::Deleting } else { self.status_since(stream.created_ms) }
    }

    /// The state of what was made at a time.
    pub fn status_since(&self, created_ms: i64) -> Status {
        let delay = i64::try_from(self.core.config.kinesis_delay_ms).unwrap_or(i64::MAX);
        let creating = delay > 0 && now_ms() < created_ms.saturating_add(delay);
        if creating { Status::Creating } else { Status::Active }
    }

    /// There is no such stream.
    pub fn no_stream(&self, name: &str) -> Fault {
        Fault::not_found(format!("Stream {name} under account {} not found.", self.account()))
    }

    /// There is no such shard.
    pub fn no_shard(&self, id: &str, name: &str) -> Fault {
        let account = self.account();
        Fault::not_found(format!("Could not find shard {id} in stream {name} under account {account}."))
    }

    /// A shard's rates do not allow more.
    pub fn too_fast(&self, shard: usize, name: &str) -> Fault {
        let (shard, account) = (shard_id(shard), self.account());
        Fault::throughput(format!(
            "Rate exceeded for shard {shard} in stream {name} under account {account}."
        ))
    }

    /// What the service refused, in the protocol's words.
    pub fn refused(&self, name: &str, error: StreamError) -> Fault {
        let account = self.account();
        match error {
            StreamError::Unknown => self.no_stream(name),
            StreamError::Exists => {
                Fault::in_use(format!("Stream {name} under account {account} already exists."))
            }
            StreamError::Deleting => Fault::in_use(format!(
                "Stream {name} under account {account} not ACTIVE, instead in state DELETING"
            )),
            StreamError::NoShard(shard) => self.no_shard(&shard_id(shard), name),
            StreamError::Ended(shard) => Fault::argument(format!(
                "Shard {} in stream {name} under account {account} has already been merged or split, and thus is not \
                 eligible for merging or splitting.",
                shard_id(shard)
            )),
            StreamError::NotAdjacent(one, other) => Fault::argument(format!(
                "Shards {} and {} in stream {name} under account {account} are not an adjacent pair of shards eligible \
                 for merging",
                shard_id(one),
                shard_id(other)
            )),
            StreamError::OnDemand => Fault::validation(format!(
                "Request is invalid. Stream {name} under account {account} is in On-Demand mode."
            )),
            StreamError::TooManyTags(most) => Fault::argument(format!(
                "Failed to add tags to stream {name} under account {account} because a given stream cannot have more \
                 than {most} tags associated with it."
            )),
            StreamError::Topic(topic) => topic.into(),
            StreamError::TooMany | StreamError::TooManyConsumers(_) => Fault::limit(error.to_string()),
            StreamError::ConsumerExists(consumer) => Fault::in_use(format!(
                "Consumer {consumer} of stream {name} under account {account} already exists."
            )),
            StreamError::NoConsumer(consumer) => self.no_consumer(name, &consumer),
            StreamError::HasConsumers => Fault::in_use(format!(
                "Stream {name} under account {account} has registered consumers: set EnforceConsumerDeletion to delete \
                 them with it."
            )),
            StreamError::Subscribed => Fault::in_use(error.to_string()),
            StreamError::Storage => Fault::internal(error.to_string()),
            other => Fault::argument(other.to_string()),
        }
    }
}
