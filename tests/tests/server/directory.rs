//! Proves what a data directory promises over restarts: one process at a time has it, what is not ours
//! or newer than ours is refused by name and left alone, a clean stop leaves nothing to scan, any number
//! of cores opens it, and deletions and producer sequences survive.

use std::collections::BTreeMap;
use std::path::Path;

use keylane::{ServerConfig, ServerHandle};
use keylane_tests::e2e::batch::{Writer, batch, numbered, single};
use keylane_tests::e2e::client::Client;
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::{chain, config, scratch, two_cores};

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

fn start(config: ServerConfig) -> (ServerHandle, Client) {
    let server = keylane::start(config).expect("the server starts");
    let client = Client::connect(server.kafka_addr()).expect("the server listens");
    (server, client)
}

fn refused(data: &Path) -> String {
    match keylane::start(config(data)) {
        Ok(_) => panic!("{} was opened", data.display()),
        Err(error) => chain(&error),
    }
}

/// Every file below a directory with its bytes.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("a file");
                files.insert(path.display().to_string(), bytes);
            }
        }
    }
    files
}

#[test]
fn another_process_keeps_the_directory_to_itself() {
    let dir = scratch(TMP, "in-use-").unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let other = Server::start(&binary().unwrap(), &data, &["--cores", "0"], &log).unwrap();
    let said = refused(&data);
    assert!(said.contains(&data.display().to_string()), "{said}");
    assert!(said.contains("in use by another process: stop that one first"), "{said}");
    // The one that has it is not disturbed.
    let mut client = Client::connect(other.address).unwrap();
    assert_eq!(client.create_topic("t", 1).unwrap(), 0);
    assert_eq!(client.append("t", 0, single("value")).unwrap(), 0);
    drop(client);
    other.stop().unwrap();
    let (_server, mut client) = start(config(&data));
    assert_eq!(client.read_all("t", 0).unwrap(), ["value"]);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = scratch(TMP, "newer-").unwrap();
    let (server, mut client) = start(config(dir.path()));
    client.create_topic("t", 1).unwrap();
    client.append("t", 0, single("value")).unwrap();
    drop(client);
    server.stop().unwrap();
    let path = dir.path().join("keylane.format");
    let ours = std::fs::read(&path).unwrap();
    // Byte 8: the version; bytes 32 to 36: CRC-32C of what is before them.
    let mut newer = ours.clone();
    newer[8..12].copy_from_slice(&7u32.to_le_bytes());
    let crc = crc32c::crc32c(&newer[..32]);
    newer[32..36].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &newer).unwrap();
    let before = content(dir.path());
    let said = refused(dir.path());
    assert!(said.contains("keylane.format has format version 7"), "{said}");
    assert!(said.contains("use a newer keylane"), "{said}");
    assert!(content(dir.path()) == before, "the directory was changed");
    // The same version with a wrong checksum is damage, not news.
    newer[32] ^= 1;
    std::fs::write(&path, &newer).unwrap();
    let said = refused(dir.path());
    assert!(said.contains("keylane.format is damaged") && said.contains("checksum"), "{said}");
    std::fs::write(&path, &ours).unwrap();
    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.read_all("t", 0).unwrap(), ["value"]);
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let dir = scratch(TMP, "foreign-").unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let before = content(dir.path());
    for _ in 0..2 {
        let said = refused(dir.path());
        assert!(said.contains("thesis.tex") && said.contains("choose an empty or new one"), "{said}");
    }
    let mut after = content(dir.path());
    after.remove(&dir.path().join("keylane.lock").display().to_string());
    assert!(after == before, "the directory was changed: {:?}", after.keys());
}

#[test]
fn a_clean_stop_leaves_nothing_to_scan_whatever_the_cores() {
    let dir = scratch(TMP, "clean-").unwrap();
    let mut expected: Vec<Vec<bytes::Bytes>> = vec![Vec::new(); 4];
    for (round, cores) in [vec![0], two_cores(), vec![0], two_cores()].into_iter().enumerate() {
        let (server, mut client) = start(ServerConfig { cores: Some(cores.clone()), ..config(dir.path()) });
        assert_eq!(server.shards(), 2, "fixed when the directory was formatted");
        let stats = server.stats();
        assert_eq!(stats.scanned_bytes, 0, "round {round} on cores {cores:?}: {stats:?}");
        if round == 0 {
            assert_eq!(client.create_topic("t", 4).unwrap(), 0);
        }
        for number in 0..100u64 {
            let partition = (number % 4) as usize;
            // Twenty megabytes over the rounds: some segments fill up, the last ones do not.
            let value = numbered(round as u64 * 100 + number, 50_000);
            let offset = client.append("t", partition as i32, single(value.clone())).unwrap();
            assert_eq!(offset, expected[partition].len() as i64);
            expected[partition].push(value);
        }
        for (partition, expected) in (0i32..).zip(&expected) {
            let read = client.read_all("t", partition).unwrap();
            assert!(read == *expected, "round {round}: partition {partition} has {} records", read.len());
        }
        drop(client);
        server.stop().unwrap();
    }
}

/// Without this, "nothing to scan" could be a counter that counts nothing.
#[test]
fn a_killed_server_has_something_to_scan() {
    let dir = scratch(TMP, "killed-").unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let other = Server::start(&binary().unwrap(), &data, &["--cores", "0"], &log).unwrap();
    let mut client = Client::connect(other.address).unwrap();
    client.create_topic("t", 1).unwrap();
    client.append("t", 0, single(numbered(1, 100_000))).unwrap();
    other.kill().unwrap();
    let (server, mut client) = start(config(&data));
    assert!(server.stats().scanned_bytes >= 100_000, "{:?}", server.stats());
    assert_eq!(client.read_all("t", 0).unwrap(), [numbered(1, 100_000)]);
}

#[test]
fn a_deleted_topic_stays_deleted() {
    let dir = scratch(TMP, "deleted-").unwrap();
    let (server, mut client) = start(config(dir.path()));
    for topic in ["kept", "gone", "again"] {
        assert_eq!(client.create_topic(topic, 2).unwrap(), 0);
        client.append(topic, 1, single(topic)).unwrap();
    }
    for topic in ["gone", "again"] {
        assert_eq!(client.delete_topic(topic).unwrap(), 0);
    }
    assert_eq!(client.create_topic("again", 2).unwrap(), 0);
    drop(client);
    server.stop().unwrap();
    let (_server, mut client) = start(config(dir.path()));
    let mut topics = client.topics().unwrap();
    topics.sort();
    assert_eq!(topics, ["again", "kept"]);
    assert_eq!(client.read_all("kept", 1).unwrap(), ["kept"]);
    assert!(client.read_all("again", 1).unwrap().is_empty(), "records of the deleted topic came back");
    assert_eq!(client.fetch("gone", 1, 0).unwrap().error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(client.append("again", 1, single("new")).unwrap(), 0);
}

#[test]
fn a_duplicate_is_recognised_after_a_restart() {
    let dir = scratch(TMP, "idempotent-").unwrap();
    let (server, mut client) = start(config(dir.path()));
    client.create_topic("t", 1).unwrap();
    client.append("t", 0, single("before")).unwrap();
    let (producer_id, epoch) = client.producer_id().unwrap();
    let values = ["a", "b", "c"].map(bytes::Bytes::from);
    let at = |sequence| batch(&values, Writer { producer_id, epoch, sequence });
    assert_eq!(client.append("t", 0, at(0)).unwrap(), 1);
    assert_eq!(client.append("t", 0, at(3)).unwrap(), 4);
    assert_eq!(client.append("t", 0, at(0)).unwrap(), 1, "a duplicate before the restart");
    drop(client);
    server.stop().unwrap();

    let (_server, mut client) = start(config(dir.path()));
    assert_eq!(client.append("t", 0, at(3)).unwrap(), 4);
    assert_eq!(client.append("t", 0, at(0)).unwrap(), 1);
    assert_eq!(client.end_offset("t", 0).unwrap(), 7, "a duplicate was stored");
    let gap = client.produce("t", 0, at(9)).unwrap();
    assert_eq!((gap.error_code, gap.base_offset), (OUT_OF_ORDER_SEQUENCE_NUMBER, -1));
    assert_eq!(client.append("t", 0, at(6)).unwrap(), 7);
    let (next_id, _) = client.producer_id().unwrap();
    assert_ne!(next_id, producer_id, "a producer id was given out twice");
    assert_eq!(client.read_all("t", 0).unwrap().len(), 10);
}
