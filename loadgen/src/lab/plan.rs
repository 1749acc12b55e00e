//! `lab plan`: how many partitions a topic needs for a rate, a size of records and a speed of consumers. What the
//! broker does on this machine is measured with short runs, the answer included.

use std::fmt;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use super::{Claims, Common, Finding, shards, thousands, verdict};
use crate::args::RunArgs;
use crate::report::Report;
use crate::units::parse_size;
use crate::{cpu, run};

/// Part of what one partition was seen to take that it should be planned for.
const SAFE_SHARE: f64 = 0.5;
const PARTITIONS_MAX: u64 = 10_000;
/// Part of the asked rate that the last run must reach.
const REACHED: f64 = 0.97;

#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub common: Common,
    /// Records a second that are produced.
    #[arg(long, default_value_t = 10_000.0, value_name = "RECORDS/S")]
    pub rate: f64,
    /// Bytes of a record's key and value together.
    #[arg(long, default_value = "1024", value_parser = parse_size, value_name = "SIZE")]
    pub record_bytes: usize,
    /// Records a second that one consumer processes.
    #[arg(long, default_value_t = 1_500.0, value_name = "RECORDS/S")]
    pub consumer_rate: f64,
    /// Times the rate that the count should still do for: it is hard to change later.
    #[arg(long, default_value_t = 2.0, value_name = "FACTOR")]
    pub growth: f64,
    /// Seconds of each run.
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    pub seconds: f64,
    /// How many shards a stream needs, and what their limits do to a hot key; on a Keylane in this process.
    #[arg(long, conflicts_with = "bootstrap")]
    pub kinesis: bool,
}

/// A short run.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub partitions: u64,
    /// Asked for; none: as fast as it goes.
    pub rate: Option<f64>,
    pub records_per_s: f64,
    pub mb_per_s: f64,
    pub ack_p50_ms: f64,
    pub ack_p99_ms: f64,
    pub end_to_end_p99_ms: Option<f64>,
    /// Nothing lost, twice or out of order; none: nothing was read.
    pub sound: Option<bool>,
}

#[derive(Debug, Clone, Serialize)]
pub struct PlanFinding {
    pub broker: String,
    pub rate: f64,
    pub record_bytes: usize,
    pub consumer_rate: f64,
    pub growth: f64,
    pub cores: u64,
    pub for_consumers: u64,
    pub for_producers: u64,
    pub partitions: u64,
    pub one: Measured,
    pub many: Measured,
    pub at_rate: Measured,
    pub wrong: Vec<String>,
}

impl Finding for PlanFinding {
    fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

fn measure(args: &PlanArgs, partitions: u64, rate: Option<f64>) -> Result<Measured> {
    let mut text = format!(
        "--record-bytes {} --connections 4 --partitions {partitions} --keys {} --seed {} --duration {}s \
         --warmup 500ms --no-progress",
        args.record_bytes,
        (partitions * 20).max(1000),
        args.common.seed,
        args.seconds
    );
    text += &match rate {
        None => " --consumers 0 --batch-bytes 16k".to_owned(),
        Some(rate) => {
            // A batch gathers for some milliseconds, as in a producer that lingers.
            let batch = ((rate / 400.0) as usize).clamp(1, (16usize << 10).div_ceil(args.record_bytes));
            format!(" --rate {rate} --consumers 2 --batch-records {batch}")
        }
    };
    if let Some(bootstrap) = &args.common.bootstrap {
        text += &format!(" --bootstrap {bootstrap}");
    }
    let mut run_args = RunArgs::from_text(&text).with_context(|| format!("the options {text}"))?;
    run_args.data_parent.clone_from(&args.common.data_parent);
    let report = run::run(&run_args)?;
    Ok(of_report(&report, partitions, rate))
}

fn of_report(report: &Report, partitions: u64, rate: Option<f64>) -> Measured {
    let latency = report.produced.latency.as_ref();
    let end_to_end = report.consumed.as_ref().and_then(|consumed| consumed.end_to_end.as_ref());
    Measured {
        partitions,
        rate,
        records_per_s: report.produced.records_per_s,
        mb_per_s: report.produced.payload_bytes_per_s / 1e6,
        ack_p50_ms: latency.map_or(0.0, |l| l.p50_us / 1e3),
        ack_p99_ms: latency.map_or(0.0, |l| l.p99_us / 1e3),
        end_to_end_p99_ms: end_to_end.map(|l| l.p99_us / 1e3),
        sound: rate.map(|_| report.exit_code == 0),
    }
}

/// What is asked for of shards.
pub fn of_shards(args: &PlanArgs) -> Result<shards::Wanted> {
    check(args)?;
    Ok(shards::Wanted {
        rate: args.rate,
        record_bytes: args.record_bytes,
        consumer_rate: args.consumer_rate,
        growth: args.growth,
        seconds: args.seconds,
        seed: args.common.seed,
        data_parent: args.common.data_parent.clone(),
    })
}

fn check(args: &PlanArgs) -> Result<()> {
    let sane = |number: f64| number.is_finite() && number > 0.0;
    ensure!(sane(args.rate) && sane(args.consumer_rate), "rates are positive numbers");
    ensure!(sane(args.growth) && args.growth >= 1.0, "--growth is at least 1");
    ensure!(args.seconds >= 0.2 && args.seconds <= 10.0, "--seconds lies between 0.2 and 10");
    Ok(())
}

/// Runs the experiment.
pub fn run(args: &PlanArgs) -> Result<PlanFinding> {
    check(args)?;
    let cores = match args.common.bootstrap {
        // Of another machine, perhaps: nothing is known.
        Some(_) => 1,
        None => cpu::allowed_cores().len().max(1) as u64,
    };
    let one = measure(args, 1, None)?;
    let wanted = args.rate * args.growth;
    let for_consumers = (wanted / args.consumer_rate).ceil() as u64;
    let for_producers = (wanted / (one.records_per_s * SAFE_SHARE).max(1.0)).ceil() as u64;
    let needed = for_consumers.max(for_producers).max(cores);
    let partitions = needed.div_ceil(cores) * cores;
    ensure!(
        partitions <= PARTITIONS_MAX,
        "{partitions} partitions: consumers this slow should do less for each record, or share the work otherwise"
    );
    let many = measure(args, partitions, None)?;
    let at_rate = measure(args, partitions, Some(args.rate))?;
    let mut claims = Claims::default();
    let reached = at_rate.records_per_s >= args.rate * REACHED;
    let (rate, found) = (thousands(args.rate as u64), thousands(at_rate.records_per_s as u64));
    claims.check(reached, format!("this machine carries {rate} records/s; it carried {found}"));
    claims.check(at_rate.sound == Some(true), "nothing is lost, read twice or out of order at that rate");
    let broker = match &args.common.bootstrap {
        Some(address) => format!("the broker at {address}"),
        None => "a Keylane in this process, every ack flushed".to_owned(),
    };
    Ok(PlanFinding {
        broker,
        rate: args.rate,
        record_bytes: args.record_bytes,
        consumer_rate: args.consumer_rate,
        growth: args.growth,
        cores,
        for_consumers,
        for_producers,
        partitions,
        one,
        many,
        at_rate,
        wrong: claims.into_wrong(),
    })
}

fn row(f: &mut fmt::Formatter<'_>, what: &str, measured: &Measured) -> fmt::Result {
    let end = measured.end_to_end_p99_ms;
    let end = end.map_or(String::new(), |ms| format!("   read after p99 {ms:.1} ms"));
    writeln!(
        f,
        "   {what:<30} {:>9} records/s {:>7.1} MB/s   ack p50 {:.1} ms, p99 {:.1} ms{end}",
        thousands(measured.records_per_s as u64),
        measured.mb_per_s,
        measured.ack_p50_ms,
        measured.ack_p99_ms
    )
}

impl fmt::Display for PlanFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: f64| thousands(n.round() as u64);
        writeln!(f, "lab plan: how many partitions")?;
        writeln!(
            f,
            "  {} records/s of {} bytes now, {} times as many later; one consumer processes {} records/s.",
            number(self.rate),
            thousands(self.record_bytes as u64),
            self.growth,
            number(self.consumer_rate)
        )?;
        writeln!(f, "  Measured on {}, batches of up to 16 KiB.", self.broker)?;
        writeln!(f)?;
        writeln!(f, "1. What has to be carried: {} records/s", number(self.rate * self.growth))?;
        writeln!(
            f,
            "   consumers   a partition is read by one consumer of a group: {:>17} / {:<7} = {}",
            number(self.rate * self.growth),
            number(self.consumer_rate),
            self.for_consumers
        )?;
        writeln!(
            f,
            "   producers   half of what one partition was seen to take:    {:>17} / {:<7} = {}",
            number(self.rate * self.growth),
            number(self.one.records_per_s * SAFE_SHARE),
            self.for_producers
        )?;
        if self.cores > 1 {
            writeln!(f, "   cores       each of them should have as many as the others: {}", self.cores)?;
        }
        writeln!(f, "   partitions  {}", self.partitions)?;
        writeln!(f)?;
        writeln!(f, "2. What that costs")?;
        row(f, "1 partition, full speed", &self.one)?;
        row(f, &format!("{} partitions, full speed", self.partitions), &self.many)?;
        row(f, &format!("{} partitions, asked rate", self.partitions), &self.at_rate)?;
        writeln!(
            f,
            "   {} partitions carry {:.2} times what one does.",
            self.partitions,
            self.many.records_per_s / self.one.records_per_s.max(1.0)
        )?;
        writeln!(f)?;
        writeln!(f, "3. What no number of partitions changes")?;
        writeln!(
            f,
            "   One key has one partition, and one consumer: more than {} records/s of one key wait.",
            number(self.consumer_rate)
        )?;
        writeln!(f, "   More partitions later move keys: what is in flight then may be read out of order.")?;
        writeln!(f)?;
        let lesson = format!(
            "Take {} partitions: {} consumers at most can share\n  the work of a group.",
            self.partitions, self.partitions
        );
        verdict(f, &self.wrong, &lesson)
    }
}
