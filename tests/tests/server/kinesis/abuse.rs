//! HTTP abused: floods of resets, headers and frames, windows that never open, bodies that never end, senders that say half a
//! request, many idle connections. Promise: others are served meanwhile, and the server's memory stays bounded.
//!
//! `KEYLANE_KINESIS_IDLE` sets the number of idle connections (1,000).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use keylane_tests::e2e::kinesis::{AUTHORIZATION, JSON, Kinesis};
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::scratch;
use serde_json::json;
use tempfile::TempDir;

use super::TMP;

/// What the server may take beyond what it had before.
const GROWTH_KIB_MAX: u64 = 160 << 10;
const IDLE: usize = 1_000;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Abused {
    server: Server,
    _dir: TempDir,
    before_kib: u64,
}

/// A field of the process's status, in KiB.
fn status_kib(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = text.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

impl Abused {
    fn start(more: &[&str]) -> Self {
        let dir = scratch(TMP, "kinesis-abuse-").expect("a directory");
        let args =
            [&["--kinesis", "127.0.0.1:0", "--shards", "2", "--segment-bytes", "8388608"], more].concat();
        let (data, log) = (dir.path().join("data"), dir.path().join("server.log"));
        let server = Server::start(&binary().expect("a binary"), &data, &args, &log).expect("it starts");
        let abused = Self { before_kib: status_kib(server.pid(), "VmRSS"), server, _dir: dir };
        abused.well();
        abused
    }

    fn address(&self) -> SocketAddr {
        self.server.kinesis.expect("it listens for Kinesis' clients")
    }

    fn client(&self) -> Kinesis {
        Kinesis::connect(self.address()).expect("the server accepts")
    }

    /// It answers others.
    fn well(&self) {
        for _ in 0..4 {
            self.client().call("ListStreams", &json!({})).expect("an answer");
        }
    }

    /// It answers others, and never took more memory than it may.
    fn finish(self) {
        self.well();
        let grown = status_kib(self.server.pid(), "VmHWM").saturating_sub(self.before_kib);
        assert!(grown < GROWTH_KIB_MAX, "the server took {} MiB more", grown >> 10);
        self.server.stop().expect("a clean stop");
    }

    /// A connection that speaks HTTP/2, with these settings.
    fn http2(&self, settings: &[(u16, u32)]) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("the server accepts");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &payload)[..]].concat();
        (&stream).write_all(&begin).expect("the preface is taken");
        stream
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as a literal that is not added to the table.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// The headers of a request; all values have fewer than 127 bytes.
fn request(target: &str) -> Vec<u8> {
    // POST, http and / of the static table.
    let mut block = vec![0x83, 0x86, 0x84];
    let credentials = &AUTHORIZATION[..AUTHORIZATION.find(", ").expect("a list")];
    for (name, value) in [
        (":authority", "keylane"),
        ("content-type", JSON),
        ("x-amz-target", &format!("Kinesis_20131202.{target}")),
        ("authorization", credentials),
    ] {
        block.extend(literal(name, value));
    }
    block
}

/// Writes pieces until all are written or the server does not take any more; true if it took all.
fn flood(stream: &TcpStream, pieces: impl IntoIterator<Item = Vec<u8>>) -> bool {
    let mut stream = stream;
    pieces.into_iter().all(|piece| stream.write_all(&piece).is_ok())
}

/// The server ends the connection within ten seconds.
fn ends(stream: &TcpStream) -> bool {
    let (deadline, mut stream) = (Instant::now() + Duration::from_secs(10), stream);
    let mut buffer = vec![0; 64 << 10];
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
    false
}

/// The control of the frames that are written here: the server answers a request made of them.
#[test]
fn a_request_in_frames_is_answered() {
    let abused = Abused::start(&[]);
    let stream = abused.http2(&[]);
    assert!(flood(
        &stream,
        [frame(HEADERS, END_HEADERS, 1, &request("ListStreams")), frame(DATA, END_STREAM, 1, b"{}"),]
    ));
    let (mut all, mut stream) = (Vec::new(), &stream);
    let mut buffer = [0; 4096];
    while !all.windows(13).any(|part| part == b"\"StreamNames\"") {
        let read = stream.read(&mut buffer).expect("an answer in time");
        assert!(read > 0, "the connection ended: {all:?}");
        all.extend_from_slice(&buffer[..read]);
    }
    abused.finish();
}

#[test]
fn floods_of_frames_end_their_connection() {
    let abused = Abused::start(&[]);
    let block = request("ListStreams");
    // Streams that are opened and reset at once, without end: CVE-2023-44487.
    let resets = abused.http2(&[]);
    let pieces = (0..100_000u32).map(|n| {
        let stream = 2 * n + 1;
        [frame(HEADERS, END_HEADERS, stream, &block), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())]
            .concat()
    });
    assert!(!flood(&resets, pieces) || ends(&resets), "a hundred thousand resets were taken");
    // Headers that never end, in frames that carry on: CVE-2024-27316.
    let endless = abused.http2(&[]);
    let begin = [frame(HEADERS, 0, 1, &block)];
    let more = literal("x-more", &"y".repeat(100)).repeat(100);
    let pieces = begin.into_iter().chain((0..10_000).map(|_| frame(CONTINUATION, 0, 1, &more)));
    assert!(!flood(&endless, pieces) || ends(&endless), "a hundred MiB of headers were taken");
    // The same in empty frames.
    let empty = abused.http2(&[]);
    let begin = [frame(HEADERS, 0, 1, &block)];
    let pieces = begin.into_iter().chain((0..1_000).map(|_| frame(CONTINUATION, 0, 1, &[]).repeat(1000)));
    assert!(!flood(&empty, pieces) || ends(&empty), "a million empty frames of headers were taken");
    // A window beyond 2^31 - 1.
    let window = abused.http2(&[]);
    let most = frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes());
    assert!(!flood(&window, [most.clone(), most]) || ends(&window), "a window of 2^32 was taken");
    abused.finish();
}

/// A few bytes that stand for many: a long header in the table, and thousands of references to it.
#[test]
fn small_blocks_that_are_large_headers_are_refused() {
    let abused = Abused::start(&[]);
    let stream = abused.http2(&[]);
    // A literal that is added to the table, of 3,900 bytes: its length is 127 + 3,773.
    let long = [&[0x40, 1, b'x', 0x7f, 0xbd, 0x1d][..], &vec![b'y'; 3_900]].concat();
    let mut pieces =
        vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &[request("ListStreams"), long].concat())];
    for n in 1..200u32 {
        // 16,000 times 3,900 bytes.
        let block = [request("ListStreams"), vec![0xbe; 16_000]].concat();
        pieces.push(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block));
    }
    // Refused one by one, or all with their connection.
    flood(&stream, pieces);
    drop(stream);
    abused.finish();
}

/// Questions that the server must answer, from a peer that takes no answer.
#[test]
fn a_peer_that_takes_nothing_costs_little() {
    let abused = Abused::start(&[]);
    for piece in [
        frame(PING, 0, 0, &[7; 8]).repeat(1000),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).repeat(1000),
    ] {
        let stream = abused.http2(&[]);
        stream.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        flood(&stream, (0..2_000).map(|_| piece.clone()));
        abused.well();
    }
    // Large answers that nobody takes: the window of their streams is closed.
    let mut client = abused.client();
    client.create("s", 1).expect("a stream");
    let data = "A".repeat(1 << 20);
    for _ in 0..10 {
        client
            .call("PutRecord", &json!({"StreamName": "s", "PartitionKey": "k", "Data": data}))
            .expect("put");
    }
    let iterator =
        client.iterator("s", "shardId-000000000000", "TRIM_HORIZON", &json!(null)).expect("an iterator");
    let body = json!({"ShardIterator": iterator}).to_string();
    let mut closed = Vec::new();
    for _ in 0..4 {
        let stream = abused.http2(&[(4, 0)]);
        for n in 0..32u32 {
            let ask = [
                frame(HEADERS, END_HEADERS, 2 * n + 1, &request("GetRecords")),
                frame(DATA, END_STREAM, 2 * n + 1, body.as_bytes()),
            ];
            assert!(flood(&stream, ask), "a request");
        }
        closed.push(stream);
    }
    std::thread::sleep(Duration::from_millis(500));
    abused.well();
    // 256 MiB of answers a core are paid for; nothing beyond them is made.
    let grown = status_kib(abused.server.pid(), "VmHWM").saturating_sub(abused.before_kib);
    assert!(grown < 800 << 10, "answers that nobody takes took {} MiB", grown >> 10);
    drop(closed);
    abused.well();
    abused.server.stop().expect("a clean stop");
}

/// Bodies that never end and requests that stop in the middle: they hold what came of them, and nobody up.
#[test]
fn senders_that_say_half_hold_nobody_up() {
    let abused = Abused::start(&[]);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: keylane\r\nX-Amz-Target: Kinesis_20131202.PutRecord\r\nContent-Type: {JSON}\r\n\
         Authorization: {AUTHORIZATION}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = [b"2000\r\n", &vec![b' '; 0x2000][..], b"\r\n"].concat();
    let mut open = Vec::new();
    for n in 0..300 {
        let stream = TcpStream::connect(abused.address()).expect("the server accepts");
        stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let half = &head.as_bytes()[..n % head.len()];
        let sent: Vec<Vec<u8>> = match n % 3 {
            0 => vec![half.to_vec()],
            1 => vec![head.clone().into_bytes(), chunk.repeat(10)],
            _ => vec![head.clone().into_bytes(), b"1\r\n \r\n".repeat(1000)],
        };
        flood(&stream, sent);
        open.push(stream);
    }
    for _ in 0..5 {
        // One more byte from each, and others are served in between.
        for stream in &open {
            flood(stream, [b"1\r\n \r\n".to_vec()]);
        }
        abused.well();
    }
    drop(open);
    abused.finish();
}

#[test]
fn idle_connections_cost_little_and_are_bounded() {
    let idle = std::env::var("KEYLANE_KINESIS_IDLE").ok().and_then(|text| text.parse().ok()).unwrap_or(IDLE);
    // The kernel deals connections to cores, not quite evenly, and each core has half of the bound.
    let most = idle + idle / 10 + 100;
    keylane_loadgen::limits::allow_connections(most + 200, false).expect("open files");
    let abused = Abused::start(&["--max-connections", &most.to_string()]);
    let open: Vec<TcpStream> = (0..idle)
        .map(|n| {
            let stream = TcpStream::connect(abused.address()).expect("the server accepts");
            // A third says nothing, a third speaks HTTP/2, a third stops in the middle of its headers.
            let begin: &[u8] = match n % 3 {
                0 => b"",
                1 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
                _ => b"POST / HTTP/1.1\r\nHost: keylane\r\n",
            };
            assert!(flood(&stream, [begin.to_vec()]), "a beginning");
            stream
        })
        .collect();
    abused.well();
    let grown = status_kib(abused.server.pid(), "VmRSS").saturating_sub(abused.before_kib);
    let each = grown / idle as u64;
    println!("{idle} idle connections, {each} KiB each");
    assert!(each < 48, "an idle connection takes {each} KiB");
    // Beyond the bound, connections are closed at once; those that are there stay.
    let beyond: Vec<TcpStream> = (0..most - idle + 100)
        .map(|_| TcpStream::connect(abused.address()).expect("the kernel accepts"))
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let is_closed = |stream: &&TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        !matches!({ *stream }.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(beyond.iter().filter(is_closed).count() >= 100, "more than {most} connections are served");
    assert!(!open.iter().step_by(3).any(|stream| is_closed(&stream)), "an idle connection was closed");
    drop((open, beyond));
    std::thread::sleep(Duration::from_millis(200));
    abused.well();
    abused.server.stop().expect("a clean stop");
}
