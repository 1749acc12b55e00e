//! One run from start to verdict.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use keylane::ServerHandle;
use keylane_kafka::messages::list_offsets::LATEST;

use crate::args::{Acks, RunArgs};
use crate::client::{self, Admin};
use crate::cpu;
use crate::found::Found;
use crate::group::beside::Beside;
use crate::group::summary;
use crate::kinesis;
use crate::ledger::State;
use crate::outcome::Outcome;
use crate::pacing::Clock;
use crate::prime;
use crate::readers;
use crate::report::Report;
use crate::setup::{BatchShape, CorePlan, Embedded, Target, Workers, plan_cores};
use crate::topic_admin::durability_in_words;
use crate::watch::Watch;
use crate::worker::{Shared, Times, Worker};

/// From the last connection to the first request.
const START_DELAY: Duration = Duration::from_millis(20);

/// Runs a load and returns its figures. An error: it could not run at all.
pub fn run(args: &RunArgs) -> Result<Report> {
    let args = &args.normalised();
    ensure!(args.window >= 1 && args.connections >= 1, "at least one connection and one request in flight");
    ensure!(args.rate.is_none_or(|rate| rate > 0.0), "the rate is a positive number");
    args.group.protocol()?;
    let cores = plan_cores(args);
    if args.kinesis.is_some() {
        return kinesis::run::run(args, &cores);
    }
    let Some(bootstrap) = &args.bootstrap else {
        let embedded = Embedded::start(args, &cores.server)?;
        let ran = run_on(args, embedded.server.kafka_addr(), &cores, Some(&embedded.server));
        let stats = serde_json::to_value(embedded.server.stats()).ok();
        // Also after an error the server must not outlive its data.
        let stopped = embedded.stop();
        let mut report = ran?;
        stopped?;
        report.settings.broker = "an embedded Keylane".to_owned();
        report.server_stats = stats;
        return Ok(report);
    };
    let mut report = run_on(args, client::resolve(bootstrap)?, &cores, None)?;
    report.settings.broker.clone_from(bootstrap);
    Ok(report)
}

fn run_on(
    args: &RunArgs,
    address: SocketAddr,
    cores: &CorePlan,
    embedded: Option<&ServerHandle>,
) -> Result<Report> {
    let (mut target, mut admin) = Target::prepare(args, address)?;
    if args.check.prime {
        prime::prime(args, &mut target, &mut admin)?;
    }
    let shape = BatchShape::of(args, target.names.key_bytes())?;
    let clock = Clock::new();
    // Connections and templates take their time; the load begins after them.
    let setup = Duration::from_millis(2 * args.connections as u64) + START_DELAY;
    let start_ns = clock.now_ns() + setup.as_nanos() as u64;
    let from_ns = start_ns + args.warmup.as_nanos() as u64;
    let times = Times { start_ns, measure_ns: (from_ns, from_ns + args.duration.as_nanos() as u64) };
    let durability = durability(address, &target.topic);
    let readers = readers::plan(args, times);
    let workers = Workers { args, target: &target, shape, clock, times, readers: &readers };
    let workers = workers.build(cores.threads)?;
    let shared = Shared::default();
    let mut watch = Watch::new(args, clock, times, embedded);
    let mut group = Beside::start(&args.group, &target, args.check.expect_restart)?;
    let mut grouped = None;
    let workers = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (index, worker) in workers.into_iter().enumerate() {
            let core = cores.load.get(index % cores.load.len().max(1)).copied();
            let shared = &shared;
            let name = format!("load-{index}");
            let body = move || run_worker(worker, core, shared, times);
            threads.push(std::thread::Builder::new().name(name).spawn_scoped(scope, body)?);
        }
        watch.until_produced(&shared, cores.threads);
        let wanted = args.consumers > 0 || group.is_some();
        let ends = if wanted { ends_in_the_end(args, &mut admin, &target) } else { Ok(Vec::new()) };
        // Without end offsets, the threads find out by themselves that the broker is gone.
        watch.ends_known_at_ns = clock.now_ns();
        let ends = ends.unwrap_or_default();
        let _ = shared.ends.set(ends.clone());
        watch.until_done(&shared, cores.threads);
        grouped = group.take().map(|group| group.finish(&ends)).transpose()?;
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let found = workers.into_iter().map(Found::of_worker).collect();
    let outcome = Outcome::gather(args, &target, &readers, found);
    if let Some(path) = &args.state {
        let ledger = outcome.ledger.clone();
        State { topic: target.topic.clone(), rounds: target.rounds + 1, ledger }.save(path)?;
    }
    let mut report = outcome.report(args, &target, &readers, shape, cores, &watch)?;
    report.durability = durability;
    if let Some((group, findings)) = grouped {
        summary::judge(&mut report.verdict, &group, &findings);
        report.warnings.extend(group.in_words());
        report.group = Some(group);
        report.decide();
    }
    if args.check.delete_topic
        && let Err(error) = Admin::connect(address).and_then(|mut admin| admin.delete_topic(&target.topic))
    {
        report.warnings.push(format!("{error:#}"));
    }
    Ok(report)
}

/// What the broker says of its flushes, over a connection of its own: not every broker knows the question.
fn durability(address: SocketAddr, topic: &str) -> Option<String> {
    let settings = Admin::connect(address).and_then(|mut admin| admin.flush_settings(topic)).ok()?;
    (!settings.is_empty()).then(|| durability_in_words(&settings))
}

/// Where reading stops, also if the broker is away for a while and may be.
fn ends_in_the_end(args: &RunArgs, admin: &mut Admin, target: &Target) -> Result<Vec<i64>> {
    end_offsets(args, admin, target)
        .or_else(|error| if args.check.expect_restart { end_offsets_later(args, target) } else { Err(error) })
}

/// The same, from a broker that may be away for a while.
fn end_offsets_later(args: &RunArgs, target: &Target) -> Result<Vec<i64>> {
    let deadline = Instant::now() + args.check.restart_timeout;
    loop {
        let mut ends = Admin::connect(target.address);
        let found = ends.as_mut().map(|admin| end_offsets(args, admin, target));
        match found {
            Ok(Ok(ends)) => return Ok(ends),
            _ if Instant::now() > deadline => anyhow::bail!("the broker did not come back"),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn run_worker<'a>(
    mut worker: Worker<'a>,
    core: Option<usize>,
    shared: &Shared,
    times: Times,
) -> Result<Worker<'a>> {
    if let Some(core) = core
        && !cpu::pin(core)
    {
        eprintln!("warning: core {core} cannot be used");
    }
    let result = worker.run(shared, times);
    if result.is_err() {
        // The others must not wait for this one.
        shared.producers_done.fetch_add(1, Ordering::AcqRel);
    }
    shared.threads_done.fetch_add(1, Ordering::AcqRel);
    result.map(|()| worker)
}

/// Where consumers stop: the end of each partition when all answers have come. Without `acks=all`
/// records may still be on their way, so the ends must stand still for a while.
fn end_offsets(args: &RunArgs, admin: &mut Admin, target: &Target) -> Result<Vec<i64>> {
    let mut ends = admin.offsets(&target.topic, target.partitions, LATEST)?;
    let mut unchanged = if args.acks == Acks::All { 5 } else { 0 };
    while unchanged < 5 {
        std::thread::sleep(Duration::from_millis(100));
        let now = admin.offsets(&target.topic, target.partitions, LATEST)?;
        unchanged = if now == ends { unchanged + 1 } else { 0 };
        ends = now;
    }
    Ok(ends)
}

/// Reads `args`, runs, prints; the exit code.
pub fn run_and_print(args: &RunArgs) -> Result<u8> {
    let report = run(args)?;
    if args.json {
        println!("{}", serde_json::to_string(&report).context("the report as JSON")?);
    } else {
        print!("{report}");
    }
    Ok(report.exit_code)
}
