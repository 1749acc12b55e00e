//! The generator as a broken producer: the negative control of the checks, over any broker.
//!
//! Promise: each kind makes exactly one sort of fault, in about one record of `EVERY`, and the ledger is left
//! as if all had gone well.

use clap::ValueEnum;

use crate::keys::Rng;
use crate::ledger::Ledger;

/// One record in so many is spoiled.
const EVERY: u64 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// Records are booked as acked that were never sent.
    Drop,
    /// Records are sent once more.
    Duplicate,
    /// Two records of a key change places.
    Reorder,
    /// Records go to a partition that is not their key's.
    RandomKey,
    /// Headers of batches claim a maximum timestamp that is not that of their records. A broker has to put it right,
    /// or refuse the batch: then there is nothing to be found.
    BadHeader,
}

impl Sabotage {
    /// The line of the verdict that must fail.
    pub fn found_as(self) -> &'static str {
        match self {
            Self::Drop => "loss",
            Self::Duplicate => "duplicates",
            Self::Reorder | Self::RandomKey => "order",
            Self::BadHeader => "headers",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::RandomKey => "random-key",
            Self::BadHeader => "bad-header",
        }
    }
}

/// Spoils the records of one connection.
#[derive(Debug, Clone)]
pub struct Saboteur {
    kind: Sabotage,
    left: u64,
    rng: Rng,
    /// Partition, key and sequence of the record before.
    last: Option<(i32, u32, u64)>,
    /// Waits to be sent behind a later one.
    held: Option<(i32, u32, u64)>,
}

impl Saboteur {
    pub fn new(kind: Sabotage, seed: u64) -> Self {
        Self { kind, left: EVERY / 5, rng: Rng::new(seed), last: None, held: None }
    }

    /// Counts one record (or request); true when it is to be spoiled.
    fn turn(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }

    fn done(&mut self) {
        self.left = EVERY;
    }

    /// Where the next batch goes instead of to `partition`.
    pub fn partition(&mut self, partition: i32, partitions: i32, records: u64) -> i32 {
        if self.kind != Sabotage::RandomKey || partitions < 2 {
            return partition;
        }
        self.left = self.left.saturating_sub(records);
        if self.left > 0 {
            return partition;
        }
        self.done();
        let by = 1 + self.rng.next_u64() % (partitions as u64 - 1);
        ((partition as u64 + by) % partitions as u64) as i32
    }

    /// What the header of the next batch claims instead of its maximum timestamp.
    pub fn claim(&mut self, records: u64) -> Option<i64> {
        if self.kind != Sabotage::BadHeader {
            return None;
        }
        self.left = self.left.saturating_sub(records);
        if self.left > 0 {
            return None;
        }
        self.done();
        Some([-1, 0, 1_000, i64::MAX][(self.rng.next_u64() % 4) as usize])
    }

    /// Key and sequence of the next record of a batch for `partition`.
    pub fn next(&mut self, partition: i32, key: u32, ledger: &mut Ledger) -> (u32, u64) {
        if let Some((_, key, seq)) = self.held.take_if(|held| held.0 == partition) {
            return (key, seq);
        }
        let by_record = !matches!(self.kind, Sabotage::RandomKey | Sabotage::BadHeader);
        let spoil = by_record && self.turn();
        if spoil && self.kind == Sabotage::Duplicate {
            if let Some((_, key, seq)) = self.last.filter(|last| last.0 == partition) {
                self.done();
                return (key, seq);
            }
            self.left = 1;
        }
        let mut seq = ledger.next_seq(key);
        if spoil && self.kind == Sabotage::Drop {
            self.done();
            seq = ledger.next_seq(key);
        }
        if spoil && self.kind == Sabotage::Reorder {
            if self.held.is_none() {
                self.done();
                self.held = Some((partition, key, seq));
                seq = ledger.next_seq(key);
            } else {
                self.left = 1;
            }
        }
        self.last = Some((partition, key, seq));
        (key, seq)
    }

    /// A record that still waits at the end was never sent.
    pub fn give_up(&mut self, ledger: &mut Ledger) {
        if let Some((_, key, seq)) = self.held.take() {
            ledger.mark_maybe(key, seq, seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kind: Sabotage, records: u64) -> (Vec<(u32, u64)>, Ledger) {
        let mut ledger = Ledger::new(1, 4, 2);
        let mut saboteur = Saboteur::new(kind, 1);
        let sent = (0..records).map(|n| saboteur.next(0, (n % 2) as u32, &mut ledger)).collect();
        saboteur.give_up(&mut ledger);
        (sent, ledger)
    }

    #[test]
    fn each_kind_makes_its_own_fault() {
        let (dropped, ledger) = sent(Sabotage::Drop, 1_200);
        assert_eq!(ledger.sent_records(), dropped.len() as u64 + 3);
        let (twice, ledger) = sent(Sabotage::Duplicate, 1_200);
        assert_eq!(ledger.sent_records(), twice.len() as u64 - 3);
        let (swapped, ledger) = sent(Sabotage::Reorder, 1_200);
        assert_eq!(ledger.acked_records(), swapped.len() as u64);
        let of_key = |key: u32| swapped.iter().filter(move |record| record.0 == key).map(|record| record.1);
        let back = |key: u32| of_key(key).zip(of_key(key).skip(1)).filter(|(a, b)| b < a).count();
        assert_eq!(back(0) + back(1), 3);
        let mut saboteur = Saboteur::new(Sabotage::RandomKey, 1);
        let moved = (0..1_200).filter(|_| saboteur.partition(2, 4, 1) != 2).count();
        assert_eq!(moved, 3);
        assert_eq!(saboteur.partition(0, 1, 10_000), 0);
        let mut saboteur = Saboteur::new(Sabotage::BadHeader, 1);
        assert_eq!((0..1_200).filter(|_| saboteur.claim(1).is_some()).count(), 3);
        let (sent, _) = sent(Sabotage::BadHeader, 1_200);
        assert!(sent.chunks(2).zip(1..).all(|(pair, seq)| pair == [(0, seq), (1, seq)]));
    }
}
