//! Proves over the wire that requests which are legal bytes and odd in what they ask get the answers of Apache
//! Kafka 4.1: what is named twice, names that no topic can have, ids where names belong, special timestamps, fetch
//! sessions, operations that one may do. Where Keylane answers differently, `docs/kafka-differences.md` says so.

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, OffsetDeleteRequest, ProduceRequest,
    ProducerId, TransactionalId, incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;
use keylane::{ServerConfig, ServerHandle};
use keylane_tests::e2e::batch::{now_ms, numbered, single, timed};
use keylane_tests::e2e::client::{Client, fetch_request, name, produce_request};
use keylane_tests::e2e::server::{config, scratch, two_cores};
use std::slice::from_ref;
use std::time::Instant;
use uuid::Uuid;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const INVALID_GROUP_ID: i16 = 24;
const UNSUPPORTED_VERSION: i16 = 35;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const FENCED_LEADER_EPOCH: i16 = 74;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
const UNKNOWN_TOPIC_ID: i16 = 100;
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
const UNSUPPORTED_ENDPOINT_TYPE: i16 = 115;

const TOPIC: i8 = 2;
/// Bits of operations that were not asked for.
const OMITTED: i32 = i32::MIN;
/// What Kafka lists without authorization.
const TOPIC_OPERATIONS: i32 = 3576;
const CLUSTER_OPERATIONS: i32 = 8096;
const GROUP_OPERATIONS: i32 = 3400;

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn start(config: ServerConfig) -> (ServerHandle, Client) {
    let server = keylane::start(config).expect("the server starts");
    let client = Client::connect(server.kafka_addr()).expect("the server listens");
    (server, client)
}

/// Creates topics of one partition each in one request: name, error code and id of each.
fn create(client: &mut Client, names: &[&str], validate_only: bool) -> Result<Vec<(String, i16, Uuid)>> {
    let new = names.iter().map(|topic| {
        CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(1)
    });
    let request = CreateTopicsRequest::default()
        .with_topics(new.collect())
        .with_timeout_ms(10_000)
        .with_validate_only(validate_only);
    let response = client.call(7, &request)?;
    let answered = response.topics.into_iter().map(|t| (t.name.0.to_string(), t.error_code, t.topic_id));
    Ok(answered.collect())
}

/// Deletes topics by name, id or both: name, id and error code of each.
fn delete(client: &mut Client, topics: &[(Option<&str>, Uuid)]) -> Result<Vec<(Option<String>, Uuid, i16)>> {
    let gone = topics
        .iter()
        .map(|(topic, id)| DeleteTopicState::default().with_name(topic.map(name)).with_topic_id(*id));
    let request = DeleteTopicsRequest::default().with_topics(gone.collect()).with_timeout_ms(10_000);
    let response = client.call(6, &request)?;
    let answered = response.responses.into_iter();
    Ok(answered.map(|t| (t.name.map(|n| n.0.to_string()), t.topic_id, t.error_code)).collect())
}

/// Topics of a Metadata answer: error code, name, id, authorized operations; and those of the cluster.
type Described = (Vec<(i16, Option<String>, Uuid, i32)>, i32);

fn metadata(
    client: &mut Client,
    version: i16,
    topics: &[(Uuid, Option<&str>)],
    operations: bool,
) -> Result<Described> {
    let wanted = topics
        .iter()
        .map(|(id, topic)| MetadataRequestTopic::default().with_topic_id(*id).with_name(topic.map(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(wanted.collect()))
        .with_allow_auto_topic_creation(false)
        .with_include_cluster_authorized_operations(operations && (8..=10).contains(&version))
        .with_include_topic_authorized_operations(operations);
    let response = client.call(version, &request)?;
    let topic = |t: kafka_protocol::messages::metadata_response::MetadataResponseTopic| {
        (t.error_code, t.name.map(|n| n.0.to_string()), t.topic_id, t.topic_authorized_operations)
    };
    Ok((response.topics.into_iter().map(topic).collect(), response.cluster_authorized_operations))
}

fn id_of(client: &mut Client, topic: &str) -> Uuid {
    metadata(client, 12, &[(Uuid::nil(), Some(topic))], false).expect("an answer").0[0].2
}

/// Partitions of a ListOffsets answer: topic, partition, error code, offset, timestamp.
type Listed = Vec<(String, i32, i16, i64, i64)>;

/// Topics to ask for offsets of: their partitions, each with a leader epoch and a timestamp.
type Asked<'a> = [(&'a str, &'a [(i32, i32, i64)])];

fn list_offsets(client: &mut Client, version: i16, topics: &Asked<'_>) -> Result<Listed> {
    let wanted = topics.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().map(|(index, epoch, timestamp)| {
            ListOffsetsPartition::default()
                .with_partition_index(*index)
                .with_current_leader_epoch(*epoch)
                .with_timestamp(*timestamp)
        });
        ListOffsetsTopic::default().with_name(name(topic)).with_partitions(partitions.collect())
    });
    let response = client.call(version, &ListOffsetsRequest::default().with_topics(wanted.collect()))?;
    let partitions = response.topics.into_iter().flat_map(|t| {
        let topic = t.name.0.to_string();
        t.partitions
            .into_iter()
            .map(move |p| (topic.clone(), p.partition_index, p.error_code, p.offset, p.timestamp))
    });
    Ok(partitions.collect())
}

/// Offset and timestamp for one timestamp.
fn offset_for(client: &mut Client, topic: &str, partition: i32, timestamp: i64) -> Result<(i64, i64)> {
    let listed = list_offsets(client, 8, &[(topic, &[(partition, -1, timestamp)])])?;
    let (_, _, code, offset, time) = listed.first().context("no partition in the answer")?;
    ensure!(*code == 0, "ListOffsets: error {code}");
    Ok((*offset, *time))
}

/// Deletes the records before an offset.
fn trim(client: &mut Client, topic: &str, partition: i32, offset: i64) -> Result<()> {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let response = client.call(2, &request)?;
    let done = &response.topics[0].partitions[0];
    ensure!(done.error_code == 0, "DeleteRecords: error {}", done.error_code);
    Ok(())
}

/// Records were deleted up to the midst of a batch, and `offsetsForTimes` named one of them: the batch was the
/// right one, and the log start was not looked at inside of it. A consumer that sought there was out of range, was
/// reset to the end, and skipped records in silence. The same must hold where the deleted record is the reason why
/// the batch was found at all, and wherever the batch lies: in memory, or in a sealed segment on the disk.
#[test]
fn list_offsets_never_names_a_deleted_record() {
    let dir = scratch(TMP, "deleted-offsets-").unwrap();
    let (_server, mut client) = start(ServerConfig { cores: Some(two_cores()), ..config(dir.path()) });
    assert_eq!(client.create_topic("t", 4).unwrap(), 0);
    let now = now_ms() - 10_000;
    let batches: [&[i64]; 4] = [&[90, 10, 60, 20, 60], &[30, 40], &[35], &[5, 7]];
    let times: Vec<i64> = batches.concat();
    for partition in 0..4 {
        for batch in batches {
            let at: Vec<i64> = batch.iter().map(|time| now + time).collect();
            client.append("t", partition, timed(&at)).unwrap();
        }
    }
    let check = |client: &mut Client, partition: i32, start: usize| {
        let what = format!("partition {partition}, log start {start}");
        let left: Vec<(i64, i64)> =
            (0i64..).zip(&times).skip(start).map(|(offset, time)| (offset, now + time)).collect();
        for wanted in (0..100).step_by(5).chain([7]).map(|time| now + time) {
            let first = left.iter().find(|(_, time)| *time >= wanted).copied().unwrap_or((-1, -1));
            let found = offset_for(client, "t", partition, wanted).unwrap();
            assert_eq!(found, first, "{what}, time {}", wanted - now);
        }
        let latest = left.iter().map(|(_, time)| *time).max();
        let largest = left.iter().find(|(_, time)| Some(*time) == latest).copied().unwrap_or((-1, -1));
        assert_eq!(offset_for(client, "t", partition, -3).unwrap(), largest, "{what}, largest time");
        for earliest in [-2, -4] {
            assert_eq!(offset_for(client, "t", partition, earliest).unwrap(), (start as i64, -1), "{what}");
        }
        assert_eq!(offset_for(client, "t", partition, -1).unwrap(), (times.len() as i64, -1), "{what}");
    };
    // While the batches are in memory.
    for partition in [0, 1] {
        for start in 0..=times.len() {
            trim(&mut client, "t", partition, start as i64).unwrap();
            check(&mut client, partition, start);
        }
    }
    // The others once their segments are sealed; another topic fills them.
    assert_eq!(client.create_topic("filler", 4).unwrap(), 0);
    for number in 0..16 {
        for partition in 0..4 {
            client.append("filler", partition, single(numbered(number, 900_000))).unwrap();
        }
    }
    for partition in [2, 3] {
        for start in 0..=times.len() {
            trim(&mut client, "t", partition, start as i64).unwrap();
            check(&mut client, partition, start);
        }
    }
}

#[test]
fn list_offsets_knows_special_timestamps_from_their_versions_on() {
    let dir = scratch(TMP, "special-times-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 2).unwrap(), 0);
    client.append("t", 0, single("value")).unwrap();
    let first_version = [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)];
    for version in 4..=10 {
        for (timestamp, from) in first_version {
            let listed = list_offsets(&mut client, version, &[("t", &[(0, -1, timestamp)])]).unwrap();
            let code = if version < from { UNSUPPORTED_VERSION } else { 0 };
            assert_eq!(listed[0].2, code, "timestamp {timestamp} in version {version}");
            if code != 0 || timestamp <= -5 {
                assert_eq!((listed[0].3, listed[0].4), (-1, -1), "timestamp {timestamp}");
            }
        }
        for timestamp in [-7, -100, i64::MIN] {
            let unknown: &Asked<'_> = &[("t", &[(0, -1, timestamp)]), ("nobody", &[(0, -1, timestamp)])];
            let listed = list_offsets(&mut client, version, unknown).unwrap();
            assert!(listed.iter().all(|p| p.2 == UNSUPPORTED_VERSION), "version {version}: {listed:?}");
        }
    }
    let epochs: &Asked<'_> = &[("t", &[(0, 1, -1), (1, -3, -1)])];
    let codes: Vec<_> = list_offsets(&mut client, 8, epochs).unwrap().iter().map(|p| p.2).collect();
    assert_eq!(codes, [UNKNOWN_LEADER_EPOCH, FENCED_LEADER_EPOCH]);
}

#[test]
fn list_offsets_refuses_a_partition_that_is_named_twice() {
    let dir = scratch(TMP, "twice-offsets-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 2).unwrap(), 0);
    let refused = |partition| ("t".to_owned(), partition, INVALID_REQUEST, -1, -1);
    let found = |partition| ("t".to_owned(), partition, 0, 0, -1);
    let in_one: &Asked<'_> = &[("t", &[(0, -1, -1), (0, -1, -2), (1, -1, -1)])];
    assert_eq!(list_offsets(&mut client, 8, in_one).unwrap(), [refused(0), found(1)]);
    let in_two: &Asked<'_> = &[("t", &[(0, -1, -1)]), ("t", &[(1, -1, -1), (0, -1, -1)])];
    assert_eq!(list_offsets(&mut client, 8, in_two).unwrap(), [refused(0), found(1)]);
    assert!(list_offsets(&mut client, 8, &[("t", &[])]).unwrap().is_empty(), "nothing was asked");
    let topic = |partition| {
        let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(0);
        ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![wanted])
    };
    let request = ListOffsetsRequest::default().with_topics(vec![topic(0), topic(1)]);
    let answer = client.call(8, &request).unwrap();
    assert_eq!(answer.topics.len(), 1, "answered in one place");
    let epochs: Vec<_> = answer.topics[0].partitions.iter().map(|p| (p.offset, p.leader_epoch)).collect();
    assert_eq!(epochs, [(-1, -1); 2], "no record, no epoch");
}

#[test]
fn topics_are_created_as_kafka_creates_them() {
    let dir = scratch(TMP, "odd-topics-").unwrap();
    let (_server, mut client) = start(ServerConfig { cores: Some(two_cores()), ..config(dir.path()) });
    let codes = |answered: Vec<(String, i16, Uuid)>| answered.into_iter().map(|t| t.1).collect::<Vec<_>>();
    assert_eq!(codes(create(&mut client, &["a.b", "plain"], false).unwrap()), [0, 0]);
    for validate_only in [true, false] {
        let colliding = ["a_b", "a.b", "ab", "a.c"];
        let expected = [INVALID_TOPIC, TOPIC_ALREADY_EXISTS, 0, 0];
        assert_eq!(codes(create(&mut client, &colliding, validate_only).unwrap()), expected);
    }
    // A client that only asks does not get it made either.
    let request = MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name("a_c")))]))
        .with_allow_auto_topic_creation(true);
    let asked = client.call(12, &request).unwrap();
    assert_eq!(asked.topics[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert!(!client.topics().unwrap().contains(&"a_c".to_owned()));

    let checked = create(&mut client, &["later"], true).unwrap();
    assert!(checked[0].1 == 0 && !checked[0].2.is_nil(), "as if it were made: {checked:?}");
    assert!(!client.topics().unwrap().contains(&"later".to_owned()));
    let long = "n".repeat(250);
    for illegal in ["", ".", "..", "a b", "a/b", "\u{e4}", long.as_str(), "__consumer_offsets"] {
        assert_eq!(codes(create(&mut client, &[illegal], false).unwrap()), [INVALID_TOPIC], "{illegal:?}");
    }
    assert_eq!(codes(create(&mut client, &["__cluster_metadata"], false).unwrap()), [INVALID_REQUEST]);
    let twice = create(&mut client, &["x", "y", "x"], false).unwrap();
    let twice: Vec<_> = twice.iter().map(|t| (t.0.as_str(), t.1)).collect();
    assert_eq!(twice, [("x", INVALID_REQUEST), ("y", 0)]);

    let grow = |topic: &str, count| {
        CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None)
    };
    let topics = vec![grow("y", 2), grow("plain", 2), grow("y", 3)];
    let request = CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(10_000);
    let grown = client.call(3, &request).unwrap();
    let grown: Vec<_> = grown.results.iter().map(|t| (t.name.0.to_string(), t.error_code)).collect();
    assert_eq!(grown, [("y".to_owned(), INVALID_REQUEST), ("plain".to_owned(), 0)]);
}

#[test]
fn topics_are_deleted_by_name_or_by_id_and_once() {
    let dir = scratch(TMP, "odd-deletes-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    for topic in ["a", "b", "c"] {
        assert_eq!(client.create_topic(topic, 1).unwrap(), 0);
    }
    let (a, b, nobody, nil) =
        (id_of(&mut client, "a"), id_of(&mut client, "b"), Uuid::from_u128(7), Uuid::nil());
    let named = |topic: &str, id, code| (Some(topic.to_owned()), id, code);
    let by_id = |id, code| (None, id, code);
    let both = delete(&mut client, &[(Some("a"), a), (None, nil)]).unwrap();
    assert_eq!(both, [named("a", a, INVALID_REQUEST), by_id(nil, INVALID_REQUEST)]);
    let twice = delete(&mut client, &[(Some("a"), nil), (None, b), (Some("a"), nil), (None, b)]).unwrap();
    assert_eq!(twice, [named("a", nil, INVALID_REQUEST), by_id(b, INVALID_REQUEST)]);
    for order in [[(Some("a"), nil), (None, a)], [(None, a), (Some("a"), nil)]] {
        assert_eq!(delete(&mut client, &order).unwrap(), [named("a", a, INVALID_REQUEST)]);
    }
    let unknown = delete(&mut client, &[(Some("nobody"), nil), (None, nobody), (Some("a b"), nil)]).unwrap();
    let expected = [
        named("nobody", nil, UNKNOWN_TOPIC_OR_PARTITION),
        by_id(nobody, UNKNOWN_TOPIC_ID),
        named("a b", nil, UNKNOWN_TOPIC_OR_PARTITION),
    ];
    assert_eq!(unknown, expected);
    assert_eq!(client.topics().unwrap().len(), 3, "nothing is gone yet");
    let c = id_of(&mut client, "c");
    let gone = delete(&mut client, &[(Some("a"), nil), (None, b), (Some("c"), nil)]).unwrap();
    assert_eq!(gone, [named("a", a, 0), named("b", b, 0), named("c", c, 0)]);
    assert!(client.topics().unwrap().is_empty());
}

#[test]
fn metadata_is_told_by_name_or_by_id() {
    let dir = scratch(TMP, "odd-metadata-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 1).unwrap(), 0);
    let (id, nobody, nil) = (id_of(&mut client, "t"), Uuid::from_u128(7), Uuid::nil());
    let named = Some("t".to_owned());
    let found = (0, named.clone(), id, OMITTED);
    let mut topics =
        |version, topics: &[(Uuid, Option<&str>)]| metadata(&mut client, version, topics, false).unwrap().0;
    for version in [10, 11] {
        let refused = |name: Option<&str>, id| (INVALID_REQUEST, name.map(str::to_owned), id, OMITTED);
        assert_eq!(topics(version, &[(id, None)]), [refused(Some(""), id)], "version {version}");
        let mixed = topics(version, &[(nil, Some("t")), (nobody, Some("t"))]);
        assert_eq!(mixed, [refused(Some("t"), nil), refused(Some("t"), nobody)], "version {version}");
        assert_eq!(topics(version, &[(nil, Some("t"))]), from_ref(&found));
    }
    for version in [12, 13] {
        assert_eq!(topics(version, &[(id, None)]), from_ref(&found));
        assert_eq!(topics(version, &[(id, Some("other"))]), from_ref(&found), "the id counts");
        let unknown = (UNKNOWN_TOPIC_ID, None, nobody, OMITTED);
        assert_eq!(topics(version, &[(nobody, Some("t"))]), [unknown]);
        assert_eq!(
            topics(version, &[(nil, Some("t")), (id, None), (nil, Some("t"))]),
            from_ref(&found),
            "once"
        );
        let nobodies = topics(version, &[(nil, Some("x")), (nil, Some("x")), (nil, Some("a b"))]);
        let expected = [(UNKNOWN_TOPIC_OR_PARTITION, "x"), (INVALID_TOPIC, "a b")]
            .map(|(code, name)| (code, Some(name.to_owned()), nil, OMITTED));
        assert_eq!(nobodies, expected);
    }
}

#[test]
fn everybody_may_do_everything() {
    let dir = scratch(TMP, "operations-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 1).unwrap(), 0);
    let wanted = [(Uuid::nil(), Some("t")), (Uuid::nil(), Some("nobody"))];
    for version in 8..=13 {
        let (topics, cluster) = metadata(&mut client, version, &wanted, true).unwrap();
        assert_eq!(topics.iter().map(|t| t.3).collect::<Vec<_>>(), [TOPIC_OPERATIONS; 2]);
        assert_eq!(cluster, if version <= 10 { CLUSTER_OPERATIONS } else { OMITTED });
        let (topics, cluster) = metadata(&mut client, version, &wanted, false).unwrap();
        assert!(topics.iter().all(|t| t.3 == OMITTED) && cluster == OMITTED);
    }
    let mut cluster = |version, operations, endpoint| {
        let request = DescribeClusterRequest::default()
            .with_include_cluster_authorized_operations(operations)
            .with_endpoint_type(endpoint);
        let answer = client.call(version, &request).unwrap();
        (
            answer.error_code,
            answer.brokers.len(),
            answer.cluster_authorized_operations,
            answer.controller_id.0,
        )
    };
    assert_eq!(cluster(0, true, 1), (0, 1, CLUSTER_OPERATIONS, 0));
    assert_eq!(cluster(2, false, 1), (0, 1, OMITTED, 0));
    assert_eq!(cluster(1, true, 2), (MISMATCHED_ENDPOINT_TYPE, 0, OMITTED, -1));
    for endpoint in [9, 0, -1] {
        assert_eq!(cluster(1, true, endpoint), (UNSUPPORTED_ENDPOINT_TYPE, 0, OMITTED, -1));
    }
    for (wants, operations) in [(true, GROUP_OPERATIONS), (false, OMITTED)] {
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![GroupId(text("nobody"))])
            .with_include_authorized_operations(wants);
        assert_eq!(client.call(5, &request).unwrap().groups[0].authorized_operations, operations);
        let missing = client.call(6, &request).unwrap();
        assert_eq!(missing.groups[0].authorized_operations, OMITTED, "there is no such group");
    }
}

#[test]
fn settings_are_described_and_altered_by_legal_names() {
    let dir = scratch(TMP, "odd-configs-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 1).unwrap(), 0);
    let long = "n".repeat(250);
    let mut describe = |topic: &str, keys: Option<Vec<&str>>| {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configuration_keys(keys.map(|keys| keys.into_iter().map(text).collect()));
        let answer =
            client.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).unwrap();
        (answer.results[0].error_code, answer.results[0].configs.len())
    };
    assert_eq!(describe("t", None), (0, 33));
    assert_eq!(describe("t", Some(vec![])), (0, 33), "an empty list asks for all");
    assert_eq!(describe("t", Some(vec!["retention.ms", "no.such.thing"])), (0, 1));
    assert_eq!(describe("nobody", None), (UNKNOWN_TOPIC_OR_PARTITION, 0));
    for illegal in ["", "..", "a b", &long] {
        assert_eq!(describe(illegal, None), (INVALID_TOPIC, 0), "{illegal:?}");
    }
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let mut alter_one = |topic: &str, setting: &str| {
        let change = AlterableConfig::default().with_name(text(setting)).with_value(Some(text("5")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configs(vec![change]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        client.call(1, &request).unwrap().responses[0].error_code
    };
    assert_eq!(alter_one("nobody", "no.such.thing"), INVALID_CONFIG, "the setting is looked at first");
    let mut alter = |topic: &str| alter_one(topic, "retention.ms");
    assert_eq!((alter("t"), alter("nobody"), alter("")), (0, UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST));
    for illegal in ["..", "a b", &long] {
        assert_eq!(alter(illegal), INVALID_TOPIC, "{illegal:?}");
    }
}

#[test]
fn producer_ids_and_groups_are_asked_for_in_full() {
    let dir = scratch(TMP, "odd-ids-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 1).unwrap(), 0);
    let mut init = |transactional: Option<&str>, id: i64, epoch: i16| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(transactional.map(|id| TransactionalId(text(id))))
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch);
        client.call(4, &request).unwrap().error_code
    };
    assert_eq!((init(None, -1, -1), init(None, 7, 0)), (0, 0));
    let halves = [init(Some(""), -1, -1), init(None, 7, -1), init(None, -1, 0)];
    assert_eq!(halves, [INVALID_REQUEST; 3], "an id goes with its epoch, and an empty name is none");

    for kind in [2, 9, -1] {
        let request =
            FindCoordinatorRequest::default().with_key_type(kind).with_coordinator_keys(vec![text("g")]);
        let found = client.call(4, &request).unwrap();
        assert_eq!(found.coordinators[0].error_code, INVALID_REQUEST, "kind {kind}");
    }
    let topic = OffsetDeleteRequestTopic::default().with_name(name("t"));
    let mut delete = |group: &str| {
        let request = OffsetDeleteRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_topics(vec![topic.clone()]);
        client.call(0, &request).unwrap()
    };
    assert_eq!(delete("").error_code, INVALID_GROUP_ID);
    assert!(delete("g").topics.is_empty(), "a topic without partitions is not answered");
    let twice = vec![GroupId(text("g")), GroupId(text("g"))];
    let gone = client.call(2, &DeleteGroupsRequest::default().with_groups_names(twice)).unwrap();
    assert_eq!(gone.results.len(), 1);
}

#[test]
fn a_client_names_itself_by_the_rule() {
    let dir = scratch(TMP, "client-names-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    let mut ask = |version, software: &str, release: &str| {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text(software))
            .with_client_software_version(text(release));
        let answer = client.call(version, &request).unwrap();
        (answer.error_code, answer.api_keys.is_empty())
    };
    assert_eq!(ask(3, "apache-kafka-java", "4.1.1"), (0, false));
    for version in [3, 4] {
        for (software, release) in [("", "1"), ("a", ""), ("a b", "1"), ("-a", "1"), ("a", "1.")] {
            let answer = ask(version, software, release);
            assert_eq!(answer, (INVALID_REQUEST, true), "{software:?} {release:?}");
        }
    }
    let nameless = ApiVersionsRequest::default();
    assert_eq!(client.call(2, &nameless).unwrap().error_code, 0, "before version 3 it does not name itself");
}

#[test]
fn a_fetch_that_cannot_bring_anything_does_not_wait() {
    let dir = scratch(TMP, "fetch-sessions-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 1).unwrap(), 0);
    client.append("t", 0, single("value")).unwrap();
    let began = Instant::now();
    let mut fetch = |session: i32, epoch: i32, topics: bool| {
        let mut request = fetch_request("t", 0, 0);
        if !topics {
            request.topics.clear();
        }
        let request = request
            .with_max_wait_ms(60_000)
            .with_min_bytes(1)
            .with_session_id(session)
            .with_session_epoch(epoch);
        let answer = client.call(12, &request).unwrap();
        (answer.error_code, answer.session_id, answer.responses.len())
    };
    for (session, epoch) in [(12345, 1), (0, 5), (-1, 1), (7, -2)] {
        for topics in [true, false] {
            let answer = fetch(session, epoch, topics);
            assert_eq!(answer, (FETCH_SESSION_ID_NOT_FOUND, 0, 0), "session {session}, epoch {epoch}");
        }
    }
    for (session, epoch) in [(0, -1), (0, 0), (12345, 0), (12345, -1)] {
        for topics in [true, false] {
            let (error, opened, answered) = fetch(session, epoch, topics);
            assert_eq!((error, answered), (0, usize::from(topics)), "session {session}, epoch {epoch}");
            assert_eq!(opened > 0, epoch == 0, "session {session}, epoch {epoch}: {opened}");
        }
    }
    assert!(began.elapsed().as_secs() < 30, "nothing waits for a minute");
}

#[test]
fn a_produce_request_without_partitions_is_answered_without_topics() {
    let dir = scratch(TMP, "produce-nothing-").unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("t", 1).unwrap(), 0);
    let with = produce_request("t", 0, -1, single("value"));
    let mut without = with.clone();
    without.topic_data[0].partition_data.clear();
    assert!(client.call(12, &without).unwrap().responses.is_empty());
    let none = ProduceRequest::default().with_acks(-1);
    assert!(client.call(12, &none).unwrap().responses.is_empty());
    // Beside others, too: the order of what was asked is kept.
    let mut both = without.clone();
    both.topic_data.extend(with.topic_data);
    let answer = client.call(12, &both).unwrap();
    assert_eq!(answer.responses.len(), 1);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}
