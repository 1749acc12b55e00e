//! Proves over the wire what is promised of the settings of topics: they are checked, described with their
//! sources, changed while the server runs and on every core, and survive a restart and `kill -9`; records are
//! deleted by request and by age and nothing else is; a compacted topic takes no record without a key.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{
    AlterConfigsRequest, CreateTopicsRequest, DeleteRecordsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, alter_configs_request, incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;
use keylane::{ServerConfig, ServerHandle};
use keylane_tests::e2e::batch::{dated, keyed, keyless, numbered, single, stored, values};
use keylane_tests::e2e::client::{Client, name};
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::{config, scratch, two_cores};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const REQUEST_TIMED_OUT: i16 = 7;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const POLICY_VIOLATION: i16 = 44;
const INVALID_RECORD: i16 = 87;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Where a value comes from, as on the wire.
const OF_TOPIC: i8 = 1;
const OF_SERVER: i8 = 4;
const DEFAULT: i8 = 5;

/// Settings that have an effect, each with another value than the default.
const ALL: [(&str, &str); 17] = [
    ("cleanup.policy", "compact,delete"),
    ("compression.gzip.level", "3"),
    ("compression.lz4.level", "5"),
    ("compression.type", "uncompressed"),
    ("compression.zstd.level", "-7"),
    ("delete.retention.ms", "5000"),
    ("max.compaction.lag.ms", "900000"),
    ("max.message.bytes", "70000"),
    ("message.timestamp.after.max.ms", "60000"),
    ("message.timestamp.before.max.ms", "86400000"),
    ("message.timestamp.type", "LogAppendTime"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("min.compaction.lag.ms", "1000"),
    ("retention.bytes", "1000000000"),
    ("retention.ms", "3600000"),
    ("segment.bytes", "2000000"),
    ("segment.ms", "60000"),
];

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn start(config: ServerConfig) -> (ServerHandle, Client) {
    let server = keylane::start(config).expect("the server starts");
    let client = Client::connect(server.kafka_addr()).expect("the server listens");
    (server, client)
}

/// Creates a topic with settings; error code and message.
fn create(
    client: &mut Client,
    topic: &str,
    partitions: i32,
    pairs: &[(&str, &str)],
) -> Result<(i16, String)> {
    let pairs = pairs.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    let new = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(pairs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![new]).with_timeout_ms(10_000);
    let response = client.call(7, &request)?;
    let topic = response.topics.into_iter().next().context("no topic in the answer")?;
    Ok((topic.error_code, topic.error_message.unwrap_or_default().to_string()))
}

/// Values and sources of the settings of a resource, by name.
type Described = std::collections::BTreeMap<String, (String, i8)>;

fn describe(client: &mut Client, kind: i8, resource: &str) -> Result<Described> {
    let wanted =
        DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(resource));
    let wanted = wanted.with_configuration_keys(None);
    let response = client.call(4, &DescribeConfigsRequest::default().with_resources(vec![wanted]))?;
    let found = response.results.into_iter().next().context("no resource in the answer")?;
    ensure!(found.error_code == 0, "DescribeConfigs: error {}", found.error_code);
    let value = |v: Option<StrBytes>| v.unwrap_or_default().to_string();
    Ok(found.configs.into_iter().map(|c| (c.name.to_string(), (value(c.value), c.config_source))).collect())
}

/// Changes settings of a resource: name, operation, value; error code and message.
fn alter(
    client: &mut Client,
    resource: (i8, &str),
    changes: &[(&str, i8, Option<&str>)],
    validate_only: bool,
) -> Result<(i16, String)> {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let changes = changes.iter().map(|(name, operation, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(text(resource.1))
        .with_configs(changes.collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let response = client.call(1, &request)?;
    let done = response.responses.into_iter().next().context("no resource in the answer")?;
    Ok((done.error_code, done.error_message.unwrap_or_default().to_string()))
}

/// Replaces the settings of a topic; error code.
fn replace(client: &mut Client, topic: &str, pairs: &[(&str, &str)]) -> Result<i16> {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let pairs = pairs.iter();
    let pairs = pairs
        .map(|(name, value)| AlterableConfig::default().with_name(text(name)).with_value(Some(text(value))));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_configs(pairs.collect());
    let response = client.call(2, &AlterConfigsRequest::default().with_resources(vec![resource]))?;
    Ok(response.responses.first().context("no resource in the answer")?.error_code)
}

/// Deletes records: partition and offset of each; error code and low watermark of each.
fn delete_records(
    client: &mut Client,
    topic: &str,
    wanted: &[(i32, i64)],
    timeout_ms: i32,
) -> Result<Vec<(i16, i64)>> {
    let partitions = wanted.iter().map(|(partition, offset)| {
        DeleteRecordsPartition::default().with_partition_index(*partition).with_offset(*offset)
    });
    let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(partitions.collect());
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(timeout_ms);
    let response = client.call(2, &request)?;
    let topic = response.topics.first().context("no topic in the answer")?;
    let order: Vec<i32> = topic.partitions.iter().map(|p| p.partition_index).collect();
    ensure!(order.iter().eq(wanted.iter().map(|(partition, _)| partition)), "other partitions: {order:?}");
    Ok(topic.partitions.iter().map(|p| (p.error_code, p.low_watermark)).collect())
}

/// Offsets of everything that can be read from `from` on.
fn offsets_from(client: &mut Client, topic: &str, partition: i32, from: i64) -> Result<Vec<i64>> {
    let mut all = Vec::new();
    let mut next = from;
    loop {
        let found = client.fetch(topic, partition, next)?;
        ensure!(found.error_code == 0, "Fetch at {next}: error {}", found.error_code);
        let read = values(&found.records.unwrap_or_default())?;
        let Some((last, _)) = read.last() else { return Ok(all) };
        let after = last + 1;
        all.extend(read.iter().map(|(offset, _)| *offset).filter(|offset| *offset >= next));
        next = after;
    }
}

fn has_all(described: &Described) {
    for (name, value) in ALL {
        assert_eq!(described[name], (value.to_owned(), OF_TOPIC), "{name}");
    }
}

#[test]
fn settings_are_checked_and_described() {
    let dir = scratch(TMP, "settings-").unwrap();
    let defaults = [("retention.ms".to_owned(), "-1".to_owned())].into();
    let (_server, mut client) = start(ServerConfig { topic_defaults: defaults, ..config(dir.path()) });
    assert_eq!(create(&mut client, "all", 1, &ALL).unwrap().0, 0);
    has_all(&describe(&mut client, TOPIC, "all").unwrap());
    for (name, value) in [
        ("retention.ms", "-2"),
        ("retention.bytes", "many"),
        ("cleanup.policy", "shred"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("segment.ms", "0"),
        ("segment.bytes", "100"),
        ("max.compaction.lag.ms", "0"),
        ("no.such.thing", "1"),
    ] {
        let (code, message) = create(&mut client, "bad", 1, &[(name, value)]).unwrap();
        assert_eq!(code, INVALID_CONFIG, "{name}={value}");
        assert!(message.contains(name), "{message}");
    }
    assert!(!client.topics().unwrap().contains(&"bad".to_owned()));

    assert_eq!(create(&mut client, "plain", 1, &[]).unwrap().0, 0);
    let plain = describe(&mut client, TOPIC, "plain").unwrap();
    assert_eq!(plain["retention.ms"], ("-1".to_owned(), OF_SERVER));
    assert_eq!(plain["cleanup.policy"], ("delete".to_owned(), DEFAULT));
    assert_eq!(plain["retention.bytes"], ("-1".to_owned(), DEFAULT));
    let broker = describe(&mut client, BROKER, "0").unwrap();
    assert_eq!(broker["log.retention.ms"], ("-1".to_owned(), OF_SERVER));
    assert_eq!(broker["log.cleanup.policy"], ("delete".to_owned(), DEFAULT));
    assert_eq!(broker["log.cleaner.min.cleanable.ratio"], ("0.5".to_owned(), DEFAULT));
    assert!(broker.contains_key("log.retention.check.interval.ms"));
}

#[test]
fn settings_are_changed_while_the_server_runs() {
    let dir = scratch(TMP, "alter-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(create(&mut client, "t", 2, &[("segment.ms", "7000")]).unwrap().0, 0);
    let value = |client: &mut Client, name: &str| describe(client, TOPIC, "t").unwrap()[name].clone();
    let topic = (TOPIC, "t");

    let both = [("retention.ms", SET, Some("1000")), ("cleanup.policy", APPEND, Some("compact"))];
    assert_eq!(alter(&mut client, topic, &both, true).unwrap().0, 0);
    assert_eq!(value(&mut client, "retention.ms"), ("604800000".to_owned(), DEFAULT), "validated only");
    assert_eq!(alter(&mut client, topic, &both, false).unwrap().0, 0);
    assert_eq!(value(&mut client, "retention.ms"), ("1000".to_owned(), OF_TOPIC));
    assert_eq!(value(&mut client, "cleanup.policy"), ("delete,compact".to_owned(), OF_TOPIC));
    assert_eq!(value(&mut client, "segment.ms"), ("7000".to_owned(), OF_TOPIC), "not named, not changed");
    let less = [("retention.ms", DELETE, None), ("cleanup.policy", SUBTRACT, Some("delete"))];
    assert_eq!(alter(&mut client, topic, &less, false).unwrap().0, 0);
    assert_eq!(value(&mut client, "retention.ms"), ("604800000".to_owned(), DEFAULT));
    assert_eq!(value(&mut client, "cleanup.policy"), ("compact".to_owned(), OF_TOPIC));

    // All or nothing.
    let mixed = [("segment.ms", SET, Some("1")), ("retention.ms", SET, Some("soon"))];
    let (code, message) = alter(&mut client, topic, &mixed, false).unwrap();
    assert_eq!(code, INVALID_CONFIG);
    assert!(message.contains("retention.ms=soon") && message.contains("from -1"), "{message}");
    assert_eq!(value(&mut client, "segment.ms"), ("7000".to_owned(), OF_TOPIC));
    let nobody = alter(&mut client, (TOPIC, "nobody"), &both, false).unwrap();
    assert_eq!(nobody.0, UNKNOWN_TOPIC_OR_PARTITION);
    let broker = [("num.partitions", SET, Some("2"))];
    let (code, message) = alter(&mut client, (BROKER, "0"), &broker, false).unwrap();
    assert_eq!(code, INVALID_REQUEST);
    assert!(message.contains("keylane serve"), "{message}");

    // The older API replaces everything.
    assert_eq!(replace(&mut client, "t", &[("retention.bytes", "5000")]).unwrap(), 0);
    assert_eq!(value(&mut client, "retention.bytes"), ("5000".to_owned(), OF_TOPIC));
    assert_eq!(value(&mut client, "segment.ms").1, DEFAULT);
    assert_eq!(value(&mut client, "cleanup.policy"), ("delete".to_owned(), DEFAULT));
    assert_eq!(replace(&mut client, "t", &[("retention.ms", "-5")]).unwrap(), INVALID_CONFIG);

    // The largest batch, which is checked where the connection is.
    let small = [("max.message.bytes", SET, Some("1000"))];
    assert_eq!(client.append("t", 0, single(numbered(1, 2000))).unwrap(), 0);
    assert_eq!(alter(&mut client, topic, &small, false).unwrap().0, 0);
    assert_eq!(client.produce("t", 0, single(numbered(1, 2000))).unwrap().error_code, 10);
    assert_eq!(client.append("t", 0, single("small")).unwrap(), 1);
}

/// Provisioning tools set what they set on every cluster: here the settings without an effect were refused, and
/// with them the topic. They are kept as they were given, and change nothing.
#[test]
fn settings_without_an_effect_are_kept_as_they_were_given() {
    const GIVEN: [(&str, &str); 15] = [
        ("file.delete.delay.ms", "1000"),
        ("flush.messages", "100"),
        ("flush.ms", " 5000 "),
        ("follower.replication.throttled.replicas", "*"),
        ("index.interval.bytes", "1024"),
        ("leader.replication.throttled.replicas", "0:0,1:0"),
        ("local.retention.bytes", "-1"),
        ("local.retention.ms", "60000"),
        ("min.insync.replicas", "2"),
        ("preallocate", "TRUE"),
        ("remote.log.copy.disable", "true"),
        ("remote.log.delete.on.disable", "true"),
        ("segment.index.bytes", "65536"),
        ("segment.jitter.ms", "9"),
        ("unclean.leader.election.enable", "true"),
    ];
    let dir = scratch(TMP, "settings-ignored-").unwrap();
    let (server, mut client) = start(config(dir.path()));
    assert_eq!(create(&mut client, "plain", 1, &[]).unwrap().0, 0);
    let plain = describe(&mut client, TOPIC, "plain").unwrap();
    assert_eq!(create(&mut client, "given", 1, &GIVEN).unwrap().0, 0);
    let has_given = |client: &mut Client| {
        let given = describe(client, TOPIC, "given").unwrap();
        for (name, value) in GIVEN {
            assert_eq!(given[name], (value.to_owned(), OF_TOPIC), "{name}");
            assert!(plain[name].1 == DEFAULT && plain[name].0 != value, "{name}");
        }
    };
    has_given(&mut client);
    // As on any Kafka of one node: no more replicas are asked for than the partition has.
    assert_eq!(client.append("given", 0, single("acks=all")).unwrap(), 0);
    drop(client);
    server.stop().unwrap();
    let (_server, mut client) = start(config(dir.path()));
    has_given(&mut client);
    for name in ["preallocate", "no.such.thing"] {
        assert_eq!(
            alter(&mut client, (TOPIC, "given"), &[(name, DELETE, None)], false).unwrap().0,
            0,
            "{name}"
        );
    }
    assert_eq!(describe(&mut client, TOPIC, "given").unwrap()["preallocate"], ("false".to_owned(), DEFAULT));
    for (name, bad) in [
        ("flush.messages", "0"),
        ("index.interval.bytes", "-1"),
        ("local.retention.ms", "-3"),
        ("min.insync.replicas", "0"),
        ("preallocate", "yes"),
        ("remote.storage.enable", "true"),
        ("segment.index.bytes", "3"),
        ("leader.replication.throttled.replicas", "all"),
    ] {
        let (code, message) = alter(&mut client, (TOPIC, "given"), &[(name, SET, Some(bad))], false).unwrap();
        assert_eq!(code, INVALID_CONFIG, "{name}={bad}");
        assert!(message.contains(&format!("{name}={bad}")), "{message}");
        assert_eq!(create(&mut client, "bad", 1, &[(name, bad)]).unwrap().0, INVALID_CONFIG, "{name}={bad}");
    }
}

/// Two clients that change different settings at the same time do not undo each other.
#[test]
fn changes_of_several_clients_add_up() {
    let dir = scratch(TMP, "several-").unwrap();
    let (server, mut client) = start(ServerConfig { cores: Some(two_cores()), ..config(dir.path()) });
    assert_eq!(create(&mut client, "t", 1, &[]).unwrap().0, 0);
    let address = server.kafka_addr();
    let threads: Vec<_> = ALL
        .into_iter()
        .filter(|(name, _)| *name != "cleanup.policy")
        .map(|(name, value)| {
            std::thread::spawn(move || {
                let mut client = Client::connect(address).unwrap();
                alter(&mut client, (TOPIC, "t"), &[(name, SET, Some(value))], false).unwrap()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap().0, 0);
    }
    let described = describe(&mut client, TOPIC, "t").unwrap();
    let own: Vec<_> = described.iter().filter(|(_, (_, source))| *source == OF_TOPIC).collect();
    assert_eq!(own.len(), ALL.len() - 1, "{own:?}");
}

#[test]
fn records_are_deleted_by_request() {
    let dir = scratch(TMP, "delete-records-").unwrap();
    let cores = ServerConfig { cores: Some(two_cores()), ..config(dir.path()) };
    let (server, mut client) = start(cores.clone());
    assert_eq!(create(&mut client, "t", 4, &[]).unwrap().0, 0);
    for partition in 0..4 {
        for number in 0..10 {
            assert_eq!(client.append("t", partition, single(numbered(number, 100))).unwrap(), number as i64);
        }
    }
    let wanted = [(0, 4), (1, -1), (2, 10), (3, 0), (3, 11), (9, 0), (0, -2)];
    let done = delete_records(&mut client, "t", &wanted, 10_000).unwrap();
    let refused = |code| (code, -1);
    let out_of_range = refused(OFFSET_OUT_OF_RANGE);
    let expected =
        [(0, 4), (0, 10), (0, 10), (0, 0), out_of_range, refused(UNKNOWN_TOPIC_OR_PARTITION), out_of_range];
    assert_eq!(done, expected);
    assert_eq!(delete_records(&mut client, "t", &[(0, 2)], 10_000).unwrap(), [(0, 4)], "it only rises");
    let nobody = delete_records(&mut client, "nobody", &[(0, 0)], 10_000).unwrap();
    assert_eq!(nobody, [refused(UNKNOWN_TOPIC_OR_PARTITION)]);

    let check = |client: &mut Client| {
        for (partition, start) in [(0, 4), (1, 10), (2, 10), (3, 0)] {
            assert_eq!(client.start_offset("t", partition).unwrap(), start, "partition {partition}");
            assert_eq!(client.end_offset("t", partition).unwrap(), 10, "partition {partition}");
            let found = client.fetch("t", partition, start).unwrap();
            assert_eq!((found.error_code, found.log_start_offset, found.high_watermark), (0, start, 10));
            let left = offsets_from(client, "t", partition, start).unwrap();
            assert_eq!(left, (start..10).collect::<Vec<_>>(), "partition {partition}");
        }
        for (partition, offset) in [(0, 3), (1, 9), (2, 0)] {
            let found = client.fetch("t", partition, offset).unwrap();
            assert_eq!(found.error_code, OFFSET_OUT_OF_RANGE, "partition {partition} at {offset}");
            assert!(found.records.unwrap_or_default().is_empty());
        }
    };
    check(&mut client);
    let appended = client.produce("t", 0, single("more")).unwrap();
    assert_eq!((appended.error_code, appended.base_offset, appended.log_start_offset), (0, 10, 4));
    assert_eq!(delete_records(&mut client, "t", &[(0, 11)], 10_000).unwrap(), [(0, 11)]);
    assert_eq!(client.append("t", 0, single("last")).unwrap(), 11, "offsets go on");

    drop(client);
    server.stop().unwrap();
    let (_server, mut client) = start(cores);
    for (partition, start) in [(0, 11), (1, 10), (2, 10), (3, 0)] {
        assert_eq!(client.start_offset("t", partition).unwrap(), start, "after the restart");
        let end = client.end_offset("t", partition).unwrap();
        assert_eq!(
            offsets_from(&mut client, "t", partition, start).unwrap(),
            (start..end).collect::<Vec<_>>()
        );
    }
    assert_eq!(client.fetch("t", 1, 9).unwrap().error_code, OFFSET_OUT_OF_RANGE);
}

#[test]
fn deleting_records_obeys_policy_and_time_out() {
    let dir = scratch(TMP, "delete-policy-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(create(&mut client, "t", 1, &[("cleanup.policy", "compact")]).unwrap().0, 0);
    client.append("t", 0, single("value")).unwrap();
    assert_eq!(delete_records(&mut client, "t", &[(0, 1)], 10_000).unwrap(), [(POLICY_VIOLATION, -1)]);
    let both = [("cleanup.policy", APPEND, Some("delete"))];
    assert_eq!(alter(&mut client, (TOPIC, "t"), &both, false).unwrap().0, 0);
    // No time at all: either it was durable at once, or the client is told.
    let [(code, low)] = delete_records(&mut client, "t", &[(0, 1)], 0).unwrap()[..] else { panic!("one") };
    assert!((code, low) == (0, 1) || (code, low) == (REQUEST_TIMED_OUT, -1), "{code} {low}");
    assert_eq!(delete_records(&mut client, "t", &[(0, 1)], 10_000).unwrap(), [(0, 1)]);
}

#[test]
fn a_compacted_topic_refuses_records_without_a_key() {
    let dir = scratch(TMP, "keyless-").unwrap();
    let (_server, mut client) = start(ServerConfig { cores: Some(two_cores()), ..config(dir.path()) });
    assert_eq!(create(&mut client, "compacted", 4, &[("cleanup.policy", "compact")]).unwrap().0, 0);
    assert_eq!(create(&mut client, "plain", 4, &[]).unwrap().0, 0);
    for partition in 0..4 {
        assert_eq!(client.append("compacted", partition, single("keyed")).unwrap(), 0);
        let refused = client.produce("compacted", partition, keyless("keyless")).unwrap();
        assert_eq!((refused.error_code, refused.base_offset), (INVALID_RECORD, -1), "partition {partition}");
        assert_eq!(client.end_offset("compacted", partition).unwrap(), 1, "it was stored");
        assert_eq!(client.append("plain", partition, keyless("keyless")).unwrap(), 0);
    }
    let compact = [("cleanup.policy", SET, Some("delete,compact"))];
    assert_eq!(alter(&mut client, (TOPIC, "plain"), &compact, false).unwrap().0, 0);
    let delete = [("cleanup.policy", DELETE, None)];
    assert_eq!(alter(&mut client, (TOPIC, "compacted"), &delete, false).unwrap().0, 0);
    for partition in 0..4 {
        assert_eq!(client.produce("plain", partition, keyless("no")).unwrap().error_code, INVALID_RECORD);
        assert_eq!(client.append("compacted", partition, keyless("yes")).unwrap(), 1);
    }
}

#[test]
fn old_records_are_deleted_where_the_topic_says_so() {
    const COUNT: i64 = 24;
    let dir = scratch(TMP, "retention-").unwrap();
    let quick = ServerConfig { retention_check_interval_ms: 50, ..config(dir.path()) };
    let (server, mut client) = start(quick.clone());
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let hour_ago = since_epoch.as_millis() as i64 - 3_600_000;
    // Two partitions each, so that both topics share both shards and their segments.
    for topic in ["short", "long"] {
        assert_eq!(create(&mut client, topic, 2, &[("retention.ms", "-1")]).unwrap().0, 0);
    }
    for number in 0..COUNT {
        for (topic, partition) in [("short", 0), ("long", 0), ("short", 1), ("long", 1)] {
            let record = dated(numbered(number as u64, 400_000), hour_ago);
            assert_eq!(client.append(topic, partition, record).unwrap(), number);
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    for (topic, partition) in [("short", 0), ("long", 0), ("short", 1), ("long", 1)] {
        assert_eq!(client.start_offset(topic, partition).unwrap(), 0, "{topic} {partition}: kept for ever");
    }
    let minute = [("retention.ms", SET, Some("60000"))];
    assert_eq!(alter(&mut client, (TOPIC, "short"), &minute, false).unwrap().0, 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    for partition in 0..2 {
        while client.start_offset("short", partition).unwrap() == 0 {
            assert!(Instant::now() < deadline, "nothing of partition {partition} was deleted");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let hour = since_epoch.as_millis() as i64;
    for partition in 0..2 {
        // What is new stays.
        assert_eq!(client.append("short", partition, dated("new", hour)).unwrap(), COUNT);
    }
    drop(client);
    server.stop().unwrap();
    let (_server, mut client) = start(quick);
    for partition in 0..2 {
        let start = client.start_offset("short", partition).unwrap();
        assert!(start > 0 && start <= COUNT, "partition {partition} begins at {start}");
        let left = offsets_from(&mut client, "short", partition, start).unwrap();
        assert_eq!(left.last(), Some(&COUNT), "partition {partition}");
        assert_eq!(client.fetch("short", partition, 0).unwrap().error_code, OFFSET_OUT_OF_RANGE);
        let kept = offsets_from(&mut client, "long", partition, 0).unwrap();
        assert_eq!(kept, (0..COUNT).collect::<Vec<_>>(), "the other topic, partition {partition}");
    }
}

/// The latest record of every key: its offset and value.
type Left = std::collections::BTreeMap<String, (i64, Option<Bytes>)>;

/// The latest record of every key, and the number of records; offsets must rise.
fn compacted(client: &mut Client, topic: &str, partition: i32) -> Result<(Left, usize)> {
    let end = client.end_offset(topic, partition)?;
    let (mut next, mut left, mut count) = (client.start_offset(topic, partition)?, Left::new(), 0);
    while next < end {
        let found = client.fetch(topic, partition, next)?;
        ensure!(found.error_code == 0, "Fetch at {next}: error {}", found.error_code);
        let read = stored(&found.records.unwrap_or_default())?;
        ensure!(!read.is_empty(), "nothing at {next}, the log ends at {end}");
        for record in read {
            // A batch begins before the offset that was asked for, if that lies inside.
            if record.offset < next {
                continue;
            }
            next = record.offset + 1;
            count += 1;
            let key = record.key.context("a record without a key")?;
            left.insert(String::from_utf8(key.to_vec())?, (record.offset, record.value));
        }
    }
    Ok((left, count))
}

#[test]
fn a_compacted_topic_keeps_the_latest_record_of_every_key() {
    const KEYS: usize = 20;
    const ROUNDS: usize = 600;
    let dir = scratch(TMP, "compacted-").unwrap();
    let cores = Some(two_cores());
    let quick = ServerConfig { retention_check_interval_ms: 50, cores, ..config(dir.path()) };
    let (server, mut client) = start(quick.clone());
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "200"),
        ("delete.retention.ms", "1000"),
    ];
    assert_eq!(create(&mut client, "c", 2, &settings).unwrap().0, 0);
    let keys: Vec<String> = (0..KEYS).map(|k| format!("key {k}")).collect();
    let mut latest = [Left::new(), Left::new()];
    let mut write = |client: &mut Client, partition: i32, pairs: &[(&str, Option<Bytes>)]| {
        let base = client.append("c", partition, keyed(pairs)).unwrap();
        for (offset, (key, value)) in (base..).zip(pairs) {
            latest[partition as usize].insert((*key).to_owned(), (offset, value.clone()));
        }
        latest[partition as usize].clone()
    };
    for round in 0..ROUNDS {
        for partition in 0..2 {
            let pairs: Vec<_> =
                keys.iter().map(|key| (key.as_str(), Some(numbered(round as u64, 200)))).collect();
            write(&mut client, partition, &pairs);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    for partition in 0..2 {
        let expected = write(&mut client, partition, &[("last", Some(numbered(1, 16)))]);
        loop {
            let (left, count) = compacted(&mut client, "c", partition).unwrap();
            assert_eq!(left, expected, "partition {partition}, {count} records");
            if count < 10 * KEYS {
                break;
            }
            assert!(Instant::now() < deadline, "partition {partition} still has {count} records");
            std::thread::sleep(Duration::from_millis(50));
        }
        let end = (KEYS * ROUNDS + 1) as i64;
        assert_eq!(client.start_offset("c", partition).unwrap(), 0);
        assert_eq!(client.end_offset("c", partition).unwrap(), end);
    }

    // Tombstones hide their keys, and are gone after a while as long as something is written.
    let gone: Vec<_> = keys[..5].iter().map(|key| (key.as_str(), None)).collect();
    let expected = write(&mut client, 0, &gone);
    assert_eq!(compacted(&mut client, "c", 0).unwrap().0, expected);
    let mut rounds = 0;
    let left = loop {
        let pairs = [("last", Some(numbered(rounds, 2000)))];
        let expected = write(&mut client, 0, &pairs);
        let (left, _) = compacted(&mut client, "c", 0).unwrap();
        let hidden =
            |(key, (_, value)): &(&String, &(i64, Option<Bytes>))| value.is_some() || left.contains_key(*key);
        let without: Left =
            expected.iter().filter(hidden).map(|(key, value)| (key.clone(), value.clone())).collect();
        assert_eq!(left, without, "values stay, and what was deleted does not come back");
        if left.len() == KEYS + 1 - 5 {
            break left;
        }
        rounds += 1;
        assert!(Instant::now() < deadline, "the tombstones are still there after {rounds} rounds");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(rounds > 5, "they stay for a second: {rounds} rounds");
    drop(client);
    server.stop().unwrap();
    let (_server, mut client) = start(quick);
    assert_eq!(compacted(&mut client, "c", 0).unwrap().0, left);
    assert_eq!(compacted(&mut client, "c", 1).unwrap().0.len(), KEYS + 1);
    assert!(client.append("c", 0, keyed(&[("new", Some(numbered(1, 16)))])).unwrap() > 0);
}

#[test]
fn settings_survive_a_restart_and_a_kill() {
    let dir = scratch(TMP, "settings-kept-").unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let binary = binary().unwrap();
    let run = || Server::start(&binary, &data, &["--cores", "0", "--shards", "2"], &log).unwrap();
    let server = run();
    let mut client = Client::connect(server.address).unwrap();
    assert_eq!(create(&mut client, "created", 2, &ALL).unwrap().0, 0);
    assert_eq!(create(&mut client, "altered", 2, &[]).unwrap().0, 0);
    let changes = ALL.map(|(name, value)| (name, SET, Some(value)));
    assert_eq!(alter(&mut client, (TOPIC, "altered"), &changes, false).unwrap().0, 0);
    // The answer is all that was waited for.
    server.kill().unwrap();

    let server = run();
    let mut client = Client::connect(server.address).unwrap();
    for topic in ["created", "altered"] {
        has_all(&describe(&mut client, TOPIC, topic).unwrap());
        let refused = client.produce(topic, 1, keyless("keyless")).unwrap();
        assert_eq!(refused.error_code, INVALID_RECORD, "{topic}: in force from the start");
    }
    let back = [("cleanup.policy", DELETE, None), ("retention.ms", SET, Some("-1"))];
    assert_eq!(alter(&mut client, (TOPIC, "altered"), &back, false).unwrap().0, 0);
    drop(client);
    server.stop().unwrap();

    let server = run();
    let mut client = Client::connect(server.address).unwrap();
    has_all(&describe(&mut client, TOPIC, "created").unwrap());
    let altered = describe(&mut client, TOPIC, "altered").unwrap();
    assert_eq!(altered["cleanup.policy"], ("delete".to_owned(), DEFAULT));
    assert_eq!(altered["retention.ms"], ("-1".to_owned(), OF_TOPIC));
    assert_eq!(client.append("altered", 0, keyless("keyless")).unwrap(), 0);
    server.stop().unwrap();
}

/// A program with the engine inside and a server take turns with one directory: what one set is in force for the other.
#[test]
fn a_program_and_a_server_have_the_same_settings_of_a_topic() {
    use keylane_engine::{
        Cleanup, Compression, Error, Keylane, Options, Record, TimestampType, TopicOptions,
    };
    let dir = scratch(TMP, "settings-").unwrap();
    let settings = || ServerConfig { shards: Some(1), ..config(dir.path()) };
    let open = || Keylane::open(dir.path(), Options::new().segment_bytes(settings().segment_bytes)).unwrap();
    let options = TopicOptions::new(1)
        .cleanup(Cleanup::CompactAndDelete)
        .retention(Duration::from_secs(3600))
        .retention_bytes(1 << 30)
        .segment_age(Duration::from_secs(60))
        .timestamps(TimestampType::LogAppendTime)
        .compression(Compression::Zstd { level: -7 });
    let (server, mut client) = start(settings());
    assert_eq!(create(&mut client, "of-server", 1, &ALL).unwrap().0, 0);
    server.stop().unwrap();

    let log = open();
    log.create_topic("of-program", options.clone()).unwrap();
    log.create_topic("kept", TopicOptions::new(1).keep_forever()).unwrap();
    let topic = log.topic("of-server").unwrap();
    let found = topic.options();
    assert_eq!(found.cleanup_policy(), Cleanup::CompactAndDelete);
    assert_eq!(found.retention_max(), Some(Duration::from_secs(3600)));
    assert_eq!(found.retention_bytes_max(), Some(1_000_000_000));
    assert_eq!(found.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(found.compression_type(), Compression::Uncompressed);
    let keyless = topic.partition(0).unwrap().append(&[Record::without_key("v")]);
    assert!(matches!(keyless, Err(Error::Batch(_))), "{keyless:?}");
    log.close().unwrap();

    let (server, mut client) = start(settings());
    let described = describe(&mut client, TOPIC, "of-program").unwrap();
    for (name, value) in [
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "3600000"),
        ("retention.bytes", "1073741824"),
        ("segment.ms", "60000"),
        ("message.timestamp.type", "LogAppendTime"),
        ("compression.type", "zstd"),
        ("compression.zstd.level", "-7"),
    ] {
        assert_eq!(described[name], (value.to_owned(), OF_TOPIC), "{name}");
    }
    let kept = describe(&mut client, TOPIC, "kept").unwrap();
    assert_eq!(kept["retention.ms"], ("-1".to_owned(), OF_TOPIC));
    server.stop().unwrap();
    assert_eq!(open().topic("of-program").unwrap().options(), options);
}
