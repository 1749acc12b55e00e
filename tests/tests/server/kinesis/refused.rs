//! What is refused: error types and texts that clients know, and nothing is stored or changed.

use keylane_tests::e2e::kinesis::{AUTHORIZATION, JSON};
use serde_json::{Value, json};

use super::Bench;

const SHARD: &str = "shardId-000000000000";

#[test]
fn each_error_has_its_type_and_text() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    client.create("two", 2).unwrap();
    let record = |key: &str| json!({"PartitionKey": key, "Data": "eA=="});
    let put = |key: &str| json!({"StreamName": "s", "PartitionKey": key, "Data": "eA=="});
    let one = |more: Value| {
        let mut request = json!({"StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "LATEST"});
        more.as_object().unwrap().iter().for_each(|(name, value)| request[name] = value.clone());
        request
    };
    let cases: Vec<(&str, Value, &str, &str)> = vec![
        (
            "DescribeStream",
            json!({"StreamName": "no"}),
            "ResourceNotFoundException",
            "Stream no under account 123456789012 not found.",
        ),
        (
            "CreateStream",
            json!({"StreamName": "s", "ShardCount": 1}),
            "ResourceInUseException",
            "Stream s under account 123456789012 already exists.",
        ),
        (
            "CreateStream",
            json!({"StreamName": "a b", "ShardCount": 1}),
            "ValidationException",
            "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy \
          regular expression pattern: [a-zA-Z0-9_.-]+",
        ),
        (
            "CreateStream",
            json!({"StreamName": "new", "ShardCount": 0}),
            "ValidationException",
            "greater than or equal to 1",
        ),
        ("CreateStream", json!({"StreamName": "new"}), "InvalidArgumentException", "ShardCount"),
        ("PutRecord", put(""), "ValidationException", "length greater than or equal to 1"),
        ("PutRecord", put(&"k".repeat(257)), "ValidationException", "length less than or equal to 256"),
        (
            "PutRecord",
            json!({"StreamName": "s", "PartitionKey": "k"}),
            "ValidationException",
            "Value null at 'data' failed to satisfy constraint: Member must not be null",
        ),
        (
            "PutRecord",
            json!({"StreamName": "s", "PartitionKey": "k", "Data": "***"}),
            "SerializationException",
            "",
        ),
        (
            "PutRecord",
            json!({"StreamName": "s", "PartitionKey": 7, "Data": "eA=="}),
            "SerializationException",
            "",
        ),
        ("PutRecords", json!({"StreamName": "s", "Records": []}), "ValidationException", "'records'"),
        (
            "PutRecords",
            json!({"StreamName": "s", "Records": vec![record("k"); 501]}),
            "ValidationException",
            "length less than or equal to 500",
        ),
        (
            "PutRecords",
            json!({"StreamName": "s", "Records":
            [record("k"), {"PartitionKey": "k", "Data": "eA==", "ExplicitHashKey": "abc"}]}),
            "ValidationException",
            "'records.2.member.explicitHashKey'",
        ),
        (
            "PutRecord",
            json!({"StreamName": "s", "PartitionKey": "k", "Data": "eA==",
            "ExplicitHashKey": "340282366920938463463374607431768211456"}),
            "InvalidArgumentException",
            "ExplicitHashKey",
        ),
        (
            "GetShardIterator",
            one(json!({"ShardId": "shardId-000000000009"})),
            "ResourceNotFoundException",
            "shardId-000000000009 in stream s under account 123456789012 does not exist",
        ),
        (
            "GetShardIterator",
            one(json!({"ShardIteratorType": "NOW"})),
            "ValidationException",
            "enum value set",
        ),
        (
            "GetShardIterator",
            one(json!({"ShardIteratorType": "AT_TIMESTAMP"})),
            "InvalidArgumentException",
            "Current request has no timestamp parameter.",
        ),
        (
            "GetShardIterator",
            one(json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER"})),
            "InvalidArgumentException",
            "Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber.",
        ),
        (
            "GetShardIterator",
            one(json!({"StartingSequenceNumber": "7"})),
            "InvalidArgumentException",
            "Request specified LATEST and also a StartingSequenceNumber.",
        ),
        (
            "GetShardIterator",
            one(json!({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"})),
            "InvalidArgumentException",
            "StartingSequenceNumber 7 used in GetShardIterator on shard shardId-000000000000 in stream s under account \
             123456789012 is invalid.",
        ),
        (
            "GetRecords",
            json!({"ShardIterator": "AAAA"}),
            "InvalidArgumentException",
            "Invalid ShardIterator.",
        ),
        ("GetRecords", json!({"ShardIterator": "AAAA", "Limit": 10_001}), "ValidationException", "10000"),
        ("ListShards", json!({"NextToken": "AAAA"}), "InvalidArgumentException", "Invalid NextToken"),
        ("ListStreams", json!({"NextToken": "AAAA"}), "InvalidArgumentException", "Invalid NextToken"),
        (
            "SplitShard",
            json!({"StreamName": "s", "ShardToSplit": SHARD, "NewStartingHashKey": "1"}),
            "InvalidArgumentException",
            "NewStartingHashKey 1 used in SplitShard() on shard shardId-000000000000 in stream s under account 123456789012 \
             is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey \
             340282366920938463463374607431768211455.",
        ),
        (
            "MergeShards",
            json!({"StreamName": "two", "ShardToMerge": SHARD, "AdjacentShardToMerge": SHARD}),
            "InvalidArgumentException",
            "Shards shardId-000000000000 and shardId-000000000000 in stream two under account 123456789012 are not an adjacent \
             pair of shards eligible for merging",
        ),
        (
            "IncreaseStreamRetentionPeriod",
            json!({"StreamName": "s", "RetentionPeriodHours": 23}),
            "InvalidArgumentException",
            "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short.",
        ),
        (
            "DecreaseStreamRetentionPeriod",
            json!({"StreamName": "s", "RetentionPeriodHours": 48}),
            "InvalidArgumentException",
            "Requested retention period (48 hours) for stream s can not be longer than existing retention period (24 hours). \
             Use IncreaseRetentionPeriod API.",
        ),
        (
            "DescribeStreamSummary",
            json!({"StreamARN": "arn:aws:kinesis:eu-west-1:210987654321:stream/s"}),
            "ResourceNotFoundException",
            "",
        ),
        ("DescribeStreamSummary", json!({}), "InvalidArgumentException", ""),
        ("MakeCoffee", json!({}), "UnknownOperationException", ""),
    ];
    let mut wrong = Vec::new();
    for (operation, request, kind, part) in &cases {
        let shown: String = request.to_string().chars().take(200).collect();
        let (got, text) =
            client.refused(operation, request).unwrap_or_else(|e| (String::new(), format!("{e:#}")));
        if got != *kind || !text.contains(part) {
            wrong.push(format!("{operation} {shown}: {got} {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(client.read_all("s", SHARD).unwrap().is_empty(), "what was refused is not stored");
    bench.finish();
}

#[test]
fn limits_of_bytes_hold_to_the_byte() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    let fits = vec![0; (1 << 20) - 1];
    client.put("s", "k", &fits).unwrap();
    let over = client.put("s", "kk", &fits).unwrap_err().to_string();
    assert!(over.contains("ValidationException") && over.contains("1048576"), "{over}");
    // 10 MiB with keys and not a byte more: the data of a record is 1 MiB without its key.
    let entry = |key: &str| {
        use base64::Engine as _;
        json!({"PartitionKey": key, "Data": base64::engine::general_purpose::STANDARD.encode(&fits)})
    };
    let ten = json!({"StreamName": "s", "Records": vec![entry("k"); 10]});
    let put = client.call("PutRecords", &ten).unwrap();
    assert_eq!(put["FailedRecordCount"], 0);
    let mut records = vec![entry("k"); 10];
    records.push(json!({"PartitionKey": "k", "Data": ""}));
    let (kind, text) = client.refused("PutRecords", &json!({"StreamName": "s", "Records": records})).unwrap();
    assert_eq!((&*kind, &*text), ("InvalidArgumentException", "Records size exceeds 10 MB limit"));
    assert_eq!(client.read_all("s", SHARD).unwrap().len(), 11);
    bench.finish();
}

#[test]
fn requests_without_what_they_need_are_told_so() {
    let bench = Bench::start();
    let mut client = bench.client();
    let target = ("X-Amz-Target", "Kinesis_20131202.ListStreams");
    let (json, auth) = (("Content-Type", JSON), ("Authorization", AUTHORIZATION));
    let answer = client.post(&[target, json], b"{}").unwrap();
    assert_eq!((answer.status, &*answer.fault().unwrap().0), (400, "MissingAuthenticationTokenException"));
    for target in ["Kinesis_20131202.", "DynamoDB_20120810.ListTables", "ListStreams", ""] {
        let answer = client.post(&[("X-Amz-Target", target), json, auth], b"{}").unwrap();
        assert_eq!(answer.fault().unwrap().0, "UnknownOperationException", "{target}");
    }
    let answer = client.post(&[target, auth, ("Content-Type", "text/xml")], b"<a/>").unwrap();
    assert_eq!((answer.status, &*answer.fault().unwrap().0), (404, "UnknownOperationException"));
    // Every answer has an id, errors too; the name of the text of this one begins with a capital.
    let answer = client.post(&[target, json, auth], b"{").unwrap();
    assert_eq!((answer.status, &*answer.fault().unwrap().0), (400, "SerializationException"));
    assert!(answer.header("x-amzn-requestid").is_some_and(|id| id.len() == 36));
    assert!(String::from_utf8(answer.body).unwrap().contains("\"Message\""));
    let answer = client.post(&[target, json, auth], b"").unwrap();
    assert_eq!(answer.status, 200, "an empty body is one without fields");
    bench.finish();
}
