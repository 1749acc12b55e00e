//! `compare A.json B.json`: two sweeps side by side, as ratios.
//!
//! Promises: only points with the same load are compared, and what else differs (machine, versions, options,
//! durability) is said first. Ratios come with the range that both spreads allow; one that includes 1 is
//! marked as no difference. Files that have no load in common are refused.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::result::{FORMAT, Point, SweepResult};
use super::table::number;
use crate::spread::Spread;
use crate::units::thousands;

#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Result of a sweep (--json).
    #[arg(value_name = "A.json")]
    pub a: PathBuf,
    /// Another; ratios are B to A.
    #[arg(value_name = "B.json")]
    pub b: PathBuf,
    /// Broker of A; needed when it has several that B does not have.
    #[arg(long, value_name = "NAME")]
    pub broker_a: Option<String>,
    /// Broker of B.
    #[arg(long, value_name = "NAME")]
    pub broker_b: Option<String>,
}

pub fn compare_and_print(args: &CompareArgs) -> Result<u8> {
    let (a, b) = (load(&args.a)?, load(&args.b)?);
    print!("{}", compare(&a, &b, args.broker_a.as_deref(), args.broker_b.as_deref())?);
    Ok(0)
}

pub fn load(path: &Path) -> Result<SweepResult> {
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let format = value.get("format").and_then(|format| format.as_str()).unwrap_or("none");
    ensure!(format == FORMAT, "{}: not the result of a sweep (format {format})", path.display());
    serde_json::from_value(value).with_context(|| format!("{}: not as a sweep writes it", path.display()))
}

/// Which brokers are put side by side: those asked for, or the ones with the same name, or the only ones.
fn pairs(
    a: &SweepResult,
    b: &SweepResult,
    of_a: Option<&str>,
    of_b: Option<&str>,
) -> Result<Vec<(usize, usize)>> {
    let find = |result: &SweepResult, name: &str| {
        let found = result.brokers.iter().position(|broker| broker.name == name);
        found.with_context(|| {
            let names: Vec<&str> = result.brokers.iter().map(|broker| broker.name.as_str()).collect();
            format!("there is no broker {name}; there are {}", names.join(", "))
        })
    };
    let only = |result: &SweepResult| (result.brokers.len() == 1).then_some(0);
    if of_a.is_some() || of_b.is_some() {
        let one = |result, name: Option<&str>, other: Option<&str>| match (name, only(result)) {
            (Some(name), _) => find(result, name),
            (None, Some(only)) => Ok(only),
            (None, None) => find(result, other.unwrap_or_default()),
        };
        return Ok(vec![(one(a, of_a, of_b)?, one(b, of_b, of_a)?)]);
    }
    let same: Vec<(usize, usize)> = a
        .brokers
        .iter()
        .enumerate()
        .filter_map(|(index, broker)| {
            Some((index, b.brokers.iter().position(|other| other.name == broker.name)?))
        })
        .collect();
    match (same.is_empty(), only(a), only(b)) {
        (false, _, _) => Ok(same),
        (true, Some(a), Some(b)) => Ok(vec![(a, b)]),
        _ => bail!("no broker is in both files: name them with --broker-a and --broker-b"),
    }
}

/// The same load, on whatever broker.
fn same_load(a: &Point, b: &Point) -> bool {
    a.partitions == b.partitions && a.batch == b.batch && a.acks == b.acks && a.rate == b.rate
}

/// Options that say where a broker is, not what it has to do.
const PLACE: [&str; 5] = ["--bootstrap", "--server-pid", "--server-cores", "--data-parent", "--delete-topic"];

fn load_options(point: &Point) -> Vec<String> {
    let mut out = Vec::new();
    let mut words = point.options.iter().peekable();
    while let Some(word) = words.next() {
        let value = words.next_if(|next| !next.starts_with("--"));
        if !PLACE.contains(&word.as_str()) {
            out.push(value.map_or(word.clone(), |value| format!("{word} {value}")));
        }
    }
    out
}

/// The comparison as text.
pub fn compare(a: &SweepResult, b: &SweepResult, of_a: Option<&str>, of_b: Option<&str>) -> Result<String> {
    let pairs = pairs(a, b, of_a, of_b)?;
    let mut out = String::new();
    // Writing to a string does not fail.
    write_heads(&mut out, a, b)?;
    let mut compared = 0;
    for (of_a, of_b) in pairs {
        let of = |result: &SweepResult, broker: usize| -> Vec<Point> {
            result.points.iter().filter(|point| point.broker == broker).cloned().collect()
        };
        let (points_a, points_b) = (of(a, of_a), of(b, of_b));
        let both: Vec<(&Point, &Point)> = points_a
            .iter()
            .filter_map(|point| Some((point, points_b.iter().find(|other| same_load(point, other))?)))
            .collect();
        let (broker_a, broker_b) = (&a.brokers[of_a], &b.brokers[of_b]);
        writeln!(
            out,
            "\nA: {} ({})   B: {} ({})",
            broker_a.name, broker_a.durability, broker_b.name, broker_b.durability
        )?;
        if broker_a.durability != broker_b.durability {
            writeln!(out, "  note: the durability differs")?;
        }
        write_option_differences(&mut out, &both)?;
        let left_out = (points_a.len() - both.len(), points_b.len() - both.len());
        if left_out != (0, 0) {
            writeln!(out, "  note: {} points of A and {} of B have no counterpart", left_out.0, left_out.1)?;
        }
        compared += write_ratios(&mut out, &both)?;
    }
    ensure!(compared > 0, "the two files have no measured load in common: there is nothing to compare");
    Ok(out)
}

fn write_heads(out: &mut String, a: &SweepResult, b: &SweepResult) -> std::fmt::Result {
    for (name, result) in [("A", a), ("B", b)] {
        writeln!(out, "{name}: {}, version {}, {}", result.started(), result.version, result.machine)?;
        writeln!(out, "   {}", result.command)?;
    }
    let (m, n) = (&a.machine, &b.machine);
    let mut differ = Vec::new();
    let mut note = |what: &str, a: String, b: String| {
        if a != b {
            differ.push(format!("{what}: A {a}, B {b}"));
        }
    };
    note("processor", m.processor.clone(), n.processor.clone());
    note("cores", m.cores.to_string(), n.cores.to_string());
    note("memory", format!("{} GiB", m.memory_gib), format!("{} GiB", n.memory_gib));
    note("kernel", m.kernel.clone(), n.kernel.clone());
    note("load generator", a.version.clone(), b.version.clone());
    for difference in &differ {
        writeln!(out, "  DIFFERS  {difference}")?;
    }
    if a.machine != b.machine {
        writeln!(out, "  The machines differ: a ratio is one of machines as much as of brokers.")?;
    }
    Ok(())
}

fn write_option_differences(out: &mut String, both: &[(&Point, &Point)]) -> std::fmt::Result {
    let mut told: Vec<String> = Vec::new();
    for (a, b) in both {
        let (in_a, in_b) = (load_options(a), load_options(b));
        let only = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|option| !those.contains(option)).cloned().collect()
        };
        let (a, b) = (only(&in_a, &in_b).join(" "), only(&in_b, &in_a).join(" "));
        let line = format!("  DIFFERS  options of the load: A {a}, B {b}");
        if !(told.contains(&line) || a.is_empty() && b.is_empty()) {
            writeln!(out, "{line}")?;
            told.push(line);
        }
    }
    Ok(())
}

/// `1.32 (1.20-1.45)`, with `~` when the range includes 1.
fn ratio(a: Option<Spread>, b: Option<Spread>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a.lowest > 0.0 && b.lowest > 0.0 => {
            let ratio = b.over(a);
            let mark = if ratio.lowest <= 1.0 && ratio.highest >= 1.0 { " ~" } else { "  " };
            format!("{:.2} ({:.2}-{:.2}){mark}", ratio.median, ratio.lowest, ratio.highest)
        }
        _ => "-  ".to_owned(),
    }
}

/// How many rows were written.
fn write_ratios(out: &mut String, both: &[(&Point, &Point)]) -> Result<usize> {
    writeln!(
        out,
        "{:>10} {:>7} {:>5} {:>10} {:>10} {:>22} {:>9} {:>9} {:>22} {:>22}",
        "partitions",
        "batch",
        "acks",
        "A MB/s",
        "B MB/s",
        "B/A throughput",
        "A p99 ms",
        "B p99 ms",
        "B/A p99",
        "B/A cpu per GB"
    )?;
    let mut rows = 0;
    for (a, b) in both {
        let median =
            |spread: Option<Spread>, digits| spread.map_or("-".to_owned(), |s| number(s.median, digits));
        let cpu = |point: &Point| point.spread(|run| run.server_cpu_s_per_gb);
        writeln!(
            out,
            "{:>10} {:>7} {:>5} {:>10} {:>10} {:>22} {:>9} {:>9} {:>22} {:>22}",
            thousands(a.partitions as u64),
            a.batch,
            a.acks,
            median(a.mb_per_s(), 1),
            median(b.mb_per_s(), 1),
            ratio(a.mb_per_s(), b.mb_per_s()),
            median(a.p99_ms(), 2),
            median(b.p99_ms(), 2),
            ratio(a.p99_ms(), b.p99_ms()),
            ratio(cpu(a), cpu(b)),
        )?;
        rows += usize::from(a.mb_per_s().is_some() && b.mb_per_s().is_some());
    }
    writeln!(
        out,
        "  median of B to median of A (least-most that the spreads allow); ~: the range includes 1"
    )?;
    Ok(rows)
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
