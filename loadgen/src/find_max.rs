//! `find-max`: the highest rate at which a latency is kept.
//!
//! Each step is an open-loop run at a fixed rate, so a broker that falls behind is seen to: its latencies count
//! from when requests were due. A closed-loop run says where the end must be; then rates double until the target
//! is missed, and the gap is halved until it is small.

use std::fmt::Write;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::args::RunArgs;
use crate::histogram::LatencySummary;
use crate::report::Report;
use crate::run;
use crate::units::{thousands, time};
use crate::verdict::Status;

/// Which latency is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    Ack,
    EndToEnd,
}

#[derive(Debug, Clone, Args)]
pub struct FindMaxArgs {
    /// The latency that 99 of 100 requests must keep, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub p99_ms: f64,
    /// From the due time to the ack, or until a consumer has the record.
    #[arg(long, value_enum, default_value = "ack")]
    pub of: Of,
    /// Where the search begins; default: a tenth of what a closed loop reaches.
    #[arg(long, value_name = "RECORDS/S")]
    pub from: Option<f64>,
    /// How near to the end the search must come, in percent.
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    pub within: f64,
    /// At most so many steps.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub steps: usize,
    #[command(flatten)]
    pub run: RunArgs,
}

/// One run at a fixed rate.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub rate: f64,
    pub records_per_s: f64,
    pub latency: Option<LatencySummary>,
    pub load_busy_share: f64,
    /// Why the target was missed; absent: it was kept.
    pub missed: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Found {
    pub p99_ms: f64,
    /// What a closed loop reached before.
    pub closed_loop_records_per_s: Option<f64>,
    pub steps: Vec<Step>,
    /// The highest rate that kept the target.
    pub records_per_s: Option<f64>,
    /// The last report: what was loaded, and with what.
    #[serde(skip)]
    pub settings: Option<crate::report::Settings>,
    pub exit_code: u8,
}

/// Whether the rate was reached and the latency kept.
fn judge(args: &FindMaxArgs, rate: f64, report: &Report) -> Step {
    let latency = match args.of {
        Of::Ack => report.produced.latency,
        Of::EndToEnd => report.consumed.as_ref().and_then(|consumed| consumed.end_to_end),
    };
    let reached = report.produced.records_per_s;
    let failed = report.verdict.lines.iter().find(|line| line.status == Status::Failed);
    let missed = match (latency, failed) {
        (_, Some(line)) => Some(format!("{}: {}", line.name, line.text)),
        (None, _) => Some("nothing was measured".to_owned()),
        (Some(l), _) if l.p99_us > args.p99_ms * 1e3 => Some(format!("p99 above {} ms", args.p99_ms)),
        _ if report.produced.backlog_requests > 0 => Some("requests were due and never sent".to_owned()),
        _ if reached < rate * 0.98 => Some("the rate was not reached".to_owned()),
        _ => None,
    };
    Step { rate, records_per_s: reached, latency, load_busy_share: report.cpu.load_busy_share, missed }
}

/// Searches; `tell` hears of each step.
pub fn find_max(args: &FindMaxArgs, mut tell: impl FnMut(&Step)) -> Result<Found> {
    ensure!(args.p99_ms > 0.0 && args.within > 0.0, "the target and --within are positive numbers");
    let mut run_args = args.run.clone();
    ensure!(
        run_args.rate.is_none() && run_args.shape.burst.is_none() && run_args.shape.ramp.is_none(),
        "the rate is what is searched for: without --rate, --burst and --ramp"
    );
    ensure!(args.of == Of::Ack || run_args.consumers > 0, "--of end-to-end needs --consumers");
    run_args.no_progress = true;
    run_args.check.delete_topic = run_args.bootstrap.is_some();
    let mut found = Found {
        p99_ms: args.p99_ms,
        closed_loop_records_per_s: None,
        steps: Vec::new(),
        records_per_s: None,
        settings: None,
        exit_code: 0,
    };
    let mut rate = match args.from {
        Some(from) => from,
        None => {
            let closed = run::run(&run_args)?;
            ensure!(closed.produced.records_per_s > 0.0, "nothing was acked");
            found.closed_loop_records_per_s = Some(closed.produced.records_per_s);
            (closed.produced.records_per_s / 10.0).max(1.0)
        }
    };
    // Highest rate that kept the target, lowest that missed it.
    let (mut kept, mut missed): (Option<f64>, Option<f64>) = (None, None);
    while found.steps.len() < args.steps {
        run_args.rate = Some(rate);
        let report = run::run(&run_args)?;
        let step = judge(args, rate, &report);
        tell(&step);
        if step.missed.is_none() {
            kept = Some(kept.map_or(rate, |kept| kept.max(rate)));
        } else {
            missed = Some(missed.map_or(rate, |missed| missed.min(rate)));
        }
        found.steps.push(step);
        found.settings = Some(report.settings);
        rate = match (kept, missed) {
            (Some(kept), Some(missed)) if missed / kept - 1.0 <= args.within / 100.0 => break,
            (Some(kept), Some(missed)) => (kept * missed).sqrt(),
            (Some(kept), None) => kept * 2.0,
            (None, Some(missed)) if missed < 2.0 => break,
            (None, Some(missed)) => missed / 2.0,
            (None, None) => break,
        };
    }
    found.records_per_s = kept;
    found.exit_code = if kept.is_some() { 0 } else { 1 };
    Ok(found)
}

fn line(step: &Step) -> String {
    let mut out = String::new();
    let at = |of: fn(&LatencySummary) -> f64| step.latency.as_ref().map_or("-".to_owned(), |l| time(of(l)));
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "{:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>6.0} %  {}",
        thousands(step.rate.round() as u64),
        thousands(step.records_per_s.round() as u64),
        at(|l| l.p50_us),
        at(|l| l.p99_us),
        at(|l| l.p999_us),
        at(|l| l.max_us),
        step.load_busy_share * 100.0,
        step.missed.as_deref().unwrap_or("kept")
    );
    out
}

pub fn find_max_and_print(args: &FindMaxArgs) -> Result<u8> {
    let json = args.run.json;
    if !json {
        println!("rates at which p99 stays within {} ms (open loop)", args.p99_ms);
        println!(
            "{:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>8}",
            "records/s", "reached", "p50", "p99", "p99.9", "max", "load"
        );
    }
    let found = find_max(args, |step| {
        if !json {
            println!("{}", line(step));
        }
    })?;
    if json {
        println!("{}", serde_json::to_string(&found)?);
        return Ok(found.exit_code);
    }
    if let Some(closed) = found.closed_loop_records_per_s {
        println!("closed loop before: {} records/s", thousands(closed as u64));
    }
    match found.records_per_s {
        Some(rate) => println!("highest rate that kept it: {} records/s", thousands(rate.round() as u64)),
        None => println!("no rate kept it"),
    }
    Ok(found.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Produced;

    fn args(text: &str) -> FindMaxArgs {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            args: FindMaxArgs,
        }
        use clap::Parser;
        Only::try_parse_from(std::iter::once("find-max").chain(text.split(' '))).unwrap().args
    }

    #[test]
    fn a_step_keeps_its_target_only_with_rate_and_latency() {
        let args = args("--p99-ms 10");
        let report = |p99_us: f64, records_per_s: f64, backlog_requests: u64| Report {
            produced: Produced {
                records_per_s,
                backlog_requests,
                latency: Some(LatencySummary { p99_us, ..LatencySummary::default() }),
                ..Produced::default()
            },
            ..Report::default()
        };
        let kept = |p99_us, reached, backlog| {
            judge(&args, 1000.0, &report(p99_us, reached, backlog)).missed.is_none()
        };
        assert!(kept(9_000.0, 1000.0, 0));
        assert!(!kept(11_000.0, 1000.0, 0));
        assert!(!kept(9_000.0, 900.0, 0));
        assert!(!kept(9_000.0, 1000.0, 1));
        assert!(judge(&args, 1.0, &Report::default()).missed.is_some());
    }

    #[test]
    fn a_rate_is_not_given_twice() {
        assert!(find_max(&args("--p99-ms 10 --rate 5"), |_| ()).is_err());
    }
}
