//! Proves that crowds cost what they should, and others little: a thousand requests whose answers nobody reads, ten thousand groups, and a
//! member that joins and leaves a group ten times a second.
//!
//! The answers that waited for a client which does not read them were once bounded in number, and not in bytes: eight connections that asked a
//! thousand times for the metadata of 3,000 partitions took 547 MiB, and with the bound 42.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, MetadataRequest, OffsetCommitRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use keylane_tests::e2e::batch::single;
use keylane_tests::e2e::client::{Client, decode, frame, name};
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::scratch;
use tempfile::TempDir;

const TOPIC: &str = "t";

fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

fn group(s: &str) -> GroupId {
    GroupId(text(s))
}

/// A server in a process of its own: what it takes shows in its memory.
fn start() -> (Server, TempDir) {
    let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "crowds-").unwrap();
    let args = [
        "--cores",
        "0",
        "--segment-bytes",
        "4231168",
        "--tail-cache-bytes",
        "2M",
        "--group-initial-rebalance-delay-ms",
        "0",
    ];
    let server = Server::start(&binary().unwrap(), &dir.path().join("data"), &args, &dir.path().join("log"));
    (server.unwrap(), dir)
}

/// Resident memory of a process.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_thousand_requests_whose_answers_nobody_reads_take_bounded_memory() {
    const CONNECTIONS: usize = 8;
    const REQUESTS: i32 = 1000;
    const GROWTH_KIB_MAX: u64 = 160 << 10;
    let (server, _dir) = start();
    let mut client = Client::connect(server.address).unwrap();
    assert_eq!(client.create_topic(TOPIC, 3000).unwrap(), 0);
    let request = MetadataRequest::default().with_topics(None);
    let answer = client.call(12, &request).unwrap();
    assert_eq!(answer.topics[0].partitions.len(), 3000);
    let before = resident_kib(server.pid());
    let mut all = BytesMut::new();
    (0..REQUESTS).for_each(|id| all.put(frame(&request, 12, id)));
    let crowd: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let client = Client::connect(server.address).unwrap();
            let (mut writer, all) = (client.stream.try_clone().unwrap(), all.clone());
            // The server stops reading once too much waits to be sent.
            writer.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            let _part = writer.write(&all).unwrap();
            client
        })
        .collect();
    let mut most = 0;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        most = most.max(resident_kib(server.pid()));
        // Others are served meanwhile.
        client.append(TOPIC, 0, single("beside")).unwrap();
    }
    let grown = most.saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB for answers that nobody reads");
    // Who reads at last gets all of them, in order.
    let mut late = crowd.into_iter().next().unwrap();
    for id in 0..20 {
        let (got, answer) = decode::<MetadataRequest>(late.receive().unwrap().unwrap(), 12).unwrap();
        assert_eq!((got, answer.topics[0].partitions.len()), (id, 3000));
    }
    drop(late);
    server.stop().unwrap();
    println!("{CONNECTIONS} connections, {REQUESTS} requests each: +{grown} KiB");
}

fn commit_request(who: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(7)
        .with_committed_metadata(Some(text("")));
    let topic = OffsetCommitRequestTopic::default().with_name(name(TOPIC)).with_partitions(vec![partition]);
    OffsetCommitRequest::default().with_group_id(group(who)).with_topics(vec![topic])
}

#[test]
fn ten_thousand_groups_are_kept_listed_and_deleted() {
    const GROUPS: usize = 10_000;
    const IN_FLIGHT: usize = 500;
    const BYTES_A_GROUP_MAX: u64 = 4096;
    let (server, _dir) = start();
    let mut client = Client::connect(server.address).unwrap();
    assert_eq!(client.create_topic(TOPIC, 1).unwrap(), 0);
    client.call(7, &commit_request("first")).unwrap();
    let before = resident_kib(server.pid());
    let names: Vec<String> = (0..GROUPS).map(|n| format!("group-{n:05}")).collect();
    for some in names.chunks(IN_FLIGHT) {
        let mut all = BytesMut::new();
        some.iter().enumerate().for_each(|(id, who)| all.put(frame(&commit_request(who), 7, id as i32)));
        client.send(&all).unwrap();
        for id in 0..some.len() {
            let (got, answer) = decode::<OffsetCommitRequest>(client.receive().unwrap().unwrap(), 7).unwrap();
            assert_eq!((got, answer.topics[0].partitions[0].error_code), (id as i32, 0));
        }
    }
    let grown = resident_kib(server.pid()).saturating_sub(before) << 10;
    assert!(grown < GROUPS as u64 * BYTES_A_GROUP_MAX, "{grown} bytes for {GROUPS} groups");
    let began = Instant::now();
    let listed = client.call(4, &ListGroupsRequest::default()).unwrap();
    let listed: BTreeSet<String> = listed.groups.iter().map(|g| g.group_id.0.to_string()).collect();
    assert_eq!(listed.len(), GROUPS + 1);
    assert!(names.iter().all(|name| listed.contains(name)));
    let all: Vec<_> = names.iter().map(|name| group(name)).collect();
    let described = client.call(5, &DescribeGroupsRequest::default().with_groups(all.clone())).unwrap();
    assert!(described.groups.iter().all(|g| g.error_code == 0 && g.group_state.as_str() == "Empty"));
    let took = began.elapsed();
    let deleted = client.call(2, &DeleteGroupsRequest::default().with_groups_names(all)).unwrap();
    assert!(deleted.results.iter().all(|g| g.error_code == 0) && deleted.results.len() == GROUPS);
    assert_eq!(client.call(4, &ListGroupsRequest::default()).unwrap().groups.len(), 1);
    drop(client);
    server.stop().unwrap();
    println!("{GROUPS} groups: {} bytes each, listed and described in {took:?}", grown / GROUPS as u64);
}

/// Joins as a member of a group; its id and generation.
fn join(client: &mut Client, who: &str, member: &str) -> (String, i32) {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("p"));
    let request = JoinGroupRequest::default()
        .with_group_id(group(who))
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(6000)
        .with_member_id(text(member))
        .with_protocol_type(text("crowd"))
        .with_protocols(vec![protocol]);
    // Version 3: without MEMBER_ID_REQUIRED.
    let joined = client.call(3, &request).unwrap();
    assert_eq!(joined.error_code, 0);
    let parts = joined.members.iter().map(|member| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(vec![1].into())
    });
    let request = SyncGroupRequest::default()
        .with_group_id(group(who))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(parts.collect());
    assert_eq!(client.call(2, &request).unwrap().error_code, 0);
    (joined.member_id.to_string(), joined.generation_id)
}

#[test]
fn a_member_that_flaps_ten_times_a_second_disturbs_nobody_else() {
    const FLAPS: usize = 30;
    const RECORDS_A_FLAP_MAX: i64 = 4;
    let (server, _dir) = start();
    let mut steady = Client::connect(server.address).unwrap();
    assert_eq!(steady.create_topic(TOPIC, 1).unwrap(), 0);
    let (member, generation) = join(&mut steady, "steady", "");
    let offsets_before = steady.end_offset("__consumer_offsets", 0).unwrap()
        + steady.end_offset("__consumer_offsets", 1).unwrap_or(0);
    let address = server.address;
    let flapping = std::thread::spawn(move || {
        let mut client = Client::connect(address).unwrap();
        let began = Instant::now();
        for flap in 0..FLAPS {
            let (id, _) = join(&mut client, "flapping", "");
            let leaves = LeaveGroupRequest::default()
                .with_group_id(group("flapping"))
                .with_members(vec![MemberIdentity::default().with_member_id(text(&id))]);
            assert_eq!(client.call(3, &leaves).unwrap().error_code, 0);
            let due = Duration::from_millis(100) * (flap as u32 + 1);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    });
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    while !flapping.is_finished() {
        let began = Instant::now();
        let beat = HeartbeatRequest::default()
            .with_group_id(group("steady"))
            .with_generation_id(generation)
            .with_member_id(text(&member));
        assert_eq!(steady.call(3, &beat).unwrap().error_code, 0, "the other group goes on");
        let commit = commit_request("steady")
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(text(&member));
        assert_eq!(steady.call(7, &commit).unwrap().topics[0].partitions[0].error_code, 0);
        slowest = slowest.max(began.elapsed());
        asked += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    flapping.join().unwrap();
    assert!(asked > 30, "only {asked} commits beside {FLAPS} flaps");
    assert!(slowest < Duration::from_secs(2), "a heartbeat and a commit took {slowest:?}");
    // Bounded work: a few records for each generation, and one for each commit.
    let offsets_after = steady.end_offset("__consumer_offsets", 0).unwrap()
        + steady.end_offset("__consumer_offsets", 1).unwrap_or(0);
    let written = offsets_after - offsets_before - asked;
    assert!(written <= FLAPS as i64 * RECORDS_A_FLAP_MAX, "{written} records for {FLAPS} flaps");
    drop(steady);
    server.stop().unwrap();
    println!("{FLAPS} flaps: {written} records; slowest heartbeat and commit beside them {slowest:?}");
}
