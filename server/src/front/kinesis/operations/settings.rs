//! What is set for a stream: retention, tags, mode, size of records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::wire::{List, Tags};
use crate::service::settings::RETENTION_MS;
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
        return Err(Fault::argument(format!("Retention period of {hours} hours: it is 24 to 8760 hours")));
    }
    let (wrong, word) = if up { (hours < has, "longer") } else { (hours > has, "shorter") };
    if wrong {
        return Err(Fault::argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be {} than existing retention \
             period ({has} hours). Use the other operation to make it {word}.",
            if up { "shorter" } else { "longer" }
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
            return Err(StreamError::Refused("a stream has at most 50 tags"));
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
}

/// Answers UpdateStreamMode.
pub async fn update_mode(context: &Context, request: ModeRequest) -> Outcome {
    let mut checks = Checks::default();
    let mode = request.stream_mode_details.and_then(|details| details.stream_mode);
    checks.required("streamARN", &request.stream_arn);
    checks.required("streamModeDetails.streamMode", &mode);
    checks.word("streamModeDetails.streamMode", mode.as_deref(), MODES);
    checks.done()?;
    let name = context.name(None, request.stream_arn.as_deref())?;
    let on_demand = mode.as_deref() == Some(MODES[1]);
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        stream.on_demand = on_demand;
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
