//! What a group came to in a run: its figures, and its lines of the verdict.

use serde::Serialize;

use super::fleet::Counts;
use super::history::{Finding, History, Kind};
use crate::units::thousands;
use crate::verdict::Verdict;

/// The figures of a group.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GroupReport {
    /// How its members were in it.
    pub protocol: &'static str,
    pub started: usize,
    pub left: usize,
    pub killed: usize,
    pub generations: i32,
    pub records: u64,
    /// Read once more in a later generation, since they had not been committed.
    pub records_again: u64,
    /// Rebalances of members: from the wish to join to the part of the generation.
    pub rebalances: usize,
    pub rebalance_p50_ms: f64,
    pub rebalance_max_ms: f64,
    /// Whether everything was committed in the end.
    pub complete: bool,
    pub troubles: Vec<String>,
}

impl GroupReport {
    pub fn of(history: &History, counts: Counts, protocol: &'static str, ends: (&[i64], &[i64])) -> Self {
        let mut times = history.rebalances_ms.clone();
        times.sort_by(f64::total_cmp);
        Self {
            protocol,
            started: counts.started,
            left: counts.left,
            killed: counts.killed,
            generations: history.generations(),
            records: history.records,
            records_again: history.again(ends.0, ends.1),
            rebalances: times.len(),
            rebalance_p50_ms: times.get(times.len() / 2).copied().unwrap_or_default(),
            rebalance_max_ms: times.last().copied().unwrap_or_default(),
            complete: false,
            troubles: history.troubles.clone(),
        }
    }
}

impl GroupReport {
    /// What went wrong without being a fault of the broker's.
    pub fn in_words(&self) -> impl Iterator<Item = String> + '_ {
        self.troubles.iter().take(5).map(|trouble| format!("the group: {trouble}"))
    }
}

/// Adds what was checked to a verdict. What was not read to its end may still be read: it is not lost.
pub fn judge(verdict: &mut Verdict, report: &GroupReport, findings: &[Finding]) {
    let count = |kind| findings.iter().filter(|finding| finding.kind == kind).count() as u64;
    let generations = thousands(report.generations as u64);
    let lost = if report.complete { count(Kind::Lost) } else { 0 };
    verdict.add_checked(
        "group loss",
        &[(lost, "gaps that no member read"), (u64::from(!report.complete), "end that was not reached")],
        format!("{} records read in {generations} generations", thousands(report.records)),
    );
    verdict.add_checked(
        "group owners",
        &[(count(Kind::Twice), "records read twice within a generation")],
        format!("one in each generation ({} records again in a later one)", thousands(report.records_again)),
    );
    verdict.add_checked("group commits", &[(count(Kind::Back), "went back")], "never went back".to_owned());
    verdict.add_checked(
        "group positions",
        &[(count(Kind::Skipped), "skipped records")],
        "each follows the one before".to_owned(),
    );
    verdict.examples.extend(findings.iter().take(5).map(|finding| finding.text.clone()));
}
