//! `keylane topic`
use serde_json::json;

use super::Server;

#[test]
fn topics_are_created_listed_described_altered_and_deleted() {
    let server = Server::start();
    let created = server.out(&["topic", "create", "orders", "-p", "3", "-c", "retention.ms=3600000"]);
    assert_eq!(created, "orders: created with 3 partitions, 1 replica\n");
    assert_eq!(
        server.json(&["topic", "create", "orders", "--if-not-exists"]),
        json!([{"topic": "orders", "done": "exists", "error": null, "message": null}])
    );
    assert_eq!(
        server.out(&["topic", "create", "more", "--dry-run"]),
        "more: would be created with 1 partition, 1 replica\n"
    );
    assert_eq!(
        server.out(&["topic", "list"]),
        "TOPIC   PARTITIONS  REPLICAS\norders           3         1\n"
    );

    let text = server.out(&["topic", "describe", "orders"]);
    assert!(
        text.starts_with("orders\n  id          ") && text.contains("retention.ms  3600000  topic\n"),
        "{text}"
    );
    let change =
        ["topic", "alter", "orders", "-c", "cleanup.policy=compact", "-u", "retention.ms", "-p", "4"];
    assert_eq!(
        server.out(&[&change[..], &["--dry-run"]].concat()),
        "orders: settings: checked, nothing was changed\norders: 4 partitions: checked, nothing was changed\n"
    );
    assert_eq!(server.json(&["topic", "list"])[0]["partitions"], 3);
    assert_eq!(server.out(&change), "orders: settings changed\norders: 4 partitions now\n");
    let described = server.json(&["topic", "describe", "orders"]);
    assert_eq!(
        described[0]["settings"],
        json!([{"name": "cleanup.policy", "value": "compact", "source": "topic"}])
    );
    assert_eq!(
        described[0]["partitions"][3],
        json!({"partition": 3, "leader": 0, "replicas": [0], "in_sync": [0], "start_offset": 0, "end_offset": 0})
    );
    let all = server.json(&["topic", "describe", "orders", "--all"]);
    let settings = all[0]["settings"].as_array().unwrap();
    assert!(
        settings.iter().any(|set| set["name"] == "retention.ms" && set["source"] == "default"),
        "{settings:?}"
    );

    assert_eq!(server.out(&["topic", "delete", "orders"]), "orders: deleted\n");
    assert_eq!(server.out(&["topic", "delete", "orders", "--if-exists"]), "orders: does not exist\n");
    assert_eq!(server.json(&["topic", "list", "--internal"]), json!([]));
}

#[test]
fn each_topic_has_an_outcome_and_refusals_say_what_to_do() {
    let server = Server::start();
    server.out(&["topic", "create", "here"]);
    let both = server.run(&["topic", "create", "here", "new", "--json"]);
    let outcomes: serde_json::Value = serde_json::from_str(&both.out).unwrap();
    assert_eq!(both.code, Some(1));
    assert_eq!((&outcomes[0]["done"], &outcomes[1]["error"]), (&json!(null), &json!(null)));
    assert_eq!(outcomes[0]["error"], "TOPIC_ALREADY_EXISTS (36)");
    for (args, code, advice) in [
        (&["topic", "create", "here"][..], "TOPIC_ALREADY_EXISTS", "--if-not-exists"),
        (&["topic", "create", "x", "-r", "3"], "INVALID_REPLICATION_FACTOR", "than there are brokers"),
        (&["topic", "create", "a b"], "INVALID_TOPIC_EXCEPTION", "dots"),
        (&["topic", "describe", "none"], "UNKNOWN_TOPIC_OR_PARTITION", "`keylane topic list`"),
        (&["topic", "alter", "here", "-c", "nonsense=1"], "INVALID_CONFIG", "--all"),
        (&["topic", "alter", "here", "-p", "1"], "INVALID_PARTITIONS", "never removed"),
        (&["topic", "delete", "none"], "UNKNOWN_TOPIC_OR_PARTITION", "`keylane topic list`"),
    ] {
        let error = server.error(args);
        assert!(error.contains(code) && error.contains(advice), "{args:?}: {error}");
    }
    for wrong in [&["topic", "alter", "here"][..], &["topic", "create"], &["topic", "create", "x", "-c", "y"]]
    {
        assert_eq!(server.run(wrong).code, Some(2), "{wrong:?}");
    }
}
