//! Streams and shards: split, merged, counted, listed in pages; parents stay readable and lead to their children.

use std::time::{Duration, Instant};

use keylane_tests::e2e::batch::keyed;
use keylane_tests::e2e::client::Client;
use keylane_tests::e2e::kinesis::{Kinesis, text};
use serde_json::{Value, json};

use super::Bench;

const MIDDLE: &str = "170141183460469231731687303715884105728";
const QUARTER: &str = "85070591730234615865843651857942052864";
const POLICY_VIOLATION: i16 = 44;

fn id(shard: usize) -> String {
    format!("shardId-{shard:012}")
}

fn split(client: &mut Kinesis, shard: usize, at: &str) {
    let request = json!({"StreamName": "s", "ShardToSplit": id(shard), "NewStartingHashKey": at});
    client.call("SplitShard", &request).expect("a split");
}

fn put_at(client: &mut Kinesis, hash: &str, data: &str) -> String {
    let request = json!({"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": hash, "Data": data});
    text(&client.call("PutRecord", &request).expect("an ack")["ShardId"]).expect("a shard")
}

#[test]
fn a_split_and_a_merge_keep_every_record_in_order() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    for n in 0..10 {
        client.put("s", "k", format!("before {n}").as_bytes()).unwrap();
    }
    let open = client.iterator("s", &id(0), "LATEST", &Value::Null).unwrap();
    split(&mut client, 0, MIDDLE);
    assert_eq!(put_at(&mut client, "0", "MQ=="), id(1));
    assert_eq!(put_at(&mut client, MIDDLE, "Mg=="), id(2));
    // An iterator that was made before the split comes to the end, and leads to the children.
    let (records, answer) = client.records(&open, 10).unwrap();
    assert_eq!((records.len(), &answer["NextShardIterator"]), (0, &Value::Null));
    let children = answer["ChildShards"].as_array().unwrap();
    assert_eq!(children.iter().map(|c| text(&c["ShardId"]).unwrap()).collect::<Vec<_>>(), [id(1), id(2)]);
    assert_eq!(children[1]["ParentShards"], json!([id(0)]));
    assert_eq!(children[1]["HashKeyRange"]["StartingHashKey"], MIDDLE);
    assert_eq!(client.read_all("s", &id(0)).unwrap().len(), 10);

    let request = json!({"StreamName": "s", "ShardToMerge": id(1), "AdjacentShardToMerge": id(2)});
    client.call("MergeShards", &request).unwrap();
    assert_eq!(put_at(&mut client, MIDDLE, "Mw=="), id(3));
    let listed = client.call("ListShards", &json!({"StreamName": "s"})).unwrap();
    let shard = |n: usize| listed["Shards"][n].clone();
    assert_eq!(
        (&shard(3)["ParentShardId"], &shard(3)["AdjacentParentShardId"]),
        (&json!(id(1)), &json!(id(2)))
    );
    // Closed shards say where they ended, and children come after their parents.
    let range = |n: usize, field: &str| shard(n)["SequenceNumberRange"][field].as_str().map(str::to_owned);
    for n in 0..3 {
        assert!(range(n, "EndingSequenceNumber") < range(3, "StartingSequenceNumber"), "{listed}");
        let numbers: Vec<_> = client.read_all("s", &id(n)).unwrap().into_iter().map(|r| r.sequence).collect();
        assert!(numbers.is_sorted());
        assert!(numbers.iter().all(|number| Some(number) <= range(n, "EndingSequenceNumber").as_ref()));
    }
    assert_eq!(range(3, "EndingSequenceNumber"), None);
    // Reading on from the last record of a closed shard leads to its end.
    let last = client.read_all("s", &id(2)).unwrap().pop().unwrap().sequence;
    let after = json!({"StartingSequenceNumber": last});
    let after = client.iterator("s", &id(2), "AFTER_SEQUENCE_NUMBER", &after).unwrap();
    let (records, answer) = client.records(&after, 10).unwrap();
    assert_eq!((records.len(), &answer["ChildShards"][0]["ShardId"]), (0, &json!(id(3))));
    bench.finish();
}

/// While four clients put, the only shard is split and split again. No put fails, and each client's records are read in
/// its order when parents are read before their children.
#[test]
fn a_reshard_under_load_loses_no_order() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    let address = bench.address();
    let writers: Vec<_> = (0..4u32)
        .map(|writer| {
            std::thread::spawn(move || {
                let mut client = Kinesis::connect(address).unwrap();
                let end = Instant::now() + Duration::from_millis(600);
                let mut sent = 0u32;
                while Instant::now() < end {
                    client.put("s", &format!("writer {writer}"), &sent.to_be_bytes()).unwrap();
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(150));
    split(&mut client, 0, MIDDLE);
    std::thread::sleep(Duration::from_millis(150));
    split(&mut client, 1, QUARTER);
    let request = json!({"StreamName": "s", "ShardToMerge": id(2), "AdjacentShardToMerge": id(4)});
    client.call("MergeShards", &request).unwrap();
    let sent: Vec<u32> = writers.into_iter().map(|w| w.join().unwrap()).collect();
    // Shards are numbered in the order in which they were made.
    let mut next = [0u32; 4];
    let mut read = Vec::new();
    for shard in client.shards("s").unwrap() {
        let records = client.read_all("s", &shard).unwrap();
        read.push(records.len());
        for record in records {
            let writer: usize = record.key.strip_prefix("writer ").unwrap().parse().unwrap();
            assert_eq!(record.data, next[writer].to_be_bytes(), "{} in {shard}", record.key);
            next[writer] += 1;
        }
    }
    assert_eq!(next.to_vec(), sent);
    assert!(read[0] > 0 && read[1..].iter().sum::<usize>() > 0, "{read:?}: the test is not valid");
    bench.finish();
}

#[test]
fn the_number_of_shards_is_set_within_the_bounds_of_a_call() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 2).unwrap();
    let set = |count: usize| json!({"StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"});
    let told = client.call("UpdateShardCount", &set(3)).unwrap();
    assert_eq!((&told["CurrentShardCount"], &told["TargetShardCount"]), (&json!(2), &json!(3)));
    for (count, how) in [(7, "up over double"), (1, "down below half")] {
        let (kind, said) = client.refused("UpdateShardCount", &set(count)).unwrap();
        let wanted = format!(
            "UpdateShardCount cannot scale {how} your current open shard count. Current open shard count: 3 Target shard count: \
             {count}"
        );
        assert_eq!((&*kind, said), ("LimitExceededException", wanted));
    }
    let summary = client.call("DescribeStreamSummary", &json!({"StreamName": "s"})).unwrap();
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 3);
    let open = json!({"StreamName": "s", "ShardFilter": {"Type": "AT_LATEST"}});
    let listed = client.call("ListShards", &open).unwrap();
    let mut ranges: Vec<(u128, u128)> = listed["Shards"].as_array().unwrap().iter().map(hashes).collect();
    ranges.sort_unstable();
    assert_eq!((ranges.len(), ranges[0].0, ranges[2].1), (3, 0, u128::MAX));
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
    bench.finish();
}

fn hashes(shard: &Value) -> (u128, u128) {
    let number = |field: &str| {
        shard["HashKeyRange"][field].as_str().and_then(|hash| hash.parse().ok()).expect("a hash")
    };
    (number("StartingHashKey"), number("EndingHashKey"))
}

#[test]
fn lists_come_in_pages() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("many", 1000).unwrap();
    let names: Vec<String> = (0..7).map(|n| format!("list-{n}")).collect();
    names.iter().for_each(|name| client.create(name, 1).unwrap());
    let mut listed = Vec::new();
    let mut request = json!({"Limit": 3});
    loop {
        let page = client.call("ListStreams", &request).unwrap();
        listed.extend(page["StreamNames"].as_array().unwrap().iter().map(|n| text(n).unwrap()));
        assert_eq!(page["HasMoreStreams"], json!(page["NextToken"].is_string()), "{page}");
        let Some(token) = page["NextToken"].as_str() else { break };
        request = json!({"Limit": 3, "NextToken": token});
    }
    let expected: Vec<String> = names.into_iter().chain(["many".to_owned()]).collect();
    assert_eq!(listed, expected);
    let (mut count, mut request) = (0, json!({"StreamName": "many", "MaxResults": 333}));
    loop {
        let page = client.call("ListShards", &request).unwrap();
        count += page["Shards"].as_array().unwrap().len();
        let Some(token) = page["NextToken"].as_str() else { break };
        request = json!({"NextToken": token, "MaxResults": 333});
    }
    assert_eq!(count, 1000);
    let page = json!({"StreamName": "many", "ExclusiveStartShardId": id(998)});
    let described = client.call("DescribeStream", &page).unwrap();
    assert_eq!(described["StreamDescription"]["Shards"].as_array().unwrap().len(), 1);
    assert_eq!(described["StreamDescription"]["HasMoreShards"], false);
    bench.finish();
}

#[test]
fn a_stream_and_a_topic_are_two_views_of_one_log() {
    let bench = Bench::start();
    let (mut client, mut kafka) = (bench.client(), Client::connect(bench.server.kafka_addr()).unwrap());
    client.create("s", 1).unwrap();
    client.put("s", "kinesis", b"1").unwrap();
    kafka.append("s", 0, keyed(&[("kafka", Some("2".into())), ("kafka", Some("3".into()))])).unwrap();
    let read = client.read_all("s", &id(0)).unwrap();
    assert_eq!(
        read.iter().map(|r| (&*r.key, &*r.data)).collect::<Vec<_>>(),
        [("kinesis", &b"1"[..]), ("kafka", b"2"), ("kafka", b"3")]
    );
    assert!(read.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert_eq!(kafka.read_all("s", 0).unwrap(), ["1", "2", "3"]);
    // A shard that was split is a partition that has ended.
    split(&mut client, 0, MIDDLE);
    let refused = kafka.produce("s", 0, keyed(&[("kafka", Some("4".into()))])).unwrap();
    assert_eq!(refused.error_code, POLICY_VIOLATION);
    assert_eq!(kafka.append("s", 2, keyed(&[("kafka", Some("4".into()))])).unwrap(), 0);
    assert_eq!(client.read_all("s", &id(2)).unwrap().len(), 1);
    assert_eq!(kafka.read_all("s", 0).unwrap().len(), 3);
    // A topic that was made by Kafka's clients is a stream.
    assert_eq!(kafka.create_topic("topic", 2).unwrap(), 0);
    kafka.append("topic", 1, keyed(&[("k", Some("v".into()))])).unwrap();
    assert_eq!(client.read_all("topic", &id(1)).unwrap()[0].data, b"v");
    bench.finish();
}

#[test]
fn a_stream_takes_its_time_if_the_server_is_told_so() {
    let bench = Bench::start_with(|config| config.kinesis_delay_ms = 300);
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    let status = |client: &mut Kinesis| {
        let told = client.call("DescribeStreamSummary", &json!({"StreamName": "s"}));
        told.map(|told| text(&told["StreamDescriptionSummary"]["StreamStatus"]).unwrap()).ok()
    };
    assert_eq!(status(&mut client).as_deref(), Some("CREATING"));
    let (kind, _) =
        client.refused("PutRecord", &json!({"StreamName": "s", "PartitionKey": "k", "Data": ""})).unwrap();
    assert_eq!(kind, "ResourceNotFoundException");
    let wait = |client: &mut Kinesis, wanted: Option<&str>| {
        let end = Instant::now() + Duration::from_secs(10);
        while status(client).as_deref() != wanted {
            assert!(Instant::now() < end, "not {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait(&mut client, Some("ACTIVE"));
    client.put("s", "k", b"x").unwrap();
    client.call("DeleteStream", &json!({"StreamName": "s"})).unwrap();
    assert_eq!(status(&mut client).as_deref(), Some("DELETING"));
    let (kind, text) = client.refused("CreateStream", &json!({"StreamName": "s", "ShardCount": 1})).unwrap();
    assert_eq!(
        (&*kind, &*text),
        ("ResourceInUseException", "Stream s under account 123456789012 already exists.")
    );
    wait(&mut client, None);
    client.create("s", 1).unwrap();
    bench.finish();
}

#[test]
fn the_server_counts_the_shards_of_an_on_demand_stream() {
    let bench = Bench::start();
    let mut client = bench.client();
    let mode = json!({"StreamMode": "ON_DEMAND"});
    let made = json!({"StreamName": "s", "StreamModeDetails": mode, "WarmThroughputMiBps": 8});
    client.call("CreateStream", &made).unwrap();
    let refusals = [
        ("SplitShard", json!({"StreamName": "s", "ShardToSplit": id(0), "NewStartingHashKey": "5"})),
        ("MergeShards", json!({"StreamName": "s", "ShardToMerge": id(0), "AdjacentShardToMerge": id(1)})),
        (
            "UpdateShardCount",
            json!({"StreamName": "s", "TargetShardCount": 99, "ScalingType": "UNIFORM_SCALING"}),
        ),
    ];
    for (operation, request) in &refusals {
        let (kind, said) = client.refused(operation, request).unwrap();
        let wanted = "Request is invalid. Stream s under account 123456789012 is in On-Demand mode.";
        assert_eq!((&*kind, &*said), ("ValidationException", wanted), "{operation}");
    }
    let summary = |client: &mut Kinesis| {
        let told = client.call("DescribeStreamSummary", &json!({"StreamName": "s"})).unwrap();
        told["StreamDescriptionSummary"].clone()
    };
    assert_eq!(summary(&mut client)["WarmThroughput"], json!({"TargetMiBps": 8, "CurrentMiBps": 8}));
    let warm = |mib: i64| json!({"StreamName": "s", "WarmThroughputMiBps": mib});
    let told = client.call("UpdateStreamWarmThroughput", &warm(64)).unwrap();
    assert_eq!(told["WarmThroughput"]["TargetMiBps"], 64);
    assert_eq!(client.refused("UpdateStreamWarmThroughput", &warm(-1)).unwrap().0, "ValidationException");
    let arn = summary(&mut client)["StreamARN"].clone();
    let provisioned = json!({"StreamARN": arn, "StreamModeDetails": {"StreamMode": "PROVISIONED"}});
    client.call("UpdateStreamMode", &provisioned).unwrap();
    assert_eq!(summary(&mut client)["WarmThroughput"], Value::Null);
    assert_eq!(client.refused("UpdateStreamWarmThroughput", &warm(64)).unwrap().0, "ValidationException");
    split(&mut client, 0, "5");
    bench.finish();
}

/// Shards that had ended could be read for ever, although they were not listed any more.
#[test]
fn a_shard_that_ended_goes_with_its_last_record() {
    const RETENTION: Duration = Duration::from_millis(1500);
    let retention = RETENTION.as_millis().to_string();
    let bench =
        Bench::start_with(|config| config.topic_defaults = [("retention.ms".to_owned(), retention)].into());
    let mut client = bench.client();
    assert_eq!(Client::connect(bench.server.kafka_addr()).unwrap().create_topic("s", 1).unwrap(), 0);
    let begun = Instant::now();
    split(&mut client, 0, MIDDLE);
    let listed = |client: &mut Kinesis| {
        let told = client.call("ListShards", &json!({"StreamName": "s"})).unwrap();
        told["Shards"]
            .as_array()
            .unwrap()
            .iter()
            .map(|shard| text(&shard["ShardId"]).unwrap())
            .collect::<Vec<_>>()
    };
    let before = listed(&mut client);
    assert!(before.len() == 3 || begun.elapsed() > RETENTION, "{before:?}");
    std::thread::sleep(RETENTION);
    assert_eq!(listed(&mut client), [id(1), id(2)]);
    let of_parent = json!({"StreamName": "s", "ShardId": id(0), "ShardIteratorType": "TRIM_HORIZON"});
    let (kind, said) = client.refused("GetShardIterator", &of_parent).unwrap();
    let wanted = "Shard shardId-000000000000 in stream s under account 123456789012 does not exist";
    assert_eq!((&*kind, &*said), ("ResourceNotFoundException", wanted));
    assert!(client.read_all("s", &id(1)).unwrap().is_empty());
    bench.finish();
}
