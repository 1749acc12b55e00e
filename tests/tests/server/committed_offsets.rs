//! Proves over the wire what is promised of committed offsets: they are answered when they are durable, come back
//! as they were in every version, survive a restart and `kill -9` whatever cores the directory is opened with,
//! go with their topic, and are refused as Kafka refuses them. `__consumer_offsets` holds them in Kafka's format
//! and is not changed by clients.
//!
//! The control of the kill test takes the segments away that hold the commits: the same check must then find
//! acknowledged offsets missing.
//!
//! `KEYLANE_OFFSETS_ROUNDS` sets the number of kills.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, GroupId, IncrementalAlterConfigsRequest, ListGroupsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::RecordBatchDecoder;
use keylane::{ServerConfig, ServerHandle};
use keylane_tests::e2e::batch::single;
use keylane_tests::e2e::client::{Client, name};
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::{config, scratch, two_cores};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const OFFSETS: &str = "__consumer_offsets";
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OFFSET_METADATA_TOO_LARGE: i16 = 12;
const INVALID_TOPIC: i16 = 17;
const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_COMMIT_OFFSET_SIZE: i16 = 28;
const UNSUPPORTED_VERSION: i16 = 35;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// Offset, leader epoch, metadata.
type Kept = (i64, i32, String);

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn group(s: &str) -> GroupId {
    GroupId(text(s))
}

fn start(config: ServerConfig) -> (ServerHandle, Client) {
    let server = keylane::start(config).expect("the server starts");
    let client = Client::connect(server.kafka_addr()).expect("the server listens");
    (server, client)
}

/// An offset to commit: partition, offset, leader epoch, metadata.
type Commit<'a> = (i32, i64, i32, Option<&'a str>);

/// Commits as who is no member; the error of each partition.
fn commit(
    client: &mut Client,
    who: &str,
    topic: &str,
    list: &[Commit<'_>],
    version: i16,
) -> Result<Vec<i16>> {
    commit_as(client, who, (-1, ""), topic, list, version)
}

fn commit_as(
    client: &mut Client,
    who: &str,
    (generation, member): (i32, &str),
    topic: &str,
    list: &[Commit<'_>],
    version: i16,
) -> Result<Vec<i16>> {
    let partitions = list.iter().map(|(index, offset, epoch, metadata)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(if version >= 6 { *epoch } else { -1 })
            .with_committed_metadata(metadata.map(text))
    });
    let topic =
        OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(partitions.collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(group(who))
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(text(member))
        .with_topics(vec![topic]);
    let response = client.call(version, &request)?;
    let topic = response.topics.first().context("no topic in the answer")?;
    ensure!(topic.partitions.iter().map(|p| p.partition_index).eq(list.iter().map(|c| c.0)), "partitions");
    Ok(topic.partitions.iter().map(|p| p.error_code).collect())
}

/// What a group has committed for partitions of a topic.
fn committed(client: &mut Client, who: &str, topic: &str, list: &[i32], version: i16) -> Result<Vec<Kept>> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let string = |m: Option<StrBytes>| m.map(|m| m.to_string()).unwrap_or_else(|| "null".to_owned());
    if version >= 8 {
        let topic =
            OffsetFetchRequestTopics::default().with_name(name(topic)).with_partition_indexes(list.to_vec());
        let one = OffsetFetchRequestGroup::default().with_group_id(group(who)).with_topics(Some(vec![topic]));
        let response = client.call(version, &OffsetFetchRequest::default().with_groups(vec![one]))?;
        let one = response.groups.into_iter().next().context("no group in the answer")?;
        errors.push(one.error_code);
        for p in one.topics.into_iter().flat_map(|t| t.partitions) {
            errors.push(p.error_code);
            found.push((p.committed_offset, p.committed_leader_epoch, string(p.metadata)));
        }
    } else {
        let topic =
            OffsetFetchRequestTopic::default().with_name(name(topic)).with_partition_indexes(list.to_vec());
        let request = OffsetFetchRequest::default().with_group_id(group(who)).with_topics(Some(vec![topic]));
        let response = client.call(version, &request)?;
        errors.push(response.error_code);
        for p in response.topics.into_iter().flat_map(|t| t.partitions) {
            errors.push(p.error_code);
            found.push((p.committed_offset, p.committed_leader_epoch, string(p.metadata)));
        }
    }
    ensure!(errors.iter().all(|e| *e == 0), "OffsetFetch: errors {errors:?}");
    ensure!(found.len() == list.len(), "{} of {} partitions answered", found.len(), list.len());
    Ok(found)
}

fn nothing() -> Kept {
    (-1, -1, String::new())
}

/// Everything that groups have committed, by group, topic and partition.
fn everything(client: &mut Client, groups: &[&str]) -> Result<BTreeMap<(String, String, i32), i64>> {
    let one = |who: &&str| OffsetFetchRequestGroup::default().with_group_id(group(who)).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(groups.iter().map(one).collect());
    let response = client.call(8, &request)?;
    let mut all = BTreeMap::new();
    for group in response.groups {
        ensure!(group.error_code == 0, "{}: error {}", group.group_id.0, group.error_code);
        for topic in group.topics {
            for p in topic.partitions {
                let key = (group.group_id.0.to_string(), topic.name.0.to_string(), p.partition_index);
                all.insert(key, p.committed_offset);
            }
        }
    }
    Ok(all)
}

fn groups(client: &mut Client) -> Result<Vec<String>> {
    let response = client.call(5, &ListGroupsRequest::default())?;
    ensure!(response.error_code == 0, "ListGroups: error {}", response.error_code);
    ensure!(response.groups.iter().all(|g| &*g.group_state == "Empty" && &*g.group_type == "classic"));
    Ok(response.groups.into_iter().map(|g| g.group_id.0.to_string()).collect())
}

#[test]
fn offsets_come_back_as_they_were_in_every_version_and_after_a_restart() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let on = |cores: Vec<usize>| ServerConfig { cores: Some(cores), shards: Some(4), ..config(dir.path()) };
    let (server, mut client) = start(on(two_cores()));
    assert_eq!(client.create_topic("orders", 5).unwrap(), 0);
    // Nothing is there yet, and asking makes nothing.
    assert_eq!(committed(&mut client, "g", "orders", &[0, 4], 9).unwrap(), [nothing(), nothing()]);
    assert_eq!(committed(&mut client, "g", "no-such", &[0], 1).unwrap(), [nothing()]);
    assert!(everything(&mut client, &["g"]).unwrap().is_empty() && groups(&mut client).unwrap().is_empty());
    assert_eq!(client.topics().unwrap(), ["orders"]);

    let metadata = "p\u{fc}nktlich \u{1f600} \"quoted\" \\ \0";
    let mut wanted = BTreeMap::new();
    for version in 2..=9 {
        let who = format!("group-{version}");
        let offset = 100 * i64::from(version);
        let list = [(0, offset, 3, Some(metadata)), (3, offset + 1, -1, None), (4, i64::MAX, 0, Some(""))];
        assert_eq!(commit(&mut client, &who, "orders", &list, version).unwrap(), [0, 0, 0]);
        let epoch = |e| if version >= 6 { e } else { -1 };
        let kept = [
            (offset, epoch(3), metadata.to_owned()),
            nothing(),
            (offset + 1, -1, String::new()),
            (i64::MAX, epoch(0), String::new()),
        ];
        wanted.insert(who, kept);
    }
    let check = |client: &mut Client| {
        for (who, kept) in &wanted {
            for version in 1..=9 {
                let found = committed(client, who, "orders", &[0, 1, 3, 4], version).unwrap();
                let told = |k: &Kept| if version >= 5 { k.clone() } else { (k.0, -1, k.2.clone()) };
                assert_eq!(found, kept.iter().map(told).collect::<Vec<_>>(), "{who}, version {version}");
            }
        }
        let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
        assert_eq!(groups(client).unwrap(), names);
        let all = everything(client, &names).unwrap();
        assert_eq!(all.len(), 3 * names.len());
        assert_eq!(all[&("group-7".to_owned(), "orders".to_owned(), 3)], 701);
    };
    check(&mut client);
    // Through another connection, which may be another core's.
    for _ in 0..4 {
        check(&mut Client::connect(server.kafka_addr()).unwrap());
    }
    server.stop().unwrap();
    for cores in [vec![0], two_cores()] {
        let (server, mut client) = start(on(cores));
        check(&mut client);
        // The last of several commits holds, and the others of the group stay.
        assert_eq!(commit(&mut client, "group-2", "orders", &[(1, 7, 1, Some("x"))], 9).unwrap(), [0]);
        assert_eq!(commit(&mut client, "group-2", "orders", &[(1, 5, 2, Some("y"))], 9).unwrap(), [0]);
        let found = committed(&mut client, "group-2", "orders", &[1, 3], 9).unwrap();
        assert_eq!(found, [(5, 2, "y".to_owned()), (201, -1, String::new())]);
        let request = OffsetDeleteRequest::default().with_group_id(group("group-2")).with_topics(vec![
            OffsetDeleteRequestTopic::default()
                .with_name(name("orders"))
                .with_partitions(vec![OffsetDeleteRequestPartition::default().with_partition_index(1)]),
        ]);
        assert_eq!(client.call(0, &request).unwrap().error_code, 0);
        server.stop().unwrap();
    }
}

#[test]
fn a_commit_is_answered_after_a_flush() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let (server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("orders", 1).unwrap(), 0);
    assert_eq!(commit(&mut client, "g", "orders", &[(0, 0, -1, None)], 8).unwrap(), [0]);
    let before = server.stats().commits;
    for offset in 1..=20 {
        assert_eq!(commit(&mut client, "g", "orders", &[(0, offset, -1, None)], 8).unwrap(), [0]);
        let commits = server.stats().commits - before;
        assert!(commits >= offset as u64, "{offset} answers, {commits} writes with their flushes");
    }
    server.stop().unwrap();
}

#[test]
fn what_cannot_be_committed_is_refused_as_kafka_does() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let (server, mut client) = start(config(dir.path()));
    assert_eq!(client.create_topic("orders", 2).unwrap(), 0);
    let (fits, long) = ("\u{e4}".repeat(4096), "x".repeat(4097));
    let list = [
        (0, 1, -1, Some(fits.as_str())),
        (1, 2, -1, Some(long.as_str())),
        (2, 3, -1, None),
        (-1, 3, -1, None),
    ];
    let refused = [0, OFFSET_METADATA_TOO_LARGE, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION];
    assert_eq!(commit(&mut client, "g", "orders", &list, 8).unwrap(), refused);
    let unknown = commit(&mut client, "g", "no-such-topic", &[(0, 1, -1, None)], 9).unwrap();
    assert_eq!(unknown, [UNKNOWN_TOPIC_OR_PARTITION]);
    let found = committed(&mut client, "g", "orders", &[0, 1, 2], 7).unwrap();
    assert_eq!(found, [(1, -1, fits), nothing(), nothing()]);

    // Who claims to be a member of a group that has none.
    let one = [(0, 9, -1, None)];
    let mut member = |who, generation, version| {
        commit_as(&mut client, who, (generation, "m-1"), "orders", &one, version).unwrap()[0]
    };
    assert_eq!(member("new", 0, 8), ILLEGAL_GENERATION);
    assert_eq!(member("new", 4, 2), ILLEGAL_GENERATION);
    assert_eq!(member("new", 4, 9), GROUP_ID_NOT_FOUND);
    assert_eq!(member("g", 0, 8), UNKNOWN_MEMBER_ID);
    assert_eq!(member("g", 1, 9), UNKNOWN_MEMBER_ID);
    assert_eq!(member("g", -1, 8), 0);
    assert_eq!(groups(&mut client).unwrap(), ["g"]);
    server.stop().unwrap();
}

#[test]
fn a_deleted_topic_takes_its_offsets_with_it() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let on = |cores| ServerConfig { cores: Some(cores), shards: Some(4), ..config(dir.path()) };
    let (server, mut client) = start(on(two_cores()));
    let who: Vec<String> = (0..12).map(|n| format!("group-{n}")).collect();
    let names: Vec<&str> = who.iter().map(String::as_str).collect();
    for topic in ["kept", "gone"] {
        assert_eq!(client.create_topic(topic, 3).unwrap(), 0);
        for who in &who {
            let list = [(0, 5, -1, None), (2, 6, -1, None)];
            assert_eq!(commit(&mut client, who, topic, &list, 9).unwrap(), [0, 0]);
        }
    }
    assert_eq!(commit(&mut client, "gone-only", "gone", &[(1, 5, -1, None)], 9).unwrap(), [0]);
    assert_eq!(everything(&mut client, &names).unwrap().len(), 48);
    assert_eq!(client.delete_topic("gone").unwrap(), 0);
    let refused = commit(&mut client, "group-0", "gone", &[(0, 7, -1, None)], 9).unwrap();
    assert_eq!(refused, [UNKNOWN_TOPIC_OR_PARTITION]);
    let check = |client: &mut Client| {
        let left = everything(client, &names).unwrap();
        assert_eq!(left.len(), 24);
        assert!(left.keys().all(|(_, topic, _)| topic == "kept"));
        assert_eq!(committed(client, "group-3", "gone", &[0, 1, 2], 9).unwrap(), vec![nothing(); 3]);
        assert_eq!(groups(client).unwrap().len(), 12);
    };
    check(&mut client);
    assert_eq!(client.create_topic("gone", 3).unwrap(), 0);
    check(&mut client);
    server.stop().unwrap();
    let (server, mut client) = start(on(vec![0]));
    check(&mut client);
    server.stop().unwrap();
}

/// The story: a server dies between the deletion of a topic and that of its offsets, and the topic is made anew.
/// The offsets of the old one must not be taken for offsets of the new one.
#[test]
fn offsets_of_another_topic_of_that_name_do_not_count() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let settings = || ServerConfig { shards: Some(1), ..config(dir.path()) };
    let (server, mut client) = start(settings());
    assert_eq!(client.create_topic("orders", 2).unwrap(), 0);
    assert_eq!(commit(&mut client, "g", "orders", &[(0, 5, -1, None)], 9).unwrap(), [0]);
    server.stop().unwrap();

    let options = keylane_engine::Options::default().segment_bytes(settings().segment_bytes);
    let log = keylane_engine::Keylane::open(dir.path(), options).unwrap();
    let partition = log.topic(OFFSETS).unwrap().partition(0).unwrap();
    let mut stored = partition.read(0, 1 << 20).unwrap();
    assert_eq!(stored.len(), 1);
    let mut record = stored.remove(0).record;
    // The same for partition 1, of a topic with another id.
    let mut key = record.key.unwrap().to_vec();
    *key.last_mut().unwrap() = 1;
    record.key = Some(key.into());
    record.headers[0].value = Some(Bytes::from_static(&[7; 16]));
    partition.append(&[record]).unwrap();
    log.close().unwrap();

    for _ in 0..2 {
        let (server, mut client) = start(settings());
        let found = committed(&mut client, "g", "orders", &[0, 1], 9).unwrap();
        assert_eq!(found, [(5, -1, String::new()), nothing()]);
        // It was removed from the log, too, once.
        assert_eq!(client.end_offset(OFFSETS, 0).unwrap(), 3);
        server.stop().unwrap();
    }
}

#[test]
fn groups_are_listed_described_and_deleted() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let on = || ServerConfig { cores: Some(two_cores()), shards: Some(3), ..config(dir.path()) };
    let (server, mut client) = start(on());
    assert_eq!(client.create_topic("orders", 4).unwrap(), 0);
    for who in ["a", "b", "c", ""] {
        let list = [(0, 1, -1, None), (1, 2, -1, None)];
        assert_eq!(commit(&mut client, who, "orders", &list, 8).unwrap(), [0, 0]);
    }
    assert_eq!(groups(&mut client).unwrap(), ["", "a", "b", "c"]);
    let filtered = |states: &[&str], types: &[&str]| {
        ListGroupsRequest::default()
            .with_states_filter(states.iter().map(|s| text(s)).collect())
            .with_types_filter(types.iter().map(|s| text(s)).collect())
    };
    let mut count =
        |states: &[&str], types: &[&str]| client.call(5, &filtered(states, types)).unwrap().groups.len();
    assert_eq!((count(&["Empty"], &[]), count(&["Stable"], &[])), (4, 0));
    assert_eq!((count(&[], &["Classic"]), count(&["Empty"], &["consumer"])), (4, 0));

    let request = DescribeGroupsRequest::default().with_groups(vec![group("b"), group("nobody")]);
    for (version, missing) in [(0, 0), (5, 0), (6, GROUP_ID_NOT_FOUND)] {
        let described = client.call(version, &request).unwrap().groups;
        let flat: Vec<_> = described.iter().map(|g| (g.error_code, &*g.group_state)).collect();
        assert_eq!(flat, [(0, "Empty"), (missing, "Dead")], "version {version}");
    }

    let partition = |index| OffsetDeleteRequestPartition::default().with_partition_index(index);
    let delete = |who: &str, topic: &str| {
        let topic = OffsetDeleteRequestTopic::default().with_name(name(topic)).with_partitions(vec![
            partition(0),
            partition(3),
            partition(9),
        ]);
        OffsetDeleteRequest::default().with_group_id(group(who)).with_topics(vec![topic])
    };
    let response = client.call(0, &delete("b", "orders")).unwrap();
    let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
    assert_eq!((response.error_code, codes), (0, vec![0, 0, UNKNOWN_TOPIC_OR_PARTITION]));
    assert_eq!(client.call(0, &delete("nobody", "orders")).unwrap().error_code, GROUP_ID_NOT_FOUND);
    let gone = DeleteGroupsRequest::default().with_groups_names(vec![group("a"), group("x"), group("")]);
    let codes: Vec<_> = client.call(2, &gone).unwrap().results.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [0, GROUP_ID_NOT_FOUND, 0]);
    let check = |client: &mut Client| {
        assert_eq!(groups(client).unwrap(), ["b", "c"]);
        assert_eq!(committed(client, "b", "orders", &[0, 1], 5).unwrap()[0], nothing());
        let left = everything(client, &["", "a", "b", "c"]).unwrap();
        let left: Vec<_> = left.iter().map(|((g, _, p), o)| (g.as_str(), *p, *o)).collect();
        assert_eq!(left, [("b", 1, 2), ("c", 0, 1), ("c", 1, 2)]);
    };
    check(&mut client);
    server.stop().unwrap();
    let (server, mut client) = start(on());
    check(&mut client);
    server.stop().unwrap();
}

#[test]
fn the_coordinator_of_groups_is_this_node() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let (server, mut client) = start(config(dir.path()));
    let port = i32::from(server.kafka_addr().port());
    for version in 0..=3 {
        let found = client.call(version, &FindCoordinatorRequest::default().with_key(text("g"))).unwrap();
        let about = (found.error_code, found.node_id.0, &*found.host, found.port);
        assert_eq!(about, (0, 0, "127.0.0.1", port), "version {version}");
    }
    for version in 4..=6 {
        let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"), text("h")]);
        for found in client.call(version, &request).unwrap().coordinators {
            let about = (found.error_code, found.node_id.0, &*found.host, found.port);
            assert_eq!(about, (0, 0, "127.0.0.1", port), "version {version}");
        }
        let transaction = request.with_key_type(1);
        let found = client.call(version, &transaction).unwrap().coordinators.remove(0);
        assert_eq!((found.error_code, found.node_id.0), (UNSUPPORTED_VERSION, -1));
    }
    server.stop().unwrap();
}

#[test]
fn the_topic_of_offsets_can_be_read_and_is_not_changed_by_clients() {
    let dir = scratch(TMP, "offsets-").unwrap();
    let (server, mut client) = start(ServerConfig { shards: Some(1), ..config(dir.path()) });
    let metadata = |client: &mut Client| {
        let wanted = MetadataRequestTopic::default().with_name(Some(name(OFFSETS)));
        client.call(12, &MetadataRequest::default().with_topics(Some(vec![wanted]))).unwrap().topics.remove(0)
    };
    // Naming it does not make it, and neither does a client.
    assert_eq!(metadata(&mut client).error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(client.create_topic(OFFSETS, 1).unwrap(), INVALID_TOPIC);
    assert_eq!(client.create_topic("orders", 1).unwrap(), 0);
    assert_eq!(commit(&mut client, "grp", "orders", &[(0, 258, 5, Some("m\u{fc}"))], 9).unwrap(), [0]);
    let found = metadata(&mut client);
    assert_eq!((found.error_code, found.is_internal, found.partitions.len()), (0, true, 1));
    let all = client.call(12, &MetadataRequest::default().with_topics(None)).unwrap().topics;
    assert!(all.iter().any(|t| t.is_internal) && all.iter().any(|t| !t.is_internal));

    assert_eq!(client.produce(OFFSETS, 0, single("x")).unwrap().error_code, INVALID_TOPIC);
    assert_eq!(client.delete_topic(OFFSETS).unwrap(), INVALID_TOPIC);
    let more = CreatePartitionsTopic::default().with_name(name(OFFSETS)).with_count(9).with_assignments(None);
    let more = CreatePartitionsRequest::default().with_topics(vec![more]);
    assert_eq!(client.call(3, &more).unwrap().results[0].error_code, INVALID_TOPIC);
    let records = DeleteRecordsTopic::default()
        .with_name(name(OFFSETS))
        .with_partitions(vec![DeleteRecordsPartition::default().with_offset(-1)]);
    let records = DeleteRecordsRequest::default().with_topics(vec![records]).with_timeout_ms(1000);
    assert_eq!(client.call(2, &records).unwrap().topics[0].partitions[0].error_code, INVALID_TOPIC);
    let change =
        AlterableConfig::default().with_name(text("cleanup.policy")).with_value(Some(text("delete")));
    let change = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(OFFSETS))
        .with_configs(vec![change]);
    let change = IncrementalAlterConfigsRequest::default().with_resources(vec![change]);
    assert_eq!(client.call(1, &change).unwrap().responses[0].error_code, INVALID_TOPIC);

    // One record, in Kafka's format.
    let records = client.fetch(OFFSETS, 0, 0).unwrap().records.unwrap();
    let set = RecordBatchDecoder::decode(&mut records.clone()).unwrap();
    assert_eq!(set.records.len(), 1);
    let record = &set.records[0];
    assert_eq!(record.key.as_deref(), Some(&b"\0\x01\0\x03grp\0\x06orders\0\0\0\0"[..]));
    let value = record.value.as_deref().unwrap();
    assert_eq!(&value[..19], b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x05\0\x03m\xc3\xbc");
    assert_eq!(value[19..], record.timestamp.to_be_bytes());
    server.stop().unwrap();
}

/// Memory is bounded: what does not fit is refused, what is there can still move on, and deleting makes room.
#[test]
fn offsets_that_do_not_fit_into_memory_are_refused() {
    const PARTITIONS: i32 = 1000;
    let dir = scratch(TMP, "offsets-").unwrap();
    let settings = || ServerConfig { shards: Some(1), ..config(dir.path()) };
    let (server, mut client) = start(settings());
    assert_eq!(client.create_topic("orders", PARTITIONS).unwrap(), 0);
    let metadata = "m".repeat(4096);
    let all = |client: &mut Client, who: &str, offset| {
        let list: Vec<Commit<'_>> =
            (0..PARTITIONS).map(|p| (p, offset, -1, Some(metadata.as_str()))).collect();
        let codes: BTreeSet<i16> = commit(client, who, "orders", &list, 9).unwrap().into_iter().collect();
        assert_eq!(codes.len(), 1, "all or none");
        codes.into_iter().next().unwrap()
    };
    // 64 MiB of entries of somewhat more than 4 KiB each.
    let fit = (0..40).position(|n| all(&mut client, &format!("g{n}"), 1) != 0).expect("a bound");
    assert!((14..=16).contains(&fit), "{fit} groups of {PARTITIONS} offsets fit");
    assert_eq!(all(&mut client, "another", 1), INVALID_COMMIT_OFFSET_SIZE);
    assert_eq!(all(&mut client, "g0", 2), 0);
    server.stop().unwrap();
    let (server, mut client) = start(settings());
    let found = committed(&mut client, "g0", "orders", &[0, PARTITIONS - 1], 9).unwrap();
    assert_eq!(found.iter().map(|k| k.0).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(all(&mut client, "another", 1), INVALID_COMMIT_OFFSET_SIZE);
    let gone = DeleteGroupsRequest::default().with_groups_names(vec![group("g1")]);
    assert_eq!(client.call(2, &gone).unwrap().results[0].error_code, 0);
    assert_eq!(all(&mut client, "another", 1), 0);
    server.stop().unwrap();
}

/// The newest offset that was answered for each group and partition, and the newest that was sent.
type Acked = BTreeMap<(String, i32), (i64, i64)>;

const GROUPS: usize = 6;
const PARTITIONS: i32 = 4;

/// Commits rising offsets until the server is gone.
fn commit_until_killed(address: SocketAddr, writer: usize, mut acked: Acked) -> Acked {
    let Ok(mut client) = Client::connect(address) else { return acked };
    for turn in 0.. {
        let who = format!("writer-{writer}-{}", turn % GROUPS);
        let list: Vec<(i32, i64)> = (0..PARTITIONS)
            .map(|p| (p, acked.get(&(who.clone(), p)).map_or(0, |(_, sent)| *sent) + 1))
            .collect();
        for (partition, offset) in &list {
            acked.entry((who.clone(), *partition)).or_insert((-1, 0)).1 = *offset;
        }
        let commits: Vec<Commit<'_>> = list.iter().map(|(p, o)| (*p, *o, -1, Some("m"))).collect();
        match commit(&mut client, &who, "orders", &commits, 9) {
            Ok(codes) if codes.iter().all(|c| *c == 0) => {
                for (partition, offset) in &list {
                    acked.entry((who.clone(), *partition)).or_insert((-1, 0)).0 = *offset;
                }
            }
            _ => break,
        }
    }
    acked
}

/// Each answered offset that is gone, and each that was never sent.
fn missing(client: &mut Client, acked: &Acked) -> Result<Vec<String>> {
    let names: BTreeSet<&str> = acked.keys().map(|(who, _)| who.as_str()).collect();
    let found = everything(client, &names.into_iter().collect::<Vec<_>>())?;
    let mut wrong = Vec::new();
    for ((who, partition), (answered, sent)) in acked {
        let offset = found.get(&(who.clone(), "orders".to_owned(), *partition)).copied().unwrap_or(-1);
        if offset < *answered || offset > *sent {
            wrong.push(format!("{who}/{partition}: {answered} answered, {sent} sent, {offset} found"));
        }
    }
    Ok(wrong)
}

/// Takes everything from a shard that was written since the directory was made.
fn lose_segments(shard: &Path) -> Result<()> {
    for entry in std::fs::read_dir(shard)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "log" || e == "idx") || path.ends_with("checkpoint") {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[test]
fn answered_commits_survive_kill_9() {
    let rounds = std::env::var("KEYLANE_OFFSETS_ROUNDS").map_or(3, |n| n.parse().expect("a number"));
    let dir = scratch(TMP, "offsets-kill-").unwrap();
    let data = dir.path().join("data");
    let binary = binary().unwrap();
    let start = |cores: &str| {
        let args = ["--cores", cores, "--shards", "2", "--segment-bytes", "4231168"];
        Server::start(&binary, &data, &args, &dir.path().join("server.log")).unwrap()
    };
    let both = if two_cores().len() > 1 { "0-1" } else { "0" };
    let mut acked = vec![Acked::new(); 3];
    let mut commits = 0;
    for round in 0..rounds {
        let server = start(if round % 2 == 0 { "0" } else { both });
        if round == 0 {
            let mut client = Client::connect(server.address).unwrap();
            assert_eq!(client.create_topic("orders", PARTITIONS).unwrap(), 0);
        }
        let (killed, address) = (Arc::new(AtomicBool::new(false)), server.address);
        let writers = std::mem::take(&mut acked).into_iter().enumerate().map(|(writer, acked)| {
            let killed = Arc::clone(&killed);
            std::thread::spawn(move || {
                let acked = commit_until_killed(address, writer, acked);
                assert!(killed.load(Ordering::SeqCst), "a commit failed before the kill");
                acked
            })
        });
        let writers: Vec<_> = writers.collect();
        std::thread::sleep(Duration::from_millis(400 + 137 * round));
        killed.store(true, Ordering::SeqCst);
        server.kill().unwrap();
        acked = writers.into_iter().map(|w| w.join().expect("a writer")).collect();
        let server = start(if round % 2 == 0 { both } else { "0" });
        let mut client = Client::connect(server.address).unwrap();
        for acked in &acked {
            assert_eq!(missing(&mut client, acked).unwrap(), Vec::<String>::new(), "round {round}");
        }
        commits = acked.iter().flat_map(BTreeMap::values).map(|(answered, _)| answered).sum();
        // Every other recovery is itself cut short.
        if round % 2 == 0 { server.kill().unwrap() } else { server.stop().unwrap() }
    }
    assert!(commits > 500, "{commits} offsets answered: the test is not valid");

    // The control: without the segments they were written to.
    start("0").stop().unwrap();
    for shard in ["shard-00000", "shard-00001"] {
        lose_segments(&data.join(shard)).unwrap();
    }
    let repair = std::process::Command::new(&binary).arg("check").arg(&data).arg("--repair").output();
    println!("{}", String::from_utf8_lossy(&repair.unwrap().stdout));
    let server = start("0");
    let mut client = Client::connect(server.address).unwrap();
    let lost: usize = acked.iter().map(|acked| missing(&mut client, acked).unwrap().len()).sum();
    assert_eq!(lost, acked.iter().map(BTreeMap::len).sum::<usize>());
    server.stop().unwrap();
    println!(
        "kill -9: {rounds} rounds, {commits} offsets answered, none lost; control: {lost} reported as lost"
    );
}
