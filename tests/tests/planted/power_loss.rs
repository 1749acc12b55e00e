//! The whole server on the simulated disk loses power under load, and starts again on what the disk is left with: the
//! load generator must find nothing when flushes are what they should be, and loss when they are not. Exists in a
//! build with `--cfg keylane_planted` only:
//!
//! ```text
//! bash .ci/run planted
//! ```

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use keylane::ServerConfig;
use keylane::power::{Failure, serve};
use keylane_engine::disk::DynDisk;
use keylane_engine::planted::{Bug, plant};
use keylane_loadgen::args::RunArgs;
use keylane_loadgen::client::Admin;
use keylane_loadgen::report::Report;
use keylane_loadgen::verdict::Status;
use keylane_sim_disk::{CrashStyle, Fault, Op, Rule, SimDisk, SimOptions, Turns};
use tokio::sync::oneshot::{Receiver, channel};

const TOPIC: &str = "power";
const PARTITIONS: i32 = 4;
const LOAD: &str = "--connections 4 --window 8 --keys 200 --record-bytes 200 --batch-records 5 --rate 20000 \
                    --consumers 2 --duration 3s --warmup 0s --no-progress --expect-restart";
const BEFORE_THE_FAILURE: Duration = Duration::from_millis(1200);
const AWAY: Duration = Duration::from_millis(200);

/// How server and disk behave from the creation of the topic until power fails.
#[derive(Clone, Copy)]
struct Conduct {
    /// After some time flushes of what was appended report success and do nothing.
    flushes_lost: bool,
    /// Flushes take so long that there is hardly ever none under way.
    slow_flushes: bool,
    bug: Option<Bug>,
    style: CrashStyle,
    seed: u64,
    segment_bytes: u64,
}

/// Segments fill and are sealed under the load.
const HONEST: Conduct = Conduct {
    flushes_lost: false,
    slow_flushes: false,
    bug: None,
    style: CrashStyle::Mixed,
    seed: 1,
    segment_bytes: 1 << 20,
};
/// Nothing but the end of a segment is lost: a segment that is missing would be noticed at the start, and refused.
const FAULTY: Conduct = Conduct { style: CrashStyle::AllDropped, segment_bytes: 64 << 20, ..HONEST };
/// Flushes that work before the others do not: those of a new segment.
const FLUSHES_BEFORE: u64 = 50;
/// A turn of the disk, in real time.
const TURN: Duration = Duration::from_micros(10);
const SLOW_TURNS: u32 = 1_000;

/// Serves on `disk` until power fails: what the disk is left with.
fn serve_until(
    signal: Receiver<()>,
    config: &ServerConfig,
    disk: SimDisk,
    conduct: Conduct,
) -> Result<SimDisk> {
    let left = Rc::new(Cell::new(None));
    let (kept, failing) = (Rc::clone(&left), disk.clone());
    let cut = Box::new(move || kept.set(Some(failing.crash_image(conduct.seed, conduct.style))));
    serve(config.clone(), DynDisk::new(disk), Failure { signal, cut })?;
    left.take().context("the server ended before power failed")
}

/// Three lives of one disk: the topic is created; the load runs until power fails; the load goes on and everything is
/// read.
fn lose_power_under_load(conduct: Conduct) -> Result<Report> {
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = ServerConfig {
        kafka: address,
        cores: Some(vec![0]),
        shards: Some(2),
        segment_bytes: conduct.segment_bytes,
        ..ServerConfig::default()
    };
    let (offs, signals): (Vec<_>, Vec<_>) = (0..3).map(|_| channel()).unzip();
    let server = std::thread::spawn(move || -> Result<()> {
        // A flush takes a while, so that power may fail in the midst of one.
        let wait = |turns| -> Turns { Box::pin(tokio::time::sleep(turns * TURN)) };
        let disk = SimOptions { latency_turns: (1, 200), wait: Some(wait), ..SimOptions::default() };
        let mut disk = SimDisk::new(conduct.seed, disk);
        for (life, signal) in signals.into_iter().enumerate() {
            let under_test = life == 1;
            let flushes =
                |fault| Rule::once(Op::Sync, fault).on(".log").after(FLUSHES_BEFORE).times(u64::MAX);
            if under_test && conduct.flushes_lost {
                disk.add_rule(flushes(Fault::Lost));
            }
            if under_test && conduct.slow_flushes {
                disk.add_rule(flushes(Fault::Delay(SLOW_TURNS)));
            }
            plant(conduct.bug.filter(|_| under_test));
            disk = serve_until(signal, &config, disk, conduct)?;
            plant(None);
            std::thread::sleep(AWAY);
        }
        Ok(())
    });
    let mut offs = offs.into_iter();
    let mut cut = || offs.next().and_then(|off| off.send(()).ok()).context("the server ended by itself");
    create_topic(address)?;
    cut()?;
    std::thread::sleep(2 * AWAY);
    let args = RunArgs::from_text(&format!(
        "--bootstrap {address} --topic {TOPIC} --partitions {PARTITIONS} {LOAD}"
    ))?;
    let load = std::thread::spawn(move || keylane_loadgen::run::run(&args));
    std::thread::sleep(BEFORE_THE_FAILURE);
    cut()?;
    let report = load.join().map_err(|_| anyhow!("the load panicked"))??;
    cut()?;
    server.join().map_err(|_| anyhow!("the server panicked"))??;
    ensure!(report.disconnects > 0 && report.reconnects > 0, "{report}");
    ensure!(report.produced.records_acked_total > 10_000, "{report}");
    Ok(report)
}

fn create_topic(address: SocketAddr) -> Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let mut admin = loop {
        match Admin::connect(address) {
            Ok(admin) => break admin,
            Err(error) => ensure!(std::time::Instant::now() < deadline, "{error:#}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    admin.create_topic(TOPIC, PARTITIONS, &[])?;
    admin.wait_for_topic(TOPIC, Duration::from_secs(10))?;
    Ok(())
}

fn failed(report: &Report) -> Vec<&'static str> {
    let lines = report.verdict.lines.iter();
    lines.filter(|line| line.status == Status::Failed).map(|line| line.name).collect()
}

#[test]
fn what_was_flushed_survives() {
    for (seed, style) in (1..).zip([CrashStyle::AllDropped, CrashStyle::Mixed, CrashStyle::AllKept]) {
        let report = lose_power_under_load(Conduct { style, seed, ..HONEST }).unwrap();
        assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{style:?}\n{report}");
    }
}

fn found(what: &str, conduct: Conduct) {
    let report = lose_power_under_load(conduct).expect("a run");
    let failed = failed(&report);
    assert!(failed.contains(&"loss") && report.exit_code == 1, "{what} was not found\n{report}");
    println!("planted: {what} in the server: the load generator's verdict: {} FAILED", failed.join(", "));
}

#[test]
fn a_server_without_flushing_is_found() {
    found("no flush", Conduct { flushes_lost: true, ..FAULTY });
}

#[test]
fn an_answer_before_the_flush_is_found() {
    found("AckBeforeFlush", Conduct { bug: Some(Bug::AckBeforeFlush), slow_flushes: true, ..FAULTY });
}

/// The same slow disk, and answers that wait for it.
#[test]
fn an_answer_after_a_slow_flush_passes() {
    let report = lose_power_under_load(Conduct { slow_flushes: true, ..FAULTY }).unwrap();
    assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{report}");
}
