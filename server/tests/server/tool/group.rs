//! `keylane group`
use std::time::Duration;

use keylane_kafka::ErrorCode;
use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::join_group::{JoinGroupProtocol, JoinGroupRequest};
use keylane_kafka::messages::leave_group::{LeaveGroupRequest, LeavingMember};
use keylane_kafka::messages::sync_group::{SyncGroupAssignment, SyncGroupRequest};
use serde_json::json;

use super::Server;

/// Partitions 0 and 1 of topic `t`, as the protocol of consumers says it.
const ASSIGNED: &[u8] = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";

/// The only member of a group; its id.
fn join(cluster: &mut Cluster, group: &str) -> String {
    let mut member = String::new();
    for _ in 0..2 {
        let request = JoinGroupRequest {
            group,
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            member_id: &member,
            protocol_type: "consumer",
            protocols: vec![JoinGroupProtocol { name: "range", metadata: b"" }],
            ..Default::default()
        };
        let answer = cluster.any().unwrap().ask(&request).unwrap();
        // The first answer gives an id.
        let (error, generation, id) = (answer.error, answer.generation, answer.member_id.into_owned());
        member = id;
        if error.is_none() {
            let assignments = vec![SyncGroupAssignment { member_id: &member, assignment: ASSIGNED }];
            let sync = SyncGroupRequest {
                group,
                generation,
                member_id: &member,
                protocol_type: Some("consumer"),
                protocol_name: Some("range"),
                assignments,
                ..Default::default()
            };
            assert_eq!(cluster.any().unwrap().ask(&sync).unwrap().error, ErrorCode::None);
            break;
        }
    }
    member
}

fn leave(cluster: &mut Cluster, group: &str, member: &str) {
    let members = vec![LeavingMember { member_id: member, ..Default::default() }];
    let request = LeaveGroupRequest { group, members, ..Default::default() };
    assert_eq!(cluster.any().unwrap().ask(&request).unwrap().error, ErrorCode::None);
}

#[test]
fn a_group_is_described_while_it_lives_and_reset_only_when_it_is_empty() {
    let server = Server::start();
    server.out(&["topic", "create", "t", "-p", "2"]);
    let lines = (0..10).map(|n| format!("{n}\n")).collect::<String>();
    server.run_with(&["produce", "t", "-p", "0"], lines.as_bytes());
    assert_eq!(server.out(&["group", "list"]), "GROUP  STATE  TYPE  COORDINATOR\n");

    // A group that is not there yet gets offsets.
    let made = server.out(&["group", "reset", "g", "--topic", "t:0", "--to", "-3", "--execute"]);
    assert_eq!(made, "TOPIC  PARTITION  COMMITTED  NEW\nt              0          -    7\n");
    assert_eq!(
        server.out(&["group", "list"]),
        "GROUP  STATE  TYPE     COORDINATOR\ng      Empty  classic            0\n"
    );

    let mut cluster = Cluster::connect(vec![server.address.clone()], "app", Duration::from_secs(30)).unwrap();
    let member = join(&mut cluster, "g");
    let described = &server.json(&["group", "describe", "g"])[0];
    assert_eq!(
        (&described["state"], &described["protocol"], &described["lag"]),
        (&json!("Stable"), &json!("range"), &json!(3))
    );
    assert_eq!(
        described["members"],
        json!([{"id": member, "instance_id": null, "client_id": "app", "host": "127.0.0.1", "assigned": [["t", [0, 1]]]}])
    );
    assert_eq!(
        described["partitions"],
        json!([
            {"topic": "t", "partition": 0, "committed": 7, "end_offset": 10, "lag": 3, "member": member},
            {"topic": "t", "partition": 1, "committed": null, "end_offset": 0, "lag": null, "member": member},
        ])
    );
    let text = server.out(&["group", "describe", "g"]);
    assert!(
        text.contains("  members      1\n  lag          3\n") && text.contains("app     127.0.0.1\n"),
        "{text}"
    );

    let refused = server.error(&["group", "reset", "g", "--to", "start", "--execute"]);
    assert!(refused.starts_with("group g is Stable") && refused.contains("stop them first"), "{refused}");
    assert!(server.error(&["group", "delete", "g"]).contains("NON_EMPTY_GROUP"));
    leave(&mut cluster, "g", &member);
    resets(&server);
    let gone = server.run(&["group", "delete", "g", "none", "--json"]);
    let gone: serde_json::Value = serde_json::from_str(&gone.out).unwrap();
    assert_eq!(gone[0], json!({"group": "g", "done": "deleted", "error": null, "message": null}));
    assert_eq!(gone[1]["error"], "GROUP_ID_NOT_FOUND (69)");
    for args in [&["group", "describe", "g"][..], &["group", "delete", "g"]] {
        let error = server.error(args);
        assert!(error.contains("GROUP_ID_NOT_FOUND") && error.contains("`keylane group list`"), "{error}");
    }
    assert!(server.error(&["group", "reset", "g", "--to", "start"]).contains("--topic"));
}

/// A dry run says what would be changed and changes nothing.
fn resets(server: &Server) {
    let committed = || server.json(&["group", "describe", "g"])[0]["partitions"][0]["committed"].clone();
    let dry = server.run(&["group", "reset", "g", "--to", "start"]);
    assert_eq!((dry.code, dry.out.lines().last()), (Some(0), Some("t              0          7    0")));
    assert!(dry.err.contains("nothing was changed; add --execute"), "{}", dry.err);
    assert_eq!(committed(), 7);
    for (args, new) in [
        (&["--to", "start"][..], 0),
        (&["--to", "4"], 4),
        (&["--by", "-1"], 3),
        (&["--by", "100"], 10),
        (&["--to", "end"], 10),
        (&["--to", "99"], 10),
        (&["--to", "@1h"], 0),
        (&["--to", "@2100-01-01"], 10),
    ] {
        let reset = server.json(&[&["group", "reset", "g", "--execute"], args].concat());
        assert_eq!(
            (&reset["executed"], &reset["partitions"][0]["new"]),
            (&json!(true), &json!(new)),
            "{args:?}"
        );
        assert_eq!(committed(), new, "{args:?}");
    }
    assert_eq!(server.run(&["group", "reset", "g"]).code, Some(2));
    assert_eq!(server.run(&["group", "reset", "g", "--to", "1", "--by", "1"]).code, Some(2));
}
