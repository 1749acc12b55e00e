//! `sweep`: the same load at many points on several brokers, interleaved.
//!
//! Promises: each point is measured `--repeat` times, and between two measurements of a point every other
//! point and broker has its turn, so that a disk or machine whose speed drifts treats all alike. Only one
//! broker is loaded at a time; dirty pages are written out before each. A point that fails is reported as
//! such, never left out.

pub mod args;
pub mod broker;
pub mod compare;
pub mod figures;
pub mod grid;
pub mod hgrm;
pub mod machine;
pub mod result;
pub mod settle;
pub mod spec;
pub mod table;

use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::histogram::Latencies;
use crate::html;
use crate::run;
use crate::units::thousands;
use args::SweepArgs;
use broker::Broker;
use figures::Figures;
use result::{Point, SweepResult};

/// Histograms of a point's runs, in order.
pub type PointLatencies = Vec<Latencies>;

/// Runs all points, writes what was asked for, prints the table; the exit code.
pub fn sweep_and_print(args: &SweepArgs) -> Result<u8> {
    let (result, latencies) = sweep(args)?;
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&result)?))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.csv {
        std::fs::write(path, table::csv(&result)).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, html::page::of_sweep(&result))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(dir) = &args.hgrm {
        hgrm::write(dir, &result, &latencies)?;
    }
    print!("{}", table::text(&result));
    Ok(result.exit_code())
}

/// Runs all points.
pub fn sweep(args: &SweepArgs) -> Result<(SweepResult, Vec<PointLatencies>)> {
    ensure!(args.repeat >= 1, "at least one measurement of each point");
    let started = SystemTime::now();
    let mut brokers = broker::all(args)?;
    let mut points = grid::points(args, &brokers);
    let mut latencies = vec![PointLatencies::new(); points.len()];
    let total = points.len() * args.repeat as usize;
    let mut progress = Progress { done: 0, total, began: Instant::now(), quiet: args.no_progress };
    if let Some(limit) = args.settle {
        for (index, broker) in brokers.iter_mut().enumerate() {
            let Some(point) = points.iter().find(|point| point.broker == index) else { continue };
            broker.warm_up = settle::warm_up(broker, point, limit, |rate| {
                if !args.no_progress {
                    eprintln!("warming up {}: {rate:.1} MB/s", point.name);
                }
            });
        }
    }
    progress.began = Instant::now();
    for round in 0..args.repeat as usize {
        for index in grid::order(args, &brokers, round) {
            let point = &mut points[index];
            progress.begin(round, point);
            let busy = settle::wait_until_quiet(&brokers, args.pause, args.quiet_timeout);
            let broker = &mut brokers[point.broker];
            let (mut figures, latency) = measure(broker, point);
            figures.warnings.extend(busy);
            progress.end(&figures);
            point.runs.push(figures);
            latencies[index].push(latency);
        }
    }
    for (point, latencies) in points.iter_mut().zip(&latencies) {
        let mut all = Latencies::new();
        latencies.iter().for_each(|latencies| all.merge(latencies));
        point.curve = all.curve();
    }
    let result = SweepResult {
        format: result::FORMAT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: started.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        command: result::own_command(),
        machine: machine::describe(),
        brokers: brokers.into_iter().map(Broker::into_named).collect(),
        points,
    };
    Ok((result, latencies))
}

fn measure(broker: &mut Broker, point: &Point) -> (Figures, Latencies) {
    let outcome = broker.args_of(&point.options).and_then(|args| run::run(&args));
    match outcome {
        Ok(report) => {
            broker.learn(&report);
            (Figures::of(&report), report.histograms.ack)
        }
        Err(error) => (Figures::failed(format!("{error:#}")), Latencies::new()),
    }
}

/// A line on stderr for each measurement.
struct Progress {
    done: usize,
    total: usize,
    began: Instant,
    quiet: bool,
}

impl Progress {
    fn begin(&self, round: usize, point: &Point) {
        if !self.quiet {
            let (done, total) = (self.done + 1, self.total);
            let label =
                format!("{}, {} partitions, {}", point.name, thousands(point.partitions as u64), point.batch);
            eprint!("[{done:>3}/{total}] round {} {label:<44} ", round + 1);
        }
    }

    fn end(&mut self, figures: &Figures) {
        self.done += 1;
        if self.quiet {
            return;
        }
        let each = self.began.elapsed().as_secs_f64() / self.done as f64;
        let left = each * (self.total - self.done) as f64;
        match &figures.error {
            Some(error) => eprintln!("failed: {error}"),
            None => eprintln!(
                "{:>9.1} MB/s  p99 {:>9.2} ms   ({} left)",
                figures.mb_per_s,
                figures.p99_us / 1e3,
                if left < 90.0 { format!("{left:.0} s") } else { format!("{:.0} min", left / 60.0) }
            ),
        }
    }
}
