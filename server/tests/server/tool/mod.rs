//! `keylane` as a tool: the built binary is run against a server, as a person or a script runs it.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

mod group;
mod records;
mod shell;
mod topic;

/// A server of its own; ended when it is dropped.
struct Server {
    child: Child,
    address: String,
    _data: TempDir,
}

/// What a run of the tool gave.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keylane"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYLANE_")) {
        command.env_remove(name);
    }
    command
}

/// Runs the binary with this as its input.
fn run(args: &[&str], input: &[u8]) -> Ran {
    let mut command = binary();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // Who has failed does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

impl Server {
    fn start() -> Self {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut child = binary()
            .args(["serve", "--kafka", "127.0.0.1:0", "--cores", "0", "--segment-bytes", "8M", "--data"])
            .arg(data.path())
            .args(["--group-initial-rebalance-delay-ms", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("keylane: listening on ").unwrap().split(' ').next().unwrap();
        Self { address: address.to_owned(), child, _data: data }
    }

    /// Runs the tool on this server.
    fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, b"")
    }

    fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        run(&[args, &["--brokers", &self.address]].concat(), input)
    }

    /// What the tool prints, which must go well and without a word on stderr.
    fn out(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{args:?}");
        ran.out
    }

    /// The same as JSON.
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.out(&[args, &["--json"]].concat())).unwrap()
    }

    /// The one line of error of a command that must fail.
    fn error(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.err.lines().count()), (Some(1), 1), "{args:?}: {}", ran.err);
        ran.err.strip_prefix("keylane: ").expect("the name of the program").trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_cannot_connect_is_told_what_to_do() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = run(&["topic", "list", "-b", &format!("127.0.0.1:{port}")], b"");
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.err.contains("Connection refused") && nobody.err.contains("--brokers"), "{}", nobody.err);
    let nowhere = run(&["topic", "list", "-b", "nowhere.invalid"], b"");
    assert!(
        nowhere.err.contains("nowhere.invalid:9092") && nowhere.err.contains("HOST:PORT"),
        "{}",
        nowhere.err
    );
    // Somebody who speaks another protocol, and one who says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let other = std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        first.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let silent = listener.accept().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        drop((first, silent));
    });
    let strange = run(&["topic", "list", "-b", &address], b"");
    assert!(strange.err.contains("is it Kafka's protocol"), "{}", strange.err);
    let silent = run(&["topic", "list", "-b", &address, "--timeout", "1"], b"");
    assert!(silent.err.contains("--timeout"), "{}", silent.err);
    other.join().unwrap();
}
