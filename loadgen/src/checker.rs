//! Whether what was read is what was acked.
//!
//! Promises: pure functions over observed batches and records; nothing here knows of a network. Per
//! key and per partition the memory is constant, plus a range for each gap. Order is checked as
//! records come; loss and what was never sent need the [`Ledger`] and are found by
//! [`Checker::finish`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;

use crate::keys::{KeyNames, partition_of};
use crate::ledger::Ledger;
use crate::ranges::Ranges;

/// What can be wrong with what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Acked and not there.
    Lost,
    /// There more than once.
    Duplicate,
    /// After a later record of its key.
    Reordered,
    /// In another partition than the key's.
    MovedPartition,
    /// Not written by any run of the ledger.
    NeverSent,
    /// An offset that no record has.
    OffsetGap,
    /// An offset that had been passed.
    OffsetBack,
    /// Not readable as a batch or as one of our records.
    Corrupt,
}

/// How often each fault was seen, and the first few in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    pub counts: BTreeMap<FaultKind, u64>,
    pub examples: Vec<String>,
}

const EXAMPLES_MAX: usize = 12;
/// Examples of one kind, so that one fault does not hide another.
const EXAMPLES_PER_KIND: u64 = 3;

impl Faults {
    #[cold]
    fn add(&mut self, kind: FaultKind, times: u64, example: fmt::Arguments<'_>) {
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

    fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
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
        }
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    /// Reading of a partition begins at `offset`.
    pub fn begin_partition(&mut self, partition: i32, offset: i64) {
        if let Some(seen) = usize::try_from(partition).ok().and_then(|p| self.partitions.get_mut(p)) {
            seen.next = offset;
        }
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
            self.faults.add(FaultKind::OffsetGap, gap, example);
        } else if base < expected {
            let example = format_args!("partition {partition}: offset {base} where {expected} was due");
            self.faults.add(FaultKind::OffsetBack, 1, example);
        }
        if end - base != i64::from(count) {
            let example = format_args!("partition {partition}: {count} records from {base} to {}", end - 1);
            self.faults.add(FaultKind::OffsetGap, 1, example);
        }
    }

    /// A record, in the order of its partition.
    #[inline]
    pub fn record(&mut self, partition: i32, offset: i64, run: u64, key: u32, seq: u64) {
        self.records += 1;
        let Some(seen) = self.keys.get_mut(key as usize).filter(|_| run == self.run && seq > 0) else {
            let example = format_args!("{}", At { partition, offset, key, seq });
            return self.faults.add(FaultKind::NeverSent, 1, example);
        };
        if seen.next == seq && seen.partition == partition {
            seen.next += 1;
            return;
        }
        self.unusual_record(At { partition, offset, key, seq });
    }

    /// A key's first record, or one that is not the next of its key.
    #[cold]
    fn unusual_record(&mut self, at: At) {
        let seen = &mut self.keys[at.key as usize];
        if seen.partition < 0 {
            seen.partition = at.partition;
        } else if seen.partition != at.partition {
            let home = seen.partition;
            let example = format_args!("{at}: its key was in partition {home}");
            self.faults.add(FaultKind::MovedPartition, 1, example);
        }
        if at.seq >= seen.next {
            if at.seq > seen.next {
                self.missing.entry(at.key).or_default().insert(seen.next, at.seq - 1);
            }
            seen.next = at.seq + 1;
        } else if self.missing.get_mut(&at.key).is_some_and(|missing| missing.remove(at.seq)) {
            let later = seen.next - 1;
            self.faults.add(FaultKind::Reordered, 1, format_args!("{at}: after sequence {later}"));
        } else {
            self.faults.add(FaultKind::Duplicate, 1, format_args!("{at}"));
        }
    }

    /// Bytes that are no record of ours.
    pub fn corrupt(&mut self, partition: i32, offset: i64, why: &str) {
        let example = format_args!("partition {partition}, offset {offset}: {why}");
        self.faults.add(FaultKind::Corrupt, 1, example);
    }

    /// Adds what another thread read: other partitions, so no key may be in both.
    pub fn merge(&mut self, other: Self) {
        self.records += other.records;
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
        self.faults.add(FaultKind::MovedPartition, 1, example);
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
            self.faults.add(FaultKind::Duplicate, twice, example);
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

    /// Compares with what was sent and acked. `complete`: reading reached the end of every partition;
    /// if not, missing records are no fault.
    pub fn finish(mut self, ledger: &Ledger, names: &KeyNames, complete: bool) -> Checked {
        let nothing = Ranges::default();
        for (key, seen) in (0..).zip(std::mem::take(&mut self.keys)) {
            let sent = ledger.sent.get(key as usize).copied().unwrap_or(0);
            let maybe = ledger.maybe.get(&key).unwrap_or(&nothing);
            let missing = self.missing.get(&key).unwrap_or(&nothing).clone();
            let home = partition_of(names.name(key), ledger.partitions);
            if seen.partition >= 0 && seen.partition != home {
                let partition = seen.partition;
                let example = format_args!("key {key} is in partition {partition}, not in {home}");
                self.faults.add(FaultKind::MovedPartition, 1, example);
            }
            let mut seen_beyond = Ranges::default();
            seen_beyond.insert(sent + 1, seen.next - 1);
            let stray = seen_beyond.minus(&missing).len();
            if stray > 0 {
                let last = seen.next - 1;
                let example = format_args!("key {key}: sequence {last} was read, {sent} was the last sent");
                self.faults.add(FaultKind::NeverSent, stray, example);
            }
            if complete {
                self.find_lost(key, sent, seen, missing, maybe);
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

    fn find_lost(&mut self, key: u32, sent: u64, seen: KeySeen, mut missing: Ranges, maybe: &Ranges) {
        missing.insert(seen.next, sent);
        let mut was_sent = Ranges::default();
        was_sent.insert(1, sent);
        let lost = missing.intersect(&was_sent).minus(maybe);
        if let Some((from, to)) = lost.iter().next() {
            let example = format_args!("key {key}: sequences {from} to {to} were acked and not read");
            self.faults.add(FaultKind::Lost, lost.len(), example);
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
