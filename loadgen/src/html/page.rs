//! The page of a sweep.

use std::fmt::Write;

use super::axis::{Axis, Scale};
use super::chart::{Chart, Line, Mark, shape};
use super::escaped;
use crate::report::thousands;
use crate::spread::Spread;
use crate::sweep::figures::Figures;
use crate::sweep::result::{Point, SweepResult};
use crate::sweep::table::{at_percentile, groups, number};

const STYLE: &str = include_str!("style.css");

/// The whole document.
pub fn of_sweep(result: &SweepResult) -> String {
    let mut page = Page { result, out: String::new() };
    // Writing to a string does not fail.
    let _ = page.write();
    page.out
}

struct Page<'a> {
    result: &'a SweepResult,
    out: String,
}

impl<'a> Page<'a> {
    fn write(&mut self) -> std::fmt::Result {
        let names: Vec<&str> = self.result.brokers.iter().map(|broker| broker.name.as_str()).collect();
        let title = escaped(&format!("Load sweep: {}", names.join(", ")));
        writeln!(self.out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
        writeln!(self.out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
        writeln!(
            self.out,
            "<title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<h1>{title}</h1>"
        )?;
        let (started, machine) = (self.result.started(), escaped(&self.result.machine.to_string()));
        writeln!(
            self.out,
            "<p class=\"dim\">{started} &middot; {machine} &middot; keylane-loadgen {}</p>",
            escaped(&self.result.version)
        )?;
        self.write_brokers()?;
        self.write_by_partitions()?;
        self.write_tables()?;
        self.write_percentiles()?;
        self.write_timelines()?;
        self.write_reading()?;
        self.write_commands()?;
        writeln!(self.out, "</body></html>")
    }

    fn write_brokers(&mut self) -> std::fmt::Result {
        writeln!(self.out, "<h2>Brokers and their durability</h2><div class=\"wide\"><table>")?;
        writeln!(
            self.out,
            "<tr><th class=\"l\">broker<th class=\"l\">durability setting<th class=\"l\">told by<th class=\"l\">note<th class=\"l\">address</tr>"
        )?;
        for (index, broker) in self.result.brokers.iter().enumerate() {
            let key = key(index, 0);
            let cell = |text: &str| escaped(text);
            writeln!(
                self.out,
                "<tr><td class=\"l\">{key}<b>{}</b><td class=\"l wrap\">{}<td class=\"l\">{}<td class=\"l wrap\">{}<td class=\"l\">{}</tr>",
                cell(&broker.name),
                cell(&broker.durability),
                cell(&broker.durability_told_by),
                cell(&broker.note),
                cell(&broker.address)
            )?;
        }
        writeln!(self.out, "</table></div>")
    }

    /// Lines of the plots: a colour for each broker, a dash for each batch size and acks.
    fn dashes(&self) -> Vec<(String, String)> {
        groups(&self.result.points)
            .iter()
            .filter_map(|group| Some((group.first()?.batch.clone(), group.first()?.acks.clone())))
            .collect()
    }

    fn dash_of(&self, point: &Point) -> usize {
        self.dashes()
            .iter()
            .position(|(batch, acks)| *batch == point.batch && *acks == point.acks)
            .unwrap_or(0)
    }

    fn dash_name(&self, dash: &(String, String)) -> String {
        let one_acks = self.dashes().iter().all(|(_, acks)| *acks == dash.1);
        let batch =
            if dash.0 == "single" { "single records".to_owned() } else { format!("batches of {}", dash.0) };
        if one_acks { batch } else { format!("{batch}, acks={}", dash.1) }
    }

    fn write_legend(&mut self) -> std::fmt::Result {
        writeln!(self.out, "<ul class=\"legend\">")?;
        let dashes = self.dashes();
        for (colour, broker) in self.result.brokers.iter().enumerate() {
            for (dash, named) in dashes.iter().enumerate() {
                let name = self.dash_name(named);
                writeln!(self.out, "<li>{}{}, {name}</li>", key(colour, dash), escaped(&broker.name))?;
            }
        }
        writeln!(self.out, "</ul>")
    }

    fn write_figure(&mut self, title: &str, caption: &str, chart: &Chart<'_>) -> std::fmt::Result {
        let (title, caption) = (escaped(title), escaped(caption));
        writeln!(
            self.out,
            "<figure><figcaption><b>{title}</b> {caption}</figcaption>\n{}</figure>",
            chart.svg()
        )
    }

    fn write_by_partitions(&mut self) -> std::fmt::Result {
        writeln!(self.out, "<h2>Number of partitions</h2>")?;
        self.write_legend()?;
        writeln!(self.out, "<div class=\"plots\">")?;
        let throughput = self.by_partitions("MB/s", Point::mb_per_s);
        self.write_figure(
            "Throughput",
            "Medians; bars from the lowest to the highest measurement.",
            &throughput,
        )?;
        let p99 = self.by_partitions("ms", Point::p99_ms);
        let caption = format!("{}; logarithmic.", self.latency_kind());
        self.write_figure("Latency of acks, p99", &caption, &p99)?;
        writeln!(self.out, "</div>")
    }

    fn latency_kind(&self) -> String {
        let kind = self.result.points.iter().find_map(|point| Some(point.middle_run()?.latency_kind.clone()));
        kind.unwrap_or_default()
    }

    fn by_partitions(&self, label: &'static str, of: impl Fn(&Point) -> Option<Spread>) -> Chart<'static> {
        let mut counts: Vec<f64> =
            self.result.points.iter().map(|point| f64::from(point.partitions)).collect();
        counts.sort_by(f64::total_cmp);
        counts.dedup();
        let spreads: Vec<(&Point, Spread)> =
            self.result.points.iter().filter_map(|point| Some((point, of(point)?))).collect();
        let values = || spreads.iter().flat_map(|(_, spread)| [spread.lowest, spread.highest]);
        let (low, high) =
            values().fold((f64::MAX, 0f64), |(low, high), value| (low.min(value), high.max(value)));
        // A logarithmic axis only where a linear one would flatten the smaller values.
        let scale = if high / low > 8.0 { Scale::Log } else { Scale::Linear };
        let mut lines = Vec::new();
        for (dash, (batch, acks)) in self.dashes().iter().enumerate() {
            for colour in 0..self.result.brokers.len() {
                let mine = spreads.iter().filter(|(point, _)| {
                    point.broker == colour && point.batch == *batch && point.acks == *acks
                });
                let mut marks: Vec<Mark> = mine
                    .map(|(point, spread)| Mark {
                        x: f64::from(point.partitions),
                        y: spread.median,
                        bar: Some((spread.lowest, spread.highest)),
                        text: format!(
                            "{}, {} partitions, {batch}: {} {label} ({} to {})",
                            point.name,
                            thousands(point.partitions as u64),
                            number(spread.median, 2),
                            number(spread.lowest, 2),
                            number(spread.highest, 2)
                        ),
                    })
                    .collect();
                marks.sort_by(|a, b| a.x.total_cmp(&b.x));
                lines.push(Line { colour, dash, marks, plain: false });
            }
        }
        Chart {
            description: "a line for each broker and batch size over the number of partitions",
            x: Axis::of_counts("partitions", &counts),
            y: Axis::of(label, scale, values()),
            lines,
        }
    }

    fn write_tables(&mut self) -> std::fmt::Result {
        writeln!(
            self.out,
            "<h2>Figures</h2><p class=\"dim\">Medians, in small the lowest and highest measurement; \
            p99.9 over all measurements of a point. Processor time is the server's; disk: bytes that the server caused to be written, \
            for each byte acked. What a broker or the system does not tell is left empty.</p>"
        )?;
        for group in groups(&self.result.points) {
            self.write_table(&group)?;
        }
        Ok(())
    }

    fn write_table(&mut self, group: &[&Point]) -> std::fmt::Result {
        let Some(first) = group.first() else { return Ok(()) };
        let rate = first.rate.map_or(String::new(), |rate| format!(", {} records/s", thousands(rate as u64)));
        let name = self.dash_name(&(first.batch.clone(), first.acks.clone()));
        let several = self.result.brokers.len() > 1;
        writeln!(self.out, "<div class=\"wide\"><table><caption>{}{rate}</caption>", escaped(&name))?;
        write!(self.out, "<tr><th>partitions<th class=\"l\">broker<th>MB/s")?;
        if several {
            let reference = escaped(&self.result.brokers[0].name);
            write!(self.out, "<th>{reference} to it<th class=\"l\">durability")?;
        }
        writeln!(
            self.out,
            "<th>records/s<th>p50 ms<th>p99 ms<th>p99.9 ms<th>max ms<th>CPU s per<br>10<sup>6</sup> records<th>CPU s<br>per GB<th>RSS<br>MiB<th>disk bytes<br>per byte<th>flushes/s<th class=\"l\">checked</tr>"
        )?;
        let mut partitions = 0;
        for point in group {
            let new = point.partitions != partitions;
            partitions = point.partitions;
            write!(
                self.out,
                "<tr{}><td>{}",
                if new { " class=\"first\"" } else { "" },
                if new { thousands(partitions as u64) } else { String::new() }
            )?;
            let dash = self.dash_of(point);
            write!(self.out, "<td class=\"l\">{}{}", key(point.broker, dash), escaped(&point.name))?;
            write!(self.out, "<td>{}", with_spread(point.mb_per_s(), 1))?;
            if several {
                let reference =
                    group.iter().find(|other| other.partitions == partitions && other.broker == 0);
                let ratio = reference
                    .and_then(|reference| Some(reference.mb_per_s()?.over(point.mb_per_s()?).median));
                let ratio = ratio.filter(|_| point.broker != 0);
                write!(
                    self.out,
                    "<td>{}",
                    ratio.map_or(String::new(), |ratio| format!("{ratio:.1}&times;"))
                )?;
                let durability =
                    self.result.brokers.get(point.broker).map_or("", |broker| broker.durability.as_str());
                let short = durability.split([':', ' ']).next().unwrap_or_default();
                write!(
                    self.out,
                    "<td class=\"l\" title=\"{}\"><small>{}</small>",
                    escaped(durability),
                    escaped(short)
                )?;
            }
            self.write_cells(point)?;
        }
        writeln!(self.out, "</table></div>")
    }

    fn write_cells(&mut self, point: &Point) -> std::fmt::Result {
        let ms = |of: fn(&Figures) -> f64| point.spread(|run| Some(of(run) / 1e3));
        let plain =
            |spread: Option<Spread>, digits| spread.map_or(String::new(), |s| number(s.median, digits));
        write!(self.out, "<td>{}", plain(point.spread(|run| Some(run.records_per_s)), 0))?;
        write!(self.out, "<td>{}<td>{}", plain(ms(|run| run.p50_us), 2), with_spread(point.p99_ms(), 2))?;
        write!(self.out, "<td>{}", at_percentile(point, 99.9).map_or(String::new(), |ms| number(ms, 2)))?;
        write!(
            self.out,
            "<td>{}",
            ms(|run| run.max_us).map_or(String::new(), |spread| number(spread.highest, 1))
        )?;
        write!(self.out, "<td>{}", plain(point.spread(|run| run.server_cpu_s_per_million_records), 3))?;
        write!(self.out, "<td>{}", plain(point.spread(|run| run.server_cpu_s_per_gb), 3))?;
        write!(
            self.out,
            "<td>{}",
            plain(point.spread(|run| run.rss_bytes.map(|bytes| bytes as f64 / 1_048_576.0)), 0)
        )?;
        write!(self.out, "<td>{}", plain(point.spread(|run| run.disk_bytes_per_byte), 2))?;
        write!(self.out, "<td>{}", plain(point.spread(|run| run.flushes_per_s), 0))?;
        let failed = point.runs.iter().any(|run| run.error.is_some() || !run.failed_checks.is_empty());
        let checked = point.runs.iter().any(|run| run.checked);
        let verdict = match (failed, checked) {
            (true, _) => "<span class=\"bad\">FAILED</span>",
            (false, true) => "ok",
            (false, false) => "<small>not read</small>",
        };
        writeln!(self.out, "<td class=\"l\">{verdict}</tr>")
    }

    /// One plot for each number of partitions.
    fn partition_counts(&self) -> Vec<i32> {
        let mut counts: Vec<i32> = self.result.points.iter().map(|point| point.partitions).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    fn of_count(&self, partitions: i32) -> impl Iterator<Item = &'a Point> + use<'a> {
        self.result.points.iter().filter(move |point| point.partitions == partitions)
    }

    fn write_percentiles(&mut self) -> std::fmt::Result {
        let kind = self.latency_kind();
        writeln!(
            self.out,
            "<h2>Latency by percentile</h2><p class=\"dim\">All measurements of a point together, {kind}.</p>"
        )?;
        self.write_legend()?;
        writeln!(self.out, "<div class=\"plots\">")?;
        let all = || self.result.points.iter().flat_map(|point| shown(&point.curve));
        let (x, y): (Vec<f64>, Vec<f64>) = all().map(|(percentile, us)| (percentile, us / 1e3)).unzip();
        for partitions in self.partition_counts() {
            let lines = self.of_count(partitions).map(|point| Line {
                colour: point.broker,
                dash: self.dash_of(point),
                plain: true,
                marks: shown(&point.curve)
                    .map(|(percentile, us)| Mark {
                        x: percentile,
                        y: us / 1e3,
                        bar: None,
                        text: String::new(),
                    })
                    .collect(),
            });
            let chart = Chart {
                description: "latency of acks over percentiles",
                x: Axis::of("percentile", Scale::Percentile, x.iter().copied()),
                y: Axis::of("ms", Scale::Log, y.iter().copied()),
                lines: lines.collect(),
            };
            self.write_figure(&format!("{} partitions", thousands(partitions as u64)), "", &chart)?;
        }
        writeln!(self.out, "</div>")
    }

    fn write_timelines(&mut self) -> std::fmt::Result {
        writeln!(
            self.out,
            "<h2>Throughput over time</h2><p class=\"dim\">The measurement of each point whose throughput is in the middle; from the end of its warm-up.</p>"
        )?;
        self.write_legend()?;
        writeln!(self.out, "<div class=\"plots\">")?;
        for partitions in self.partition_counts() {
            let mut lines = Vec::new();
            for point in self.of_count(partitions) {
                let timeline = point.middle_run().map_or(&[][..], |run| &run.timeline);
                let marks = timeline.iter().map(|at| Mark {
                    x: at.at_s,
                    y: at.mb_per_s,
                    bar: None,
                    text: String::new(),
                });
                lines.push(Line {
                    colour: point.broker,
                    dash: self.dash_of(point),
                    plain: true,
                    marks: marks.collect(),
                });
            }
            let all = || lines.iter().flat_map(|line| &line.marks);
            let chart = Chart {
                description: "throughput over time",
                x: Axis::of("seconds", Scale::Linear, all().map(|mark| mark.x)),
                y: Axis::of("MB/s", Scale::Linear, all().map(|mark| mark.y)),
                lines: lines.clone(),
            };
            self.write_figure(&format!("{} partitions", thousands(partitions as u64)), "", &chart)?;
        }
        writeln!(self.out, "</div>")
    }

    fn write_reading(&mut self) -> std::fmt::Result {
        let mut remarks = Vec::new();
        for point in &self.result.points {
            for remark in point.remarks() {
                remarks.push(format!(
                    "{}, {} partitions, {}: {remark}",
                    point.name,
                    thousands(point.partitions as u64),
                    point.batch
                ));
            }
        }
        writeln!(self.out, "<h2>How to read it</h2>")?;
        let kind = self.latency_kind();
        let meaning = if kind == "open loop" {
            "Open loop: requests are due at a fixed rate whatever the broker does, and latency counts from the time at which a request was due."
        } else {
            "Closed loop: each connection keeps a number of requests in flight, so the broker is always as busy as it can be, and \
             latency says how long a full queue takes. Latency under a given load is measured with a rate (open loop)."
        };
        writeln!(self.out, "<p>{}</p>", escaped(meaning))?;
        writeln!(
            self.out,
            "<p>Brokers took turns: between two measurements of a point every other point and broker had its own, only one was loaded at a time, \
            and dirty pages were written out in between. MB are 10<sup>6</sup> bytes of record batches that were acked.</p>"
        )?;
        if !remarks.is_empty() {
            writeln!(self.out, "<h2>Remarks</h2><ul>")?;
            for remark in remarks {
                let bad = remark.contains("FAILED") || remark.contains(": failed: ");
                writeln!(
                    self.out,
                    "<li{}>{}</li>",
                    if bad { " class=\"bad\"" } else { "" },
                    escaped(&remark)
                )?;
            }
            writeln!(self.out, "</ul>")?;
        }
        Ok(())
    }

    fn write_commands(&mut self) -> std::fmt::Result {
        writeln!(self.out, "<h2>Commands</h2><p>The whole:</p><pre>{}</pre>", escaped(&self.result.command))?;
        writeln!(self.out, "<p>Each point by itself:</p>")?;
        for point in &self.result.points {
            let label = format!(
                "{}, {} partitions, {}, acks={}",
                point.name,
                thousands(point.partitions as u64),
                point.batch,
                point.acks
            );
            writeln!(self.out, "<pre># {}\n{}</pre>", escaped(&label), escaped(&point.command))?;
        }
        Ok(())
    }
}

/// The part of a curve that is drawn: the longest latency has no place on an axis of nines.
fn shown(curve: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    curve.iter().copied().filter(|(percentile, _)| *percentile < 100.0)
}

fn with_spread(spread: Option<Spread>, digits: usize) -> String {
    let Some(s) = spread else { return String::new() };
    let (median, low, high) = (number(s.median, digits), number(s.lowest, digits), number(s.highest, digits));
    format!("{median} <small>{low}&ndash;{high}</small>")
}

/// A short piece of a line with its mark.
fn key(colour: usize, dash: usize) -> String {
    let class = format!("c{} d{}", colour % super::chart::COLOURS, dash % super::chart::DASHES);
    let mark = shape(dash, 22.0, 6.0);
    format!(
        "<svg class=\"key\" viewBox=\"0 0 44 12\"><path class=\"line {class}\" d=\"M1 6H43\"/><g class=\"{class}\">{mark}</g></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TimePoint;
    use crate::sweep::result::NamedBroker;

    fn result() -> SweepResult {
        let broker = |name: &str| NamedBroker {
            name: name.to_owned(),
            durability: "flush.messages=1".to_owned(),
            ..NamedBroker::default()
        };
        let mut points = Vec::new();
        for (index, name) in ["one", "<two>"].into_iter().enumerate() {
            for partitions in [1, 100] {
                let timeline = (0..5)
                    .map(|s| TimePoint { at_s: f64::from(s), records_per_s: 1e5, mb_per_s: 100.0 })
                    .collect();
                let run = Figures {
                    mb_per_s: 100.0 * (index + 1) as f64,
                    p99_us: 900.0,
                    timeline,
                    ..Figures::default()
                };
                points.push(Point {
                    broker: index,
                    name: name.to_owned(),
                    partitions,
                    batch: "64k".to_owned(),
                    acks: "all".to_owned(),
                    command: format!("keylane-loadgen run --partitions {partitions} --x '<'"),
                    runs: vec![run.clone(), run],
                    curve: vec![(50.0, 100.0), (99.0, 900.0), (100.0, 9000.0)],
                    ..Point::default()
                });
            }
        }
        SweepResult { brokers: vec![broker("one"), broker("<two>")], points, ..SweepResult::default() }
    }

    #[test]
    fn the_page_stands_alone_and_shows_every_point() {
        let page = of_sweep(&result());
        for forbidden in ["<script", "http:", "https:", "@import", "url(", "NaN", "<two>"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        // Two by partitions, two by percentile, two over time.
        assert_eq!(page.matches("<figure>").count(), 6);
        assert_eq!(page.matches("flush.messages=1").count(), 2 + 2 * 4);
        for point in result().points {
            assert!(page.contains(&escaped(&point.command)));
        }
        assert!(page.contains("0.5&times;"), "the ratio to the first broker is missing");
    }

    #[test]
    fn a_point_that_failed_is_shown_as_such() {
        let mut result = result();
        result.points[0].runs = vec![Figures::failed("no <answer>".to_owned())];
        let page = of_sweep(&result);
        assert!(page.contains("FAILED") && page.contains("no &lt;answer&gt;"));
    }
}
