//! What is kept with a stream and told again, and has no effect here: encryption, shard-level metrics, policies; and the tags of streams
//! and consumers by their ARN.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::front::kinesis::answer::{Answer, Outcome};
use crate::front::kinesis::check::Checks;
use crate::front::kinesis::context::Context;
use crate::front::kinesis::fault::Fault;
use crate::front::kinesis::names::parse_arn;
use crate::front::kinesis::wire::{List, Tags};
use crate::service::streams::{self, Consumer, Stream, StreamError};

use super::settings::{TAGS_MAX, Tag, check_tags};
use super::streams::Nothing;

/// Bytes of a policy, at most.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>, for policies of resources.
const POLICY_BYTES_MAX: usize = 20 << 10;

/// Start- and StopStreamEncryption.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptionRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    encryption_type: Option<String>,
    key_id: Option<String>,
}

/// Answers StartStreamEncryption.
pub async fn start_encryption(context: &Context, request: EncryptionRequest) -> Outcome {
    set_encryption(context, request, true).await
}

/// Answers StopStreamEncryption.
pub async fn stop_encryption(context: &Context, request: EncryptionRequest) -> Outcome {
    set_encryption(context, request, false).await
}

async fn set_encryption(context: &Context, request: EncryptionRequest, on: bool) -> Outcome {
    let mut checks = Checks::default();
    checks.required("encryptionType", &request.encryption_type);
    checks.word("encryptionType", request.encryption_type.as_deref(), &["NONE", "KMS"]);
    checks.required("keyId", &request.key_id);
    if let Some(key) = &request.key_id {
        checks.length("keyId", key, 1, 2048);
    }
    checks.done()?;
    if request.encryption_type.as_deref() != Some("KMS") {
        return Err(Fault::argument("Encryption type NONE is not supported."));
    }
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let key = request.key_id.filter(|_| on);
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        stream.encryption_key = key;
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// The metrics of a shard; the last word stands for all.
const METRICS: &[&str] = &[
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
    "ALL",
];

/// Enable- and DisableEnhancedMonitoring.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MonitoringRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_level_metrics: Option<List<String, 8>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitored {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_level_metrics: Vec<String>,
    desired_shard_level_metrics: Vec<String>,
}

/// Answers EnableEnhancedMonitoring.
pub async fn enable_monitoring(context: &Context, request: MonitoringRequest) -> Outcome {
    set_monitoring(context, request, true).await
}

/// Answers DisableEnhancedMonitoring.
pub async fn disable_monitoring(context: &Context, request: MonitoringRequest) -> Outcome {
    set_monitoring(context, request, false).await
}

async fn set_monitoring(context: &Context, request: MonitoringRequest, on: bool) -> Outcome {
    let mut checks = Checks::default();
    checks.required("shardLevelMetrics", &request.shard_level_metrics);
    let (given, count) = request.shard_level_metrics.map_or((Vec::new(), 1), |list| (list.kept, list.count));
    checks.items("shardLevelMetrics", count, 1, 7);
    given.iter().for_each(|metric| checks.word("shardLevelMetrics", Some(metric), METRICS));
    checks.done()?;
    let name = context.name(request.stream_name, request.stream_arn.as_deref())?;
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        let before = stream.metrics.clone();
        let named = |metric: &&str| given.iter().any(|given| given == "ALL" || given == metric);
        let stays = |metric: &&str| {
            let has = before.iter().any(|before| before == metric);
            if on { has || named(metric) } else { has && !named(metric) }
        };
        let all = METRICS[..METRICS.len() - 1].iter().copied();
        stream.metrics = all.filter(stays).map(str::to_owned).collect();
        Ok((before, stream.metrics.clone()))
    });
    let (before, after) = changed.await.map_err(|e| context.refused(&name, e))?;
    context.answer(&Monitored {
        stream_arn: context.arn(&name),
        stream_name: name,
        current_shard_level_metrics: before,
        desired_shard_level_metrics: after,
    })
}

/// A request about a stream or a consumer, named by its ARN.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceRequest {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    tags: Option<Tags>,
    tag_keys: Option<List<String, 51>>,
    policy: Option<String>,
}

/// The stream of an ARN, and its consumer if it names one.
fn resource(context: &Context, arn: Option<&str>) -> Result<(String, Option<Consumer>), Fault> {
    let mut checks = Checks::default();
    checks.required("resourceARN", &arn);
    checks.done()?;
    let arn = arn.unwrap_or_default();
    if parse_arn("resourceARN", arn, context.account())?.consumer.is_some() {
        return context.consumer_of(arn).map(|(stream, consumer)| (stream, Some(consumer)));
    }
    let name = context.name(None, Some(arn))?;
    context.find(&name)?;
    Ok((name, None))
}

/// The tags of a stream, or of its consumer.
fn tags_of<'a>(
    stream: &'a mut Stream,
    consumer: Option<&Consumer>,
) -> Result<&'a mut BTreeMap<String, String>, StreamError> {
    let Some(wanted) = consumer else { return Ok(&mut stream.tags) };
    let same = |other: &&mut Consumer| other.name == wanted.name && other.created_ms == wanted.created_ms;
    let found = stream.consumers.iter_mut().find(same).map(|consumer| &mut consumer.tags);
    found.ok_or_else(|| StreamError::NoConsumer(wanted.name.clone()))
}

/// Answers TagResource.
pub async fn tag(context: &Context, request: ResourceRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("tags", &request.tags);
    checks.done()?;
    let tags = request.tags.unwrap_or_default();
    check_tags(&tags)?;
    let (name, consumer) = resource(context, request.resource_arn.as_deref())?;
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        let all = tags_of(stream, consumer.as_ref())?;
        all.extend(tags.kept);
        if all.len() > TAGS_MAX { Err(StreamError::TooManyTags(TAGS_MAX)) } else { Ok(()) }
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

/// Answers UntagResource.
pub async fn untag(context: &Context, request: ResourceRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("tagKeys", &request.tag_keys);
    checks.items("tagKeys", request.tag_keys.as_ref().map_or(1, |keys| keys.count), 1, 50);
    checks.done()?;
    let keys = request.tag_keys.map(|keys| keys.kept).unwrap_or_default();
    let (name, consumer) = resource(context, request.resource_arn.as_deref())?;
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        tags_of(stream, consumer.as_ref())?.retain(|key, _| !keys.contains(key));
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagsOfResource {
    tags: Vec<Tag>,
}

/// Answers ListTagsForResource.
pub async fn list_tags(context: &Context, request: ResourceRequest) -> Outcome {
    let (name, consumer) = resource(context, request.resource_arn.as_deref())?;
    let topic = context.find(&name)?;
    let tags = consumer.map_or_else(|| topic.stream().tags.clone(), |consumer| consumer.tags);
    let tags = tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
    context.answer(&TagsOfResource { tags })
}

/// Where the policy of a resource is kept: under the name of the consumer, or under none.
fn policy_key(consumer: Option<&Consumer>) -> String {
    consumer.map(|consumer| format!("{}:{}", consumer.name, consumer.created_ms)).unwrap_or_default()
}

/// Answers PutResourcePolicy.
pub async fn put_policy(context: &Context, request: ResourceRequest) -> Outcome {
    let mut checks = Checks::default();
    checks.required("policy", &request.policy);
    checks.done()?;
    let policy = request.policy.unwrap_or_default();
    let is_object = serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(&policy).is_ok();
    if policy.len() > POLICY_BYTES_MAX || !is_object {
        return Err(Fault::argument("Policy is a JSON object of at most 20,480 bytes."));
    }
    let (name, consumer) = resource(context, request.resource_arn.as_deref())?;
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        // Those of consumers that are gone are forgotten.
        let keys: Vec<String> = stream.consumers.iter().map(|consumer| policy_key(Some(consumer))).collect();
        stream.policies.retain(|key, _| key.is_empty() || keys.contains(key));
        stream.policies.insert(policy_key(consumer.as_ref()), policy);
        Ok(())
    });
    changed.await.map_err(|e| context.refused(&name, e))?;
    Ok(Answer::Empty)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyOfResource<'a> {
    policy: &'a str,
}

fn no_policy(name: &str) -> Fault {
    Fault::not_found(format!("No policy was put on stream {name} or its consumer."))
}

/// Answers GetResourcePolicy.
pub async fn get_policy(context: &Context, request: ResourceRequest) -> Outcome {
    let (name, consumer) = resource(context, request.resource_arn.as_deref())?;
    let topic = context.find(&name)?;
    let policy = topic.stream().policies.get(&policy_key(consumer.as_ref()));
    context.answer(&PolicyOfResource { policy: policy.ok_or_else(|| no_policy(&name))? })
}

/// Answers DeleteResourcePolicy.
pub async fn delete_policy(context: &Context, request: ResourceRequest) -> Outcome {
    let (name, consumer) = resource(context, request.resource_arn.as_deref())?;
    let changed = streams::change(&context.core, name.clone(), move |stream, _| {
        Ok(stream.policies.remove(&policy_key(consumer.as_ref())).is_some())
    });
    let had = changed.await.map_err(|e| context.refused(&name, e))?;
    if had { Ok(Answer::Empty) } else { Err(no_policy(&name)) }
}

/// UpdateAccountSettings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccountRequest {
    minimum_throughput_billing_commitment: Option<Commitment>,
}

/// Whether an account has promised to pay for a throughput.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Commitment {
    status: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    minimum_throughput_billing_commitment: Commitment,
}

/// Answers DescribeAccountSettings: nobody pays here, and so nobody has promised to.
pub async fn account(context: &Context, _: Nothing) -> Outcome {
    let status = Some("DISABLED".to_owned());
    context.answer(&Account { minimum_throughput_billing_commitment: Commitment { status } })
}

/// Answers UpdateAccountSettings: the only setting there is is the one that it has.
pub async fn update_account(context: &Context, request: AccountRequest) -> Outcome {
    let mut checks = Checks::default();
    let status = request.minimum_throughput_billing_commitment.and_then(|commitment| commitment.status);
    checks.required("minimumThroughputBillingCommitment.status", &status);
    checks.word("minimumThroughputBillingCommitment.status", status.as_deref(), &["ENABLED", "DISABLED"]);
    checks.done()?;
    if status.as_deref() == Some("ENABLED") {
        return Err(Fault::argument(
            "This server bills nothing: there is no commitment to a minimum throughput.",
        ));
    }
    account(context, Nothing {}).await
}
