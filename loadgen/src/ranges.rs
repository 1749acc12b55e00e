//! Sets of sequences, kept as a few ranges.
//!
//! Promises: ranges are inclusive, sorted and never touch, so a set of neighbours costs one entry.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges {
    ranges: Vec<(u64, u64)>,
}

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many sequences are in it.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(from, to)| to - from + 1).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }

    pub fn contains(&self, seq: u64) -> bool {
        let at = self.ranges.partition_point(|&(_, to)| to < seq);
        self.ranges.get(at).is_some_and(|&(from, _)| from <= seq)
    }

    /// Adds `from..=to`; nothing if that is empty.
    pub fn insert(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        // All that overlap or touch become one.
        let first = self.ranges.partition_point(|&(_, end)| end.saturating_add(1) < from);
        let after = self.ranges.partition_point(|&(start, _)| start <= to.saturating_add(1));
        let merged = self.ranges[first..after]
            .iter()
            .fold((from, to), |(low, high), &(start, end)| (low.min(start), high.max(end)));
        self.ranges.splice(first..after, [merged]);
    }

    /// Takes one sequence out; false if it was not in.
    pub fn remove(&mut self, seq: u64) -> bool {
        let at = self.ranges.partition_point(|&(_, to)| to < seq);
        let Some(&(from, to)) = self.ranges.get(at).filter(|(from, _)| *from <= seq) else { return false };
        let left = (from < seq).then(|| (from, seq - 1));
        let right = (seq < to).then(|| (seq + 1, to));
        self.ranges.splice(at..=at, left.into_iter().chain(right));
        true
    }

    /// What is in both.
    pub fn intersect(&self, other: &Self) -> Self {
        let mut both = Self::default();
        let (mut a, mut b) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(&&(a_from, a_to)), Some(&&(b_from, b_to))) = (a.peek(), b.peek()) {
            both.insert(a_from.max(b_from), a_to.min(b_to));
            if a_to < b_to {
                a.next();
            } else {
                b.next();
            }
        }
        both
    }

    /// What is in this one only.
    pub fn minus(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (from, to) in self.iter() {
            let mut next = from;
            for (cut_from, cut_to) in other.iter().filter(|&(start, end)| end >= from && start <= to) {
                if cut_from > next {
                    left.insert(next, cut_from - 1);
                }
                next = next.max(cut_to.saturating_add(1));
            }
            left.insert(next, to);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn members(ranges: &Ranges) -> BTreeSet<u64> {
        ranges.iter().flat_map(|(from, to)| from..=to).collect()
    }

    #[test]
    fn it_is_the_set_it_stands_for() {
        let mut rng = crate::keys::Rng::new(5);
        let (mut a, mut b) = (Ranges::default(), Ranges::default());
        let (mut set_a, mut set_b) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..2_000 {
            let (from, len) = (1 + rng.next_u64() % 200, rng.next_u64() % 6);
            a.insert(from, from + len);
            set_a.extend(from..=from + len);
            let seq = 1 + rng.next_u64() % 200;
            assert_eq!(a.remove(seq), set_a.remove(&seq));
            b.insert(seq, seq);
            set_b.insert(seq);
            let gone = 1 + rng.next_u64() % 200;
            assert_eq!(b.remove(gone), set_b.remove(&gone));
            assert_eq!(members(&a), set_a);
            assert_eq!(a.contains(seq), set_a.contains(&seq));
            assert_eq!(a.len(), set_a.len() as u64);
            assert_eq!(members(&a.intersect(&b)), set_a.intersection(&set_b).copied().collect());
            assert_eq!(members(&a.minus(&b)), set_a.difference(&set_b).copied().collect());
            assert!(a.ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{a:?}");
        }
    }
}
