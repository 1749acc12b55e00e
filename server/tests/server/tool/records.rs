//! `keylane produce` and `keylane consume`
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Server, binary};

impl Server {
    /// Writes lines; what is printed.
    fn write(&self, args: &[&str], lines: &str) -> String {
        let ran = self.run_with(&[&["produce"], args].concat(), lines.as_bytes());
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{args:?}");
        ran.out
    }

    /// Reads to the end.
    fn read(&self, args: &[&str]) -> String {
        self.out(&[&["consume", "-e"], args].concat())
    }
}

#[test]
fn keys_headers_nulls_and_times_come_back_as_they_were_written() {
    let server = Server::start();
    server.out(&["topic", "create", "t", "-p", "3"]);
    let told = server.write(
        &["t", "hello", "again", "-k", "alice", "-H", "a=1", "-H", "a=2", "--timestamp", "1700000000000"],
        "",
    );
    // As Kafka's clients choose the partition of this key.
    assert_eq!(told, "t: 2 records in partition 0, offsets 0 to 1\n");
    let told = server.write(&["t", "-p", "2", "-K", ":", "-Z", "--json"], "k:v\n:x\nk2:\n");
    assert_eq!(
        serde_json::from_str::<Value>(&told).unwrap(),
        json!([{"topic": "t", "partition": 2, "records": 3, "first_offset": 0, "last_offset": 2}])
    );
    let format = "%t %p %o %k %K %s %S [%h]\\n";
    assert_eq!(
        server.read(&["t", "-p", "0,2", "-f", format]),
        "t 0 0 alice 5 hello 5 [a=1,a=2]\nt 0 1 alice 5 again 5 [a=1,a=2]\n\
         t 2 0 k 1 v 1 []\nt 2 1  -1 x 1 []\nt 2 2 k2 2  -1 []\n"
    );
    assert_eq!(
        server.read(&["t", "-p", "0", "-n", "1", "-f", "%T %D"]),
        "1700000000000 2023-11-14T22:13:20.000Z"
    );
    let line = server.read(&["t", "-p", "2", "-o", "-1", "--json"]);
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&record["key"], &record["value"], &record["offset"]),
        (&json!("k2"), &json!(null), &json!(2))
    );
    assert_eq!(record["timestamp_type"], "create");
}

#[test]
fn records_are_read_from_a_place_to_a_place() {
    let server = Server::start();
    server.out(&["topic", "create", "t", "-c", "message.timestamp.before.max.ms=9223372036854775807"]);
    for (second, value) in (1700000000..).zip(["a", "b", "c", "d"]) {
        server.write(&["t", value, "--timestamp", &format!("{second}000")], "");
    }
    for (args, wanted) in [
        (&["-o", "start"][..], "a\nb\nc\nd\n"),
        (&["-o", "2"], "c\nd\n"),
        (&["-o", "-3"], "b\nc\nd\n"),
        (&["-o", "-99", "-n", "2"], "a\nb\n"),
        (&["-o", "end"], ""),
        (&["-o", "@1700000001001"], "c\nd\n"),
        (&["-o", "@2023-11-14T22:13:23Z"], "d\n"),
        (&["-o", "@2100-01-01"], ""),
        (&["-n", "0"], ""),
    ] {
        assert_eq!(server.read(&[&["t"], args].concat()), wanted, "{args:?}");
    }
    for (from, until, wanted) in
        [("1", "3", "b\nc\n"), ("@1700000001000", "@1700000003000", "b\nc\n"), ("3", "1", "")]
    {
        assert_eq!(server.out(&["consume", "t", "-o", from, "-u", until]), wanted, "{from} {until}");
    }
}

#[test]
fn every_codec_many_records_and_any_bytes_go_through() {
    let server = Server::start();
    let lines: String = (0..20_000).map(|n| format!("{n} value of a record\n")).collect();
    server.out(&["topic", "create", "all", "-p", "4"]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        server.out(&["topic", "create", codec]);
        let told = server.write(&[codec, "-z", codec], &lines);
        assert_eq!(told, format!("{codec}: 20000 records in partition 0, offsets 0 to 19999\n"));
        assert!(server.read(&[codec]) == lines, "{codec}");
    }
    // Without keys, records go to one partition after another; each of them keeps its order.
    server.write(&["all"], &lines);
    let mut read: Vec<_> = server.read(&["all"]).lines().map(str::to_owned).collect();
    read.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap());
    assert!(read.join("\n") + "\n" == lines);

    // Large, and no text: as JSON from topic to topic.
    server.out(&["topic", "create", "bytes", "copy"]);
    let mut value = vec![0xff; 900_000];
    value.push(b';');
    let ran = server
        .run_with(&["produce", "bytes", "-D", ";", "-k", "k", "-H", "h=x"], &[&value[..], b"\n;"].concat());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let copied = server.read(&["bytes", "--json"]);
    server.write(&["copy", "--from-json"], &copied);
    assert_eq!(server.read(&["copy", "--json"]), copied.replace("\"bytes\"", "\"copy\""));
    assert!(copied.contains("\"value_base64\":\"////") && copied.contains(r#""value":"\n""#));
}

/// A reader without an end prints what comes, at once, and sees records of other partitions, too.
#[test]
fn a_topic_is_followed() {
    let server = Server::start();
    server.out(&["topic", "create", "t", "-p", "2"]);
    server.write(&["t", "before"], "");
    let mut reader = binary()
        .args(["consume", "t", "-n", "3", "-b", &server.address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("before"));
    // A writer that goes on: what it was given is sent although its input has not ended.
    let mut writer = binary()
        .args(["produce", "t", "-b", &server.address])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    for value in ["first", "second"] {
        writeln!(input, "{value}").unwrap();
        assert_eq!(lines.next().as_deref(), Some(value));
    }
    assert_eq!((lines.next(), reader.wait().unwrap().code()), (None, Some(0)));
    drop(input);
    assert_eq!(writer.wait().unwrap().code(), Some(0));
}

#[test]
fn who_has_read_enough_ends_the_command_quietly() {
    let server = Server::start();
    server.out(&["topic", "create", "t"]);
    let lines = "a line that is written again and again\n".repeat(20_000);
    server.write(&["t"], &lines);
    let mut reader = binary()
        .args(["consume", "t", "-b", &server.address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(64, reader.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ended = reader.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn what_cannot_be_written_or_read_is_told() {
    let server = Server::start();
    server.out(&["topic", "create", "t", "-c", "max.message.bytes=1000"]);
    for (args, wanted) in [
        (&["consume", "none", "-e"][..], "`keylane topic list`"),
        (&["consume", "t", "-p", "1"], "topic t has no partition 1; it has 1, counted from 0"),
        (&["consume", "t", "-o", "7", "-n", "1"], "OFFSET_OUT_OF_RANGE"),
        (&["produce", "none", "x"], "UNKNOWN_TOPIC_OR_PARTITION"),
        (&["produce", "t", "x", "-p", "5"], "no partition 5"),
        (&["produce", "t", &"x".repeat(2000)], "max.message.bytes"),
        (&["produce", "t", "-K", ""], "delimiter"),
    ] {
        let error = server.error(args);
        assert!(error.contains(wanted), "{args:?}: {error}");
    }
    // What stands before a line that is wrong is written, and told.
    let half = server.run_with(&["produce", "t", "-K", ":"], b"a:1\nb:2\nnonsense\nc:3\n");
    assert_eq!((half.code, half.out.as_str()), (Some(1), "t: 2 records in partition 0, offsets 0 to 1\n"));
    assert!(half.err.contains("record 3 of stdin") && half.err.contains("nonsense"), "{}", half.err);
    assert_eq!(server.read(&["t"]), "1\n2\n");
    let json = server.run_with(&["produce", "t", "--from-json"], b"{\"value\": 5}\n");
    assert!(json.err.contains("record 1 of stdin"), "{}", json.err);
    for wrong in
        [&["consume", "t", "-f", "%q"][..], &["consume", "t", "-o", "soon"], &["produce", "t", "-z", "zip"]]
    {
        assert_eq!(server.run(wrong).code, Some(2), "{wrong:?}");
    }
}
