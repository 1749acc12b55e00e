//! Reads a topic from its beginning and checks it against a state file: after a crash, say.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keylane_kafka::messages::list_offsets::{EARLIEST, LATEST};
use serde::Serialize;

use crate::args::VerifyArgs;
use crate::checker::Checked;
use crate::client::{self, Admin};
use crate::evidence;
use crate::keys::KeyNames;
use crate::ledger::State;
use crate::pacing::Clock;
use crate::producer::ProducerBooks;
use crate::readers::{Kind, Reader};
use crate::report::write_verdict;
use crate::setup::{Target, add_consumers, consumer_books};
use crate::verdict::{Circumstances, Verdict};
use crate::worker::{Shared, Times, Worker};

/// What verification found.
#[derive(Debug, Serialize)]
pub struct Verification {
    pub topic: String,
    pub rounds: u64,
    pub seconds: f64,
    pub checked: Checked,
    pub verdict: Verdict,
    pub exit_code: u8,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, rounds, seconds, .. } = self;
        writeln!(f, "topic {topic}, written in {rounds} runs, read in {seconds:.2} s")?;
        write_verdict(f, &self.verdict)
    }
}

/// Reads and checks. An error: it could not be read to its end.
pub fn verify(args: &VerifyArgs) -> Result<Verification> {
    let state = State::load(&args.state)?;
    let topic = args.topic.clone().unwrap_or(state.topic);
    let address = client::resolve(&args.bootstrap)?;
    let mut admin = Admin::connect(address)?;
    let partitions = admin.wait_for_topic(&topic, Duration::from_secs(60))?;
    let wanted = state.ledger.partitions;
    ensure!(partitions == wanted, "the topic has {partitions} partitions, the state file {wanted}");
    let begin = admin.offsets(&topic, partitions, EARLIEST)?;
    let ends = admin.offsets(&topic, partitions, LATEST)?;
    let names = KeyNames::new(state.ledger.keys());
    let (versions, rounds) = (admin.versions, state.rounds);
    let target = Target { address, versions, topic, partitions, begin, ledger: state.ledger, rounds, names };
    let clock = Clock::new();
    let readers = readers(args.fanout.max(1));
    let books =
        readers.iter().map(|reader| consumer_books(&target, clock, !args.no_verify_payload, None, reader));
    let mut worker = Worker::new(no_producers(&target, clock), books.collect());
    for group in 0..readers.len() {
        add_consumers(std::slice::from_mut(&mut worker), &target, args.consumers.max(1), group)?;
    }
    let shared = Shared::default();
    let _ = shared.ends.set(ends);
    let times = Times { start_ns: 0, measure_ns: (0, 0) };
    worker.run(&shared, times)?;
    debug_assert_eq!(shared.producers_done.load(Ordering::Relaxed), 1);
    let complete = worker.consumers.iter().all(|consumer| consumer.is_done());
    if !complete && !worker.stalled {
        bail!("the broker closed the connection before all was read");
    }
    let refused = worker.consumer_books.iter().flat_map(|books| books.errors.values()).sum();
    let mut checkers = worker.consumer_books.into_iter().map(|books| books.checker);
    let mut checker = checkers.next().context("no reader")?;
    let mut settled = target.ledger.clone();
    checker.settle(&mut settled);
    let others: Vec<_> = checkers.collect();
    others.iter().for_each(|other| checker.compare_values(other));
    let mut checked = checker.finish(&target.ledger, &target.names, true);
    for (other, reader) in others.into_iter().zip(&readers[1..]) {
        let mut faults = other.finish(&target.ledger, &target.names, true).faults;
        faults.of_reader(&reader.name);
        checked.faults.merge(faults);
    }
    if let Some(path) = &args.evidence {
        evidence::write(path, &checked.faults.found, &target.names)?;
    }
    let circumstances = Circumstances {
        acks_promise: true,
        crc_verified: !args.no_verify_payload,
        refused,
        ..Circumstances::default()
    };
    let verdict = Verdict::of(&checked, circumstances);
    let exit_code = u8::from(verdict.failed());
    if args.settle && exit_code == 0 {
        State { topic: target.topic.clone(), rounds, ledger: settled }.save(&args.state)?;
    }
    let seconds = clock.now_ns() as f64 / 1e9;
    Ok(Verification { topic: target.topic, rounds, seconds, checked, verdict, exit_code })
}

/// So many readers of everything.
fn readers(count: u32) -> Vec<Reader> {
    let reader = |number| Reader {
        kind: Kind::After,
        name: format!("reader {number}"),
        begin_ns: u64::MAX,
        timed: false,
        compared: count > 1,
        shape: None,
    };
    (1..=count).map(reader).collect()
}

fn no_producers(target: &Target, clock: Clock) -> ProducerBooks<'_> {
    ProducerBooks::new(clock, &target.names, Default::default(), (0, 0))
}

pub fn verify_and_print(args: &VerifyArgs) -> Result<u8> {
    let found = verify(args)?;
    if args.json {
        println!("{}", serde_json::to_string(&found).context("the verification as JSON")?);
    } else {
        print!("{found}");
    }
    Ok(found.exit_code)
}
