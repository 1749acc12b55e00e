//! What the members of a group did, and what must hold of it.
//!
//! Promises: kept is one span for what a member read of a partition within one generation, so memory does not grow with
//! the records. [`History::check`] finds a record that nobody read, one that was read twice within a generation, a
//! commit that went back, a position that skipped records.

use std::collections::BTreeMap;

/// What a member read of a partition while it had it in a generation: offsets `from..to`, without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub generation: i32,
    pub member: usize,
    pub partition: i32,
    pub from: i64,
    pub to: i64,
}

/// A commit that was answered without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    pub generation: i32,
    pub member: usize,
    pub partition: i32,
    pub offset: i64,
}

/// What is wrong, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A record that no member read.
    Lost,
    /// A record that was read twice within one generation.
    Twice,
    /// A committed offset that went back, or is less than what was answered before.
    Back,
    /// A member's position passed records that it did not read.
    Skipped,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub text: String,
}

/// Everything that happened in a group.
#[derive(Debug, Clone, Default)]
pub struct History {
    spans: Vec<Span>,
    commits: Vec<Commit>,
    /// What goes on, by member and partition.
    reading: BTreeMap<(usize, i32), Span>,
    committing: BTreeMap<(usize, i32), Commit>,
    /// The highest offset of each partition that a commit was answered for.
    pub floor: BTreeMap<i32, i64>,
    /// What was found while it happened.
    pub findings: Vec<Finding>,
    /// From a member's wish to join to its part of the generation, in milliseconds.
    pub rebalances_ms: Vec<f64>,
    pub records: u64,
    /// Requests that failed though nothing was ended: they prove nothing, and should not be.
    pub troubles: Vec<String>,
}

impl History {
    /// Notes what was read; spans that follow each other become one.
    pub fn read(&mut self, span: Span) {
        self.records += (span.to - span.from) as u64;
        match self.reading.get_mut(&(span.member, span.partition)) {
            Some(last) if last.generation == span.generation && last.to == span.from => last.to = span.to,
            _ => self.spans.extend(self.reading.insert((span.member, span.partition), span)),
        }
    }

    /// Notes a commit that was answered. Of a member's commits in a generation the last is kept, if none went back.
    pub fn committed(&mut self, commit: Commit) {
        let highest = self.floor.entry(commit.partition).or_insert(commit.offset);
        *highest = commit.offset.max(*highest);
        match self.committing.get_mut(&(commit.member, commit.partition)) {
            Some(last) if last.generation == commit.generation && last.offset <= commit.offset => {
                last.offset = commit.offset;
            }
            _ => self.commits.extend(self.committing.insert((commit.member, commit.partition), commit)),
        }
    }

    /// All spans of a partition.
    fn spans_of(&self, partition: i32) -> Vec<Span> {
        let all = self.spans.iter().chain(self.reading.values());
        all.filter(|span| span.partition == partition).copied().collect()
    }

    pub fn find(&mut self, kind: Kind, text: String) {
        self.findings.push(Finding { kind, text });
    }

    /// What is wrong, where each partition should have been read from `begin` to `ends`.
    pub fn check(&self, begin: &[i64], ends: &[i64]) -> Vec<Finding> {
        let mut found = self.findings.clone();
        for (partition, (from, to)) in (0i32..).zip(begin.iter().zip(ends)) {
            found.extend(self.lost(partition, *from, *to));
            found.extend(self.twice(partition));
            found.extend(self.back(partition));
        }
        found
    }

    fn lost(&self, partition: i32, from: i64, to: i64) -> Vec<Finding> {
        let mut spans: Vec<_> = self.spans_of(partition).iter().map(|span| (span.from, span.to)).collect();
        spans.sort_unstable();
        let mut found = Vec::new();
        let mut next = from;
        for (begin, end) in spans.into_iter().chain([(to, to)]) {
            if begin > next && next < to {
                let last = begin.min(to) - 1;
                let text = format!("partition {partition}: offsets {next} to {last} were not read");
                found.push(Finding { kind: Kind::Lost, text });
            }
            next = next.max(end);
        }
        found
    }

    fn twice(&self, partition: i32) -> Vec<Finding> {
        let mut spans = self.spans_of(partition);
        spans.sort_unstable_by_key(|span| (span.generation, span.from, span.to));
        let mut found = Vec::new();
        let mut last: Option<Span> = None;
        for span in spans {
            let same = last.filter(|last| last.generation == span.generation);
            if let Some(last) = same.filter(|last| span.from < last.to) {
                let Span { generation, member, from, .. } = span;
                let text = format!(
                    "partition {partition}, generation {generation}: offset {from} was read by member {} and by member \
                     {member}",
                    last.member
                );
                found.push(Finding { kind: Kind::Twice, text });
            }
            last = Some(same.filter(|last| last.to > span.to).unwrap_or(span));
        }
        found
    }

    fn back(&self, partition: i32) -> Vec<Finding> {
        let all = self.commits.iter().chain(self.committing.values());
        let mut commits: Vec<&Commit> = all.filter(|commit| commit.partition == partition).collect();
        commits.sort_by_key(|commit| commit.generation);
        let pairs = commits.windows(2).filter(|two| two[1].offset < two[0].offset);
        let text = |a: &Commit, b: &Commit| {
            format!(
                "partition {partition}: {} in generation {} after {} in generation {}",
                b.offset, b.generation, a.offset, a.generation
            )
        };
        pairs.map(|two| Finding { kind: Kind::Back, text: text(two[0], two[1]) }).collect()
    }

    /// The highest generation in which something was read.
    pub fn generations(&self) -> i32 {
        self.spans.iter().chain(self.reading.values()).map(|span| span.generation).max().unwrap_or(0)
    }

    /// Records that were read again in a later generation: their commit had not been made.
    pub fn again(&self, begin: &[i64], ends: &[i64]) -> u64 {
        let once: i64 = begin.iter().zip(ends).map(|(from, to)| to - from).sum();
        self.records.saturating_sub(once.max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(generation: i32, member: usize, from: i64, to: i64) -> Span {
        Span { generation, member, partition: 0, from, to }
    }

    fn commit(generation: i32, offset: i64) -> Commit {
        Commit { generation, member: 0, partition: 0, offset }
    }

    fn sound() -> History {
        let mut history = History::default();
        history.read(span(1, 0, 0, 10));
        history.read(span(1, 0, 10, 20));
        history.committed(commit(1, 15));
        // What was not committed is read again in the next generation.
        history.read(span(2, 1, 15, 40));
        history.committed(commit(2, 40));
        history
    }

    fn kinds(history: &History) -> Vec<Kind> {
        history.check(&[0], &[40]).into_iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn a_sound_history_has_nothing_wrong() {
        assert_eq!((kinds(&sound()), sound().spans_of(0).len()), (vec![], 2));
        assert_eq!((sound().records, sound().again(&[0], &[40]), sound().generations()), (45, 5, 2));
    }

    /// The controls: each fault alone is found, and nothing else.
    #[test]
    fn every_kind_of_fault_is_found() {
        type Change = fn(&mut History);
        let read = |from, to| move |h: &mut History| h.read(span(1, 0, from, to));
        let faults: [(Kind, Change); 5] = [
            (Kind::Twice, |h| h.read(span(2, 7, 39, 40))),
            (Kind::Twice, |h| h.read(span(1, 0, 3, 4))),
            (Kind::Back, |h| h.committed(commit(3, 39))),
            (Kind::Back, |h| h.committed(commit(2, 20))),
            (Kind::Skipped, |h| h.find(Kind::Skipped, String::new())),
        ];
        for (number, (kind, change)) in faults.into_iter().enumerate() {
            let mut history = sound();
            change(&mut history);
            assert_eq!(kinds(&history), [kind], "fault {number}");
        }
        for (first, second) in [((1, 20), (20, 40)), ((0, 20), (20, 39)), ((0, 20), (21, 40))] {
            let mut history = History::default();
            read(first.0, first.1)(&mut history);
            read(second.0, second.1)(&mut history);
            assert_eq!(kinds(&history), [Kind::Lost], "{first:?} and {second:?}");
        }
    }
}
