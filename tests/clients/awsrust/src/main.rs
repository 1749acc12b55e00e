//! Keylane through the AWS SDK for Rust.

use std::collections::HashMap;
use std::env;
use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::client::Waiters;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{Credentials, Region};
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, Record, ShardFilter, ShardFilterType, ShardIteratorType, StartingPosition,
    SubscribeToShardEventStream,
};
use aws_sdk_kinesis::{Client, Config};

const FIRST: &str = "shardId-000000000000";

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn equal<T: PartialEq + Debug>(got: T, wanted: T, what: &str) -> Outcome {
    if got == wanted { Ok(()) } else { Err(format!("{what}: got {got:?}, wanted {wanted:?}").into()) }
}

fn client() -> Client {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} must be set"));
    let keys = Credentials::new(
        variable("AWS_ACCESS_KEY_ID"),
        variable("AWS_SECRET_ACCESS_KEY"),
        None,
        None,
        "environment",
    );
    let config = Config::builder()
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(variable("AWS_ENDPOINT_URL"))
        .region(Region::new(variable("AWS_REGION")))
        .credentials_provider(keys)
        // One try each: an error that is hidden by a second try is an error.
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

async fn stream(client: &Client, name: &str, shards: i32) -> Outcome<String> {
    let second = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let name = format!("rust-{name}-{}-{second}", std::process::id());
    client.create_stream().stream_name(&name).shard_count(shards).send().await?;
    client.wait_until_stream_exists().stream_name(&name).wait(Duration::from_secs(30)).await?;
    Ok(name)
}

async fn put(client: &Client, name: &str, key: &str) -> Outcome<String> {
    let put = client.put_record().stream_name(name).partition_key(key).data(Blob::new("a record"));
    Ok(put.send().await?.sequence_number)
}

/// Where a reader begins.
#[derive(Default)]
struct From {
    number: Option<String>,
    time: Option<DateTime>,
}

/// All records of a shard, and the shards behind its end.
async fn read(
    client: &Client,
    name: &str,
    shard: &str,
    kind: ShardIteratorType,
    from: From,
) -> Outcome<(Vec<Record>, Vec<String>)> {
    let at = client.get_shard_iterator().stream_name(name).shard_id(shard).shard_iterator_type(kind);
    let at = at.set_starting_sequence_number(from.number).set_timestamp(from.time);
    let (mut at, mut records) = (at.send().await?.shard_iterator, Vec::new());
    loop {
        let answer = client.get_records().set_shard_iterator(at).limit(37).send().await?;
        let empty = answer.records.is_empty();
        records.extend(answer.records);
        at = answer.next_shard_iterator;
        if at.is_none() || (empty && answer.millis_behind_latest == Some(0)) {
            let children = answer.child_shards.unwrap_or_default();
            return Ok((records, children.into_iter().map(|child| child.shard_id).collect()));
        }
    }
}

async fn streams(client: Client) -> Outcome {
    let name = stream(&client, "life", 3).await?;
    let told = client
        .describe_stream()
        .stream_name(&name)
        .send()
        .await?
        .stream_description
        .ok_or("no description")?;
    let third = (u128::MAX / 3).to_string();
    equal(
        told.shards[1].hash_key_range.as_ref().map(|range| range.starting_hash_key.clone()),
        Some(third),
        "a hash range",
    )?;
    let mut pages = client.list_streams().into_paginator().page_size(1).send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        names.extend(page?.stream_names);
    }
    equal(names.contains(&name), true, "the stream in all pages")?;
    client.add_tags_to_stream().stream_name(&name).tags("a", "b").send().await?;
    equal(client.list_tags_for_stream().stream_name(&name).send().await?.tags.len(), 1, "tags")?;
    client.increase_stream_retention_period().stream_name(&name).retention_period_hours(48).send().await?;
    let summary = client.describe_stream_summary().stream_arn(told.stream_arn).send().await?;
    let summary = summary.stream_description_summary.ok_or("no summary")?;
    equal((summary.retention_period_hours, summary.open_shard_count), (48, 3), "summary")?;
    client.delete_stream().stream_name(&name).send().await?;
    client.wait_until_stream_not_exists().stream_name(&name).wait(Duration::from_secs(30)).await?;
    Ok(())
}

async fn put_and_get(client: Client) -> Outcome {
    let name = stream(&client, "records", 4).await?;
    let entry = |n: usize| {
        let data = format!("record {n} ").repeat(n % 50);
        PutRecordsRequestEntry::builder()
            .partition_key(format!("key-{}", n % 10))
            .data(Blob::new(data))
            .build()
    };
    let sent = (0..300).map(entry).collect::<Result<Vec<_>, _>>()?;
    let put = client.put_records().stream_name(&name).set_records(Some(sent.clone())).send().await?;
    equal(put.failed_record_count, Some(0), "failed")?;
    let mut wanted: HashMap<String, Vec<_>> = HashMap::new();
    for (record, sent) in put.records.into_iter().zip(sent) {
        let row = (record.sequence_number.unwrap_or_default(), sent.partition_key, sent.data);
        wanted.entry(record.shard_id.unwrap_or_default()).or_default().push(row);
    }
    for shard in client.list_shards().stream_name(&name).send().await?.shards.unwrap_or_default() {
        let (got, _) =
            read(&client, &name, &shard.shard_id, ShardIteratorType::TrimHorizon, From::default()).await?;
        let got: Vec<_> = got.into_iter().map(|r| (r.sequence_number, r.partition_key, r.data)).collect();
        equal(got, wanted.remove(&shard.shard_id).unwrap_or_default(), &shard.shard_id)?;
    }
    Ok(())
}

async fn iterators(client: Client) -> Outcome {
    let name = stream(&client, "iterators", 1).await?;
    let mut numbers = Vec::new();
    for _ in 0..10 {
        numbers.push(put(&client, &name, "k").await?);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (all, _) = read(&client, &name, FIRST, ShardIteratorType::TrimHorizon, From::default()).await?;
    let number = Some(numbers[4].clone());
    let kinds = [
        (ShardIteratorType::TrimHorizon, From::default(), 0),
        (ShardIteratorType::Latest, From::default(), 10),
        (ShardIteratorType::AtSequenceNumber, From { number: number.clone(), time: None }, 4),
        (ShardIteratorType::AfterSequenceNumber, From { number, time: None }, 5),
        (
            ShardIteratorType::AtTimestamp,
            From { number: None, time: all[6].approximate_arrival_timestamp },
            6,
        ),
    ];
    for (kind, from, first) in kinds {
        let (got, _) = read(&client, &name, FIRST, kind.clone(), from).await?;
        let got: Vec<String> = got.into_iter().map(|record| record.sequence_number).collect();
        equal(got, numbers[first..].to_vec(), kind.as_str())?;
    }
    Ok(())
}

async fn reshard(client: Client) -> Outcome {
    let name = stream(&client, "reshard", 1).await?;
    put(&client, &name, "k").await?;
    let middle = (1u128 << 127).to_string();
    client
        .split_shard()
        .stream_name(&name)
        .shard_to_split(FIRST)
        .new_starting_hash_key(middle)
        .send()
        .await?;
    put(&client, &name, "k").await?;
    let (records, children) =
        read(&client, &name, FIRST, ShardIteratorType::TrimHorizon, From::default()).await?;
    equal(records.len(), 1, "the parent's records")?;
    equal(
        children.clone(),
        ["shardId-000000000001", "shardId-000000000002"].map(str::to_owned).to_vec(),
        "children",
    )?;
    let merge = client.merge_shards().stream_name(&name).shard_to_merge(&children[0]);
    merge.adjacent_shard_to_merge(&children[1]).send().await?;
    let filter = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build()?;
    let open =
        client.list_shards().stream_name(&name).shard_filter(filter).send().await?.shards.unwrap_or_default();
    let parents: Vec<_> = open.into_iter().map(|s| (s.parent_shard_id, s.adjacent_parent_shard_id)).collect();
    equal(
        parents,
        vec![(Some(children[0].clone()), Some(children[1].clone()))],
        "parents of the merged shard",
    )
}

/// Keys of a subscription until there are `count`, and where it goes on.
async fn subscribed(
    client: &Client,
    consumer: &str,
    from: StartingPosition,
    count: usize,
) -> Outcome<(Vec<String>, String)> {
    let late = SystemTime::now() + Duration::from_secs(10);
    let mut answer = loop {
        let call = client
            .subscribe_to_shard()
            .consumer_arn(consumer)
            .shard_id(FIRST)
            .starting_position(from.clone());
        match call.send().await {
            // Tries again for as long as the subscription before may live.
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception())
                    && SystemTime::now() < late =>
            {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            other => break other?,
        }
    };
    let mut keys = Vec::new();
    while let Some(event) = answer.event_stream.recv().await? {
        if let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event {
            keys.extend(event.records.into_iter().filter_map(|record| record.partition_key));
            if keys.len() >= count {
                return Ok((keys, event.continuation_sequence_number));
            }
        }
    }
    Err(format!("the subscription ended after {} records", keys.len()).into())
}

async fn subscribe(client: Client) -> Outcome {
    let name = stream(&client, "pushed", 1).await?;
    let told = client.describe_stream_summary().stream_name(&name).send().await?;
    let arn = told.stream_description_summary.ok_or("no summary")?.stream_arn;
    let consumer = client.register_stream_consumer().stream_arn(&arn).consumer_name("app").send().await?;
    let consumer = consumer.consumer.ok_or("no consumer")?.consumer_arn;
    let mut got = Vec::new();
    let mut from = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon).build()?;
    for first in [0, 20] {
        for n in first..first + 20 {
            put(&client, &name, &n.to_string()).await?;
        }
        let (keys, next) = subscribed(&client, &consumer, from, 20).await?;
        got.extend(keys);
        from = StartingPosition::builder()
            .r#type(ShardIteratorType::AfterSequenceNumber)
            .sequence_number(next)
            .build()?;
    }
    equal(got, (0..40).map(|n| n.to_string()).collect(), "records of two subscriptions")?;
    client.deregister_stream_consumer().consumer_arn(&consumer).send().await?;
    equal(client.list_stream_consumers().stream_arn(&arn).send().await?.consumers().len(), 0, "consumers")
}

async fn errors(client: Client) -> Outcome {
    let name = stream(&client, "errors", 1).await?;
    let unknown = client
        .describe_stream()
        .stream_name("nobody")
        .send()
        .await
        .err()
        .ok_or("described")?
        .into_service_error();
    equal(unknown.is_resource_not_found_exception(), true, "ResourceNotFoundException")?;
    equal(unknown.message(), Some("Stream nobody under account 123456789012 not found."), "text")?;
    let taken =
        client.create_stream().stream_name(&name).shard_count(1).send().await.err().ok_or("created")?;
    equal(taken.into_service_error().is_resource_in_use_exception(), true, "ResourceInUseException")?;
    let forged =
        client.get_records().shard_iterator("AAAA").send().await.err().ok_or("read")?.into_service_error();
    equal(forged.is_invalid_argument_exception(), true, "InvalidArgumentException")?;
    let put = client
        .put_record()
        .stream_name(&name)
        .partition_key("k")
        .data(Blob::new("x"))
        .explicit_hash_key("abc");
    equal(
        put.send().await.err().ok_or("put")?.into_service_error().code(),
        Some("ValidationException"),
        "code",
    )
}

async fn cell(feature: &str, body: impl Future<Output = Outcome>) {
    let outcome = tokio::time::timeout(Duration::from_secs(60), body).await.map_err(Into::into).flatten();
    let (result, why) = match outcome {
        Ok(()) => ("yes", String::new()),
        Err(error) => ("no", format!("{error:?}").chars().take(400).collect()),
    };
    print(feature, result, why);
}

/// A cell of docs/compatibility.md.
fn print(feature: &str, result: &str, why: String) {
    let version = aws_sdk_kinesis::meta::PKG_VERSION;
    let mut made = serde_json::json!({
        "section": "kinesis", "client": "AWS SDK for Rust", "version": version, "feature": feature, "result": result, "hand": true,
    });
    if !why.is_empty() {
        made["why"] = why.into();
    }
    println!("cell {made}");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let client = client();
    cell("streams", streams(client.clone())).await;
    cell("put and get", put_and_get(client.clone())).await;
    cell("iterators", iterators(client.clone())).await;
    cell("reshard", reshard(client.clone())).await;
    cell("subscribe", subscribe(client.clone())).await;
    cell("errors", errors(client)).await;
    print("aggregated records", "none", String::new());
    println!("done");
}
