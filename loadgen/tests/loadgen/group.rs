//! A group that reads beside a load: it is sound while members come and go, and members that commit too early are found out.

use std::net::SocketAddr;
use std::time::Duration;

use keylane::ServerConfig;
use keylane_loadgen::consumer::LIMITS;
use keylane_loadgen::group::assignor::Strategy;
use keylane_loadgen::group::fleet::Fleet;
use keylane_loadgen::group::spec::{Protocol, Spec};
use keylane_loadgen::group::wire::Timeouts;
use keylane_loadgen::lab::client::Client;

use crate::common::{failed, load, text_of};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

fn churned(text: &str) -> keylane_loadgen::report::Report {
    let usual =
        "--rate 3000 --batch-records 10 --warmup 0s --partitions 6 --consumers 0 --group-session 500ms";
    load(&format!("{usual} {text} --data-parent {TMP}"))
}

#[test]
fn a_group_whose_members_come_and_go_reads_everything_once_in_a_generation() {
    for how in ["--group-strategy eager", "--group-strategy cooperative", "--group-protocol consumer"] {
        let report = churned(&format!("--duration 2s --group 3 --group-churn 250ms {how}"));
        assert_eq!((failed(&report), &report.incomplete), (vec![], &None), "{report}");
        let group = report.group.as_ref().expect("a group");
        assert!(group.generations >= 4 && group.killed >= 1 && group.left >= 1, "{how}: {group:?}");
        assert_eq!(group.troubles, Vec::<String>::new(), "{how}");
        assert!(text_of(&report, "group loss").contains("records read"), "{report}");
    }
}

/// The control: what is committed before it was read is lost when its member is killed.
#[test]
fn members_that_commit_ahead_of_what_they_read_are_found_out() {
    for protocol in ["classic", "consumer"] {
        let how = format!("--group-churn 150ms --group-ahead 40 --group-protocol {protocol}");
        let report = churned(&format!("--duration 2s --group 3 {how}"));
        assert!(text_of(&report, "group loss").contains("gaps that no member read"), "{protocol}: {report}");
        assert_eq!(report.exit_code, 1);
    }
}

/// A group of 200 that all start within a second: one owner for each partition, and nobody has more than his share.
///
/// The server waits for nobody, so the first generations are superseded while their members fetch their parts. A member
/// whose SyncGroup was refused for that once forgot the id that it had just been given, joined as somebody else, and every
/// rebalance waited a minute for the member that it had been.
#[test]
fn two_hundred_members_that_start_at_once_share_the_partitions() {
    for protocol in [Protocol::Classic(Strategy::Eager), Protocol::Consumer] {
        two_hundred_share(protocol);
    }
}

fn two_hundred_share(protocol: Protocol) {
    let data = tempfile::tempdir_in(TMP).expect("a directory");
    let server = keylane::start(ServerConfig {
        data: data.path().to_owned(),
        kafka: SocketAddr::from(([127, 0, 0, 1], 0)),
        segment_bytes: 32 << 20,
        group_initial_rebalance_delay_ms: 0,
        ..ServerConfig::default()
    });
    let server = server.expect("a server");
    let mut client = Client::connect(server.kafka_addr()).expect("a connection");
    let topic = client.create_topic("crowd", 400).expect("a topic");
    let mut fleet = Fleet::new(Spec {
        address: server.kafka_addr(),
        group: "crowd".to_owned(),
        topic,
        begin: vec![0; 400],
        protocol,
        times: Timeouts { session_ms: 120_000, rebalance_ms: 120_000 },
        heartbeat: Duration::from_millis(200),
        commit_every: Duration::from_secs(1),
        ahead: 0,
        restarts: false,
        limits: LIMITS,
    });
    let began = std::time::Instant::now();
    fleet.add(200).expect("members");
    assert!(began.elapsed() < Duration::from_secs(1), "the members did not start within a second");
    fleet.settled(Duration::from_secs(40)).expect("an even share for each");
    let (history, counts) = fleet.end().expect("members that leave");
    assert_eq!((history.troubles, counts.left), (vec![], 200));
    server.stop().expect("a clean stop");
}
