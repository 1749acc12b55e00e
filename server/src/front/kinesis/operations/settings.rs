//! What is set for a stream: retention, tags, mode, size of records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::wire::{List, Tags};
use crate::service::settings::names::RETENTION_MS;
use crate::service::streams::{self, StreamError};
use crate::service::topics::LocalTopic;

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;

/// The mode of a stream.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mode {
    /// PROVISIONED or ON_DEMAND.
    pub stream_mode: Option<String>,
}

/// The words of a mode.
pub const MODES: &[&str] = &["PROVISIONED", "ON_DEMAND"];

/// Hours that records of a topic are kept, as the protocol has them.
pub fn retention_hours(topic: &LocalTopic) -> i64 {
    let ms = topic.log.retention_ms.and_then(|ms| i64::try_from(ms).ok());
    ms.map_or(8760, |ms| (ms / HOUR_MS).max(1))
}

/// Most tags of a stream.
pub const TAGS_MAX: usize = 50;

/// Checks tags of a request.
pub fn check_tags(tags: &Tags) -> Result<(), Fault> {
    let mut checks = Checks::default();
    checks.items("tags", tags.count, 1, 200);
    for (key, value) in &tags.kept {
        checks.length("tags.key", key, 1, 128);
        checks.length("tags.value", value, 0, 256);
    }
    checks.done()?;
    if tags.count > TAGS_MAX {
        return Err(Fault::argument(format!("a stream has at most {TAGS_MAX} tags")));
    }
    Ok(())
}

/// Increase- and DecreaseStreamRetentionPeriod.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RetentionRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    retention_period_hours: Option<i64>,
}

/// Answers IncreaseStreamRetentionPeriod.
pub async fn increase_retention(context: &Context, request: RetentionRequest) -> Outcome {
    set_retention(context, request, true).await
}

/// Answers DecreaseStreamRetentionPeriod.
pub async fn decrease_retention(context: &Context, request: RetentionRequest) -> Outcome {
    set_retention(context, request, false).await
}

async fn set_retention(context: &Context, request: RetentionRequest, up: bool) -> Outcome {
    let mut checks = Checks::default();
    checks.required("retentionPeriodHours", &request.retention_period_hours);
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.find(&name)?;
    let (hours, has) = (request.retention_period_hours.unwrap_or_default(), retention_hours(&topic));
    if !(24..=8760).contains(&hours) {
        let (bound, at, far) = if hours < 24 { ("Minimum", 24, "short") } else { ("Maximum", 8760, "long") };
        return Err(Fault::argument(format!(
            "{bound} allowed retention period is {at} hours. Requested retention period ({hours} hours) is too {far}."
        )));
    }
    let (wrong, how, other) =
        if up { (hours < has, "shorter", "Decrease") } else { (hours > has, "longer", "Increase") };
    if wrong {
        return Err(Fault::argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be {how} than existing retention \
             period ({has} hours). Use {other}RetentionPeriod API."
        )));
    }
    let changed = streams::change(&context.core, name.clone(), move |_, configs| {
        configs.insert(RETENTION_MS.to_owned(), (hours * HOUR_MS).to_string());
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// AddTagsToStream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    tags: Option<Tags>,
}

/// Answers AddTagsToStream.
pub async fn add_tags(context: &Context, request: AddTagsRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("tags", &request.tags);
    checks.done()?;
    let tags = request.tags.unwrap_or_default();
    check_tags(&tags)?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        stream.tags.extend(tags.kept);
        if stream.tags.len() > TAGS_MAX {
            return Err(StreamError::TooManyTags(TAGS_MAX));
        }
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// RemoveTagsFromStream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RemoveTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    tag_keys: Option<List<String, 51>>,
}

/// Answers RemoveTagsFromStream.
pub async fn remove_tags(context: &Context, request: RemoveTagsRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("tagKeys", &request.tag_keys);
    checks.items("tagKeys", request.tag_keys.as_ref().map_or(1, |keys| keys.count), 1, 50);
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let keys = request.tag_keys.map(|keys| keys.kept).unwrap_or_default();
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        stream.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// ListTagsForStream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    exclusive_start_tag_key: Option<String>,
    limit: Option<i64>,
}

/// A tag as it is told.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListedTags {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

/// Answers ListTagsForStream.
pub async fn list_tags(context: &Context, request: ListTagsRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.range("limit", request.limit, 1, 50);
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let topic = context.find(&name)?;
    let tags: &BTreeMap<String, String> = &topic.stream().tags;
    let after = request.exclusive_start_tag_key;
    let mut rest = tags.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
    let most = request.limit.unwrap_or(50) as usize;
    let page = rest.by_ref().take(most);
    let tags = page.map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
    context.answer(&ListedTags { tags, has_more_tags: rest.next().is_some() })
}

/// UpdateStreamMode.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ModeRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_mode_details: Option<Mode>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mib: Option<i64>,
}

/// Answers UpdateStreamMode.
pub async fn update_mode(context: &Context, request: ModeRequest) -> Outcome {
    let mut checks = Checks::default();
    let mode = request.stream_mode_details.and_then(|details| details.stream_mode);
    checks.required("streamARN", &request.stream_arn);
    checks.required("streamModeDetails.streamMode", &mode);
    checks.word("streamModeDetails.streamMode", mode.as_deref(), MODES);
    let warm = warm_mib(&mut checks, request.warm_mib);
    checks.done()?;
    let name = context.name(None, request.stream_arn.as_deref())?;
    let on_demand = mode.as_deref() == Some(MODES[1]);
    if warm.is_some() && !on_demand {
        return Err(not_on_demand(context, &name));
    }
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        stream.on_demand = on_demand;
        stream.warm_mib = if on_demand { warm.or(stream.warm_mib) } else { None };
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// UpdateMaxRecordSize.
#[derive(Debug, Deserialize)]
pub struct RecordSizeRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
}

/// Answers UpdateMaxRecordSize.
pub async fn update_record_size(context: &Context, request: RecordSizeRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("maxRecordSizeInKiB", &request.max_record_size_in_kib);
    checks.range("maxRecordSizeInKiB", request.max_record_size_in_kib, 1024, 10_240);
    checks.done()?;
    let name = context.name(None, request.stream_arn.as_deref())?;
    let kib = request.max_record_size_in_kib.unwrap_or(1024) as u32;
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        stream.record_kib_max = kib;
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// Most MiB/s that a stream is asked to be ready for.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateStreamWarmThroughput.html>
const WARM_MIB_MAX: i64 = 10 * 1024;

/// Checks a warm throughput of a request.
pub fn warm_mib(checks: &mut Checks, given: Option<i64>) -> Option<u32> {
    checks.range("warmThroughputMiBps", given, 0, WARM_MIB_MAX);
    given.and_then(|mib| u32::try_from(mib).ok())
}

/// A stream in provisioned mode has no warm throughput.
pub fn not_on_demand(context: &Context, name: &str) -> Fault {
    Fault::validation(format!(
        "Request is invalid. Stream {name} under account {} is not in On-Demand mode.",
        context.account()
    ))
}

/// A warm throughput as it is told.
#[derive(Serialize)]
pub struct Warm {
    #[serde(rename = "TargetMiBps")]
    target: u32,
    #[serde(rename = "CurrentMiBps")]
    current: u32,
}

impl Warm {
    /// The one that was asked for: it is there at once.
    pub fn of(mib: u32) -> Self {
        Self { target: mib, current: mib }
    }
}

/// UpdateStreamWarmThroughput.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WarmRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mib: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Warmed {
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_name: String,
    warm_throughput: Warm,
}

/// Answers UpdateStreamWarmThroughput: the number is kept; the server is as fast as it can be in any case.
pub async fn update_warm(context: &Context, request: WarmRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("warmThroughputMiBps", &request.warm_mib);
    let warm = warm_mib(&mut checks, request.warm_mib);
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    if !context.find(&name)?.stream().on_demand {
        return Err(not_on_demand(context, &name));
    }
    let mib = warm.unwrap_or_default();
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        stream.warm_mib = Some(mib);
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    context.answer(&Warmed {
        stream_arn: context.arn(&name),
        stream_name: name,
        warm_throughput: Warm::of(mib),
    })
}
