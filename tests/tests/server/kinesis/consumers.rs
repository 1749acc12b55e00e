//! Registered consumers, and subscriptions to shards: every record once, in order, from where the last event ended.

use std::time::{Duration, Instant};

use keylane_tests::e2e::kinesis::{Events, Kinesis, text};
use serde_json::{Value, json};

use super::Bench;

const SHARD: &str = "shardId-000000000000";
const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";

/// A server with a stream of one shard, and the ARN of a consumer of it.
fn start(change: impl FnOnce(&mut keylane::ServerConfig)) -> (Bench, Kinesis, String) {
    let bench = Bench::start_with(change);
    let mut client = bench.client();
    client.create("s", 1).expect("a stream");
    let arn = register(&mut client, "app");
    (bench, client, arn)
}

fn register(client: &mut Kinesis, name: &str) -> String {
    let request = json!({"StreamARN": ARN, "ConsumerName": name});
    let told = client.call("RegisterStreamConsumer", &request).expect("a consumer");
    text(&told["Consumer"]["ConsumerARN"]).expect("an ARN")
}

fn put(client: &mut Kinesis, from: u8, to: u8) {
    (from..to).for_each(|n| drop(client.put("s", "k", &[n]).expect("an ack")));
}

fn numbers(from: u8, to: u8) -> Vec<Vec<u8>> {
    (from..to).map(|n| vec![n]).collect()
}

/// Subscribes as soon as the server has noticed that the subscription before is gone.
fn again(bench: &Bench, arn: &str, position: &Value) -> Events {
    let end = Instant::now() + Duration::from_secs(4);
    loop {
        match bench.client().subscribe(arn, SHARD, position) {
            Ok(events) => return events,
            Err(e) => assert!(Instant::now() < end, "{e:#}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn consumers_are_registered_listed_and_removed() {
    let (bench, mut client, arn) = start(|_| {});
    let names: Vec<String> = (0..19).map(|n| format!("consumer-{n:02}")).collect();
    names.iter().for_each(|name| drop(register(&mut client, name)));
    let more = json!({"StreamARN": ARN, "ConsumerName": "one-more"});
    assert_eq!(client.refused("RegisterStreamConsumer", &more).unwrap().0, "LimitExceededException");
    let same = json!({"StreamARN": ARN, "ConsumerName": "app"});
    assert_eq!(client.refused("RegisterStreamConsumer", &same).unwrap().0, "ResourceInUseException");
    let described = client.call("DescribeStreamConsumer", &json!({"ConsumerARN": arn})).unwrap();
    let described = &described["ConsumerDescription"];
    assert_eq!((&described["ConsumerStatus"], &described["StreamARN"]), (&json!("ACTIVE"), &json!(ARN)));
    assert_eq!(client.call("DescribeStreamConsumer", &same).unwrap()["ConsumerDescription"], *described);
    let (mut listed, mut request) = (Vec::new(), json!({"StreamARN": ARN, "MaxResults": 7}));
    loop {
        let page = client.call("ListStreamConsumers", &request).unwrap();
        let names = page["Consumers"].as_array().unwrap().iter().map(|c| text(&c["ConsumerName"]).unwrap());
        listed.extend(names);
        let Some(token) = page["NextToken"].as_str() else { break };
        request["NextToken"] = json!(token);
    }
    assert_eq!(listed, ["app".to_owned()].into_iter().chain(names).collect::<Vec<_>>());
    let (kind, _) = client.refused("DeleteStream", &json!({"StreamName": "s"})).unwrap();
    assert_eq!(kind, "ResourceInUseException", "it has consumers");
    client.call("DeregisterStreamConsumer", &json!({"ConsumerARN": arn})).unwrap();
    for operation in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
        let (kind, _) = client.refused(operation, &json!({"ConsumerARN": arn})).unwrap();
        assert_eq!(kind, "ResourceNotFoundException", "{operation}");
    }
    client.call("DeleteStream", &json!({"StreamName": "s", "EnforceConsumerDeletion": true})).unwrap();
    bench.finish();
}

#[test]
fn records_are_pushed_and_a_new_subscription_goes_on_without_a_gap_or_a_repeat() {
    let (bench, mut client, arn) = start(|_| {});
    // From the beginning of an empty shard, and with records that come while nobody is subscribed.
    let mut events = bench.client().subscribe(&arn, SHARD, &json!({"Type": "TRIM_HORIZON"})).unwrap();
    let (none, mut number) = events.records(0).unwrap();
    assert!(none.is_empty());
    drop(events);
    put(&mut client, 0, 10);
    for (kind, from) in [("AT_SEQUENCE_NUMBER", 0), ("AFTER_SEQUENCE_NUMBER", 20), ("AT_SEQUENCE_NUMBER", 40)]
    {
        let mut events = again(&bench, &arn, &json!({"Type": kind, "SequenceNumber": number}));
        put(&mut client, from + 10, from + 20);
        let (data, next) = events.records(20).unwrap();
        assert_eq!(data, numbers(from, from + 20), "{kind}");
        number = next;
        drop(events);
        put(&mut client, from + 20, from + 30);
    }
    // The number of a record itself: at it, and after it.
    let third = text(&client.records(&client_iterator(&bench), 3).unwrap().1["Records"][2]["SequenceNumber"])
        .unwrap();
    for (kind, first) in [("AT_SEQUENCE_NUMBER", 2), ("AFTER_SEQUENCE_NUMBER", 3)] {
        let mut events = again(&bench, &arn, &json!({"Type": kind, "SequenceNumber": third}));
        assert_eq!(events.records(5).unwrap().0[0], [first], "{kind}");
    }
    bench.finish();
}

fn client_iterator(bench: &Bench) -> String {
    bench.client().iterator("s", SHARD, "TRIM_HORIZON", &Value::Null).expect("an iterator")
}

#[test]
fn a_consumer_has_one_subscription_to_a_shard_and_a_later_one_takes_over() {
    let (bench, mut client, arn) = start(|_| {});
    let latest = json!({"Type": "LATEST"});
    let mut first = bench.client().subscribe(&arn, SHARD, &latest).unwrap();
    let refused = bench.client().subscribe(&arn, SHARD, &latest).err().unwrap().to_string();
    assert!(refused.contains("ResourceInUseException"), "{refused}");
    let other = register(&mut client, "other");
    let mut beside = bench.client().subscribe(&other, SHARD, &latest).unwrap();
    std::thread::sleep(Duration::from_millis(5_050));
    let mut second = bench.client().subscribe(&arn, SHARD, &latest).unwrap();
    put(&mut client, 0, 3);
    // Nothing new for five seconds: an event without records was sent.
    let mut quiet = 0;
    let last = loop {
        let event = first.event().unwrap().expect("an exception before the end");
        if event.kind != "SubscribeToShardEvent" {
            break event;
        }
        assert!(event.data().unwrap().is_empty());
        quiet += 1;
    };
    assert_eq!((&*last.kind, quiet), ("ResourceInUseException", 2));
    assert!(first.event().unwrap().is_none());
    for events in [&mut beside, &mut second] {
        assert_eq!(events.records(3).unwrap().0, numbers(0, 3));
    }
    bench.finish();
}

#[test]
fn a_subscription_ends_with_its_time_its_shard_its_consumer_and_the_server() {
    let (bench, _client, arn) = start(|config| config.kinesis_subscription_ms = 700);
    let horizon = json!({"Type": "TRIM_HORIZON"});
    let begun = Instant::now();
    let mut events = bench.client().subscribe(&arn, SHARD, &horizon).unwrap();
    while events.event().unwrap().is_some() {}
    assert!((700..60_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    bench.finish();
    // Subscriptions of five minutes, as by default.
    let (bench, mut client, arn) = start(|_| {});
    let other = register(&mut client, "other");
    let mut events = bench.client().subscribe(&other, SHARD, &horizon).unwrap();
    client.call("DeregisterStreamConsumer", &json!({"ConsumerARN": other})).unwrap();
    let last = std::iter::from_fn(|| events.event().unwrap()).last().unwrap();
    assert_eq!(last.kind, "ResourceNotFoundException");
    put(&mut client, 0, 3);
    let middle = "170141183460469231731687303715884105728";
    let mut events = bench.client().subscribe(&arn, SHARD, &horizon).unwrap();
    let split = json!({"StreamName": "s", "ShardToSplit": SHARD, "NewStartingHashKey": middle});
    client.call("SplitShard", &split).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| events.event().unwrap()).collect();
    let last = &all.last().unwrap().body;
    assert_eq!(last["ContinuationSequenceNumber"], Value::Null);
    assert_eq!(last["ChildShards"][1]["ShardId"], "shardId-000000000002");
    assert_eq!(all.iter().flat_map(|event| event.data().unwrap()).collect::<Vec<_>>(), numbers(0, 3));
    let mut events = bench.client().subscribe(&arn, "shardId-000000000001", &horizon).unwrap();
    let begun = Instant::now();
    bench.finish();
    while let Ok(Some(_)) = events.event() {}
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}: a stop waits for no subscription",
        begun.elapsed()
    );
}

/// Over HTTP/1.1 the end of a client drops what is done for it. A reshard that was dropped between the end of the parents and
/// the write of the catalog would leave shards that take no more records and have no children.
#[test]
fn a_client_that_hangs_up_leaves_no_half_of_a_reshard() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    for n in 0..60u32 {
        let count = if n % 2 == 0 { 2 } else { 1 };
        let body = json!({"StreamName": "s", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"})
            .to_string();
        let headers = [
            ("X-Amz-Target", "Kinesis_20131202.UpdateShardCount"),
            ("Content-Type", keylane_tests::e2e::kinesis::JSON),
            ("Authorization", keylane_tests::e2e::kinesis::AUTHORIZATION),
        ];
        let mut gone = bench.client();
        gone.ask(&headers, body.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_micros(u64::from(n) * 40));
        drop(gone);
        put(&mut client, 0, 2);
    }
    let shards = client.shards("s").unwrap().len();
    assert!(shards > 3, "{shards} shards: nearly no reshard was begun, the test is not valid");
    bench.finish();
}
