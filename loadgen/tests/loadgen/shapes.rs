//! Shapes of load, against an embedded server or a broker that keeps nothing.

use super::common::{broker, failed, load};
use keylane::ServerConfig;
use keylane_loadgen::args::RunArgs;
use keylane_loadgen::client::Admin;
use keylane_loadgen::find_max::{FindMaxArgs, Of, find_max};
use keylane_loadgen::sink::{Keep, Lie};

const SHORT: &str = "--duration 400ms --warmup 0s --record-bytes 200 --partitions 4 --keys 40";

#[test]
fn every_codec_is_written_and_read_back() {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let report = load(&format!(
            "{SHORT} --rate 5000 --codec {codec} --compressibility 0.9 --consumers 2 --batch-records 50"
        ));
        assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{codec}\n{report}");
        let produced = &report.produced;
        assert!(produced.records_acked_total > 500, "{codec}\n{report}");
        let ratio = produced.batch_bytes_per_s / produced.payload_bytes_per_s;
        assert!(if codec == "none" { ratio > 1.0 } else { ratio < 0.7 }, "{codec}: {ratio}");
    }
}

#[test]
fn a_hot_key_has_its_share_and_one_key_has_all() {
    let address = broker(8, Keep::Batches(None)).unwrap();
    let report = load(&format!(
        "--bootstrap {address} {SHORT} --rate 20000 --key-dist hot:0.6 --connections 4 --batch-records 5"
    ));
    assert_eq!(failed(&report), Vec::<&str>::new(), "{report}");
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    for (dist, share) in [("hot:0.6", 0.6), ("uniform", 1.0 / 40.0), ("one", 1.0)] {
        let file = state.display();
        let more = format!(
            "--rate 20000 --key-dist {dist} --connections 4 --state {file} --consumers 0 --batch-records 5"
        );
        load(&format!("--bootstrap {address} {SHORT} {more}"));
        let books = keylane_loadgen::ledger::State::load(&state).unwrap().ledger;
        let found = books.sent[0] as f64 / books.sent_records() as f64;
        assert!((found - share).abs() < 0.05, "{dist}: {found} of {}", books.sent_records());
    }
}

#[test]
fn bursts_and_ramps_are_open_loops_of_the_asked_size() {
    let address = broker(4, Keep::Nothing).unwrap();
    let common = "--consumers 0 --warmup 0s --batch-records 5 --record-bytes 200 --connections 4";
    let burst = load(&format!("--bootstrap {address} {common} --burst 500@100ms --duration 450ms"));
    assert_eq!((burst.produced.latency_kind, burst.produced.records_acked_total), ("open loop", 2_500));
    let ramp = load(&format!("--bootstrap {address} {common} --ramp 1000..9000 --duration 1s"));
    assert_eq!(ramp.produced.latency_kind, "open loop");
    let sent = ramp.produced.records_acked_total;
    assert!((4_800..=5_200).contains(&sent), "{sent} records");
    let rates: Vec<f64> = ramp.timeline.iter().map(|point| point.records_per_s).collect();
    assert!(rates.len() >= 5 && rates.last() > rates.first(), "{rates:?}");
}

#[test]
fn many_connections_share_the_load() {
    let address = broker(4, Keep::Nothing).unwrap();
    let report = load(&format!(
        "--bootstrap {address} {SHORT} --consumers 0 --connections 1500 --window 1 --rate 30000 --batch-records 5"
    ));
    assert_eq!((report.exit_code, report.disconnects), (0, 0), "{report}");
    assert!(report.settings.keys >= 1500 && report.produced.records_acked_total >= 9_000, "{report}");
}

#[test]
fn the_cost_of_a_record_is_told_for_an_embedded_server() {
    let report = load(&format!("{SHORT} --consumers 0 --batch-records 50"));
    let cost = &report.cost;
    assert!(cost.server_cpu_s_per_million_records.unwrap() > 0.0 && cost.server_cpu_s_per_gb.unwrap() > 0.0);
    assert!(cost.flushes_per_s.unwrap() > 1.0 && cost.rss_bytes.unwrap() > 1 << 20);
    // What was acked is on the disk.
    assert!(cost.disk_bytes_per_byte.is_none_or(|ratio| ratio > 0.9), "{cost:?}");
    assert!(report.durability.as_deref().unwrap().contains("flush.messages=1"));
}

#[test]
fn readers_ask_as_clients_do_and_read_everything() {
    for shape in ["librdkafka", "java", "one"] {
        let readers = "--consumers 2 --catch-up 1 --reread";
        let report = load(&format!("{SHORT} --rate 5000 --batch-records 5 {readers} --fetch-shape {shape}"));
        assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{shape}\n{report}");
        let read = report.consumed.as_ref().unwrap();
        assert!(read.readers.iter().all(|reader| reader.complete), "{shape}\n{report}");
        let caught_up = read.readers.iter().find(|reader| reader.name == "catch-up 1").unwrap();
        assert!(caught_up.caught_up_bytes_per_s.is_some_and(|rate| rate > 0.0), "{shape}\n{report}");
        assert!(report.settings.shape.iter().any(|words| words.contains("readers ask")), "{shape}\n{report}");
    }
}

/// The checks see through every shape: a batch that a broker keeps from its readers is missed.
#[test]
fn a_lost_batch_is_missed_by_readers_of_every_shape() {
    for shape in ["librdkafka", "java", "one"] {
        let address = broker(3, Keep::Batches(Some((Lie::Lose, 20)))).unwrap();
        let report = load(&format!(
            "--bootstrap {address} {SHORT} --rate 5000 --batch-records 5 --consumers 1 --fetch-shape {shape}"
        ));
        assert!(failed(&report).contains(&"loss"), "{shape}\n{report}");
    }
}

#[test]
fn find_max_ends_where_the_latency_is_missed() {
    let address = broker(1, Keep::Nothing).unwrap();
    let common =
        "--consumers 0 --duration 200ms --warmup 100ms --batch-records 1 --record-bytes 200 --connections 2";
    let run = RunArgs::from_text(&format!("--bootstrap {address} {common}")).unwrap();
    let args = |p99_ms| FindMaxArgs {
        p99_ms,
        of: Of::Ack,
        from: Some(500.0),
        within: 30.0,
        steps: 6,
        run: run.clone(),
    };
    let found = find_max(&args(200.0), |_| ()).unwrap();
    assert!(found.records_per_s.unwrap() >= 500.0 && found.exit_code == 0, "{found:?}");
    assert!(found.steps.iter().any(|step| step.missed.is_none()));
    // No network answers within a nanosecond.
    let found = find_max(&args(0.000_001), |_| ()).unwrap();
    assert_eq!((found.records_per_s, found.exit_code), (None, 1));
    assert!(found.steps.iter().all(|step| step.missed.as_deref().unwrap().starts_with("p99")));
}

#[test]
fn what_is_written_before_the_load_is_no_stray() {
    let report = load(&format!("{SHORT} --rate 5000 --batch-records 5 --prime --consumers 1 --reread"));
    assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{report}");
    assert_eq!(report.consumed.unwrap().records_total, report.produced.records_acked_total);
}

/// A broker rolls and deletes by the time of records: those before the load are of the present as well.
#[test]
fn what_is_written_before_the_load_is_not_old() {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kafka = "127.0.0.1:0".parse().unwrap();
    let config = ServerConfig { data: data.path().to_owned(), kafka, ..ServerConfig::default() };
    let server = keylane::start(config).unwrap();
    let address = server.kafka_addr();
    load(&format!(
        "--bootstrap {address} {SHORT} --topic primed --rate 5000 --batch-records 5 --prime --consumers 0"
    ));
    let since_epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let first = Admin::connect(address).unwrap().offsets("primed", 4, since_epoch - 60_000).unwrap();
    assert_eq!(first, [0; 4], "the first record of the last minute in each partition");
    server.stop().unwrap();
}
