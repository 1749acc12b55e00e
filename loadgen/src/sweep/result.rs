//! The outcome of a sweep, as it is kept in a JSON file.

use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::machine::Machine;
use crate::spread::Spread;

/// Marks the files; raised when their meaning changes.
pub const FORMAT: &str = "keylane-loadgen sweep 1";

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NamedBroker {
    pub name: String,
    pub address: String,
    /// When records are flushed.
    pub durability: String,
    pub durability_told_by: String,
    pub note: String,
    /// MB/s of each measurement before the sweep, until the rate had settled.
    #[serde(default)]
    pub warm_up: Vec<f64>,
}

/// One load on one broker, measured several times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Index into the brokers.
    pub broker: usize,
    pub name: String,
    pub partitions: i32,
    pub batch: String,
    pub acks: String,
    pub rate: Option<f64>,
    /// Measures this point again.
    pub command: String,
    pub options: Vec<String>,
    pub runs: Vec<Figures>,
    /// Percentile and latency in microseconds, of all runs together.
    pub curve: Vec<(f64, f64)>,
}

impl Point {
    /// A figure over the runs that have it.
    pub fn spread(&self, of: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.good_runs().filter_map(of))
    }

    pub fn good_runs(&self) -> impl Iterator<Item = &Figures> {
        self.runs.iter().filter(|run| run.error.is_none())
    }

    pub fn mb_per_s(&self) -> Option<Spread> {
        self.spread(|run| Some(run.mb_per_s))
    }

    pub fn p99_ms(&self) -> Option<Spread> {
        self.spread(|run| Some(run.p99_us / 1e3))
    }

    /// The run whose throughput is in the middle.
    pub fn middle_run(&self) -> Option<&Figures> {
        let mut runs: Vec<&Figures> = self.good_runs().collect();
        runs.sort_by(|a, b| a.mb_per_s.total_cmp(&b.mb_per_s));
        runs.get(runs.len().saturating_sub(1) / 2).copied()
    }

    /// Errors, failed checks and warnings of its runs, each once.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = Vec::new();
        for run in &self.runs {
            let failed = (!run.failed_checks.is_empty())
                .then(|| format!("VERDICT FAILED: {}", run.failed_checks.join(", ")));
            let error = run.error.iter().map(|error| format!("failed: {error}"));
            for remark in error.chain(failed).chain(run.warnings.iter().cloned()) {
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            }
        }
        remarks
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepResult {
    pub format: String,
    pub version: String,
    pub started_unix_s: u64,
    pub command: String,
    pub machine: Machine,
    pub brokers: Vec<NamedBroker>,
    pub points: Vec<Point>,
}

impl SweepResult {
    /// 0 ok, 1 a verdict failed, 2 a point could not be measured.
    pub fn exit_code(&self) -> u8 {
        let codes = || self.points.iter().flat_map(|point| point.runs.iter().map(|run| run.exit_code));
        if codes().any(|code| code == 1) { 1 } else { codes().max().unwrap_or(2) }
    }

    /// When it was run, as `2026-11-24 05:30 UTC`.
    pub fn started(&self) -> String {
        let (days, second) = (self.started_unix_s / 86_400, self.started_unix_s % 86_400);
        let (year, month, day) = civil(days as i64);
        format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
    }
}

/// Year, month and day of a number of days since 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (mut year, mut rest) = (1970, days);
    while rest >= 365 + i64::from(leap(year)) {
        rest -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

/// A command line with words quoted where a shell needs it.
pub fn command_line(options: &[String]) -> String {
    let words = ["keylane-loadgen".to_owned(), "run".to_owned()];
    words.iter().chain(options).map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// How this process was called.
pub fn own_command() -> String {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(program) = words.first_mut() {
        *program = "keylane-loadgen".to_owned();
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_781, (2026, 11, 24))]
        {
            assert_eq!(civil(days), date);
        }
    }

    #[test]
    fn commands_can_be_pasted() {
        assert_eq!(quoted("64k"), "64k");
        assert_eq!(quoted("it's so"), r"'it'\''s so'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_failed_verdict_decides_the_exit_code() {
        let with = |codes: &[u8]| {
            let runs = codes.iter().map(|&exit_code| Figures { exit_code, ..Figures::default() }).collect();
            SweepResult { points: vec![Point { runs, ..Point::default() }], ..SweepResult::default() }
                .exit_code()
        };
        assert_eq!([with(&[0, 0]), with(&[0, 2]), with(&[2, 1, 0]), with(&[])], [0, 2, 1, 2]);
    }
}
