//! The plots of a sweep: by partitions, by percentile, over time.

use super::axis::{Axis, Scale};
use super::chart::{Chart, Line, Mark, key};
use super::escaped;
use super::page::Page;
use crate::spread::Spread;
use crate::sweep::result::Point;
use crate::sweep::table::{groups, number};
use crate::units::thousands;
use std::fmt::Write;

impl<'a> Page<'a> {
    /// Lines of the plots: a colour for each broker, a dash for each batch size and acks.
    pub(super) fn dashes(&self) -> Vec<(String, String)> {
        groups(&self.result.points)
            .iter()
            .filter_map(|group| Some((group.first()?.batch.clone(), group.first()?.acks.clone())))
            .collect()
    }

    pub(super) fn dash_of(&self, point: &Point) -> usize {
        self.dashes()
            .iter()
            .position(|(batch, acks)| *batch == point.batch && *acks == point.acks)
            .unwrap_or(0)
    }

    pub(super) fn dash_name(&self, dash: &(String, String)) -> String {
        let one_acks = self.dashes().iter().all(|(_, acks)| *acks == dash.1);
        let batch =
            if dash.0 == "single" { "single records".to_owned() } else { format!("batches of {}", dash.0) };
        if one_acks { batch } else { format!("{batch}, acks={}", dash.1) }
    }

    pub(super) fn write_legend(&mut self) -> std::fmt::Result {
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

    pub(super) fn write_by_partitions(&mut self) -> std::fmt::Result {
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
        let caption = format!("{}; medians, bars from the lowest to the highest.", self.latency_kind());
        self.write_figure("Latency of acks, p99", &caption, &p99)?;
        writeln!(self.out, "</div>")
    }

    pub(super) fn latency_kind(&self) -> String {
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

    pub(super) fn write_percentiles(&mut self) -> std::fmt::Result {
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
            self.write_figure(&of_partitions(partitions), "", &chart)?;
        }
        writeln!(self.out, "</div>")
    }

    pub(super) fn write_timelines(&mut self) -> std::fmt::Result {
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
                x: Axis::up_to("seconds", all().map(|mark| mark.x)),
                y: Axis::of("MB/s", Scale::Linear, all().map(|mark| mark.y)),
                lines: lines.clone(),
            };
            self.write_figure(&of_partitions(partitions), "", &chart)?;
        }
        writeln!(self.out, "</div>")
    }
}

fn of_partitions(count: i32) -> String {
    if count == 1 { "1 partition".to_owned() } else { format!("{} partitions", thousands(count as u64)) }
}

/// The part of a curve that is drawn: the longest latency has no place on an axis of nines.
fn shown(curve: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> + '_ {
    curve.iter().copied().filter(|(percentile, _)| *percentile < 100.0)
}
