//! What a run comes to: figures and the verdict, as JSON or as a table.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::cpu::ProcessUse;
use crate::group::summary::GroupReport;
use crate::histogram::{Latencies, LatencySummary};
use crate::units::{mega, thousands, time};
use crate::verdict::{Status, Verdict};

#[derive(Debug, Clone, Default, Serialize)]
pub struct Settings {
    pub broker: String,
    pub topic: String,
    pub partitions: i32,
    pub record_bytes: usize,
    pub batch_records: usize,
    pub batch_bytes: usize,
    pub connections: usize,
    pub window: usize,
    pub acks: i16,
    /// Over HTTP, as Kinesis' clients do; otherwise Kafka's protocol.
    pub kinesis: bool,
    pub rate: Option<f64>,
    /// Where there is no rate.
    pub pace: &'static str,
    pub keys: u32,
    pub consumers: usize,
    pub threads: usize,
    pub load_cores: Vec<usize>,
    pub server_cores: Vec<usize>,
    pub produce_version: i16,
    pub fetch_version: i16,
    pub static_payload: bool,
    pub seed: u64,
    /// What else was asked of the load, in words.
    pub shape: Vec<String>,
}

/// What was acked during the measurement.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Produced {
    pub seconds: f64,
    pub requests: u64,
    pub records: u64,
    pub requests_per_s: f64,
    pub records_per_s: f64,
    /// Keys and values.
    pub payload_bytes_per_s: f64,
    /// Whole record batches.
    pub batch_bytes_per_s: f64,
    pub records_acked_total: u64,
    pub requests_per_write: f64,
    /// "open loop": from the time at which a request was due; "closed loop": from its sending;
    /// "until written": nothing is acked.
    pub latency_kind: &'static str,
    pub latency: Option<LatencySummary>,
    /// Percentile and microseconds.
    pub latency_curve: Vec<(f64, f64)>,
    /// Requests that were due and never left.
    pub backlog_requests: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Consumed {
    pub records_total: u64,
    pub batch_bytes_total: u64,
    /// Read while producers were at work; 0 if all is read back after the load.
    pub records_during_load: u64,
    /// Reading back after the load: how long, and how fast.
    pub after_seconds: Option<f64>,
    pub after_batch_bytes_per_s: Option<f64>,
    /// Records sent during the measurement.
    pub records_measured: u64,
    /// Batches that end above the high watermark told in the same answer.
    pub batches_above_watermark: u64,
    pub end_to_end: Option<LatencySummary>,
    /// Each group of consumers; the figures above are of the one that judges.
    pub readers: Vec<ReaderReport>,
}

/// One group of consumers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReaderReport {
    pub name: String,
    pub records: u64,
    pub batch_bytes: u64,
    /// Whether it reached the end of every partition.
    pub complete: bool,
    /// From its first request to the high watermark of each partition, as it was when it came there; and how fast.
    pub caught_up_s: Option<f64>,
    pub caught_up_bytes_per_s: Option<f64>,
    pub end_to_end: Option<LatencySummary>,
}

/// Throughput at a time of the measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TimePoint {
    pub at_s: f64,
    pub records_per_s: f64,
    /// Record batches, 10^6 bytes.
    pub mb_per_s: f64,
}

/// What a record costs the server; absent: not known.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cost {
    pub server_cpu_s_per_million_records: Option<f64>,
    /// For 10^9 bytes of record batches.
    pub server_cpu_s_per_gb: Option<f64>,
    /// Of the cores that it may use.
    pub server_busy_share: Option<f64>,
    pub rss_bytes: Option<u64>,
    /// The server is a part of this process, and the memory is that of both.
    pub rss_with_load: bool,
    pub disk_bytes_per_byte: Option<f64>,
    pub flushes_per_s: Option<f64>,
}

/// All latencies, for those who want more than percentiles.
#[derive(Debug, Clone, Default)]
pub struct Histograms {
    pub ack: Latencies,
    pub end_to_end: Latencies,
}

/// Processor time during the measurement.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CpuUse {
    pub load_cpu_s: f64,
    pub load_cpu_us_per_request: f64,
    /// Of the time of its threads, on a processor.
    pub load_busy_share: f64,
    /// Of the time of its threads, not waiting for the broker or the clock.
    pub load_awake_share: f64,
    /// Mean part of the window still in flight when it was refilled.
    pub window_share_at_refill: f64,
    pub process_cpu_s: f64,
    pub server_threads: usize,
    pub server_cpu_s: Option<f64>,
    pub server_cpu_us_per_request: Option<f64>,
    pub server_process: Option<ProcessUse>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub settings: Settings,
    pub produced: Produced,
    pub consumed: Option<Consumed>,
    /// The group of members that read beside the load.
    pub group: Option<GroupReport>,
    pub cpu: CpuUse,
    pub cost: Cost,
    /// What the broker says of its flushes.
    pub durability: Option<String>,
    pub timeline: Vec<TimePoint>,
    #[serde(skip)]
    pub histograms: Histograms,
    /// Counters of the embedded server.
    pub server_stats: Option<serde_json::Value>,
    /// Refused requests by the protocol's name of the error.
    pub errors: BTreeMap<String, u64>,
    /// Records that were refused because their shard had too much to do, and were sent again.
    pub resent: u64,
    /// Over HTTP, how long GetRecords took: with as many records as were asked for, and with none.
    pub gets: [Option<LatencySummary>; 2],
    pub disconnects: u64,
    /// Connections that were made anew.
    pub reconnects: u64,
    /// Why the run is not what was asked for, if so.
    pub incomplete: Option<String>,
    pub warnings: Vec<String>,
    pub verdict: Verdict,
    pub exit_code: u8,
}

impl Report {
    /// 0 ok, 1 the verdict failed, 2 the run is not what was asked for.
    pub fn decide(&mut self) {
        self.exit_code = match (self.verdict.failed(), &self.incomplete) {
            (true, _) => 1,
            (false, Some(_)) => 2,
            (false, None) => 0,
        };
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, text: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<18} {text}")
}

fn write_latency(f: &mut fmt::Formatter<'_>, name: &str, latency: &Option<LatencySummary>) -> fmt::Result {
    let Some(l) = latency else { return write_row(f, name, "nothing was measured") };
    let mut text = String::new();
    let points = [
        ("p50", l.p50_us),
        ("p90", l.p90_us),
        ("p99", l.p99_us),
        ("p99.9", l.p999_us),
        ("p99.99", l.p9999_us),
        ("max", l.max_us),
    ];
    for (point, us) in points {
        write!(text, "{point} {}   ", time(us))?;
    }
    write_row(f, name, text.trim_end())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_settings(f)?;
        self.write_figures(f)?;
        let names = ["full GetRecords", "empty GetRecords"];
        for (name, gets) in names.into_iter().zip(&self.gets).filter(|(_, gets)| gets.is_some()) {
            write_latency(f, name, gets)?;
        }
        self.write_group(f)?;
        self.write_cpu(f)?;
        for (name, count) in &self.errors {
            write_row(f, "error", format_args!("{name}: {} times, not acked, unknown", thousands(*count)))?;
        }
        if self.resent > 0 {
            let resent =
                format_args!("{} records, refused by the rate of their shard", thousands(self.resent));
            write_row(f, "sent again", resent)?;
        }
        if self.disconnects > 0 {
            let again = format_args!("{}, {} made anew", self.disconnects, self.reconnects);
            write_row(f, "disconnects", again)?;
        }
        for warning in &self.warnings {
            writeln!(f, "WARNING: {warning}")?;
        }
        write_verdict(f, &self.verdict)?;
        if let Some(why) = &self.incomplete {
            writeln!(f, "the run is not what was asked for: {why}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.settings;
        writeln!(f, "load on {}", s.broker)?;
        let (topic, partitions) = if s.kinesis { ("stream", "shards") } else { ("topic", "partitions") };
        write_row(f, topic, format_args!("{}, {} {partitions}", s.topic, s.partitions))?;
        let (records, bytes) = (s.batch_records, thousands(s.batch_bytes as u64));
        let batch = if s.kinesis { "a request" } else { "a batch" };
        let batches = format_args!("{} bytes; {records} in {batch} of {bytes} bytes", s.record_bytes);
        write_row(f, "records", batches)?;
        let acks = if s.acks < 0 { "all".to_owned() } else { s.acks.to_string() };
        let (connections, window) = (s.connections, s.window);
        let rate = s.rate.map_or(s.pace.to_owned(), |rate| format!("{rate:.0} records/s"));
        let acks = if s.kinesis { String::new() } else { format!(", acks={acks}") };
        let load = format_args!("{connections} connections x {window} in flight{acks}, {rate}");
        write_row(f, "load", load)?;
        let cores = if s.load_cores.is_empty() { "any".to_owned() } else { format!("{:?}", s.load_cores) };
        let server = if s.server_cores.is_empty() {
            String::new()
        } else {
            format!("; server on {:?}", s.server_cores)
        };
        write_row(f, "cores", format_args!("{} load threads on {cores}{server}", s.threads))?;
        if !s.shape.is_empty() {
            write_row(f, "shape", s.shape.join("; "))?;
        }
        if let Some(durability) = &self.durability {
            write_row(f, "durability", durability)?;
        }
        Ok(())
    }

    fn write_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p, kinesis) = (&self.produced, self.settings.kinesis);
        writeln!(f, "acked in {:.2} s", p.seconds)?;
        write_row(
            f,
            "records",
            format_args!("{} /s   ({})", thousands(p.records_per_s as u64), thousands(p.records)),
        )?;
        let requests = (thousands(p.requests_per_s as u64), p.requests_per_write);
        let writes = if kinesis { String::new() } else { format!("   ({:.1} per write)", requests.1) };
        write_row(f, "requests", format_args!("{} /s{writes}", requests.0))?;
        let (payload, batches) = (mega(p.payload_bytes_per_s), mega(p.batch_bytes_per_s));
        let batches = if kinesis { String::new() } else { format!(", {batches} of batches") };
        write_row(f, "bytes", format_args!("{payload} of keys and values{batches}"))?;
        write_latency(f, &format!("ack ({})", p.latency_kind), &p.latency)?;
        if let Some(consumed) = &self.consumed {
            let rate = consumed.after_batch_bytes_per_s.map_or(String::new(), |rate| {
                format!(" in {:.2} s, {} of batches", consumed.after_seconds.unwrap_or(0.0), mega(rate))
            });
            write_row(f, "read", format_args!("{} records{rate}", thousands(consumed.records_total)))?;
            if consumed.end_to_end.is_some() {
                write_latency(f, "end to end", &consumed.end_to_end)?;
            }
            for reader in consumed.readers.iter().filter(|_| consumed.readers.len() > 1) {
                let (records, bytes) = (thousands(reader.records), thousands(reader.batch_bytes));
                let end = if reader.complete { "to the end" } else { "NOT to the end" };
                let caught_up = match (reader.caught_up_s, reader.caught_up_bytes_per_s) {
                    (Some(seconds), Some(rate)) if reader.end_to_end.is_none() => {
                        format!("; caught up in {seconds:.2} s, {}", mega(rate))
                    }
                    _ => String::new(),
                };
                write_row(
                    f,
                    &format!("  {}", reader.name),
                    format_args!("{records} records, {bytes} bytes, {end}{caught_up}"),
                )?;
                if reader.end_to_end.is_some() && consumed.readers.len() > 1 {
                    write_latency(f, "", &reader.end_to_end)?;
                }
            }
        }
        Ok(())
    }

    fn write_group(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(group) = &self.group else { return Ok(()) };
        let (started, left, killed) = (group.started, group.left, group.killed);
        let members =
            format_args!("{started} members started, {left} left, {killed} killed; {}", group.protocol);
        write_row(f, "group", members)?;
        let (generations, p50) = (group.generations, time(group.rebalance_p50_ms * 1e3));
        let longest = time(group.rebalance_max_ms * 1e3);
        write_row(
            f,
            "  rebalances",
            format_args!("{generations} generations; a member joined in p50 {p50}, max {longest}"),
        )
    }

    fn write_cpu(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.cpu;
        writeln!(f, "processor time")?;
        let (busy, awake) = (c.load_busy_share * 100.0, c.load_awake_share * 100.0);
        let each = c.load_cpu_us_per_request;
        let load = format_args!(
            "{:.2} s, {each:.2} us/request ({busy:.0} % busy, {awake:.0} % awake)",
            c.load_cpu_s
        );
        write_row(f, "load", load)?;
        if let Some(server) = c.server_cpu_s {
            let each = c.server_cpu_us_per_request.unwrap_or(0.0);
            write_row(f, "server", format_args!("{server:.2} s, {each:.2} us/request"))?;
        }
        write_row(f, "this process", format_args!("{:.2} s", c.process_cpu_s))?;
        if let Some(memory) = c.server_process {
            let (now, max) = (memory.rss_bytes >> 20, memory.rss_bytes_max >> 20);
            write_row(f, "server memory", format_args!("{now} MiB, at most {max} MiB"))?;
        }
        self.write_cost(f)
    }

    fn write_cost(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.cost;
        let mut parts = Vec::new();
        if let (Some(records), Some(gb)) = (c.server_cpu_s_per_million_records, c.server_cpu_s_per_gb) {
            parts.push(format!("{records:.3} CPU s per million records, {gb:.3} per GB"));
        }
        if let Some(busy) = c.server_busy_share {
            parts.push(format!("{:.0} % of its cores", busy * 100.0));
        }
        if let Some(bytes) = c.disk_bytes_per_byte {
            parts.push(format!("{bytes:.2} bytes to disk per byte"));
        }
        if let Some(flushes) = c.flushes_per_s {
            parts.push(format!("{} flushes/s", thousands(flushes.round() as u64)));
        }
        if let Some(rss) = c.rss_bytes {
            let whose = if c.rss_with_load { " with the load" } else { "" };
            parts.push(format!("{} MiB{whose}", rss >> 20));
        }
        if parts.is_empty() {
            return Ok(());
        }
        write_row(f, "cost (server)", parts.join("; "))
    }
}

pub fn write_verdict(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    writeln!(f, "verdict")?;
    for line in &verdict.lines {
        let status = match line.status {
            Status::Ok => "ok",
            Status::Failed => "FAILED",
            Status::NotChecked => "not checked",
        };
        writeln!(f, "  {:<11} {status}  ({})", format!("{}:", line.name), line.text)?;
    }
    for example in &verdict.examples {
        writeln!(f, "    {example}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn a_failed_verdict_outweighs_an_incomplete_run() {
        let mut report = Report { incomplete: Some("x".to_owned()), ..Report::default() };
        report.decide();
        assert_eq!(report.exit_code, 2);
        let line = crate::verdict::Line { name: "loss", status: Status::Failed, text: String::new() };
        report.verdict.lines.push(line);
        report.decide();
        assert_eq!(report.exit_code, 1);
        assert!(report.to_string().contains("FAILED"));
    }
}
