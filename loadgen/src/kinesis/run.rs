//! One run over HTTP from start to verdict.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use keylane::ServerHandle;

use crate::args::RunArgs;
use crate::cpu;
use crate::found::Found;
use crate::ledger::State;
use crate::outcome::Outcome;
use crate::pacing::Clock;
use crate::readers;
use crate::report::Report;
use crate::setup::{CorePlan, Embedded};
use crate::watch::Watch;
use crate::worker::{Shared, Times};

use super::api;
use super::consumer::{Consumer, Reached};
use super::http::{Connection, Endpoint};
use super::number::Number;
use super::producer::Producer;
use super::setup::{Stream, Threads, check, shape};

/// From the last connection to the first request.
const START_DELAY: Duration = Duration::from_millis(20);

/// Runs a load and returns its figures. An error: it could not run at all.
pub fn run(args: &RunArgs, cores: &CorePlan) -> Result<Report> {
    check(args)?;
    let url = args.kinesis.as_deref().unwrap_or_default();
    if !url.is_empty() {
        let mut report = run_on(args, &Endpoint::parse(url)?, cores, None)?;
        report.settings.broker = url.to_owned();
        return Ok(report);
    }
    let embedded = Embedded::start(args, &cores.server)?;
    let address = embedded.server.kinesis_addr().context("the server listens for Kinesis' clients");
    let ran = address.and_then(|address| run_on(args, &Endpoint::of(address), cores, Some(&embedded.server)));
    let stats = serde_json::to_value(embedded.server.stats()).ok();
    // Also after an error the server must not outlive its data.
    let stopped = embedded.stop();
    let mut report = ran?;
    stopped?;
    report.settings.broker = "an embedded Keylane, over Kinesis' protocol".to_owned();
    report.server_stats = stats;
    Ok(report)
}

fn run_on(
    args: &RunArgs,
    endpoint: &Endpoint,
    cores: &CorePlan,
    embedded: Option<&ServerHandle>,
) -> Result<Report> {
    let stream = Stream::prepare(args, endpoint)?;
    let target = &stream.target;
    let shape = shape(args, target.names.key_bytes())?;
    let clock = Clock::new();
    // Connections and requests take their time; the load begins after them.
    let setup = Duration::from_millis(5 * args.connections as u64) + START_DELAY;
    let start_ns = clock.now_ns() + setup.as_nanos() as u64;
    let from_ns = start_ns + args.warmup.as_nanos() as u64;
    let times = Times { start_ns, measure_ns: (from_ns, from_ns + args.duration.as_nanos() as u64) };
    let readers = readers::plan(args, times);
    let threads = Threads { args, endpoint, stream: &stream, shape, clock, times, readers: &readers };
    let (producers, consumers) = (threads.producers()?, threads.consumers()?);
    let mut watch = Watch::new(args, clock, times, embedded);
    let found = work(producers, consumers, cores, times, &mut watch)?;
    let outcome = Outcome::gather(args, target, &readers, found);
    if let Some(path) = &args.state {
        let ledger = outcome.ledger.clone();
        State { topic: target.topic.clone(), rounds: target.rounds + 1, ledger }.save(path)?;
    }
    let cores = CorePlan { threads: args.connections + args.consumers * readers.len(), ..cores.clone() };
    let mut report = outcome.report(args, target, &readers, shape, &cores, &watch)?;
    if args.check.delete_topic
        && let Err(error) =
            Connection::open(endpoint).and_then(|mut connection| api::delete(&mut connection, &target.topic))
    {
        report.warnings.push(format!("{error:#}"));
    }
    Ok(report)
}

/// Runs all threads to their ends.
fn work<'a>(
    producers: Vec<Producer<'a>>,
    consumers: Vec<Consumer<'a>>,
    cores: &CorePlan,
    times: Times,
    watch: &mut Watch<'_>,
) -> Result<Vec<Found<'a>>> {
    let (shared, reached) = (Shared::default(), Reached::new());
    let (putting, reading) = (producers.len(), consumers.len());
    let core = |index: usize| cores.load.get(index % cores.load.len().max(1)).copied();
    std::thread::scope(|scope| {
        let (shared, reached) = (&shared, &reached);
        let mut put = Vec::new();
        for (index, producer) in producers.into_iter().enumerate() {
            let core = core(index);
            let body = move || {
                core.map(cpu::pin);
                let found = producer.run(shared, times);
                shared.producers_done.fetch_add(1, Ordering::AcqRel);
                found
            };
            put.push(std::thread::Builder::new().name(format!("put-{index}")).spawn_scoped(scope, body)?);
        }
        let mut read = Vec::new();
        for (index, consumer) in consumers.into_iter().enumerate() {
            let core = core(putting + index);
            let body = move || {
                core.map(cpu::pin);
                let found = consumer.run(shared, reached, times);
                shared.threads_done.fetch_add(1, Ordering::AcqRel);
                found
            };
            read.push(std::thread::Builder::new().name(format!("get-{index}")).spawn_scoped(scope, body)?);
        }
        watch.until_produced(shared, putting);
        let (mut all, mut highest) = (Vec::new(), BTreeMap::<i32, Number>::new());
        for thread in put {
            let (found, reached) = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            all.push(found);
            for (shard, number) in reached {
                let known = highest.entry(shard).or_default();
                *known = number.max(*known);
            }
        }
        watch.ends_known_at_ns = watch.now_ns();
        let _ = reached.set(highest);
        watch.until_done(shared, reading);
        for thread in read {
            all.push(thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        }
        Ok(all)
    })
}
