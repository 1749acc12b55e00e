//! Proves that what was acked survives `kill -9` in the midst of puts and a reshard: every acked sequence number is read
//! back from its shard with its data, numbers rise within a shard, and the records of one key keep their order from parents to
//! children. The checker has controls: what is taken away, changed or swapped must be reported.
//!
//! `KEYLANE_KINESIS_KILL_ROUNDS` sets the number of rounds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keylane_tests::e2e::kinesis::{Kinesis, Record, place};
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::scratch;
use serde_json::{Value, json};

use super::TMP;

const ROUNDS: u64 = 3;
const WRITERS: u64 = 4;
const KEYS: u64 = 5;

/// A record that was acked.
#[derive(Debug, Clone)]
struct Acked {
    shard: String,
    record: Record,
}

/// Puts records until the server is gone: keys of its own, each with a counter that never goes back.
fn write(address: SocketAddr, round: u64, writer: u64, stop: &AtomicBool) -> Vec<Acked> {
    let mut acked = Vec::new();
    let Ok(mut client) = Kinesis::connect(address) else { return acked };
    let mut counter = round << 32;
    while !stop.load(Ordering::Relaxed) {
        let mut sent = Vec::new();
        for n in 0..10 {
            counter += 1;
            sent.push((
                format!("writer {writer} key {}", n % KEYS),
                format!("{counter:016} {}", "x".repeat(200)),
            ));
        }
        let entry =
            |(key, data): &(String, String)| json!({"PartitionKey": key, "Data": STANDARD.encode(data)});
        let records: Vec<Value> = sent.iter().map(entry).collect();
        let Ok(put) = client.call("PutRecords", &json!({"StreamName": "s", "Records": records})) else {
            break;
        };
        for (n, (key, data)) in sent.into_iter().enumerate() {
            let Ok((shard, sequence)) = place(&put["Records"][n]) else { continue };
            acked.push(Acked { shard, record: Record { sequence, key, data: data.into_bytes() } });
        }
    }
    acked
}

/// What is wrong with what was read of each shard, in the order in which the shards were made.
fn wrong(acked: &[Acked], read: &[(String, Vec<Record>)]) -> Vec<String> {
    let mut found = HashMap::new();
    let mut last: HashMap<&str, &[u8]> = HashMap::new();
    let mut out = Vec::new();
    for (shard, records) in read {
        if !records.is_sorted_by(|a, b| a.sequence < b.sequence) {
            out.push(format!("{shard}: numbers do not rise"));
        }
        for record in records {
            found.insert((&**shard, &*record.sequence), record);
            let before = last.insert(&record.key, &record.data);
            if before.is_some_and(|before| before >= &record.data[..]) {
                out.push(format!("{shard}: {} goes back at {}", record.key, record.sequence));
            }
        }
    }
    for Acked { shard, record } in acked {
        match found.get(&(&**shard, &*record.sequence)) {
            None => out.push(format!("{shard}: {} of {} is lost", record.sequence, record.key)),
            Some(other) if *other != record => {
                out.push(format!("{shard}: {} is another record", record.sequence))
            }
            Some(_) => {}
        }
    }
    out
}

fn read(address: SocketAddr) -> Result<Vec<(String, Vec<Record>)>> {
    let mut client = Kinesis::connect(address)?;
    let shards = client.shards("s")?;
    shards.into_iter().map(|shard| client.read_all("s", &shard).map(|records| (shard, records))).collect()
}

/// Splits the open shard with the largest range in the middle.
fn split(client: &mut Kinesis) -> Result<()> {
    let open = json!({"StreamName": "s", "ShardFilter": {"Type": "AT_LATEST"}});
    let listed = client.call("ListShards", &open)?;
    let range = |shard: &Value| -> Option<(u128, u128)> {
        let number = |field: &str| shard["HashKeyRange"][field].as_str()?.parse().ok();
        Some((number("StartingHashKey")?, number("EndingHashKey")?))
    };
    let shards = listed["Shards"].as_array().context("shards")?;
    let (first, last, shard) = shards
        .iter()
        .filter_map(|shard| range(shard).map(|(first, last)| (first, last, shard)))
        .max_by_key(|(first, last, _)| last - first)
        .context("an open shard")?;
    let at = first + (last - first) / 2 + 1;
    let request =
        json!({"StreamName": "s", "ShardToSplit": shard["ShardId"], "NewStartingHashKey": at.to_string()});
    client.call("SplitShard", &request).map(drop)
}

/// Puts, splits a shard, and kills the server while it is at work.
fn round(server: Server, round: u64) -> Result<Vec<Acked>> {
    let address = server.kinesis.context("it listens for Kinesis' clients")?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || write(address, round, writer, &stop))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(150 + 37 * (round % 5)));
    split(&mut Kinesis::connect(address)?)?;
    std::thread::sleep(Duration::from_millis(20 + 23 * (round % 7)));
    server.kill()?;
    stop.store(true, Ordering::Relaxed);
    let mut acked = Vec::new();
    for writer in writers {
        acked.extend(writer.join().expect("a writer"));
    }
    ensure!(acked.len() > 100, "only {} records were acked: the test is not valid", acked.len());
    Ok(acked)
}

#[test]
fn acked_sequence_numbers_survive_kill_9() {
    let rounds = std::env::var("KEYLANE_KINESIS_KILL_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    let (binary, dir) = (binary().unwrap(), scratch(TMP, "kinesis-kill-").unwrap());
    let start = || {
        let args = ["--kinesis", "127.0.0.1:0", "--shards", "2", "--segment-bytes", "8388608"];
        Server::start(&binary, &dir.path().join("data"), &args, &dir.path().join("server.log")).unwrap()
    };
    let server = start();
    Kinesis::connect(server.kinesis.unwrap()).unwrap().create("s", 2).unwrap();
    server.kill().unwrap();
    let (mut acked, mut found) = (Vec::new(), Vec::new());
    for n in 0..rounds {
        acked.extend(round(start(), n).unwrap_or_else(|e| panic!("round {n}: {e:#}")));
        let server = start();
        found = read(server.kinesis.unwrap()).unwrap_or_else(|e| panic!("round {n}: {e:#}"));
        assert_eq!(wrong(&acked, &found), Vec::<String>::new(), "round {n}");
        server.kill().unwrap();
    }
    let count: usize = found.iter().map(|(_, records)| records.len()).sum();
    println!("{rounds} rounds, {} acked, {count} read from {} shards", acked.len(), found.len());
    control(&acked, &found);
}

/// The checker finds a record that is missing, one that is another, and two that changed places.
fn control(acked: &[Acked], read: &[(String, Vec<Record>)]) {
    let spoil = |change: fn(&mut Vec<Record>)| {
        let mut read = read.to_vec();
        let (_, records) = read.iter_mut().max_by_key(|(_, records)| records.len()).expect("a shard");
        change(records);
        wrong(acked, &read)
    };
    let known: std::collections::HashSet<&str> = acked.iter().map(|a| &*a.record.sequence).collect();
    let (_, most) = read.iter().max_by_key(|(_, records)| records.len()).expect("a shard");
    assert!(known.contains(&*most[7].sequence), "the first records of a shard were acked");
    assert!(spoil(|records| drop(records.remove(7))).iter().any(|line| line.contains("is lost")));
    assert!(spoil(|records| records[7].data.push(b'!')).iter().any(|line| line.contains("another record")));
    assert!(spoil(|records| records.swap(7, 8)).iter().any(|line| line.contains("do not rise")));
    let swapped = spoil(|records| {
        let same =
            records.iter().skip(8).position(|r| r.key == records[7].key).expect("its key comes again") + 8;
        let (a, b) = (records[7].data.clone(), records[same].data.clone());
        (records[7].data, records[same].data) = (b, a);
    });
    assert!(swapped.iter().any(|line| line.contains("goes back")), "{swapped:?}");
}
