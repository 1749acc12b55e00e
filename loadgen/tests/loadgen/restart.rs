//! Brokers that go away and come back under load: a sound one, and one that shows records before they are durable.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::common::{broker, failed, load, text_of};
use keylane::ServerConfig;
use keylane_loadgen::sink::{Keep, Lie};

const SHAPE: &str = "--partitions 4 --rate 5000 --batch-records 5 --record-bytes 200 --connections 3 --keys 30 --consumers 2 --warmup 0s";

#[test]
fn a_broker_that_comes_back_with_everything_passes() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = || ServerConfig { data: data.path().to_owned(), kafka: address, ..ServerConfig::default() };
    let server = keylane::start(config()).unwrap();
    let at =
        |address: SocketAddr| format!("--bootstrap {address} {SHAPE} --duration 2500ms --expect-restart");
    let run = std::thread::spawn(move || load(&at(address)));
    std::thread::sleep(Duration::from_millis(900));
    server.stop().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let server = keylane::start(config()).unwrap();
    let report = run.join().unwrap();
    server.stop().unwrap();
    assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{report}");
    assert!(report.disconnects > 0 && report.reconnects > 0, "{report}");
    assert!(report.produced.records_acked_total > 500, "{report}");
}

#[test]
fn a_broker_that_shows_records_before_they_are_durable_is_found() {
    let address = broker(4, Keep::Batches(Some((Lie::Forget, 1_000)))).unwrap();
    let report = load(&format!("--bootstrap {address} {SHAPE} --duration 1500ms --expect-restart"));
    assert_eq!(report.exit_code, 1, "{report}");
    assert!(failed(&report).contains(&"durability") && failed(&report).contains(&"loss"), "{report}");
    assert!(text_of(&report, "offsets").contains("two values"), "{report}");
}

#[test]
fn a_run_in_which_nothing_happened_is_not_valid() {
    let address = broker(4, Keep::Batches(None)).unwrap();
    let report = load(&format!("--bootstrap {address} {SHAPE} --duration 200ms --expect-restart"));
    assert_eq!(report.exit_code, 2, "{report}");
    assert!(report.incomplete.unwrap().contains("never went away"));
}
