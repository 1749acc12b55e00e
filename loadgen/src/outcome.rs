//! What the threads of a run found, added up, and the report that comes of it.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::args::{Acks, Consume, RunArgs};
use crate::checker::{Checked, Checker, Faults};
use crate::consumer::CatchingUp;
use crate::cpu::ProcessUse;
use crate::evidence;
use crate::fetch_shape::FetchShape;
use crate::found::{Found, Gets};
use crate::histogram::Latencies;
use crate::ledger::Ledger;
use crate::load_args::{Codec, Dist};
use crate::pacing::Rate;
use crate::payload::Payload;
use crate::producer::ProduceCounts;
use crate::readers::{self, Kind, Reader};
use crate::report::{Consumed, Cost, CpuUse, Produced, ReaderReport, Report, Settings};
use crate::sabotage::Sabotage;
use crate::setup::{BatchShape, CorePlan, Target};
use crate::verdict::{Circumstances, Protocol, Status, Verdict};
use crate::watch::Watch;
use crate::worker::ThreadUse;

/// What one group of consumers found.
struct Reading {
    checker: Checker,
    end_to_end: Latencies,
    records_measured: u64,
    batch_bytes: u64,
    batches_above_watermark: u64,
    complete: bool,
    catching_up: CatchingUp,
}

/// What is known after all threads have ended.
pub struct Outcome {
    measured: ProduceCounts,
    total: ProduceCounts,
    produce_latencies: Latencies,
    errors: BTreeMap<String, u64>,
    resent: u64,
    gets: Gets,
    disconnects: u64,
    consumer_disconnects: u64,
    reconnects: u64,
    out_of_order: u64,
    writes: u64,
    backlog: u64,
    in_flight_share: (f64, u64),
    read_until_ns: u64,
    read_during_load: u64,
    stalled: bool,
    used: Vec<ThreadUse>,
    readings: Vec<Reading>,
    /// What was sent and acked, this run included.
    pub ledger: Ledger,
}

impl Outcome {
    /// Adds up what the threads found.
    pub fn gather(args: &RunArgs, target: &Target, readers: &[Reader], found: Vec<Found<'_>>) -> Self {
        let ledger = &target.ledger;
        let reading = |reader: &Reader| {
            let checker = Checker::new(ledger.run, ledger.keys(), target.partitions);
            Reading {
                checker: if reader.compared { checker.with_prints() } else { checker },
                end_to_end: Latencies::new(),
                records_measured: 0,
                batch_bytes: 0,
                batches_above_watermark: 0,
                complete: true,
                catching_up: CatchingUp::default(),
            }
        };
        let mut all = Self {
            measured: ProduceCounts::default(),
            total: ProduceCounts::default(),
            produce_latencies: Latencies::new(),
            errors: BTreeMap::new(),
            resent: 0,
            gets: Gets::default(),
            disconnects: 0,
            consumer_disconnects: 0,
            reconnects: 0,
            out_of_order: 0,
            writes: 0,
            backlog: 0,
            in_flight_share: (0.0, 0),
            read_until_ns: 0,
            read_during_load: 0,
            stalled: false,
            used: Vec::new(),
            readings: readers.iter().map(reading).collect(),
            ledger: ledger.clone(),
        };
        found.into_iter().for_each(|found| all.add(found));
        if args.acks == Acks::Zero {
            all.ledger.nothing_was_acked_since(ledger);
        }
        all
    }

    fn add(&mut self, found: Found<'_>) {
        for group in found.incomplete {
            self.readings[group].complete = false;
        }
        self.stalled |= found.stalled;
        self.backlog += found.backlog;
        self.reconnects += found.reconnects;
        self.read_during_load += found.read_during_load;
        self.resent += found.resent;
        self.gets.merge(&found.gets);
        self.used.push(found.used);
        for (name, count) in found.errors {
            *self.errors.entry(name).or_default() += count;
        }
        let books = found.producer_books;
        self.measured.add(&books.measured);
        self.total.add(&books.total);
        self.produce_latencies.merge(&books.latencies);
        self.disconnects += books.disconnects;
        self.out_of_order += books.out_of_order;
        self.writes += books.writes;
        self.in_flight_share.0 += books.in_flight_share.0;
        self.in_flight_share.1 += books.in_flight_share.1;
        self.ledger.merge(&books.ledger);
        for (group, consumed) in found.consumer_books {
            let reading = &mut self.readings[group];
            reading.end_to_end.merge(&consumed.latencies);
            reading.records_measured += consumed.measured_records;
            reading.batch_bytes += consumed.batch_bytes;
            reading.batches_above_watermark += consumed.batches_above_watermark;
            reading.catching_up.add(&consumed.catching_up);
            reading.checker.merge(consumed.checker);
            self.read_until_ns = self.read_until_ns.max(consumed.progress_ns);
            self.consumer_disconnects += consumed.disconnects;
        }
    }

    /// Figures and verdict; the evidence goes to its file. An error: it could not be written.
    pub fn report(
        self,
        args: &RunArgs,
        target: &Target,
        readers: &[Reader],
        shape: BatchShape,
        cores: &CorePlan,
        watch: &Watch<'_>,
    ) -> Result<Report> {
        let seconds = watch.seconds();
        let mut report = Report {
            settings: settings(args, target, shape, cores),
            produced: produced(args, &self, shape, seconds),
            cpu: cpu_use(watch, &self, seconds, cores),
            errors: self.errors.clone(),
            resent: self.resent,
            gets: [self.gets.full.summary(), self.gets.empty.summary()],
            disconnects: self.disconnects + self.consumer_disconnects,
            reconnects: self.reconnects,
            timeline: watch.timeline.clone(),
            ..Report::default()
        };
        report.cost = cost(watch, &self, &report, cores);
        warn(args, &self, &mut report);
        report.incomplete = incomplete(args, &self);
        report.consumed = self.consumed(args, readers, watch);
        report.histograms.ack = self.produce_latencies.clone();
        self.readings.iter().for_each(|reading| report.histograms.end_to_end.merge(&reading.end_to_end));
        let (verdict, faults) = verdict(args, target, readers, self);
        report.verdict = verdict;
        if let Some(path) = &args.check.evidence {
            evidence::write(path, &faults.found, &target.names)?;
        }
        if let Some(sabotage) = args.check.sabotage {
            let found = sabotage.found_as();
            let failed = report.verdict.lines.iter().any(|l| l.name == found && l.status == Status::Failed);
            if failed {
                report.warnings.push(format!("--sabotage {} was found as: {found}", sabotage.name()));
            } else if sabotage == Sabotage::BadHeader {
                report.warnings.push("--sabotage bad-header: the broker put every header right".to_owned());
            } else {
                report.incomplete = Some(format!("--sabotage {} was not found as: {found}", sabotage.name()));
            }
        }
        report.decide();
        Ok(report)
    }

    fn consumed(&self, args: &RunArgs, readers: &[Reader], watch: &Watch<'_>) -> Option<Consumed> {
        let judge = self.readings.get(readers::judge(readers))?;
        let after = args.consume == Consume::After;
        let read_ns = self.read_until_ns.saturating_sub(watch.ends_known_at_ns);
        let after_seconds = after.then_some(read_ns as f64 / 1e9);
        let mut end_to_end = Latencies::new();
        self.readings.iter().for_each(|reading| end_to_end.merge(&reading.end_to_end));
        let each = readers.iter().zip(&self.readings).map(|(reader, reading)| ReaderReport {
            name: reader.name.clone(),
            records: reading.checker.records(),
            batch_bytes: reading.batch_bytes,
            complete: reading.complete,
            caught_up_s: reading.catching_up.seconds(),
            caught_up_bytes_per_s: reading
                .catching_up
                .seconds()
                .map(|seconds| per(reading.catching_up.batch_bytes as f64, seconds)),
            end_to_end: reading.end_to_end.summary(),
        });
        Some(Consumed {
            after_seconds,
            records_during_load: self.read_during_load,
            after_batch_bytes_per_s: after_seconds
                .map(|s| per(self.readings.iter().map(|reading| reading.batch_bytes).sum::<u64>() as f64, s)),
            records_total: judge.checker.records(),
            batch_bytes_total: judge.batch_bytes,
            records_measured: self.readings.iter().map(|reading| reading.records_measured).sum(),
            batches_above_watermark: self.readings.iter().map(|r| r.batches_above_watermark).sum(),
            end_to_end: end_to_end.summary(),
            readers: each.collect(),
        })
    }
}

fn verdict(args: &RunArgs, target: &Target, readers: &[Reader], outcome: Outcome) -> (Verdict, Faults) {
    let again = readers.iter().rposition(|reader| reader.kind == Kind::Again);
    let circumstances = Circumstances {
        protocol: if args.kinesis.is_some() { Protocol::Kinesis } else { Protocol::Kafka },
        acks_promise: args.acks != Acks::Zero,
        crc_verified: !args.no_verify_payload,
        refused: outcome.errors.values().sum(),
        // A broker that comes back says for a while that it is not ready.
        refused_is_fine: args.allow_errors || args.check.expect_restart,
        answers_out_of_order: outcome.out_of_order,
        read_again: again.is_some_and(|again| outcome.readings[again].complete),
    };
    if outcome.readings.is_empty() {
        let why =
            if args.static_payload { "the same bytes again and again" } else { "nothing was read back" };
        return (Verdict::nothing_read(why, circumstances), Faults::default());
    }
    let judge = readers::judge(readers);
    let mut readings = outcome.readings;
    compare_readers(&mut readings, readers);
    let mut checked: Option<Checked> = None;
    let mut faults = Faults::default();
    for (index, (reading, reader)) in readings.into_iter().zip(readers).enumerate() {
        // Consumers that stand still below the end have lost something; a broker that is gone has not. Where a
        // broker went away, only what is there at the end decides.
        let judges = !args.check.expect_restart || index == judge;
        let complete = judges && (reading.complete || outcome.stalled);
        let mut found = reading.checker.finish(&outcome.ledger, &target.names, complete);
        if readers.len() > 1 {
            found.faults.of_reader(&reader.name);
        }
        faults.merge(std::mem::take(&mut found.faults));
        if index == judge {
            checked = Some(found);
        }
    }
    let Some(mut checked) = checked else { return (Verdict::default(), faults) };
    checked.faults = faults.clone();
    (Verdict::of(&checked, circumstances), faults)
}

/// What each reader saw against the one that read last.
fn compare_readers(readings: &mut [Reading], readers: &[Reader]) {
    let Some((last, others)) = readings.split_last_mut() else { return };
    let again = readers.last().is_some_and(|reader| reader.kind == Kind::Again) && last.complete;
    for other in others {
        if again {
            other.checker.compare_with_later(&last.checker);
        } else {
            other.checker.compare_values(&last.checker);
        }
    }
}

fn incomplete(args: &RunArgs, outcome: &Outcome) -> Option<String> {
    if args.check.expect_restart {
        let away = outcome.disconnects > 0 && outcome.reconnects > 0;
        let complete = outcome.readings.iter().all(|reading| reading.complete);
        return match (away, complete) {
            (false, _) => Some("the broker never went away and came back: nothing is shown".to_owned()),
            (true, false) => Some("not everything could be read again".to_owned()),
            (true, true) => None,
        };
    }
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
    let idle = report.cost.server_busy_share.is_some_and(|busy| busy < 0.9);
    if report.warnings.is_empty() && cpu.load_busy_share > 0.9 && idle {
        report.warnings.push(format!(
            "the load generator was the bottleneck: its threads were {:.0} % busy and the server {:.0} %; give it \
             more cores (--cores, --threads)",
            cpu.load_busy_share * 100.0,
            report.cost.server_busy_share.unwrap_or(0.0) * 100.0
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
        kinesis: args.kinesis.is_some(),
        rate: args.rate,
        pace: match args.pace() {
            Rate::Bursts { .. } => "in bursts",
            Rate::Ramp { .. } => "a changing rate",
            Rate::Unlimited | Rate::Fixed(_) => "as fast as it takes them",
        },
        keys: target.ledger.keys(),
        consumers: args.consumers,
        threads: cores.threads,
        load_cores: cores.load.clone(),
        server_cores: cores.server.clone(),
        produce_version: target.versions.produce,
        fetch_version: target.versions.fetch,
        static_payload: args.static_payload,
        seed: args.seed,
        shape: shape_in_words(args),
    }
}

fn shape_in_words(args: &RunArgs) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(burst) = args.shape.burst {
        words.push(format!("{} records at once every {:?}", burst.records, burst.every));
    }
    if let Some(ramp) = args.shape.ramp {
        words.push(format!("from {} to {} records/s", ramp.from, ramp.to));
    }
    match args.key_dist {
        Dist::Uniform => {}
        Dist::Zipf => words.push(format!("keys zipf, exponent {}", args.zipf_exponent)),
        Dist::Hot(share) => words.push(format!("one key has {:.0} % of the records", share * 100.0)),
        Dist::One => words.push("one key, so one connection".to_owned()),
    }
    if args.kinesis_args.careless {
        words.push("careless: what is refused is sent again later, behind what came after it".to_owned());
    }
    if args.codec != Codec::None {
        words.push(
            format!("{:?}, compressed as it is sent (in the load's processor time)", args.codec)
                .to_lowercase(),
        );
    }
    if args.shape.payload == Payload::Events {
        words.push("values of JSON documents".to_owned());
    }
    if args.shape.compressibility > 0.0 {
        words.push(format!("{:.0} % of each value compressible", args.shape.compressibility * 100.0));
    }
    if args.shape.fanout > 1 || args.shape.catch_up > 0 {
        words.push(format!("{} groups of readers, {} that catch up", args.shape.fanout, args.shape.catch_up));
    }
    if let Some(shape) = args.shape.fetch_shape.filter(|_| args.consumers > 0) {
        words.push(match shape {
            FetchShape::One => "readers ask for one partition after another".to_owned(),
            FetchShape::Librdkafka | FetchShape::Java => format!("readers ask as {} does", shape.name()),
        });
    }
    words
}

fn per(total: f64, count: f64) -> f64 {
    if count > 0.0 { total / count } else { 0.0 }
}

fn produced(args: &RunArgs, outcome: &Outcome, shape: BatchShape, seconds: f64) -> Produced {
    let measured = &outcome.measured;
    let records_per_s = per(measured.records as f64, seconds);
    Produced {
        seconds,
        requests: measured.requests,
        records: measured.records,
        requests_per_s: per(measured.requests as f64, seconds),
        records_per_s,
        payload_bytes_per_s: records_per_s * (shape.key_bytes + shape.value_bytes) as f64,
        batch_bytes_per_s: per(measured.batch_bytes as f64, seconds),
        records_acked_total: outcome.total.records,
        requests_per_write: per(outcome.total.requests as f64, outcome.writes as f64),
        latency_kind: match (args.pace(), args.acks) {
            (_, Acks::Zero) => "until written",
            (Rate::Unlimited, _) => "closed loop",
            _ => "open loop",
        },
        latency: outcome.produce_latencies.summary(),
        latency_curve: outcome.produce_latencies.curve(),
        backlog_requests: outcome.backlog,
    }
}

fn cpu_use(watch: &Watch<'_>, outcome: &Outcome, seconds: f64, cores: &CorePlan) -> CpuUse {
    let requests = outcome.measured.requests as f64;
    let load_cpu_s: f64 = outcome.used.iter().map(|used| used.cpu.as_secs_f64()).sum();
    let asleep_s: f64 = outcome.used.iter().map(|used| used.asleep_ns as f64 / 1e9).sum();
    // Threads that share a core are not busy all at once.
    let threads = outcome.used.len();
    let at_once = if cores.load.is_empty() { threads } else { threads.min(cores.load.len()) };
    let thread_s = seconds * at_once as f64;
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
    } else if watch.is_embedded() {
        // All of this process but the load: the server's flushes run on threads of the kernel's own naming.
        let main = to.main_thread.saturating_sub(from.main_thread).as_secs_f64();
        cpu.server_cpu_s = Some((cpu.process_cpu_s - load_cpu_s - main).max(0.0));
    }
    // The samples are taken a moment late: figures per request are for equal times.
    let sampled_s = (to.at_ns - from.at_ns) as f64 / 1e9;
    let scale = per(seconds, sampled_s);
    cpu.server_cpu_us_per_request = cpu.server_cpu_s.map(|used| per(used * 1e6 * scale, requests));
    cpu
}

/// What a record cost the server.
fn cost(watch: &Watch<'_>, outcome: &Outcome, report: &Report, cores: &CorePlan) -> Cost {
    let [Some(from), Some(to)] = watch.samples else { return Cost::default() };
    let seconds = report.produced.seconds;
    let sampled_s = (to.at_ns - from.at_ns) as f64 / 1e9;
    let (records, bytes) = (outcome.measured.records as f64, outcome.measured.batch_bytes as f64);
    // As if sampled for exactly the time of the measurement.
    let scaled = |total: f64| total * per(seconds, sampled_s);
    let some = |total: f64, count: f64| (count > 0.0).then(|| scaled(total) / count);
    let (before, after) = if watch.is_embedded() { (from.own, to.own) } else { (from.server, to.server) };
    let may_use = match (watch.is_embedded(), after) {
        (true, _) => cores.server.len(),
        (false, Some(after)) => after.cores,
        (false, None) => 0,
    };
    let written = before.zip(after).and_then(|(a, b)| Some(b.write_bytes?.saturating_sub(a.write_bytes?)));
    let flushes = from.flushes.zip(to.flushes).map(|(a, b)| b.saturating_sub(a) as f64);
    let cpu = report.cpu.server_cpu_s;
    Cost {
        server_cpu_s_per_million_records: cpu.and_then(|cpu| some(cpu, records / 1e6)),
        server_cpu_s_per_gb: cpu.and_then(|cpu| some(cpu, bytes / 1e9)),
        server_busy_share: cpu.filter(|_| may_use > 0).map(|cpu| per(cpu, sampled_s * may_use as f64)),
        rss_bytes: after.map(|after| after.rss_bytes),
        rss_with_load: watch.is_embedded(),
        disk_bytes_per_byte: written.and_then(|written| some(written as f64, bytes)),
        flushes_per_s: flushes.map(|flushes| per(flushes, sampled_s)),
    }
}
