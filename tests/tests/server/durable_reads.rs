//! Proves that a consumer that keeps up is served from memory: beside producers it causes no disk read.
//! The control reads the same records again, more of them than the cache holds, and must cause some.

use keylane::ServerConfig;
use keylane_loadgen::args::{RunArgs, VerifyArgs};
use keylane_loadgen::{run, verify};
use keylane_tests::e2e::server::{config, scratch};

#[test]
fn a_consumer_that_keeps_up_reads_no_disk() {
    let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "durable-reads-").unwrap();
    let state = dir.path().join("state.json");
    let cache = 4 << 20;
    let server =
        keylane::start(ServerConfig { tail_cache_bytes: cache, ..config(&dir.path().join("data")) }).unwrap();
    let address = server.kafka_addr();
    // About 5 MB/s for three seconds: the readers would have to fall almost a second behind.
    let shape = "--connections 2 --window 4 --batch-bytes 16k --rate 5000 --partitions 4 --consumers 2";
    let time = "--duration 2500ms --warmup 500ms --no-progress";
    let text = format!("--bootstrap {address} --state {} {shape} {time}", state.display());
    let report = run::run(&RunArgs::from_text(&text).unwrap()).unwrap();
    let after_load = server.stats();
    assert_eq!(report.exit_code, 0, "{report}");
    let (acked, read) = (report.produced.records_acked_total, report.consumed.unwrap().records_total);
    assert_eq!(acked, read);
    assert!(after_load.commit_bytes > 2 * cache as u64, "{after_load:?}: the test is not valid");
    assert_eq!(after_load.disk_reads, 0, "{after_load:?}");

    let again = VerifyArgs {
        bootstrap: address.to_string(),
        topic: None,
        state,
        consumers: 1,
        settle: false,
        no_verify_payload: false,
        fanout: 1,
        evidence: None,
        json: false,
    };
    let found = verify::verify(&again).unwrap();
    assert_eq!((found.exit_code, found.checked.records_read), (0, read), "{found}");
    let after_reading = server.stats();
    assert!(after_reading.disk_reads > 0, "{after_reading:?}: the counter counts nothing");
    server.stop().unwrap();
    println!("{read} records read beside the load: 0 disk reads; read again: {}", after_reading.disk_reads);
}
