//! Loads over HTTP as Kinesis' clients send them, on a server in this process that may throttle its shards. The control of the
//! check of order is a careless producer: what a shard refused is sent again behind what came after it.

use super::common::{failed, load, text_of};

const SHAPE: &str = "--kinesis --duration 700ms --warmup 0s --keys 2000";

#[test]
fn what_is_put_is_read_in_order() {
    for more in [
        "--connections 2",
        "--batch-records 1 --rate 200 --connections 1",
        "--key-dist hot:0.2 --batch-records 20",
    ] {
        let report = load(&format!("{SHAPE} {more} --reread --fanout 2 --catch-up 1"));
        assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{more}\n{report}");
        let acked = report.produced.records_acked_total;
        assert!(acked > 50, "only {acked} records: the test is not valid\n{report}");
        let readers = &report.consumed.as_ref().unwrap().readers;
        assert!(readers.iter().all(|reader| reader.records == acked && reader.complete), "{report}");
        assert!(text_of(&report, "offsets").contains("sequence numbers rise in 4 shards"), "{report}");
    }
}

/// Twice as much as a shard takes: what is refused is sent again, and nothing is overtaken.
#[test]
fn a_careful_producer_keeps_the_order_of_keys_and_a_careless_one_does_not() {
    let hot = "--kinesis --kinesis-throttle --duration 1200ms --warmup 0s --partitions 1 --rate 4000 --record-bytes 100 \
               --batch-records 100 --keys 400";
    let report = load(hot);
    assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{report}");
    assert!(report.resent > 100, "only {} were refused: the test is not valid\n{report}", report.resent);
    let report = load(&format!("{hot} --careless"));
    assert!(report.resent > 100, "only {} were refused: the test is not valid\n{report}", report.resent);
    assert_eq!((failed(&report), report.exit_code), (vec!["order"], 1), "{report}");
    assert!(report.verdict.examples.iter().any(|example| example.contains("Reordered")), "{report}");
}

#[test]
fn sabotage_is_found_by_its_name() {
    for (sabotage, line) in [("drop", "loss"), ("duplicate", "duplicates"), ("reorder", "order")] {
        let report = load(&format!("{SHAPE} --batch-records 50 --sabotage {sabotage}"));
        assert_eq!((failed(&report), report.exit_code), (vec![line], 1), "{sabotage}\n{report}");
    }
}

/// What was put through Kinesis is checked through Kafka, with the books of the run.
#[test]
fn books_are_checked_through_the_other_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let config = keylane::ServerConfig {
        data: data.path().to_owned(),
        kafka: local,
        kinesis: Some(local),
        ..keylane::ServerConfig::default()
    };
    let server = keylane::start(config).unwrap();
    let url = format!("--kinesis http://{}", server.kinesis_addr().unwrap());
    let shape = SHAPE.replace("--kinesis", &url);
    for resume in ["", "--resume"] {
        let report = load(&format!("{shape} --partitions 3 --state {} {resume}", state.display()));
        assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{report}");
    }
    let args = keylane_loadgen::args::VerifyArgs {
        bootstrap: server.kafka_addr().to_string(),
        topic: None,
        state,
        consumers: 2,
        settle: false,
        no_verify_payload: false,
        fanout: 1,
        evidence: None,
        json: false,
    };
    let found = keylane_loadgen::verify::verify(&args).unwrap();
    assert_eq!((found.exit_code, found.rounds), (0, 2), "{found}");
    assert!(found.checked.records_read > 100 && found.checked.partitions_read == 3, "{found}");
    server.stop().unwrap();
}

#[test]
fn what_is_of_kafka_alone_is_refused() {
    for option in ["--acks 0", "--codec lz4", "--sabotage random-key", "--batch-records 501", "--prime"] {
        let args = keylane_loadgen::args::RunArgs::from_text(&format!("{SHAPE} {option}")).unwrap();
        assert!(keylane_loadgen::run::run(&args).is_err(), "{option}");
    }
    let wrong = keylane_loadgen::args::RunArgs::from_text("--kinesis 127.0.0.1:1").unwrap();
    let told = keylane_loadgen::run::run(&wrong).unwrap_err().to_string();
    assert!(told.contains("http://HOST:PORT"), "{told}");
}
