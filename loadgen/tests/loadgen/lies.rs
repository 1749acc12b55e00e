//! Runs and verifications over real sockets, against a broker that makes one mistake: the verdict must
//! name it. The broker without a mistake is the control.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;
use keylane_loadgen::args::{RunArgs, VerifyArgs};
use keylane_loadgen::report::Report;
use keylane_loadgen::run;
use keylane_loadgen::sink::{self, Keep, Lie};
use keylane_loadgen::verdict::Status;
use keylane_loadgen::verify;

const PARTITIONS: i32 = 2;

/// Serves in the background for as long as a test may need; returns the address.
fn broker(keep: Keep) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || sink::serve(&listener, PARTITIONS, keep, Duration::from_secs(60)));
    Ok(address)
}

fn load(address: &str, more: &str) -> Result<Report> {
    let common = "--duration 150ms --warmup 0s --no-progress --rate 3000 --batch-records 3";
    let shape = "--connections 1 --keys 2 --record-bytes 200";
    let text = format!("--bootstrap {address} {common} {shape} {more}");
    run::run(&RunArgs::from_text(&text)?)
}

fn failed(report: &Report) -> Vec<&'static str> {
    let lines = report.verdict.lines.iter().filter(|line| line.status == Status::Failed);
    lines.map(|line| line.name).collect()
}

#[test]
fn an_honest_broker_passes() {
    for more in ["--consumers 1 --consume after", "--consumers 2 --threads 2", "--consumers 1 --acks 0"] {
        let report = load(&broker(Keep::Batches(None)).unwrap(), more).unwrap();
        assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{more}\n{report}");
        let read = report.consumed.unwrap().records_total;
        assert!(read > 300, "{more}: only {read} records: the test is not valid");
        assert_eq!(read, report.produced.records_acked_total);
    }
}

#[test]
fn a_broker_that_is_only_written_to_is_not_called_ok() {
    for more in ["--consumers 0", "--static-payload", "--consumers 0 --acks 0"] {
        let report = load(&broker(Keep::Nothing).unwrap(), more).unwrap();
        assert_eq!(report.exit_code, 0);
        assert!(report.produced.records_acked_total > 0);
        assert!(report.verdict.lines.iter().all(|line| line.status == Status::NotChecked));
    }
}

#[test]
fn each_lie_is_found_by_its_name() {
    for (lie, line) in [
        (Lie::Lose, "loss"),
        (Lie::Repeat, "duplicates"),
        (Lie::Swap, "order"),
        (Lie::Move, "order"),
        (Lie::SkipOffset, "offsets"),
        (Lie::Garble, "content"),
    ] {
        let address = broker(Keep::Batches(Some((lie, 20)))).unwrap();
        let report = load(&address, "--consumers 1 --consume after").unwrap();
        assert!(failed(&report).contains(&line), "{lie:?}\n{report}");
        assert_eq!(report.exit_code, 1);
        assert!(!report.verdict.examples.is_empty());
    }
}

/// Two readers, so that what one sees can differ from what the other does.
#[test]
fn lies_to_readers_are_found_by_their_text() {
    for (lie, nth, consume, text) in [
        (Lie::TwoFaces, 20, "tail", "offsets with two values"),
        (Lie::SkipPoll, 3, "after", "offsets that a poll skipped"),
        (Lie::RepeatPoll, 20, "tail", "polls that went back"),
    ] {
        let address = broker(Keep::Batches(Some((lie, nth)))).unwrap();
        let report = load(&address, &format!("--consumers 1 --consume {consume} --fanout 2")).unwrap();
        let line = report.verdict.lines.iter().find(|line| line.name == "offsets").unwrap();
        assert!(line.status == Status::Failed && line.text.contains(text), "{lie:?}\n{report}");
        assert_eq!(report.exit_code, 1);
    }
}

#[test]
fn a_state_file_carries_the_books_over_runs() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    for (keep, exit_code) in [(Keep::Batches(None), 0), (Keep::Batches(Some((Lie::Lose, 200))), 1)] {
        let address = broker(keep).unwrap();
        let file = state.display();
        assert_eq!(load(&address, &format!("--state {file}")).unwrap().exit_code, 0);
        let second = load(&address, &format!("--state {file} --resume")).unwrap();
        // The loss shows already in the acked offsets: two batches have the same.
        assert_eq!(second.exit_code, exit_code);
        let args = VerifyArgs {
            bootstrap: address,
            topic: None,
            state: state.clone(),
            consumers: 2,
            settle: true,
            no_verify_payload: false,
            fanout: 1,
            evidence: None,
            json: false,
        };
        let found = verify::verify(&args).unwrap();
        assert_eq!((found.exit_code, found.rounds), (exit_code, 2), "{found}");
        assert!(found.checked.records_acked > second.produced.records_acked_total);
    }
}

/// Consumers that were to read after the load once began with it: their socket was writable.
#[test]
fn reading_back_begins_after_the_load() {
    let address = broker(Keep::Batches(None)).unwrap();
    let after = load(&address, "--consumers 2 --consume after").unwrap().consumed.unwrap();
    assert!(after.records_total > 300 && after.after_seconds.is_some());
    assert_eq!(after.records_during_load, 0);
    let address = broker(Keep::Batches(None)).unwrap();
    let tail = load(&address, "--consumers 2 --consume tail").unwrap().consumed.unwrap();
    assert!(tail.records_during_load > 0 && tail.after_seconds.is_none());
}
