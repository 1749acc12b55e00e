//! One run from start to verdict.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::args::{Acks, Consume, RunArgs};
use crate::checker::{Checked, Checker};
use crate::client::{self, Admin};
use crate::cpu::{self, ProcessUse};
use crate::histogram::Latencies;
use crate::ledger::{Ledger, State};
use crate::pacing::Clock;
use crate::producer::ProduceCounts;
use crate::protocol;
use crate::report::{Consumed, CpuUse, Produced, Report, Settings};
use crate::setup::{BatchShape, CorePlan, Embedded, Target, Workers, plan_cores};
use crate::verdict::{Circumstances, Verdict};
use crate::worker::{Shared, ThreadUse, Times, Worker};

/// From the last connection to the first request.
const START_DELAY: Duration = Duration::from_millis(20);

/// Runs a load and returns its figures. An error: it could not run at all.
pub fn run(args: &RunArgs) -> Result<Report> {
    ensure!(args.window >= 1 && args.connections >= 1, "at least one connection and one request in flight");
    ensure!(args.rate.is_none_or(|rate| rate > 0.0), "the rate is a positive number");
    let cores = plan_cores(args);
    let Some(bootstrap) = &args.bootstrap else {
        let embedded = Embedded::start(args, &cores.server)?;
        let ran = run_on(args, embedded.server.kafka_addr(), &cores);
        let stats = serde_json::to_value(embedded.server.stats()).ok();
        // Also after an error the server must not outlive its data.
        let stopped = embedded.stop();
        let mut report = ran?;
        stopped?;
        report.settings.broker = "an embedded Keylane".to_owned();
        report.server_stats = stats;
        return Ok(report);
    };
    let mut report = run_on(args, client::resolve(bootstrap)?, &cores)?;
    report.settings.broker.clone_from(bootstrap);
    Ok(report)
}

/// What is known after all threads have ended.
struct Outcome {
    measured: ProduceCounts,
    total: ProduceCounts,
    produce_latencies: Latencies,
    end_to_end: Latencies,
    errors: BTreeMap<i16, u64>,
    disconnects: u64,
    consumer_disconnects: u64,
    out_of_order: u64,
    writes: u64,
    backlog: u64,
    in_flight_share: (f64, u64),
    records_measured: u64,
    batch_bytes_read: u64,
    batches_above_watermark: u64,
    read_until_ns: u64,
    stalled: bool,
    complete: bool,
    used: Vec<ThreadUse>,
    checker: Checker,
    ledger: Ledger,
}

fn run_on(args: &RunArgs, address: SocketAddr, cores: &CorePlan) -> Result<Report> {
    let (target, mut admin) = Target::prepare(args, address)?;
    let shape = BatchShape::of(args, target.names.key_bytes())?;
    let clock = Clock::new();
    // Connections and templates take their time; the load begins after them.
    let setup = Duration::from_millis(2 * args.connections as u64) + START_DELAY;
    let start_ns = clock.now_ns() + setup.as_nanos() as u64;
    let from_ns = start_ns + args.warmup.as_nanos() as u64;
    let times = Times { start_ns, measure_ns: (from_ns, from_ns + args.duration.as_nanos() as u64) };
    let workers = Workers { args, target: &target, shape, clock, times }.build(cores.threads)?;
    let shared = Shared::default();
    let mut watch = Watch::new(args, clock, times);
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
        let ends = if args.consumers > 0 { end_offsets(args, &mut admin, &target) } else { Ok(Vec::new()) };
        // Without end offsets, the threads find out by themselves that the broker is gone.
        watch.ends_known_at_ns = clock.now_ns();
        let _ = shared.ends.set(ends.unwrap_or_default());
        watch.until_done(&shared, cores.threads);
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let outcome = gather(args, &target, workers);
    if let Some(path) = &args.state {
        let ledger = outcome.ledger.clone();
        State { topic: target.topic.clone(), rounds: target.rounds + 1, ledger }.save(path)?;
    }
    Ok(report(args, &target, shape, cores, &watch, outcome))
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
    let mut ends = admin.offsets(&target.topic, target.partitions, protocol::LATEST)?;
    let mut unchanged = if args.acks == Acks::All { 5 } else { 0 };
    while unchanged < 5 {
        std::thread::sleep(Duration::from_millis(100));
        let now = admin.offsets(&target.topic, target.partitions, protocol::LATEST)?;
        unchanged = if now == ends { unchanged + 1 } else { 0 };
        ends = now;
    }
    Ok(ends)
}

/// What the main thread measures while the others work.
struct Watch<'a> {
    args: &'a RunArgs,
    clock: Clock,
    times: Times,
    samples: [Option<Sample>; 2],
    produced_at_ns: u64,
    ends_known_at_ns: u64,
    last_line: Instant,
    last: (u64, u64, u64),
    line: u32,
}

/// Processor time so far.
#[derive(Clone, Copy)]
struct Sample {
    at_ns: u64,
    process: Duration,
    server_threads: (Duration, usize),
    server: Option<ProcessUse>,
}

impl<'a> Watch<'a> {
    fn new(args: &'a RunArgs, clock: Clock, times: Times) -> Self {
        let last_line = Instant::now();
        Self {
            args,
            clock,
            times,
            samples: [None; 2],
            produced_at_ns: 0,
            ends_known_at_ns: 0,
            last_line,
            last: (0, 0, 0),
            line: 0,
        }
    }

    fn sample(&self) -> Sample {
        Sample {
            at_ns: self.clock.now_ns(),
            process: cpu::process_cpu(),
            server_threads: cpu::server_threads_cpu(),
            server: self.args.server_pid.and_then(|pid| cpu::process_use(pid).ok()),
        }
    }

    fn until_produced(&mut self, shared: &Shared, threads: usize) {
        while shared.producers_done.load(Ordering::Acquire) < threads {
            self.step(shared);
        }
        self.produced_at_ns = self.clock.now_ns();
        // The load ended before its time.
        for index in 0..2 {
            if self.samples[index].is_none() {
                self.samples[index] = Some(self.sample());
            }
        }
    }

    fn until_done(&mut self, shared: &Shared, threads: usize) {
        while shared.threads_done.load(Ordering::Acquire) < threads {
            self.step(shared);
        }
    }

    fn step(&mut self, shared: &Shared) {
        let now_ns = self.clock.now_ns();
        let mut wait_ns = 20_000_000;
        let (from_ns, to_ns) = self.times.measure_ns;
        for (index, boundary_ns) in [from_ns, to_ns].into_iter().enumerate() {
            if self.samples[index].is_none() && now_ns >= boundary_ns {
                self.samples[index] = Some(self.sample());
            } else if boundary_ns > now_ns {
                wait_ns = wait_ns.min(boundary_ns - now_ns);
            }
        }
        if self.last_line.elapsed() >= Duration::from_secs(1) {
            self.print_line(shared);
        }
        std::thread::sleep(Duration::from_nanos(wait_ns));
    }

    fn print_line(&mut self, shared: &Shared) {
        let seconds = self.last_line.elapsed().as_secs_f64();
        self.last_line = Instant::now();
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let now = (load(&shared.acked), load(&shared.acked_bytes), load(&shared.read));
        let per_s = |now: u64, before: u64| (now - before) as f64 / seconds;
        self.line += 1;
        if !self.args.no_progress {
            let (acked, bytes) = (per_s(now.0, self.last.0), per_s(now.1, self.last.1) / 1e6);
            let read = per_s(now.2, self.last.2);
            eprintln!("{:4} s  acked {acked:9.0}/s {bytes:8.1} MB/s  read {read:9.0}/s", self.line);
        }
        self.last = now;
    }

    /// Seconds of the measurement that were under load.
    fn seconds(&self) -> f64 {
        let (from_ns, to_ns) = self.times.measure_ns;
        self.produced_at_ns.min(to_ns).saturating_sub(from_ns) as f64 / 1e9
    }
}

fn gather(args: &RunArgs, target: &Target, workers: Vec<Worker<'_>>) -> Outcome {
    let ledger = &target.ledger;
    let mut all = Outcome {
        measured: ProduceCounts::default(),
        total: ProduceCounts::default(),
        produce_latencies: Latencies::new(),
        end_to_end: Latencies::new(),
        errors: BTreeMap::new(),
        disconnects: 0,
        consumer_disconnects: 0,
        out_of_order: 0,
        writes: 0,
        backlog: 0,
        in_flight_share: (0.0, 0),
        records_measured: 0,
        batch_bytes_read: 0,
        batches_above_watermark: 0,
        read_until_ns: 0,
        stalled: false,
        complete: args.consumers > 0,
        used: Vec::new(),
        checker: Checker::new(ledger.run, ledger.keys(), target.partitions),
        ledger: ledger.clone(),
    };
    for worker in workers {
        all.complete &= worker.consumers.iter().all(|consumer| consumer.is_done());
        all.stalled |= worker.stalled;
        all.backlog += worker.backlog;
        all.used.push(worker.used);
        let books = worker.producer_books;
        all.measured.add(&books.measured);
        all.total.add(&books.total);
        all.produce_latencies.merge(&books.latencies);
        all.disconnects += books.disconnects;
        all.out_of_order += books.out_of_order;
        all.writes += books.writes;
        all.in_flight_share.0 += books.in_flight_share.0;
        all.in_flight_share.1 += books.in_flight_share.1;
        all.ledger.merge(&books.ledger);
        let consumed = worker.consumer_books;
        for (code, count) in books.errors.into_iter().chain(consumed.errors) {
            *all.errors.entry(code).or_default() += count;
        }
        all.end_to_end.merge(&consumed.latencies);
        all.records_measured += consumed.measured_records;
        all.batch_bytes_read += consumed.batch_bytes;
        all.batches_above_watermark += consumed.batches_above_watermark;
        all.read_until_ns = all.read_until_ns.max(consumed.progress_ns);
        all.consumer_disconnects += consumed.disconnects;
        all.checker.merge(consumed.checker);
    }
    if args.acks == Acks::Zero {
        all.ledger.nothing_was_acked_since(ledger);
    }
    all
}

fn report(
    args: &RunArgs,
    target: &Target,
    shape: BatchShape,
    cores: &CorePlan,
    watch: &Watch<'_>,
    outcome: Outcome,
) -> Report {
    let seconds = watch.seconds();
    let mut report = Report {
        settings: settings(args, target, shape, cores),
        produced: produced(args, &outcome, seconds),
        cpu: cpu_use(watch, &outcome, seconds),
        errors: outcome.errors.iter().map(|(&code, &count)| (protocol::error_name(code), count)).collect(),
        disconnects: outcome.disconnects + outcome.consumer_disconnects,
        ..Report::default()
    };
    warn(args, &outcome, &mut report);
    report.incomplete = incomplete(args, &outcome);
    if args.consumers > 0 {
        let after = args.consume == Consume::After;
        let read_ns = outcome.read_until_ns.saturating_sub(watch.ends_known_at_ns);
        let after_seconds = after.then_some(read_ns as f64 / 1e9);
        report.consumed = Some(Consumed {
            after_seconds,
            after_batch_bytes_per_s: after_seconds.map(|s| per(outcome.batch_bytes_read as f64, s)),
            records_total: outcome.checker.records(),
            batch_bytes_total: outcome.batch_bytes_read,
            records_measured: outcome.records_measured,
            batches_above_watermark: outcome.batches_above_watermark,
            end_to_end: outcome.end_to_end.summary(),
        });
    }
    report.verdict = verdict(args, target, outcome);
    report.decide();
    report
}

fn verdict(args: &RunArgs, target: &Target, outcome: Outcome) -> Verdict {
    let circumstances = Circumstances {
        acks_promise: args.acks != Acks::Zero,
        crc_verified: !args.no_verify_payload,
        refused: outcome.errors.values().sum(),
        refused_is_fine: args.allow_errors,
        answers_out_of_order: outcome.out_of_order,
    };
    if args.consumers == 0 {
        let why =
            if args.static_payload { "the same bytes again and again" } else { "nothing was read back" };
        return Verdict::nothing_read(why, circumstances);
    }
    // Consumers that stand still below the end have lost something; a broker that is gone has not.
    let complete = outcome.complete || outcome.stalled;
    let checked: Checked = outcome.checker.finish(&outcome.ledger, &target.names, complete);
    Verdict::of(&checked, circumstances)
}

fn incomplete(args: &RunArgs, outcome: &Outcome) -> Option<String> {
    if outcome.disconnects + outcome.consumer_disconnects > 0 && !args.allow_disconnect {
        return Some("the broker closed connections or did not answer".to_owned());
    }
    if outcome.total.requests == 0 && !args.allow_disconnect {
        return Some("nothing was acked".to_owned());
    }
    None
}

fn warn(args: &RunArgs, outcome: &Outcome, report: &mut Report) {
    let cpu = &report.cpu;
    let window = cpu.window_share_at_refill;
    if cpu.load_awake_share > 0.95 && (window < 0.5 || outcome.backlog > 0) {
        report.warnings.push(format!(
            "the load generator was the bottleneck: its threads were awake {:.0} % of the time and found {:.0} % \
             of the window in flight; give it more cores (--cores, --threads)",
            cpu.load_awake_share * 100.0,
            window * 100.0
        ));
    }
    if outcome.backlog > 0 {
        let backlog = outcome.backlog;
        report.warnings.push(format!(
            "the rate was not reached: {backlog} requests were due and never sent; the latencies count the \
             time that they had waited at the end"
        ));
    }
    if outcome.stalled {
        report.warnings.push("consumers got nothing for 20 s and had not reached the end".to_owned());
    }
    if args.acks == Acks::Zero {
        report.warnings.push("acks=0: \"acked\" means written to the socket".to_owned());
    }
}

fn settings(args: &RunArgs, target: &Target, shape: BatchShape, cores: &CorePlan) -> Settings {
    Settings {
        broker: target.address.to_string(),
        topic: target.topic.clone(),
        partitions: target.partitions,
        record_bytes: args.record_bytes,
        batch_records: shape.records,
        batch_bytes: shape.batch_bytes,
        connections: args.connections,
        window: args.window,
        acks: args.acks.code(),
        rate: args.rate,
        keys: target.ledger.keys(),
        consumers: args.consumers,
        threads: cores.threads,
        load_cores: cores.load.clone(),
        server_cores: cores.server.clone(),
        produce_version: target.versions.produce,
        fetch_version: target.versions.fetch,
        static_payload: args.static_payload,
        seed: args.seed,
    }
}

fn per(total: f64, count: f64) -> f64 {
    if count > 0.0 { total / count } else { 0.0 }
}

fn produced(args: &RunArgs, outcome: &Outcome, seconds: f64) -> Produced {
    let measured = &outcome.measured;
    let records_per_s = per(measured.records as f64, seconds);
    Produced {
        seconds,
        requests: measured.requests,
        records: measured.records,
        requests_per_s: per(measured.requests as f64, seconds),
        records_per_s,
        payload_bytes_per_s: records_per_s * args.record_bytes as f64,
        batch_bytes_per_s: per(measured.batch_bytes as f64, seconds),
        records_acked_total: outcome.total.records,
        requests_per_write: per(outcome.total.requests as f64, outcome.writes as f64),
        latency_kind: match (args.rate, args.acks) {
            (_, Acks::Zero) => "until written",
            (Some(_), _) => "open loop",
            (None, _) => "closed loop",
        },
        latency: outcome.produce_latencies.summary(),
        backlog_requests: outcome.backlog,
    }
}

fn cpu_use(watch: &Watch<'_>, outcome: &Outcome, seconds: f64) -> CpuUse {
    let requests = outcome.measured.requests as f64;
    let load_cpu_s: f64 = outcome.used.iter().map(|used| used.cpu.as_secs_f64()).sum();
    let asleep_s: f64 = outcome.used.iter().map(|used| used.asleep_ns as f64 / 1e9).sum();
    let thread_s = seconds * outcome.used.len() as f64;
    let mut cpu = CpuUse {
        load_cpu_s,
        load_cpu_us_per_request: per(load_cpu_s * 1e6, requests),
        load_busy_share: per(load_cpu_s, thread_s),
        load_awake_share: 1.0 - per(asleep_s, thread_s).min(1.0),
        window_share_at_refill: per(outcome.in_flight_share.0, outcome.in_flight_share.1 as f64),
        ..CpuUse::default()
    };
    let [Some(from), Some(to)] = watch.samples else { return cpu };
    cpu.process_cpu_s = (to.process - from.process).as_secs_f64();
    cpu.server_threads = to.server_threads.1;
    if let (Some(from), Some(to)) = (from.server, to.server) {
        cpu.server_cpu_s = Some(to.cpu_s - from.cpu_s);
        cpu.server_process = Some(ProcessUse { cpu_s: to.cpu_s - from.cpu_s, ..to });
    } else if to.server_threads.1 > 0 {
        let used = to.server_threads.0.saturating_sub(from.server_threads.0);
        cpu.server_cpu_s = Some(used.as_secs_f64());
    }
    // The samples are taken a moment late: figures per request are for equal times.
    let sampled_s = (to.at_ns - from.at_ns) as f64 / 1e9;
    let scale = per(seconds, sampled_s);
    cpu.server_cpu_us_per_request = cpu.server_cpu_s.map(|used| per(used * 1e6 * scale, requests));
    cpu
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
