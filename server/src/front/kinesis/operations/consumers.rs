//! Registered consumers: made, described, listed, removed.

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::names::parse_arn;
use crate::front::kinesis::wire::{Tags, Timestamp};
use crate::service::streams::{self, Consumer};

use super::settings::check_tags;

/// The kind of the token that goes on with a list of consumers.
const KIND: u8 = 4;
/// Consumers of a list, if a client does not say how many.
const LISTED: i64 = 100;

/// A consumer as it is told.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    consumer_creation_timestamp: Timestamp,
    #[serde(rename = "StreamARN", skip_serializing_if = "Option::is_none")]
    stream_arn: Option<String>,
}

fn told(context: &Context, stream: &str, consumer: &Consumer) -> Told {
    Told {
        consumer_name: consumer.name.clone(),
        consumer_arn: context.consumer_arn(stream, consumer),
        consumer_status: context.status_since(consumer.created_ms).word(),
        consumer_creation_timestamp: Timestamp(consumer.created_ms / 1000 * 1000),
        stream_arn: None,
    }
}

/// RegisterStreamConsumer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RegisterRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    tags: Option<Tags>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Registered {
    consumer: Told,
}

/// Answers RegisterStreamConsumer.
pub async fn register(context: &Context, request: RegisterRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("streamARN", &request.stream_arn);
    checks.required("consumerName", &request.consumer_name);
    checks.name("consumerName", request.consumer_name.as_deref());
    checks.done()?;
    if let Some(tags) = &request.tags {
        check_tags(tags)?;
    }
    let stream = context.name(None, request.stream_arn.as_deref())?;
    context.usable(&stream)?;
    let name = request.consumer_name.unwrap_or_default();
    let tags = request.tags.unwrap_or_default().kept.into_iter().collect();
    let made = streams::register(&context.core, stream.clone(), name, tags).await;
    let made = made.map_err(|e| context.refused(&stream, e))?;
    let consumer = Told { consumer_status: "CREATING", ..told(context, &stream, &made) };
    context.answer(&Registered { consumer })
}

/// A request that names a consumer: by its ARN, or by its stream's ARN and its name.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConsumerRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    consumer_name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
}

/// The consumer that a request names, and its stream.
fn find(context: &Context, request: ConsumerRequest) -> Result<(String, Consumer), Fault> {
    if let Some(arn) = &request.consumer_arn {
        return context.consumer_of(arn);
    }
    let mut checks = Checks::default();
    checks.name("consumerName", request.consumer_name.as_deref());
    checks.done()?;
    let (Some(arn), Some(name)) = (&request.stream_arn, request.consumer_name) else {
        return Err(Fault::argument("Either ConsumerARN, or StreamARN and ConsumerName must be given."));
    };
    let stream = parse_arn("streamARN", arn, context.account())?.stream.to_owned();
    let topic = context.find(&stream)?;
    let found = topic.stream().consumers.iter().find(|consumer| consumer.name == name).cloned();
    let found = found.ok_or_else(|| context.no_consumer(&stream, &name))?;
    Ok((stream, found))
}

/// Answers DeregisterStreamConsumer.
pub async fn deregister(context: &Context, request: ConsumerRequest) -> Outcome {
    let (stream, consumer) = find(context, request)?;
    let done = streams::deregister(&context.core, stream.clone(), consumer).await;
    done.map_err(|e| context.refused(&stream, e))?;
    Ok(Answer::Empty)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    consumer_description: Told,
}

/// Answers DescribeStreamConsumer.
pub async fn describe(context: &Context, request: ConsumerRequest) -> Outcome {
    let (stream, consumer) = find(context, request)?;
    let stream_arn = Some(context.arn(&stream));
    let consumer_description = Told { stream_arn, ..told(context, &stream, &consumer) };
    context.answer(&Described { consumer_description })
}

/// ListStreamConsumers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    consumers: Vec<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Answers ListStreamConsumers.
pub async fn list(context: &Context, request: ListRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("streamARN", &request.stream_arn);
    checks.range("maxResults", request.max_results, 1, 10_000);
    checks.done()?;
    let stream = context.name(None, request.stream_arn.as_deref())?;
    let topic = context.find(&stream)?;
    let after = match &request.next_token {
        Some(token) => {
            let name = context.tokens.open(KIND, token).and_then(|bytes| String::from_utf8(bytes).ok());
            Some(name.ok_or_else(|| Fault::argument("Invalid NextToken."))?)
        }
        None => None,
    };
    let mut all: Vec<&Consumer> = topic.stream().consumers.iter().collect();
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    all.retain(|consumer| after.as_ref().is_none_or(|after| consumer.name > *after));
    let most = request.max_results.unwrap_or(LISTED) as usize;
    let page = &all[..most.min(all.len())];
    let last = page.last().filter(|_| all.len() > most);
    let next_token = last.map(|consumer| context.tokens.seal(KIND, consumer.name.as_bytes()));
    let consumers = page.iter().map(|consumer| told(context, &stream, consumer)).collect();
    context.answer(&Listed { consumers, next_token })
}
