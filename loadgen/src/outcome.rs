//! What the threads of a run found, added up, and the report that comes of it.

use std::collections::BTreeMap;

use crate::args::{Acks, Consume, RunArgs};
use crate::checker::{Checked, Checker};
use crate::cpu::ProcessUse;
use crate::histogram::Latencies;
use crate::ledger::Ledger;
use crate::producer::ProduceCounts;
use crate::protocol;
use crate::report::{Consumed, CpuUse, Produced, Report, Settings};
use crate::setup::{BatchShape, CorePlan, Target};
use crate::verdict::{Circumstances, Verdict};
use crate::watch::Watch;
use crate::worker::{ThreadUse, Worker};

/// What is known after all threads have ended.
pub struct Outcome {
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
    read_during_load: u64,
    stalled: bool,
    complete: bool,
    used: Vec<ThreadUse>,
    checker: Checker,
    /// What was sent and acked, this run included.
    pub ledger: Ledger,
}

impl Outcome {
    /// Adds up what the threads found.
    pub fn gather(args: &RunArgs, target: &Target, workers: Vec<Worker<'_>>) -> Self {
        let ledger = &target.ledger;
        let mut all = Self {
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
            read_during_load: 0,
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
            all.read_during_load += worker.read_during_load;
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

    /// Figures and verdict.
    pub fn report(
        self,
        args: &RunArgs,
        target: &Target,
        shape: BatchShape,
        cores: &CorePlan,
        watch: &Watch<'_>,
    ) -> Report {
        let seconds = watch.seconds();
        let mut report = Report {
            settings: settings(args, target, shape, cores),
            produced: produced(args, &self, seconds),
            cpu: cpu_use(watch, &self, seconds),
            errors: self.errors.iter().map(|(&code, &count)| (protocol::error_name(code), count)).collect(),
            disconnects: self.disconnects + self.consumer_disconnects,
            ..Report::default()
        };
        warn(args, &self, &mut report);
        report.incomplete = incomplete(args, &self);
        if args.consumers > 0 {
            let after = args.consume == Consume::After;
            let read_ns = self.read_until_ns.saturating_sub(watch.ends_known_at_ns);
            let after_seconds = after.then_some(read_ns as f64 / 1e9);
            report.consumed = Some(Consumed {
                after_seconds,
                records_during_load: self.read_during_load,
                after_batch_bytes_per_s: after_seconds.map(|s| per(self.batch_bytes_read as f64, s)),
                records_total: self.checker.records(),
                batch_bytes_total: self.batch_bytes_read,
                records_measured: self.records_measured,
                batches_above_watermark: self.batches_above_watermark,
                end_to_end: self.end_to_end.summary(),
            });
        }
        report.verdict = verdict(args, target, self);
        report.decide();
        report
    }
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
