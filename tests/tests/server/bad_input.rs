//! Proves that nothing a client sends, leaves out or does can harm the server or other clients: what
//! makes no sense closes that one connection, what is refused is refused by its name and stores nothing,
//! and after all of it the server works and what was acked before is there.

use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest};
use kafka_protocol::protocol::StrBytes;
use keylane::{ServerConfig, ServerHandle};
use keylane_engine::record_batch::seal;
use keylane_kafka::{ApiKey, RequestHeader, SERVED, Writer};
use keylane_tests::e2e::batch::{NOBODY, batch, numbered, single};
use keylane_tests::e2e::client::{
    Client, FETCH, PRODUCE, decode, fetch_request, fetched, frame, framed, produce_request, produced,
};
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::{config, scratch, two_cores};
use tempfile::TempDir;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
/// Largest request of the servers here.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// A topic that no test touches but to see that it is whole.
const KEPT: &str = "kept";
/// A topic for whatever a test does.
const T: &str = "t";

mod code {
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const CORRUPT_MESSAGE: i16 = 2;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const MESSAGE_TOO_LARGE: i16 = 10;
    pub const INVALID_REQUIRED_ACKS: i16 = 21;
    pub const UNSUPPORTED_VERSION: i16 = 35;
    pub const INVALID_TXN_STATE: i16 = 48;
    pub const INVALID_RECORD: i16 = 87;
}

/// A server with records that were acked before the test does anything bad.
struct Bench {
    server: ServerHandle,
    kept: Vec<Bytes>,
    _dir: TempDir,
}

impl Bench {
    fn start() -> Self {
        Self::start_on(two_cores())
    }

    fn start_on(cores: Vec<usize>) -> Self {
        let dir = scratch(TMP, "bad-input-").expect("a directory");
        let config = ServerConfig {
            cores: Some(cores),
            auto_create_topics: false,
            max_request_bytes: REQUEST_BYTES_MAX,
            ..config(&dir.path().join("data"))
        };
        let server = keylane::start(config).expect("the server starts");
        let mut client = Client::connect(server.kafka_addr()).expect("it listens");
        for topic in [KEPT, T] {
            assert_eq!(client.create_topic(topic, 2).expect("an answer"), 0);
        }
        let kept: Vec<Bytes> = (0..20).map(|n| numbered(n, 1000)).collect();
        for value in &kept {
            client.append(KEPT, 0, single(value.clone())).expect("an ack");
        }
        Self { server, kept, _dir: dir }
    }

    fn address(&self) -> SocketAddr {
        self.server.kafka_addr()
    }

    fn client(&self) -> Client {
        Client::connect(self.address()).expect("the server accepts")
    }

    /// All cores still work, and nothing acked is missing. Then the server stops cleanly.
    fn finish(mut self) {
        well(self.address(), &mut self.kept);
        self.server.stop().expect("a clean stop");
    }
}

/// Appends to [`KEPT`] and reads it over several connections: each core gets some of them.
fn well(address: SocketAddr, kept: &mut Vec<Bytes>) {
    for _ in 0..8 {
        let mut client = Client::connect(address).expect("the server accepts");
        let value = numbered(kept.len() as u64, 1000);
        let offset = client.append(KEPT, 0, single(value.clone())).expect("an ack");
        assert_eq!(offset, kept.len() as i64);
        kept.push(value);
        let read = client.read_all(KEPT, 0).expect("records");
        assert!(read == *kept, "{} records of {}", read.len(), kept.len());
    }
}

/// A request header by hand, then `body`.
fn raw(api: i16, version: i16, id: i32, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(api);
    out.put_i16(version);
    out.put_i32(id);
    out.put_i16(-1); // no client id
    out.put_slice(body);
    framed(&out)
}

#[test]
fn what_makes_no_sense_closes_that_connection_after_earlier_answers() {
    let bench = Bench::start();
    let mut bad: Vec<(String, Bytes)> = Vec::new();
    for length in [-1, i32::MIN, 0, 1, 7, REQUEST_BYTES_MAX as i32 + 1, i32::MAX] {
        bad.push((format!("a frame of {length} bytes"), Bytes::copy_from_slice(&length.to_be_bytes())));
    }
    bad.push(("HTTP".to_owned(), Bytes::from_static(b"GET / HTTP/1.1\r\nHost: keylane\r\n\r\n")));
    bad.push(("TLS".to_owned(), Bytes::from_static(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")));
    for api in [-1, 7, 17, 999, i16::MAX] {
        bad.push((format!("API {api}"), raw(api, 0, 5, &[])));
    }
    for spec in SERVED.iter().filter(|spec| spec.key != ApiKey::ApiVersions) {
        for version in [-1, spec.min - 1, spec.max + 1, i16::MAX, i16::MIN] {
            bad.push((format!("{:?} v{version}", spec.key), raw(spec.key.code(), version, 5, &[0; 64])));
        }
        bad.push((
            format!("{:?} v{} without a body", spec.key, spec.max),
            raw(spec.key.code(), spec.max, 5, &[]),
        ));
    }
    for (what, bytes) in &bad {
        let mut client = bench.client();
        let good = frame(&MetadataRequest::default().with_topics(None), 12, 77);
        client.send(&[good.as_ref(), bytes].concat()).unwrap();
        let first = client.receive().unwrap().unwrap_or_else(|| panic!("{what}: no answer to Metadata"));
        assert_eq!(decode::<MetadataRequest>(first, 12).unwrap().0, 77, "{what}");
        let next = client.receive().unwrap_or_else(|e| panic!("{what}: {e:#}"));
        assert!(next.is_none(), "{what}: answered with {next:?}");
    }
    println!("{} kinds of nonsense", bad.len());
    bench.finish();
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let bench = Bench::start();
    let mut client = bench.client();
    for version in [5, 99, i16::MAX, -1] {
        client.send(&raw(18, version, 41, &[0xff; 9])).unwrap();
        let answer = client.receive().unwrap().expect("an answer");
        let (id, response) = decode::<ApiVersionsRequest>(answer, 0).unwrap();
        assert_eq!((id, response.error_code), (41, code::UNSUPPORTED_VERSION), "v{version}");
        let own = response.api_keys.iter().find(|api| api.api_key == 18).expect("itself in the list");
        assert_eq!((own.min_version, own.max_version), (0, 4));
        // librdkafka and others retry on the same connection.
        let ours = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("bad-input"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        let good = client.call(own.max_version, &ours).unwrap();
        assert_eq!((good.error_code, good.api_keys.len()), (0, SERVED.len()));
    }
    drop(client);
    bench.finish();
}

/// Six hundred connections that each sent the length of a large frame and then nothing once had taken all
/// the memory for receiving: every other client with more than 4 KiB to send waited for a minute.
#[test]
fn frames_that_never_come_hold_nobody_up() {
    const STALLED: i32 = 600;
    let files = keylane::environment::raise_open_files().unwrap();
    assert!(files.is_none_or(|limit| limit > 2 * STALLED as u64 + 200), "ulimit -n allows {files:?} files");
    let bench = Bench::start_on(vec![0]);
    let mut waiting: Vec<Client> = Vec::new();
    for number in 0..STALLED {
        let mut client = bench.client();
        // Nearly all of them sent a whole length, the others a part of one or a little more.
        let start = [(1i32 << 20).to_be_bytes(), [0; 4]].concat();
        client.send(&start[..if number % 50 < 48 { 4 } else { 1 + number as usize % 8 }]).unwrap();
        waiting.push(client);
    }
    let began = Instant::now();
    let mut client = bench.client();
    assert_eq!(client.append(T, 0, single(numbered(1, 500_000))).unwrap(), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop((client, waiting));
    bench.finish();
}

/// Some thirty consumers that asked for much and took nothing once held all the memory for answers: every
/// other fetch on their core waited for a minute.
#[test]
fn consumers_that_take_nothing_hold_nobody_up() {
    let bench = Bench::start_on(vec![0]);
    let mut client = bench.client();
    for number in 0..10 {
        client.append(T, 0, single(numbered(number, 1_000_000))).unwrap();
    }
    let mut request = fetch_request(T, 0, 0);
    request.max_bytes = 50 << 20;
    request.topics[0].partitions[0].partition_max_bytes = 50 << 20;
    let mut slow: Vec<Client> = (0..150).map(|_| bench.client()).collect();
    for connection in &mut slow {
        for id in 0..4 {
            connection.send(&frame(&request, FETCH, id)).unwrap();
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    assert_eq!(client.fetch(T, 0, 9).unwrap().error_code, 0);
    assert_eq!(bench.client().read_all(T, 0).unwrap().len(), 10);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Those who take their answers after all find them whole and in order.
    for id in 0..4 {
        let body = slow[0].receive().unwrap().expect("an answer");
        assert_eq!(body[..4], i32::to_be_bytes(id));
    }
    drop((client, slow));
    bench.finish();
}

/// A request of each API in each version: with something in each field, all of it names that are not known. In
/// Produce and Fetch also with a partition that is there, which leads further into the server.
fn requests_of_every_api(topic_id: uuid::Uuid) -> Vec<(String, bool, Bytes)> {
    let mut all = Vec::new();
    for spec in SERVED {
        for version in spec.min..=spec.max {
            let mut out = BytesMut::new();
            let header = RequestHeader { api: spec.key, version, correlation_id: 7, client_id: None };
            header.encode(&mut Writer::new(&mut out));
            out.put_slice(&spec.key.sample_request(version));
            let flexible = spec.key.is_flexible(version);
            all.push((format!("{:?} v{version}", spec.key), flexible, framed(&out)));
        }
    }
    for version in [3, 9, 13] {
        let mut request = produce_request(T, 1, -1, single("value"));
        if version >= 13 {
            request.topic_data[0].topic_id = topic_id;
            request.topic_data[0].name = Default::default();
        }
        all.push((format!("Produce v{version} of a batch"), version >= 9, frame(&request, version, 7)));
    }
    for version in [4, 12, 17] {
        let mut request = fetch_request(T, 1, 0).with_min_bytes(1);
        if version >= 13 {
            request.topics[0].topic_id = topic_id;
            request.topics[0].topic = Default::default();
        }
        all.push((format!("Fetch v{version} of a batch"), version >= 12, frame(&request, version, 7)));
    }
    all
}

/// Lengths that no field of a request here has: the largest number, null, none.
const ABSURD: [(u32, &[u8]); 3] =
    [(0x7fff_ffff, &[0xff, 0xff, 0xff, 0xff, 0x07]), (u32::MAX, &[0]), (0, &[1])];

/// The request in each way that may be wrong at a byte: with an absurd length there, over what is there or instead of
/// one byte, and cut off.
fn broken_at(good: &[u8], at: usize, flexible: bool) -> impl Iterator<Item = Bytes> {
    let body = &good[4..];
    let absurd = ABSURD.into_iter().map(move |(fixed, compact)| {
        let (length, rest) = if flexible { (compact, at + 1) } else { (&fixed.to_be_bytes()[..], at + 4) };
        framed(&[&body[..at], length, body.get(rest..).unwrap_or_default()].concat())
    });
    absurd.chain([framed(&body[..at])])
}

fn memory_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// Puts absurd lengths (as a varint where versions are flexible) at every position of a request of every
/// API in every version, so that each array and each string has each of them once, and cuts each request off at
/// every position. In a process of its own: what it reserves shows in its memory.
#[test]
fn absurd_lengths_and_cuts_at_every_position_of_every_api() {
    let dir = scratch(TMP, "absurd-").unwrap();
    let args = ["--cores", "0", "--auto-create-topics", "false", "--segment-bytes", "4231168"];
    let server =
        Server::start(&binary().unwrap(), &dir.path().join("data"), &args, &dir.path().join("log")).unwrap();
    let mut client = Client::connect(server.address).unwrap();
    for topic in [KEPT, T] {
        assert_eq!(client.create_topic(topic, 2).unwrap(), 0);
    }
    client.append(T, 1, single("value")).unwrap();
    let metadata = client.call(12, &MetadataRequest::default().with_topics(None)).unwrap();
    let topic = metadata.topics.iter().find(|t| t.name.as_ref().is_some_and(|n| n.0.as_str() == T));
    let requests = requests_of_every_api(topic.unwrap().topic_id);
    let ping = frame(&ApiVersionsRequest::default(), 0, 1234);
    // Each request is whole before it is broken: else this would test something else.
    for (what, _, good) in &requests {
        client.send(good).unwrap();
        assert!(client.receive().unwrap().is_some(), "{what} is not accepted");
    }
    let before = memory_kib(server.pid(), "VmHWM");
    let (mut sent, mut answered, mut closed) = (0, 0, 0);
    for (what, flexible, good) in &requests {
        // Behind API, version and correlation id.
        for (at, bad) in
            (8..good.len() - 4).flat_map(|at| broken_at(good, at, *flexible).map(move |b| (at, b)))
        {
            sent += 1;
            client.send(&[bad, ping.clone()].concat()).unwrap();
            loop {
                let answer = client.receive().unwrap_or_else(|e| panic!("{what}, byte {at}: {e:#}"));
                let Some(answer) = answer else {
                    closed += 1;
                    client = Client::connect(server.address).unwrap();
                    break;
                };
                if answer[..4] == 1234i32.to_be_bytes() {
                    answered += 1;
                    break;
                }
            }
        }
    }
    let grown = memory_kib(server.pid(), "VmHWM").saturating_sub(before);
    assert!(closed > 1000, "only {closed} of {sent} were refused: the test is not valid");
    assert!(grown < 32 << 10, "the server's memory grew by {grown} KiB");
    let mut topics = client.topics().unwrap();
    topics.retain(|topic| !topic.starts_with("__"));
    topics.sort();
    assert_eq!(topics, [KEPT, T]);
    well(server.address, &mut Vec::new());
    drop(client);
    server.stop().unwrap();
    println!(
        "{sent} requests with an absurd length or an end: {closed} closed, {answered} answered, +{grown} KiB"
    );
}

fn resealed(mut batch: Vec<u8>) -> Bytes {
    seal(&mut batch);
    batch.into()
}

fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = single("value").to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    batch
}

#[test]
fn each_bad_batch_is_refused_by_name_and_not_stored() {
    let bench = Bench::start();
    let mut client = bench.client();
    let good = single("value");
    let count_of_two = |deltas: &[u8]| {
        let mut batch = changed(57, &2i32.to_be_bytes());
        batch[23..27].copy_from_slice(deltas);
        resealed(batch)
    };
    let bad_crc = changed(good.len() - 1, &[good[good.len() - 1] ^ 1]);
    let cases: [(&str, Bytes, i16); 13] = [
        ("a flipped bit", bad_crc.into(), code::CORRUPT_MESSAGE),
        ("a wrong CRC", changed(17, &[1, 2, 3, 4]).into(), code::CORRUPT_MESSAGE),
        ("a batch cut short", good.slice(..good.len() - 1), code::INVALID_RECORD),
        ("a header cut short", good.slice(..30), code::INVALID_RECORD),
        ("two records that are one", count_of_two(&1i32.to_be_bytes()), code::INVALID_RECORD),
        ("a count that contradicts the offsets", count_of_two(&0i32.to_be_bytes()), code::INVALID_RECORD),
        ("no record", resealed(changed(57, &0i32.to_be_bytes())), code::INVALID_RECORD),
        ("two batches", [good.clone(), good.clone()].concat().into(), code::INVALID_RECORD),
        ("nothing", Bytes::new(), code::INVALID_RECORD),
        ("magic 1", changed(16, &[1]).into(), code::INVALID_RECORD),
        ("magic 0", changed(16, &[0]).into(), code::INVALID_RECORD),
        ("a transaction", resealed(changed(21, &[0, 0x10])), code::INVALID_TXN_STATE),
        ("a large batch", single(numbered(1, 1_048_588)), code::MESSAGE_TOO_LARGE),
    ];
    for (what, records, expected) in &cases {
        let done = client.produce(T, 0, records.clone()).unwrap_or_else(|e| panic!("{what}: {e:#}"));
        assert_eq!((done.error_code, done.base_offset), (*expected, -1), "{what}");
        assert_eq!(client.end_offset(T, 0).unwrap(), 0, "{what} was stored");
    }
    for (topic, partition) in [("none", 0), (T, 2), (T, -1), (T, i32::MAX), ("", 0)] {
        let done = client.produce(topic, partition, good.clone()).unwrap();
        assert_eq!(done.error_code, code::UNKNOWN_TOPIC_OR_PARTITION, "{topic:?} {partition}");
        let found = client.fetch(topic, partition, 0).unwrap();
        assert_eq!(found.error_code, code::UNKNOWN_TOPIC_OR_PARTITION, "{topic:?} {partition}");
    }
    for acks in [7, 2, -2, i16::MIN] {
        let done = produced(client.call(PRODUCE, &produce_request(T, 0, acks, good.clone())).unwrap());
        assert_eq!(done.unwrap().error_code, code::INVALID_REQUIRED_ACKS, "acks={acks}");
    }
    assert_eq!(client.end_offset(T, 0).unwrap(), 0);
    // The good one is taken, and so is the largest that is allowed.
    assert_eq!(client.append(T, 0, good.clone()).unwrap(), 0);
    let overhead = single(numbered(1, 1_000_000)).len() - 1_000_000;
    let largest = single(numbered(1, 1_048_588 - overhead));
    assert_eq!(largest.len(), 1_048_588);
    assert_eq!(client.append(T, 0, largest).unwrap(), 1);
    for offset in [3, i64::MAX, -1, i64::MIN] {
        let found = client.fetch(T, 0, offset).unwrap();
        assert_eq!(found.error_code, code::OFFSET_OUT_OF_RANGE, "offset {offset}");
    }
    let end = client.fetch(T, 0, 2).unwrap();
    assert_eq!((end.error_code, end.high_watermark), (0, 2));
    drop(client);
    bench.finish();
}

/// Without an answer, closing the connection is the only way to say that a batch was refused. It once
/// stayed open when the partition belonged to another core than the connection.
#[test]
fn a_failure_without_acks_closes_the_connection() {
    let bench = Bench::start();
    let mut broken = single("value").to_vec();
    broken[30] ^= 1;
    let bad = Bytes::from(broken);
    // Connections are dealt to the cores by chance, partitions in turn: all four pairs come up.
    for number in 0..24 {
        let mut client = bench.client();
        let partition = number % 2;
        client.send(&frame(&produce_request(T, partition, 0, single("good")), PRODUCE, 4)).unwrap();
        client.send(&frame(&produce_request(T, partition, 0, bad.clone()), PRODUCE, 5)).unwrap();
        assert!(client.receive().unwrap().is_none(), "acks=0 was answered");
    }
    let mut client = bench.client();
    let deadline = Instant::now() + Duration::from_secs(10);
    for partition in 0..2 {
        // Nobody said when the last good one would be durable.
        while client.end_offset(T, partition).unwrap() < 12 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(client.read_all(T, partition).unwrap(), vec!["good"; 12]);
    }
    drop(client);
    bench.finish();
}

#[test]
fn a_client_may_hang_up_at_every_byte() {
    let bench = Bench::start();
    let produce = frame(&produce_request(T, 0, -1, single("once")), PRODUCE, 1);
    // One that waits for what does not come.
    let fetch = frame(&fetch_request(T, 1, 0).with_min_bytes(1).with_max_wait_ms(2000), FETCH, 2);
    for request in [&produce, &fetch] {
        for length in 0..=request.len() {
            let mut client = bench.client();
            client.send(&request[..length]).unwrap();
            if length % 2 == 0 {
                client.stream.shutdown(Shutdown::Write).unwrap();
            }
        }
    }
    let mut client = bench.client();
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.end_offset(T, 0).unwrap() < 1 {
        assert!(Instant::now() < deadline, "the one whole request was not carried out");
        std::thread::sleep(Duration::from_millis(10));
    }
    // No beginning of a request was taken for a whole one.
    assert_eq!(client.read_all(T, 0).unwrap(), ["once"]);
    drop(client);
    bench.finish();
}

#[test]
fn a_client_may_hang_up_without_reading_its_answers() {
    let bench = Bench::start();
    let (connections, requests) = (8u64, 500u64);
    for connection in 0..connections {
        let mut client = bench.client();
        let mut all = BytesMut::new();
        for number in 0..requests {
            let value = numbered(connection * requests + number, 100);
            all.put(frame(&produce_request(T, (number % 2) as i32, -1, single(value)), PRODUCE, 1));
            if number % 3 == 0 {
                all.put(frame(&fetch_request(KEPT, 0, 0), FETCH, 2));
            }
        }
        // The server may stop reading once it has too many answers to send.
        client.stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let _ = client.send(&all);
    }
    bench_reads_whole_sequences(&bench, connections, requests);
    bench.finish();
}

/// What a connection sent was taken in order, from its beginning, without gaps.
fn bench_reads_whole_sequences(bench: &Bench, connections: u64, requests: u64) {
    let mut client = bench.client();
    // What is still on its way settles.
    let mut ends = (-1, -1);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let now = (client.end_offset(T, 0).expect("an offset"), client.end_offset(T, 1).expect("an offset"));
        if now == ends {
            break;
        }
        assert!(Instant::now() < deadline, "the log still grows");
        ends = now;
        std::thread::sleep(Duration::from_millis(300));
    }
    for partition in 0..2u64 {
        let mut next: Vec<u64> = vec![partition; connections as usize];
        for value in client.read_all(T, partition as i32).expect("records") {
            let text = std::str::from_utf8(&value[..16]).expect("a number");
            let number: u64 = text.parse().expect("a number");
            let (connection, number) = ((number / requests) as usize, number % requests);
            assert_eq!(number, next[connection], "connection {connection}, partition {partition}");
            next[connection] += 2;
        }
        assert!(next.iter().any(|&n| n > partition), "nothing was taken: the test is not valid");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    const IN_FLIGHT: i32 = 500;
    let bench = Bench::start();
    let mut next_offsets = [0i64; 2];
    for round in 0..4 {
        let mut client = bench.client();
        let mut all = BytesMut::new();
        for id in 0..IN_FLIGHT {
            let fetch = fetch_request(KEPT, 0, 5).with_max_bytes(1);
            all.put(match (id + round) % 5 {
                0 | 3 => frame(&produce_request(T, id % 2, -1, single("value")), PRODUCE, id),
                1 => frame(&MetadataRequest::default().with_topics(None), 12, id),
                2 => frame(&fetch, FETCH, id),
                _ => frame(&ApiVersionsRequest::default(), 0, id),
            });
        }
        let mut writer = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &all));
        for id in 0..IN_FLIGHT {
            let answer = client.receive().unwrap().expect("an answer");
            let got = match (id + round) % 5 {
                0 | 3 => {
                    let (got, response) = decode::<ProduceRequest>(answer, PRODUCE).unwrap();
                    let done = produced(response).unwrap();
                    let next = &mut next_offsets[(id % 2) as usize];
                    assert_eq!((done.error_code, done.base_offset), (0, *next), "request {id}");
                    *next += 1;
                    got
                }
                1 => {
                    let (got, response) = decode::<MetadataRequest>(answer, 12).unwrap();
                    assert_eq!(response.topics.len(), 2);
                    got
                }
                2 => {
                    let (got, response) = decode::<FetchRequest>(answer, FETCH).unwrap();
                    let records = fetched(response).unwrap().records.expect("records");
                    let values = keylane_tests::e2e::batch::values(&records).unwrap();
                    assert_eq!(values, [(5, bench.kept[5].clone())], "request {id}");
                    got
                }
                _ => decode::<ApiVersionsRequest>(answer, 0).unwrap().0,
            };
            assert_eq!(got, id, "the order of the answers");
        }
        sending.join().unwrap().unwrap();
    }
    bench.finish();
}

/// Half of them have said something before they fell silent.
#[test]
fn a_thousand_idle_connections_cost_little() {
    const IDLE: usize = 1000;
    const WORK: u64 = 200;
    const GROWTH_KIB_MAX: u64 = 32 << 10;
    let files = keylane::environment::raise_open_files().unwrap();
    assert!(files.is_none_or(|limit| limit > IDLE as u64 + 200), "ulimit -n allows only {files:?} files");
    let dir = scratch(TMP, "idle-").unwrap();
    let args = ["--cores", "0", "--segment-bytes", "4231168", "--tail-cache-bytes", "2M"];
    let server =
        Server::start(&binary().unwrap(), &dir.path().join("data"), &args, &dir.path().join("log")).unwrap();
    let mut client = Client::connect(server.address).unwrap();
    for topic in [KEPT, T] {
        assert_eq!(client.create_topic(topic, 2).unwrap(), 0);
    }
    let mut written = 0;
    let mut work = |client: &mut Client| {
        for _ in 0..WORK {
            let values = [numbered(written, 16_000), numbered(written + 1, 16_000)];
            assert_eq!(client.append(T, 0, batch(&values, NOBODY)).unwrap(), written as i64);
            assert_eq!(client.fetch(T, 0, written as i64).unwrap().high_watermark, written as i64 + 2);
            written += 2;
        }
    };
    work(&mut client);
    let before = memory_kib(server.pid(), "VmRSS");
    let mut idle: Vec<Client> = Vec::new();
    for number in 0..IDLE {
        let mut client = Client::connect(server.address).unwrap();
        if number % 2 == 0 {
            client.call(0, &ApiVersionsRequest::default()).unwrap();
        }
        idle.push(client);
    }
    work(&mut client);
    let grown = memory_kib(server.pid(), "VmRSS").saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "{IDLE} idle connections: {grown} KiB");
    for client in &mut idle {
        assert_eq!(client.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    }
    assert_eq!(client.read_all(T, 0).unwrap().len() as u64, 4 * WORK);
    drop((idle, client));
    well(server.address, &mut Vec::new());
    server.stop().unwrap();
    println!("{IDLE} idle connections: +{grown} KiB");
}
