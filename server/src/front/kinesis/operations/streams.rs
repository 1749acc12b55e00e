//! Streams are made, described, listed and deleted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::kept::kept;
use crate::front::kinesis::names::shard_of;
use crate::front::kinesis::wire::{Tags, Timestamp};
use crate::runtime::clock::now_ms;
use crate::service::streams::{self, Stream};
use crate::service::topics::{LocalTopic, is_internal};

use super::settings::{HOUR_MS, MODES, Mode, Warm, check_tags, not_on_demand, retention_hours, warm_mib};
use super::shards::{Told, told};

/// Hours that records of a new stream are kept.
const RETENTION_HOURS: i64 = 24;
/// Shards of a new stream whose number the server chooses.
const ON_DEMAND_SHARDS: usize = 4;
/// Most shards of a new stream.
const SHARDS_MAX: i64 = 10_000;
const KIND: u8 = 3;

fn mode(stream: &Stream) -> Mode {
    let word = if stream.on_demand { MODES[1] } else { MODES[0] };
    Mode { stream_mode: Some(word.to_owned()) }
}

/// CreateStream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateRequest {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<Mode>,
    tags: Option<Tags>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mib: Option<i64>,
}

/// Answers CreateStream.
pub async fn create(context: &Context, request: CreateRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("streamName", &request.stream_name);
    checks.name("streamName", request.stream_name.as_deref());
    checks.range("shardCount", request.shard_count, 1, i64::MAX);
    checks.range("maxRecordSizeInKiB", request.max_record_size_in_kib, 1024, 10_240);
    let mode = request.stream_mode_details.and_then(|details| details.stream_mode);
    checks.word("streamModeDetails.streamMode", mode.as_deref(), MODES);
    let warm = warm_mib(&mut checks, request.warm_mib);
    checks.done()?;
    if let Some(tags) = &request.tags {
        check_tags(tags)?;
    }
    let on_demand = mode.as_deref() == Some(MODES[1]);
    let shards = match (on_demand, request.shard_count) {
        (true, Some(_)) => {
            return Err(Fault::argument("ShardCount is not given for a stream in ON_DEMAND mode."));
        }
        (true, None) => ON_DEMAND_SHARDS,
        (false, None) => {
            return Err(Fault::argument("ShardCount is needed for a stream in PROVISIONED mode."));
        }
        (false, Some(count)) if count > SHARDS_MAX => {
            return Err(Fault::limit(format!("a stream has at most {SHARDS_MAX} shards when it is made")));
        }
        (false, Some(count)) => count as usize,
    };
    let name = request.stream_name.unwrap_or_default();
    if warm.is_some() && !on_demand {
        return Err(not_on_demand(context, &name));
    }
    let mut stream = Stream::new(shards, now_ms());
    stream.on_demand = on_demand;
    stream.warm_mib = warm;
    if let Some(kib) = request.max_record_size_in_kib {
        stream.record_kib_max = kib as u32;
    }
    stream.tags = request.tags.unwrap_or_default().kept.into_iter().collect();
    let made = streams::create(&context.core, name.clone(), stream, RETENTION_HOURS * HOUR_MS).await;
    made.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// A request that names a stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

/// DeleteStream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    enforce_consumer_deletion: Option<bool>,
}

/// Answers DeleteStream.
pub async fn delete(context: &Context, request: DeleteRequest) -> Outcome {
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    context.find(&name)?;
    let delay = Duration::from_millis(context.core.config.kinesis_delay_ms);
    let with_consumers = request.enforce_consumer_deletion.unwrap_or(false);
    let deleted = streams::delete(&context.core, name.clone(), with_consumers, delay).await;
    deleted.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metrics {
    shard_level_metrics: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: Mode,
    retention_period_hours: i64,
    stream_creation_timestamp: Timestamp,
    enhanced_monitoring: Vec<Metrics>,
    encryption_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Vec<Told>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_more_shards: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_shard_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer_count: Option<usize>,
    #[serde(rename = "MaxRecordSizeInKiB", skip_serializing_if = "Option::is_none")]
    max_record_size_in_kib: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_throughput: Option<Warm>,
}

fn described(context: &Context, name: &str, topic: &LocalTopic) -> Description {
    let stream = topic.stream();
    Description {
        stream_name: name.to_owned(),
        stream_arn: context.arn(name),
        stream_status: context.status(stream).word(),
        stream_mode_details: mode(stream),
        retention_period_hours: retention_hours(topic),
        stream_creation_timestamp: Timestamp(stream.created_ms),
        enhanced_monitoring: vec![Metrics { shard_level_metrics: stream.metrics.clone() }],
        encryption_type: if stream.encryption_key.is_some() { "KMS" } else { "NONE" },
        key_id: stream.encryption_key.clone(),
        shards: None,
        has_more_shards: None,
        open_shard_count: None,
        consumer_count: None,
        max_record_size_in_kib: None,
        warm_throughput: None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    stream_description: Description,
}

/// Answers DescribeStream.
pub async fn describe(context: &Context, request: DescribeRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.range("limit", request.limit, 1, 10_000);
    checks.name("exclusiveStartShardId", request.exclusive_start_shard_id.as_deref());
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.find(&name)?;
    let from = match &request.exclusive_start_shard_id {
        Some(id) => shard_of(id).ok_or_else(|| Fault::argument("Invalid ExclusiveStartShardId."))? + 1,
        None => 0,
    };
    let mut all = kept(&topic, topic.stream()).filter(|(n, _)| *n >= from);
    let most = request.limit.unwrap_or(100) as usize;
    let shards = all.by_ref().take(most).map(|(n, shard)| told(n, shard)).collect();
    let has_more_shards = Some(all.next().is_some());
    let stream_description =
        Description { shards: Some(shards), has_more_shards, ..described(context, &name, &topic) };
    context.answer(&Described { stream_description })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    stream_description_summary: Description,
}

/// Answers DescribeStreamSummary.
pub async fn summary(context: &Context, request: DescribeRequest) -> Outcome {
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.find(&name)?;
    let stream = topic.stream();
    let stream_description_summary = Description {
        open_shard_count: Some(stream.open_count()),
        consumer_count: Some(stream.consumers.len()),
        max_record_size_in_kib: Some(stream.record_kib_max),
        warm_throughput: stream.warm_mib.map(Warm::of),
        ..described(context, &name, &topic)
    };
    context.answer(&Summary { stream_description_summary })
}

/// ListStreams.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListRequest {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<Short>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Short {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: Mode,
    stream_creation_timestamp: Timestamp,
}

/// Answers ListStreams.
pub async fn list(context: &Context, request: ListRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.range("limit", request.limit, 1, 10_000);
    checks.name("exclusiveStartStreamName", request.exclusive_start_stream_name.as_deref());
    checks.done()?;
    let after = match &request.next_token {
        Some(token) => {
            let bytes = context.tokens.open(KIND, token);
            let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            Some(name.ok_or_else(|| Fault::argument("Invalid NextToken."))?)
        }
        None => request.exclusive_start_stream_name,
    };
    let most = request.limit.unwrap_or(100) as usize;
    let (names, has_more_streams) = {
        let topics = context.core.topics.borrow();
        let all = topics.all().map(|t| &t.topic.name).filter(|name| name.len() <= 128 && !is_internal(name));
        let mut names: Vec<&String> =
            all.filter(|name| after.as_ref().is_none_or(|after| *name > after)).collect();
        names.sort_unstable();
        let more = names.len() > most;
        (names.into_iter().take(most).cloned().collect::<Vec<_>>(), more)
    };
    let short = |name: &String| {
        let topic = context.find(name).ok()?;
        Some(Short {
            stream_name: name.clone(),
            stream_arn: context.arn(name),
            stream_status: context.status(topic.stream()).word(),
            stream_mode_details: mode(topic.stream()),
            stream_creation_timestamp: Timestamp(topic.stream().created_ms),
        })
    };
    let last = names.last().filter(|_| has_more_streams);
    let next_token = last.map(|name| context.tokens.seal(KIND, name.as_bytes()));
    let stream_summaries = names.iter().filter_map(short).collect();
    context.answer(&Listed { stream_names: names, has_more_streams, next_token, stream_summaries })
}

/// A request without fields.
#[derive(Debug, Deserialize)]
pub struct Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limits {
    shard_limit: usize,
    open_shard_count: usize,
    on_demand_stream_count: usize,
    on_demand_stream_count_limit: usize,
}

/// Answers DescribeLimits: what the protocol can say is the limit.
pub async fn limits(context: &Context, _: Nothing) -> Outcome {
    let topics = context.core.topics.borrow();
    let all = || topics.all().filter(|topic| !topic.internal).map(|topic| topic.stream());
    context.answer(&Limits {
        shard_limit: 1_000_000,
        open_shard_count: all().map(|stream| stream.open_count()).sum(),
        on_demand_stream_count: all().filter(|stream| stream.on_demand).count(),
        on_demand_stream_count_limit: 1_000_000,
    })
}
