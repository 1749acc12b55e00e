//! The page of a sweep.

use std::fmt::Write;

use super::chart::key;
use super::escaped;
use crate::sweep::result::SweepResult;
use crate::units::thousands;

const STYLE: &str = include_str!("style.css");

/// The whole document.
pub fn of_sweep(result: &SweepResult) -> String {
    let mut page = Page { result, out: String::new() };
    // Writing to a string does not fail.
    let _ = page.write();
    page.out
}

pub(super) struct Page<'a> {
    pub(super) result: &'a SweepResult,
    pub(super) out: String,
}

impl Page<'_> {
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
        let notes = self.result.brokers.iter().any(|broker| !broker.note.is_empty());
        let note = |text: &str| {
            if notes { format!("<td class=\"l wrap\">{}", escaped(text)) } else { String::new() }
        };
        writeln!(
            self.out,
            "<tr><th class=\"l\">broker<th class=\"l\">durability setting<th class=\"l\">told by{}<th class=\"l\">address</tr>",
            if notes { "<th class=\"l\">note" } else { "" }
        )?;
        for (index, broker) in self.result.brokers.iter().enumerate() {
            let key = key(index, 0);
            let cell = |text: &str| escaped(text);
            writeln!(
                self.out,
                "<tr><td class=\"l\">{key}<b>{}</b><td class=\"l wrap\">{}<td class=\"l\">{}{}<td class=\"l\">{}</tr>",
                cell(&broker.name),
                cell(&broker.durability),
                cell(&broker.durability_told_by),
                note(&broker.note),
                cell(&broker.address)
            )?;
        }
        writeln!(self.out, "</table></div>")
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
        for broker in self.result.brokers.iter().filter(|broker| !broker.warm_up.is_empty()) {
            let rates: Vec<String> = broker.warm_up.iter().map(|rate| format!("{rate:.0}")).collect();
            let (name, rates) = (escaped(&broker.name), rates.join(", "));
            writeln!(
                self.out,
                "<p>{name} was loaded before all until its rate had settled: {rates} MB/s.</p>"
            )?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TimePoint;
    use crate::sweep::figures::Figures;
    use crate::sweep::result::{NamedBroker, Point};

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
