//! Whether what was read is what was acked.
//!
//! Promises: pure functions over observed batches and records; nothing here knows of a network. Per
//! key and per partition the memory is constant, plus a range for each gap. Order is checked as
//! records come; loss and what was never sent need the [`Ledger`] and are found by
//! [`Checker::finish`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;

use crate::evidence::{Evidence, FaultKind, Found};
use crate::keys::KeyNames;
use crate::ledger::Ledger;
use crate::prints::Prints;
use crate::ranges::Ranges;

/// How often each fault was seen, and the first few in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub counts: BTreeMap<FaultKind, u64>,
    pub examples: Vec<String>,
    /// Fact by fact, up to `EVIDENCE_MAX`.
    #[serde(skip)]
    pub found: Vec<Found>,
}

const EXAMPLES_MAX: usize = 12;
/// Examples of one kind, so that one fault does not hide another.
const EXAMPLES_PER_KIND: u64 = 3;
const EVIDENCE_MAX: usize = 10_000;

impl Faults {
    #[cold]
    fn add(&mut self, kind: FaultKind, times: u64, evidence: Evidence, example: fmt::Arguments<'_>) {
        if self.found.len() < EVIDENCE_MAX {
            self.found.push(Found { what: kind, times, evidence, reader: String::new() });
        }
        let count = self.counts.entry(kind).or_default();
        if *count < EXAMPLES_PER_KIND && self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{kind:?}: {example}"));
        }
        *count += times;
    }

    pub fn of(&self, kind: FaultKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Says whose they are.
    pub fn of_reader(&mut self, reader: &str) {
        self.found.iter_mut().for_each(|found| found.reader = reader.to_owned());
        self.examples.iter_mut().for_each(|example| *example = format!("{reader}: {example}"));
    }

    pub fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        let room = EVIDENCE_MAX.saturating_sub(self.found.len());
        self.found.extend(other.found.into_iter().take(room));
        let room = EXAMPLES_MAX.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.into_iter().take(room));
    }
}

/// What a consumer knows of a key.
#[derive(Debug, Clone, Copy)]
struct KeySeen {
    /// One more than the highest sequence seen.
    next: u64,
    /// Where its first record was; -1 if none was seen.
    partition: i32,
}

/// What a consumer knows of a partition; -1: not read.
#[derive(Debug, Clone, Copy)]
struct PartitionSeen {
    next: i64,
}

/// Checks what one thread reads.
#[derive(Debug, Clone)]
pub struct Checker {
    run: u64,
    keys: Vec<KeySeen>,
    /// Sequences below `next` that were not seen, by key.
    missing: HashMap<u32, Ranges>,
    partitions: Vec<PartitionSeen>,
    records: u64,
    faults: Faults,
    /// Where several readers are compared.
    prints: Option<Prints>,
}

impl Checker {
    pub fn new(run: u64, keys: u32, partitions: i32) -> Self {
        Self {
            run,
            keys: vec![KeySeen { next: 1, partition: -1 }; keys as usize],
            missing: HashMap::new(),
            partitions: vec![PartitionSeen { next: -1 }; partitions.max(0) as usize],
            records: 0,
            faults: Faults::default(),
            prints: None,
        }
    }

    /// Remembers what lies at each offset, to be compared with another reader.
    pub fn with_prints(mut self) -> Self {
        self.prints = Some(Prints::new(self.partitions.len() as i32));
        self
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    /// Reading of a partition begins at `offset`.
    pub fn begin_partition(&mut self, partition: i32, offset: i64) {
        if let Some(seen) = usize::try_from(partition).ok().and_then(|p| self.partitions.get_mut(p)) {
            seen.next = offset;
        }
        if let Some(prints) = &mut self.prints {
            prints.begin(partition, offset);
        }
    }

    /// The first batch of an answer to a fetch from `asked`.
    pub fn poll(&mut self, partition: i32, asked: i64, base: i64, end: i64, count: i32) {
        let evidence = || Evidence::at(partition, base).expected(format_args!("offset {asked}"));
        if base > asked {
            let example = format_args!("partition {partition}: offset {asked} was asked for, {base} came");
            self.faults.add(FaultKind::PollSkipped, base.abs_diff(asked), evidence(), example);
        } else if end <= asked {
            let example =
                format_args!("partition {partition}: offset {asked} was asked for, {base} came again");
            self.faults.add(FaultKind::PollBack, 1, evidence(), example);
        }
        // Named already.
        if let Some(seen) = usize::try_from(partition).ok().and_then(|p| self.partitions.get_mut(p))
            && (base > asked || end <= asked)
        {
            seen.next = base;
        }
        self.batch(partition, base, end, count);
    }

    /// A batch of a partition that is being read: `count` records from `base` up to before `end`.
    pub fn batch(&mut self, partition: i32, base: i64, end: i64, count: i32) {
        let Some(seen) = usize::try_from(partition).ok().and_then(|p| self.partitions.get_mut(p)) else {
            return self.corrupt(partition, base, "a partition that does not exist");
        };
        let expected = std::mem::replace(&mut seen.next, end);
        if base > expected {
            let gap = base.abs_diff(expected);
            let example = format_args!("partition {partition}: offset {base} follows {}", expected - 1);
            let evidence = Evidence::at(partition, base).expected(format_args!("offset {expected}"));
            self.faults.add(FaultKind::OffsetGap, gap, evidence, example);
        } else if base < expected {
            let example = format_args!("partition {partition}: offset {base} where {expected} was due");
            let evidence = Evidence::at(partition, base).expected(format_args!("offset {expected}"));
            self.faults.add(FaultKind::OffsetBack, 1, evidence, example);
        }
        if end - base != i64::from(count) {
            let example = format_args!("partition {partition}: {count} records from {base} to {}", end - 1);
            let evidence = Evidence::at(partition, base).expected(format_args!("{} records", end - base));
            self.faults.add(FaultKind::OffsetGap, 1, evidence, example);
        }
    }

    /// A record, in the order of its partition.
    #[inline]
    pub fn record(&mut self, partition: i32, offset: i64, run: u64, key: u32, seq: u64) {
        self.records += 1;
        let Some(seen) = self.keys.get_mut(key as usize).filter(|_| run == self.run && seq > 0) else {
            let example = format_args!("{}", At { partition, offset, key, seq });
            let evidence = Evidence::at(partition, offset).record(key, seq).expected("nothing");
            return self.faults.add(FaultKind::NeverSent, 1, evidence, example);
        };
        if let Some(prints) = &mut self.prints {
            prints.add(partition, offset, key, seq);
        }
        if seen.next == seq && seen.partition == partition {
            seen.next += 1;
            return;
        }
        self.unusual_record(At { partition, offset, key, seq });
    }

    /// A key's first record, or one that is not the next of its key.
    #[cold]
    fn unusual_record(&mut self, at: At) {
        let evidence = Evidence::at(at.partition, at.offset).record(at.key, at.seq);
        let seen = &mut self.keys[at.key as usize];
        if seen.partition < 0 {
            seen.partition = at.partition;
        } else if seen.partition != at.partition {
            let home = seen.partition;
            let example = format_args!("{at}: its key was in partition {home}");
            let evidence = evidence.clone().expected(format_args!("partition {home}"));
            self.faults.add(FaultKind::MovedPartition, 1, evidence, example);
        }
        if at.seq >= seen.next {
            if at.seq > seen.next {
                self.missing.entry(at.key).or_default().insert(seen.next, at.seq - 1);
            }
            seen.next = at.seq + 1;
        } else if self.missing.get_mut(&at.key).is_some_and(|missing| missing.remove(at.seq)) {
            let later = seen.next - 1;
            let evidence = evidence.expected(format_args!("before sequence {later}"));
            self.faults.add(FaultKind::Reordered, 1, evidence, format_args!("{at}: after sequence {later}"));
        } else {
            let evidence = evidence.expected("once");
            self.faults.add(FaultKind::Duplicate, 1, evidence, format_args!("{at}"));
        }
    }

    /// A record whose number is not above the one before it, where numbers only have to rise.
    pub fn went_back(&mut self, partition: i32, offset: i64) {
        let example = format_args!("shard {partition}: the number of record {offset} does not rise");
        let evidence = Evidence::at(partition, offset).expected("a number above the one before");
        self.faults.add(FaultKind::OffsetBack, 1, evidence, example);
    }

    /// Bytes that are no record of ours.
    pub fn corrupt(&mut self, partition: i32, offset: i64, why: &str) {
        let example = format_args!("partition {partition}, offset {offset}: {why}");
        self.faults.add(FaultKind::Corrupt, 1, Evidence::at(partition, offset).expected(why), example);
    }

    /// A batch whose header does not state the largest timestamp of its records.
    pub fn lying_header(&mut self, partition: i32, offset: i64) {
        let truth = "the largest timestamp of its records";
        let example =
            format_args!("partition {partition}, offset {offset}: the header does not state {truth}");
        self.faults.add(FaultKind::LyingHeader, 1, Evidence::at(partition, offset).expected(truth), example);
    }

    /// Adds what another thread read: other partitions, so no key may be in both.
    pub fn merge(&mut self, other: Self) {
        self.records += other.records;
        if let (Some(ours), Some(theirs)) = (&mut self.prints, other.prints) {
            ours.merge(theirs);
        }
        for (into, from) in self.partitions.iter_mut().zip(&other.partitions) {
            into.next = into.next.max(from.next);
        }
        for key in 0..self.keys.len() as u32 {
            let (ours, theirs) = (self.keys[key as usize], other.keys[key as usize]);
            if theirs.partition >= 0 && ours.partition < 0 {
                self.keys[key as usize] = theirs;
                self.missing.extend(other.missing.get(&key).map(|missing| (key, missing.clone())));
            } else if theirs.partition >= 0 {
                self.merge_moved(key, ours, theirs, other.missing.get(&key));
            }
        }
        self.faults.merge(other.faults);
    }

    fn merge_moved(&mut self, key: u32, ours: KeySeen, theirs: KeySeen, their_missing: Option<&Ranges>) {
        let (home, other) = (ours.partition, theirs.partition);
        let example = format_args!("key {key} is in partitions {home} and {other}");
        let evidence = Evidence { partition: Some(other), ..Evidence::of_key(key) };
        self.faults.add(
            FaultKind::MovedPartition,
            1,
            evidence.expected(format_args!("partition {home}")),
            example,
        );
        let next = ours.next.max(theirs.next);
        let unseen = |seen: KeySeen, missing: Option<&Ranges>| {
            let mut unseen = missing.cloned().unwrap_or_default();
            unseen.insert(seen.next, next - 1);
            unseen
        };
        let our_unseen = unseen(ours, self.missing.get(&key));
        let their_unseen = unseen(theirs, their_missing);
        let unseen = our_unseen.intersect(&their_unseen);
        // Seen by both: once too often.
        let twice = (next - 1 + unseen.len()) - our_unseen.len() - their_unseen.len();
        if twice > 0 {
            let example = format_args!("key {key}: {twice} records in partitions {home} and {other}");
            let evidence = Evidence { partition: Some(other), ..Evidence::of_key(key) };
            self.faults.add(FaultKind::Duplicate, twice, evidence.expected("once"), example);
        }
        self.keys[key as usize].next = next;
        self.missing.insert(key, unseen);
    }

    /// Whatever was read was durable: it is no longer unknown, and must be there from now on. To be
    /// called when everything was read.
    pub fn settle(&self, ledger: &mut Ledger) {
        let nothing = Ranges::default();
        for (key, maybe) in &mut ledger.maybe {
            let Some(seen) = self.keys.get(*key as usize) else { continue };
            let mut unseen = self.missing.get(key).unwrap_or(&nothing).clone();
            unseen.insert(seen.next, u64::MAX);
            *maybe = maybe.intersect(&unseen);
        }
        ledger.maybe.retain(|_, maybe| !maybe.is_empty());
    }

    /// What this reader saw and a later one, which read everything, did not.
    pub fn compare_with_later(&mut self, later: &Self) {
        let nothing = Ranges::default();
        for (key, (seen, again)) in (0..).zip(self.keys.iter().zip(&later.keys)) {
            let mut gone = Ranges::default();
            gone.insert(1, seen.next.saturating_sub(1));
            let mut there = Ranges::default();
            there.insert(1, again.next.saturating_sub(1));
            let there = there.minus(later.missing.get(&key).unwrap_or(&nothing));
            let gone = gone.minus(self.missing.get(&key).unwrap_or(&nothing)).minus(&there);
            if let Some((from, to)) = gone.iter().next() {
                let example =
                    format_args!("key {key}: sequences {from} to {to} were read, and later they were gone");
                let evidence =
                    Evidence { partition: Some(seen.partition), ..Evidence::of_key(key).record(key, from) };
                self.faults.add(
                    FaultKind::ReadNotDurable,
                    gone.len(),
                    evidence.expected("still there"),
                    example,
                );
            }
        }
        self.compare_values(later);
    }

    /// Where this reader and another saw different records at one offset.
    pub fn compare_values(&mut self, other: &Self) {
        let (Some(ours), Some(theirs)) = (&self.prints, &other.prints) else { return };
        for difference in ours.differences(theirs) {
            let crate::prints::Difference { partition, from, to } = difference;
            let example =
                format_args!("partition {partition}, offsets {from} to {to}: readers saw different records");
            let evidence = Evidence::at(partition, from).expected("the same for every reader");
            self.faults.add(FaultKind::TwoValues, 1, evidence, example);
        }
    }

    /// Compares with what was sent and acked. `complete`: reading reached the end of every partition;
    /// if not, missing records are no fault.
    pub fn finish(mut self, ledger: &Ledger, names: &KeyNames, complete: bool) -> Checked {
        let nothing = Ranges::default();
        for (key, seen) in (0..).zip(std::mem::take(&mut self.keys)) {
            let sent = ledger.sent.get(key as usize).copied().unwrap_or(0);
            let maybe = ledger.maybe.get(&key).unwrap_or(&nothing);
            let missing = self.missing.get(&key).unwrap_or(&nothing).clone();
            let home = ledger.home(names.name(key));
            if seen.partition >= 0 && seen.partition != home {
                let partition = seen.partition;
                let example = format_args!("key {key} is in partition {partition}, not in {home}");
                let evidence = Evidence { partition: Some(partition), ..Evidence::of_key(key) };
                let evidence = evidence.expected(format_args!("partition {home}"));
                self.faults.add(FaultKind::MovedPartition, 1, evidence, example);
            }
            let mut seen_beyond = Ranges::default();
            seen_beyond.insert(sent + 1, seen.next - 1);
            let stray = seen_beyond.minus(&missing).len();
            if stray > 0 {
                let last = seen.next - 1;
                let example = format_args!("key {key}: sequence {last} was read, {sent} was the last sent");
                let evidence =
                    Evidence::of_key(key).record(key, last).expected(format_args!("at most sequence {sent}"));
                self.faults.add(FaultKind::NeverSent, stray, evidence, example);
            }
            if complete {
                self.find_lost(key, home, sent, seen, missing, maybe);
            }
        }
        let dense = self.partitions.iter().filter(|seen| seen.next >= 0).count();
        Checked {
            keys: ledger.sent.iter().filter(|sent| **sent > 0).count() as u64,
            records_read: self.records,
            records_acked: ledger.acked_records(),
            records_maybe: ledger.maybe_records(),
            partitions_read: dense as u64,
            complete,
            faults: self.faults,
        }
    }

    fn find_lost(
        &mut self,
        key: u32,
        home: i32,
        sent: u64,
        seen: KeySeen,
        mut missing: Ranges,
        maybe: &Ranges,
    ) {
        missing.insert(seen.next, sent);
        let mut was_sent = Ranges::default();
        was_sent.insert(1, sent);
        let lost = missing.intersect(&was_sent).minus(maybe);
        if let Some((from, to)) = lost.iter().next() {
            let example = format_args!("key {key}: sequences {from} to {to} were acked and not read");
            let evidence = |seq| Evidence { partition: Some(home), ..Evidence::of_key(key).record(key, seq) };
            self.faults.add(FaultKind::Lost, lost.len(), evidence(from).expected("acked"), example);
        }
    }
}

/// Where a record was found, for messages.
#[derive(Clone, Copy)]
struct At {
    partition: i32,
    offset: i64,
    key: u32,
    seq: u64,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, offset, key, seq } = self;
        write!(f, "key {key}, sequence {seq} at partition {partition}, offset {offset}")
    }
}

/// What the checker found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    pub keys: u64,
    pub records_read: u64,
    pub records_acked: u64,
    pub records_maybe: u64,
    pub partitions_read: u64,
    pub complete: bool,
    pub faults: Faults,
}

#[cfg(test)]
#[path = "checker_tests.rs"]
mod tests;
