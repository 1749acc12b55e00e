//! The operations that a load takes, as JSON.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::http::Connection;

/// How long a stream may take to become ACTIVE.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SHARD: &str = "shardId-";

/// What a server refuses with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Fault {
    #[serde(rename = "__type", default)]
    pub kind: String,
    #[serde(alias = "Message", default)]
    pub message: String,
}

impl Fault {
    pub fn read(status: u16, body: &[u8]) -> Self {
        let mut fault: Self = serde_json::from_slice(body).unwrap_or_default();
        // Some servers write a name space before the name.
        if let Some((_, name)) = fault.kind.split_once('#') {
            fault.kind = name.to_owned();
        }
        if fault.kind.is_empty() {
            fault.kind = format!("HTTP {status}");
        }
        fault
    }

    /// It was not done, because too much was asked for at once: it may be asked for again.
    pub fn is_too_fast(&self) -> bool {
        is_too_fast(&self.kind)
    }
}

/// See [`Fault::is_too_fast`].
pub fn is_too_fast(kind: &str) -> bool {
    matches!(
        kind,
        "ProvisionedThroughputExceededException" | "LimitExceededException" | "ThrottlingException"
    )
}

/// A shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub number: i32,
    /// The last hash of its range.
    pub last: u128,
    pub open: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedShard {
    shard_id: String,
    hash_key_range: ListedRange,
    sequence_number_range: ListedNumbers,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedRange {
    ending_hash_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNumbers {
    ending_sequence_number: Option<String>,
}

/// The number in the name of a shard.
pub fn shard_number(id: &str) -> Option<i32> {
    id.strip_prefix(SHARD)?.parse().ok()
}

/// The name of a shard.
pub fn shard_id(number: i32) -> String {
    format!("{SHARD}{number:012}")
}

/// One request; what is refused is an error.
pub fn ask<R: for<'de> Deserialize<'de>>(
    connection: &mut Connection,
    operation: &str,
    request: &impl Serialize,
) -> Result<R> {
    let body = serde_json::to_vec(request).context("a request as JSON")?;
    let (status, answer) = connection.call(operation, &body).with_context(|| operation.to_owned())?;
    if status != 200 {
        let Fault { kind, message } = Fault::read(status, answer);
        bail!("{operation}: {kind}: {message}");
    }
    // Some answers have no body.
    let answer = if answer.is_empty() { b"null" } else { answer };
    serde_json::from_slice(answer).with_context(|| format!("the answer to {operation}"))
}

/// Creates a stream and waits until it is ACTIVE; false: it was there.
pub fn create(connection: &mut Connection, stream: &str, shards: i32) -> Result<bool> {
    let request = json!({"StreamName": stream, "ShardCount": shards});
    let created: Result<serde_json::Value> = ask(connection, "CreateStream", &request);
    let created = match created {
        Ok(_) => true,
        Err(error) if error.to_string().contains("ResourceInUseException") => false,
        Err(error) => return Err(error),
    };
    let deadline = Instant::now() + ACTIVE_WITHIN;
    loop {
        let told: serde_json::Value =
            ask(connection, "DescribeStream", &json!({"StreamName": stream, "Limit": 1}))?;
        if told["StreamDescription"]["StreamStatus"] == "ACTIVE" {
            return Ok(created);
        }
        ensure!(Instant::now() < deadline, "stream {stream} does not become ACTIVE");
        std::thread::sleep(LOOK_EVERY);
    }
}

pub fn delete(connection: &mut Connection, stream: &str) -> Result<()> {
    ask::<serde_json::Value>(connection, "DeleteStream", &json!({"StreamName": stream})).map(drop)
}

/// All shards of a stream.
pub fn shards(connection: &mut Connection, stream: &str) -> Result<Vec<Shard>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Description {
        shards: Vec<ListedShard>,
        has_more_shards: bool,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Described {
        stream_description: Description,
    }
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut request = json!({"StreamName": stream});
        if let Some(after) = &after {
            request["ExclusiveStartShardId"] = json!(after);
        }
        let page = ask::<Described>(connection, "DescribeStream", &request)?.stream_description;
        after = page.shards.last().map(|shard| shard.shard_id.clone());
        for listed in page.shards {
            all.push(Shard {
                number: shard_number(&listed.shard_id)
                    .with_context(|| format!("shard {}", listed.shard_id))?,
                last: listed.hash_key_range.ending_hash_key.parse().context("the hash range of a shard")?,
                open: listed.sequence_number_range.ending_sequence_number.is_none(),
            });
        }
        if !page.has_more_shards || after.is_none() {
            return Ok(all);
        }
    }
}

/// An iterator for a position, as GetShardIterator takes it.
pub fn iterator(connection: &mut Connection, position: &serde_json::Value) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        shard_iterator: String,
    }
    Ok(ask::<Answer>(connection, "GetShardIterator", position)?.shard_iterator)
}

/// Puts one record; the number of its shard.
pub fn put(connection: &mut Connection, stream: &str, key: &str, data: &[u8]) -> Result<i32> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        shard_id: String,
    }
    let request = json!({"StreamName": stream, "PartitionKey": key, "Data": STANDARD.encode(data)});
    let shard = ask::<Answer>(connection, "PutRecord", &request)?.shard_id;
    shard_number(&shard).with_context(|| format!("shard {shard}"))
}

/// The data of all records that a shard has now.
pub fn read_all(connection: &mut Connection, stream: &str, shard: i32) -> Result<Vec<Vec<u8>>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Got {
        data: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        records: Vec<Got>,
        next_shard_iterator: Option<String>,
        millis_behind_latest: u64,
    }
    let position =
        json!({"StreamName": stream, "ShardId": shard_id(shard), "ShardIteratorType": "TRIM_HORIZON"});
    let (mut at, mut all) = (iterator(connection, &position)?, Vec::new());
    loop {
        let answer: Answer = ask(connection, "GetRecords", &json!({"ShardIterator": at}))?;
        let caught_up = answer.records.is_empty() && answer.millis_behind_latest == 0;
        for record in answer.records {
            all.push(STANDARD.decode(record.data).context("data in base64")?);
        }
        match answer.next_shard_iterator {
            Some(next) if !caught_up => at = next,
            _ => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_a_name() {
        let read = |body: &str| Fault::read(400, body.as_bytes()).kind;
        assert_eq!(
            read(r#"{"__type":"com.amazon#LimitExceededException","message":"x"}"#),
            "LimitExceededException"
        );
        assert_eq!(read(r#"{"__type":"SerializationException","Message":"x"}"#), "SerializationException");
        assert_eq!(read("<html>"), "HTTP 400");
    }

    #[test]
    fn shards_have_numbers() {
        assert_eq!(shard_id(3), "shardId-000000000003");
        assert_eq!(shard_number("shardId-000000000003"), Some(3));
        assert_eq!(shard_number("shard 3"), None);
    }
}
