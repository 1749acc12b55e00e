//! `lab plan --kinesis`: how many shards a stream needs, by the limits that AWS sets for each, and what these limits do to one key
//! that is used more than all others. The load runs on a Keylane in this process that refuses what AWS would refuse.

use std::fmt;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{Claims, Finding, thousands, verdict};
use crate::args::RunArgs;
use crate::report::Report;
use crate::run;

/// What a shard takes and gives in a second:
/// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>.
const IN_BYTES: f64 = (1 << 20) as f64;
const IN_RECORDS: f64 = 1000.0;
const OUT_BYTES: f64 = (2 << 20) as f64;
const SHARDS_MAX: u64 = 1000;
/// The part of the records that one key has in the second and third run.
const HOT: f64 = 0.5;
/// Part of the asked rate that the first run must reach.
const REACHED: f64 = 0.97;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Records a second, their bytes, records a second of one consumer, and times the rate that the count should do for.
    pub rate: f64,
    pub record_bytes: usize,
    pub consumer_rate: f64,
    pub growth: f64,
    pub seconds: f64,
    pub seed: u64,
    pub data_parent: Option<std::path::PathBuf>,
}

/// A short run at the asked rate.
#[derive(Debug, Clone, Serialize)]
pub struct Act {
    pub way: &'static str,
    pub records_per_s: f64,
    /// Records that a shard refused, and that were sent again.
    pub refused: u64,
    pub ack_p50_ms: f64,
    pub ack_p99_ms: f64,
    pub in_order: bool,
    /// Nothing lost, nothing twice.
    pub all_there: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct ShardsFinding {
    pub rate: f64,
    pub record_bytes: usize,
    pub consumer_rate: f64,
    pub growth: f64,
    pub for_bytes: u64,
    pub for_records: u64,
    pub for_readers: u64,
    pub for_consumers: u64,
    pub shards: u64,
    pub acts: [Act; 3],
    pub wrong: Vec<String>,
}

impl Finding for ShardsFinding {
    fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

fn act(wanted: &Wanted, shards: u64, way: &'static str, more: &str) -> Result<Act> {
    // A request gathers for about twenty milliseconds, on each of four connections.
    let batch = ((wanted.rate / 200.0) as usize).clamp(1, 200);
    let text = format!(
        "--kinesis --kinesis-throttle --partitions {shards} --record-bytes {} --rate {} --batch-records {batch} --connections 4 \
         --consumers 2 --poll 250ms --seed {} --duration {}s --warmup 500ms --no-progress {more}",
        wanted.record_bytes, wanted.rate, wanted.seed, wanted.seconds
    );
    let mut args = RunArgs::from_text(&text).with_context(|| format!("the options {text}"))?;
    args.data_parent.clone_from(&wanted.data_parent);
    Ok(of_report(&run::run(&args)?, way))
}

fn of_report(report: &Report, way: &'static str) -> Act {
    let failed = |name: &str| {
        let line = report.verdict.lines.iter().find(|line| line.name == name);
        line.is_none_or(|line| line.status != crate::verdict::Status::Ok)
    };
    let latency = report.produced.latency.as_ref();
    Act {
        way,
        records_per_s: report.produced.records_per_s,
        refused: report.resent,
        ack_p50_ms: latency.map_or(0.0, |l| l.p50_us / 1e3),
        ack_p99_ms: latency.map_or(0.0, |l| l.p99_us / 1e3),
        in_order: !failed("order"),
        all_there: !failed("loss") && !failed("duplicates"),
    }
}

/// Runs the experiment.
pub fn run(wanted: &Wanted) -> Result<ShardsFinding> {
    let later = wanted.rate * wanted.growth;
    let bytes = later * wanted.record_bytes as f64;
    let up = |part: f64| part.ceil() as u64;
    let (for_bytes, for_records) = (up(bytes / IN_BYTES), up(later / IN_RECORDS));
    let (for_readers, for_consumers) = (up(bytes / OUT_BYTES), up(later / wanted.consumer_rate));
    let shards = for_bytes.max(for_records).max(for_readers).max(for_consumers).max(1);
    ensure!(
        shards <= SHARDS_MAX,
        "{shards} shards: larger records, or several streams, share the work better"
    );
    let hot = format!("--key-dist hot:{HOT}");
    let acts = [
        act(wanted, shards, "even keys", "")?,
        act(wanted, shards, "a hot key", &hot)?,
        act(wanted, shards, "a hot key, carelessly", &format!("{hot} --careless"))?,
    ];
    let claims = claims(wanted, &acts);
    Ok(ShardsFinding {
        rate: wanted.rate,
        record_bytes: wanted.record_bytes,
        consumer_rate: wanted.consumer_rate,
        growth: wanted.growth,
        for_bytes,
        for_records,
        for_readers,
        for_consumers,
        shards,
        acts,
        wrong: claims,
    })
}

/// What does not hold.
fn claims(wanted: &Wanted, [even, hot, careless]: &[Act; 3]) -> Vec<String> {
    let mut claims = Claims::default();
    let (rate, found) = (thousands(wanted.rate as u64), thousands(even.records_per_s as u64));
    claims.check(
        even.records_per_s >= wanted.rate * REACHED,
        format!("with even keys, {rate} records/s are taken; it were {found}"),
    );
    for act in [even, hot] {
        claims.check(act.in_order, format!("{}: every key is read in order", act.way));
    }
    for act in [even, hot, careless] {
        claims.check(act.all_there, format!("{}: nothing is lost or twice", act.way));
    }
    // A key that would fit into a shard is none to learn from.
    let of_hot = wanted.rate * HOT;
    if of_hot > IN_RECORDS * 1.5 || of_hot * wanted.record_bytes as f64 > IN_BYTES * 1.5 {
        claims.check(hot.ack_p99_ms > even.ack_p99_ms, "the hot key's records wait longer than even ones");
        claims.check(careless.refused > 0, "the hot key's shard refuses records");
        claims.check(!careless.in_order, "refused records that are sent again carelessly come out of order");
    }
    claims.into_wrong()
}

impl fmt::Display for ShardsFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: f64| thousands(n.round() as u64);
        let later = self.rate * self.growth;
        let bytes = later * self.record_bytes as f64;
        writeln!(f, "lab plan: how many shards")?;
        writeln!(
            f,
            "  {} records/s of {} bytes now, {} times as many later; one consumer processes {} records/s.",
            number(self.rate),
            thousands(self.record_bytes as u64),
            self.growth,
            number(self.consumer_rate)
        )?;
        writeln!(f, "  Measured on a Keylane in this process that refuses what AWS refuses.")?;
        writeln!(f)?;
        writeln!(f, "1. What has to be carried: {} records/s, {:.1} MiB/s", number(later), bytes / IN_BYTES)?;
        writeln!(f, "   bytes in     a shard takes 1 MiB/s:             {:>6}", self.for_bytes)?;
        writeln!(f, "   records in   a shard takes 1,000/s:             {:>6}", self.for_records)?;
        writeln!(f, "   bytes out    a shard gives 2 MiB/s to all who share it: {:>1}", self.for_readers)?;
        writeln!(f, "   consumers    a shard is read by one consumer of a program: {}", self.for_consumers)?;
        writeln!(f, "   shards       {}", self.shards)?;
        writeln!(f)?;
        writeln!(f, "2. {} records/s into {} shards", number(self.rate), self.shards)?;
        for act in &self.acts {
            writeln!(
                f,
                "   {:<22} {:>7} records/s   refused {:>7}   ack p50 {:>6.1} ms, p99 {:>7.1} ms   order {}",
                act.way,
                number(act.records_per_s),
                thousands(act.refused),
                act.ack_p50_ms,
                act.ack_p99_ms,
                if act.in_order { "kept" } else { "LOST" }
            )?;
        }
        writeln!(
            f,
            "   (the hot key has {:.0} % of the records: {} a second)",
            HOT * 100.0,
            number(self.rate * HOT)
        )?;
        writeln!(f)?;
        let lesson = format!(
            "Take {} shards for even keys. A key has one shard,\n  and more than 1,000 records or 1 MiB/s of it are refused, however \
             many shards there are. Who sends\n  refused records again behind later ones loses the order of the key.",
            self.shards
        );
        verdict(f, &self.wrong, &lesson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The control of the check: histories that are not as they should be.
    #[test]
    fn claims_that_do_not_hold_are_named() {
        let wanted = Wanted {
            rate: 10_000.0,
            record_bytes: 1024,
            consumer_rate: 1500.0,
            growth: 2.0,
            seconds: 1.0,
            seed: 1,
            data_parent: None,
        };
        let act = |way, in_order, refused, ack_p99_ms| Act {
            way,
            records_per_s: 10_000.0,
            refused,
            ack_p50_ms: 1.0,
            ack_p99_ms,
            in_order,
            all_there: true,
        };
        let good = [act("even", true, 0, 5.0), act("hot", true, 9, 500.0), act("careless", false, 9, 500.0)];
        assert!(claims(&wanted, &good).is_empty());
        let [even, hot, careless] = good.clone();
        let lost = Act { in_order: false, ..hot.clone() };
        assert_eq!(
            claims(&wanted, &[even.clone(), lost, careless.clone()]),
            ["hot: every key is read in order"]
        );
        let slow = Act { records_per_s: 9_000.0, ..even.clone() };
        assert!(claims(&wanted, &[slow, hot.clone(), careless])[0].contains("it were 9,000"));
        assert_eq!(claims(&wanted, &[even, hot.clone(), hot]).len(), 1);
        // A key that fits into its shard proves nothing.
        let small = Wanted { rate: 100.0, ..wanted };
        let acts = good.map(|act| Act { records_per_s: 100.0, in_order: true, refused: 0, ..act });
        assert!(claims(&small, &acts).is_empty());
    }
}
