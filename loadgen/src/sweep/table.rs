//! A sweep on the terminal and as CSV.

use std::fmt::Write;

use super::figures::Figures;
use super::result::{Point, SweepResult};
use crate::spread::Spread;
use crate::units::thousands;

/// `1,331 (1,290-1,352)`.
pub fn with_spread(spread: Option<Spread>, digits: usize) -> String {
    let Some(s) = spread else { return "-".to_owned() };
    format!("{} ({}-{})", number(s.median, digits), number(s.lowest, digits), number(s.highest, digits))
}

/// A number with so many decimals, fewer when it is large, and grouped thousands.
pub fn number(value: f64, digits: usize) -> String {
    if value >= 1_000.0 {
        return thousands(value.round() as u64);
    }
    format!("{value:.0$}", if value >= 100.0 { 0 } else { digits })
}

fn optional(value: Option<Spread>, digits: usize) -> String {
    value.map_or("-".to_owned(), |spread| number(spread.median, digits))
}

/// The latency in milliseconds that a percentile of all runs together has.
pub fn at_percentile(point: &Point, percentile: f64) -> Option<f64> {
    point.curve.iter().find(|(p, _)| *p >= percentile).map(|(_, us)| us / 1e3)
}

pub fn text(result: &SweepResult) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_text(&mut out, result);
    out
}

fn write_text(out: &mut String, result: &SweepResult) -> std::fmt::Result {
    writeln!(out, "{} on {}", result.started(), result.machine)?;
    for broker in &result.brokers {
        writeln!(out, "  {:<16} {}   {}", broker.name, broker.address, broker.durability)?;
    }
    for group in groups(&result.points) {
        let Some(first) = group.first() else { continue };
        let rate = first.rate.map_or(String::new(), |rate| format!(", {} records/s", thousands(rate as u64)));
        let kind = first.middle_run().map_or("", |run| run.latency_kind.as_str());
        writeln!(
            out,
            "\nbatches of {}, acks={}{rate}; latency: {kind}; median (lowest-highest)",
            first.batch, first.acks
        )?;
        writeln!(
            out,
            "{:>10} {:<16} {:>22} {:>12} {:>22} {:>9} {:>10} {:>9} {:>8} {:>9} {:>9}",
            "partitions",
            "broker",
            "MB/s",
            "records/s",
            "p99 ms",
            "p99.9 ms",
            "cpu s/Mrec",
            "cpu s/GB",
            "RSS MiB",
            "disk B/B",
            "flushes/s"
        )?;
        let mut partitions = 0;
        for point in group {
            let label = if point.partitions == partitions {
                String::new()
            } else {
                thousands(point.partitions as u64)
            };
            partitions = point.partitions;
            writeln!(
                out,
                "{label:>10} {:<16} {:>22} {:>12} {:>22} {:>9} {:>10} {:>9} {:>8} {:>9} {:>9}",
                point.name,
                with_spread(point.mb_per_s(), 1),
                optional(point.spread(|run| Some(run.records_per_s)), 0),
                with_spread(point.p99_ms(), 2),
                at_percentile(point, 99.9).map_or("-".to_owned(), |ms| number(ms, 2)),
                optional(point.spread(|run| run.server_cpu_s_per_million_records), 3),
                optional(point.spread(|run| run.server_cpu_s_per_gb), 3),
                optional(point.spread(|run| run.rss_bytes.map(|bytes| bytes as f64 / 1_048_576.0)), 0),
                optional(point.spread(|run| run.disk_bytes_per_byte), 2),
                optional(point.spread(|run| run.flushes_per_s), 0),
            )?;
            if let Some(caught_up) = point.spread(|run| run.catch_up_mb_per_s) {
                let rate = with_spread(Some(caught_up), 1);
                writeln!(out, "{:>10} {:<16} {rate:>22} a reader from the beginning", "", "  catching up")?;
            }
        }
    }
    for point in &result.points {
        for remark in point.remarks() {
            let (name, partitions, batch) = (&point.name, point.partitions, &point.batch);
            writeln!(out, "{name}, {partitions} partitions, {batch}: {remark}")?;
        }
    }
    Ok(())
}

/// Points of one batch size and acks, partitions and then brokers in order.
pub fn groups(points: &[Point]) -> Vec<Vec<&Point>> {
    let mut groups: Vec<Vec<&Point>> = Vec::new();
    for point in points {
        let same = |group: &&mut Vec<&Point>| {
            group.first().is_some_and(|first| first.batch == point.batch && first.acks == point.acks)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(point),
            None => groups.push(vec![point]),
        }
    }
    groups
}

/// One line for each measurement.
pub fn csv(result: &SweepResult) -> String {
    let mut out = String::from(
        "broker,partitions,batch,acks,rate,repeat,records_per_s,mb_per_s,p50_us,p90_us,p99_us,p999_us,max_us,\
         server_cpu_s_per_million_records,server_cpu_s_per_gb,server_busy,rss_bytes,disk_bytes_per_byte,\
         flushes_per_s,catch_up_mb_per_s,load_busy,exit_code,durability,error\n",
    );
    for point in &result.points {
        let durability = result.brokers.get(point.broker).map_or("", |broker| broker.durability.as_str());
        for (repeat, run) in (1..).zip(&point.runs) {
            out.push_str(&csv_line(point, repeat, run, durability));
        }
    }
    out
}

fn csv_line(point: &Point, repeat: usize, run: &Figures, durability: &str) -> String {
    let some = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
    let fields = [
        csv_text(&point.name),
        point.partitions.to_string(),
        point.batch.clone(),
        point.acks.clone(),
        some(point.rate),
        repeat.to_string(),
        format!("{:.1}", run.records_per_s),
        format!("{:.3}", run.mb_per_s),
        format!("{:.1}", run.p50_us),
        format!("{:.1}", run.p90_us),
        format!("{:.1}", run.p99_us),
        format!("{:.1}", run.p999_us),
        format!("{:.1}", run.max_us),
        some(run.server_cpu_s_per_million_records),
        some(run.server_cpu_s_per_gb),
        some(run.server_busy_share),
        run.rss_bytes.map_or(String::new(), |bytes| bytes.to_string()),
        some(run.disk_bytes_per_byte),
        some(run.flushes_per_s),
        some(run.catch_up_mb_per_s),
        format!("{:.3}", run.load_busy_share),
        run.exit_code.to_string(),
        csv_text(durability),
        csv_text(run.error.as_deref().unwrap_or("")),
    ];
    fields.join(",") + "\n"
}

fn csv_text(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measurement_has_a_line_with_every_column() {
        let run = Figures { mb_per_s: 12.5, error: Some("a, \"b\"".to_owned()), ..Figures::default() };
        let point = Point { name: "x".to_owned(), runs: vec![run.clone(), run], ..Point::default() };
        let result = SweepResult { points: vec![point], ..SweepResult::default() };
        let csv = csv(&result);
        assert_eq!(csv.lines().count(), 3);
        let columns = csv.lines().next().unwrap().split(',').count();
        // The error has one comma of its own, in quotes.
        assert!(csv.lines().skip(1).all(|line| line.split(',').count() == columns + 1), "{csv}");
        assert!(text(&result).contains("failed: a, \"b\""));
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!([number(1331.4, 1), number(123.4, 1), number(12.34, 1)], ["1,331", "123", "12.3"]);
        let spread = Spread::of([1.0, 2.0, 3.0]);
        assert_eq!(with_spread(spread, 1), "2.0 (1.0-3.0)");
    }
}
