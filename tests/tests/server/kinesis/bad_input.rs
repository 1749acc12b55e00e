//! What is no request, or comes in a way that no client sends: an error or a closed connection, and others are served.

use std::net::Shutdown;

use keylane_tests::e2e::kinesis::{AUTHORIZATION, JSON, Kinesis};
use serde_json::json;

use super::Bench;

fn head(length: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: keylane\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\nContent-Type: {JSON}\r\n\
         Authorization: {AUTHORIZATION}\r\n{length}\r\n\r\n"
    )
}

/// The server still answers others.
fn well(bench: &Bench) {
    for _ in 0..4 {
        bench.client().call("ListStreams", &json!({})).expect("an answer");
    }
}

#[test]
fn what_is_no_http_ends_that_connection() {
    let bench = Bench::start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: keylane\r\n\r\n", "a".repeat(600_000));
    let many = format!("POST / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
    let cases: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\x1a\x00\x12\x00\x04\x00\x00\x00\x01\x00\x04test\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame of HTTP/2 at all",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"\r\n\r\n\r\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for (n, bytes) in cases.iter().enumerate() {
        let mut client = bench.client();
        // It may be closed before all is sent.
        let _ = client.send(bytes);
        while let Ok(Some(answer)) = client.receive() {
            assert!(answer.status >= 400, "case {n}: {answer:?}");
        }
    }
    well(&bench);
    bench.finish();
}

#[test]
fn bodies_that_are_too_large_or_never_end_are_given_up() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.send(head("Content-Length: 17000000").as_bytes()).unwrap();
    assert_eq!(client.receive().unwrap().unwrap().status, 413);
    // In chunks, no length says how much will come.
    let mut client = bench.client();
    client.send(head("Transfer-Encoding: chunked").as_bytes()).unwrap();
    let chunk = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
    for _ in 0..20 {
        if client.send(&chunk).is_err() {
            break;
        }
    }
    if let Ok(Some(answer)) = client.receive() {
        assert_eq!(answer.status, 413);
    }
    // Half a request, and the sender is gone.
    for sent in [head("Content-Length: 100"), "POST / HT".to_owned(), String::new()] {
        let stream = std::net::TcpStream::connect(bench.address()).unwrap();
        std::io::Write::write_all(&mut &stream, sent.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    }
    well(&bench);
    bench.finish();
}

#[test]
fn bodies_that_are_nearly_right_are_refused() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.create("s", 1).unwrap();
    let deep = [b"{\"StreamName\":".to_vec(), vec![b'['; 100_000]].concat();
    let bodies: [&[u8]; 8] = [
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"StreamName\":\"s\"",
        b"{\"StreamName\":\xff}",
        b"{\"Limit\":1e999}",
        b"{\"Limit\":99999999999999999999}",
        &deep,
    ];
    for body in bodies {
        let answer = client.raw("DescribeStream", JSON, body).unwrap();
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]);
        assert_eq!((answer.status, &*answer.fault().unwrap().0), (400, "SerializationException"), "{shown}");
    }
    // CBOR: cut off, too deep, lengths that are not there, text that is no UTF-8.
    let deep = vec![0x81; 100_000];
    let cbor: [&[u8]; 6] = [
        b"\xa1",
        b"\xbf",
        b"\xa1\x6aStreamName\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x61\xff\x01",
        b"\x01",
        &deep,
    ];
    for body in cbor {
        let answer = client.raw("DescribeStream", "application/x-amz-cbor-1.1", body).unwrap();
        assert_eq!(answer.status, 400, "{:x?}", &body[..body.len().min(20)]);
        assert_eq!(answer.header("content-type"), Some("application/x-amz-cbor-1.1"));
        let found = answer.body.windows(22).any(|part| part == b"SerializationException");
        assert!(found, "{:?}", String::from_utf8_lossy(&answer.body));
    }
    well(&bench);
    bench.finish();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let bench = Bench::start();
    let mut client: Kinesis = bench.client();
    let request = head("Content-Length: 2") + "{}";
    client.send(request.repeat(50).as_bytes()).unwrap();
    for _ in 0..50 {
        assert_eq!(client.receive().unwrap().unwrap().status, 200);
    }
    bench.finish();
}
