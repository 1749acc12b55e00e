//! The tables of a sweep.

use std::fmt::Write;

use super::chart::key;
use super::escaped;
use super::page::Page;
use crate::spread::Spread;
use crate::sweep::figures::Figures;
use crate::sweep::result::Point;
use crate::sweep::table::{at_percentile, groups, number};
use crate::units::thousands;

/// A column of what records cost.
struct Cost {
    name: &'static str,
    digits: usize,
    of: fn(&Figures) -> Option<f64>,
}

const COSTS: [Cost; 5] = [
    Cost { name: "CPU s<br>/10<sup>6</sup> rec.", digits: 3, of: |run| run.server_cpu_s_per_million_records },
    Cost { name: "CPU s<br>/GB", digits: 3, of: |run| run.server_cpu_s_per_gb },
    Cost { name: "RSS<br>MiB", digits: 0, of: |run| run.rss_bytes.map(|bytes| bytes as f64 / 1_048_576.0) },
    Cost { name: "disk B<br>/B", digits: 2, of: |run| run.disk_bytes_per_byte },
    Cost { name: "flushes<br>/s", digits: 0, of: |run| run.flushes_per_s },
];

impl Page<'_> {
    pub(super) fn write_tables(&mut self) -> std::fmt::Result {
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
        write!(self.out, "<tr><th>partitions<th class=\"l\">broker, durability<th>MB/s")?;
        if several {
            let reference = escaped(&self.result.brokers[0].name);
            write!(self.out, "<th>{reference}<br>to it")?;
        }
        write!(self.out, "<th>records/s<th>p50 ms<th>p99 ms<th>p99.9<br>ms<th>max<br>ms")?;
        // Columns that nobody has a figure for are left out.
        let told = |cost: &&Cost| group.iter().any(|point| point.spread(cost.of).is_some());
        let costs: Vec<&Cost> = COSTS.iter().filter(told).collect();
        costs.iter().try_for_each(|cost| write!(self.out, "<th>{}", cost.name))?;
        writeln!(self.out, "<th class=\"l\">checked</tr>")?;
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
            let durability =
                self.result.brokers.get(point.broker).map_or("", |broker| broker.durability.as_str());
            let short = durability.split([':', ' ']).next().unwrap_or_default();
            write!(
                self.out,
                "<td class=\"l\" title=\"{}\">{}{} <small>{}</small>",
                escaped(durability),
                key(point.broker, dash),
                escaped(&point.name),
                escaped(short)
            )?;
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
            }
            self.write_cells(point, &costs)?;
        }
        writeln!(self.out, "</table></div>")
    }

    fn write_cells(&mut self, point: &Point, costs: &[&Cost]) -> std::fmt::Result {
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
        for cost in costs {
            write!(self.out, "<td>{}", plain(point.spread(cost.of), cost.digits))?;
        }
        let failed = point.runs.iter().any(|run| run.error.is_some() || !run.failed_checks.is_empty());
        let checked = point.runs.iter().any(|run| run.checked);
        let verdict = match (failed, checked) {
            (true, _) => "<span class=\"bad\">FAILED</span>",
            (false, true) => "ok",
            (false, false) => "<small>not read</small>",
        };
        writeln!(self.out, "<td class=\"l\">{verdict}</tr>")
    }
}

fn with_spread(spread: Option<Spread>, digits: usize) -> String {
    let Some(s) = spread else { return String::new() };
    let (median, low, high) = (number(s.median, digits), number(s.lowest, digits), number(s.highest, digits));
    format!("{median} <small>{low}&ndash;{high}</small>")
}
