//! What lay at each offset, as a fingerprint, so that two readers can be compared.
//!
//! Promises: exact to the offset while there is room; beyond `ENTRIES_MAX` fingerprints, neighbours are added
//! up, again and again, so that memory is bounded and a difference is still found, to a block of offsets.

/// Fingerprints that are kept, all partitions of a thread together (four bytes each).
const ENTRIES_MAX: usize = 16 << 20;

#[derive(Debug, Clone, Default)]
struct OfPartition {
    begin: i64,
    /// Each entry is for `2^shift` offsets.
    shift: u32,
    entries: Vec<u32>,
}

impl OfPartition {
    fn fold(&mut self) {
        self.shift += 1;
        let halves =
            self.entries.chunks(2).map(|pair| pair.iter().fold(0u32, |sum, entry| sum.wrapping_add(*entry)));
        self.entries = halves.collect();
    }
}

#[derive(Debug, Clone, Default)]
pub struct Prints {
    partitions: Vec<OfPartition>,
    entries: usize,
}

/// Offsets of which two readers saw different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    pub partition: i32,
    pub from: i64,
    /// The last one.
    pub to: i64,
}

#[inline]
fn print(offset: i64, key: u32, seq: u64) -> u32 {
    let mixed = (seq ^ u64::from(key) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (offset as u64);
    // Never 0: that is an offset at which nothing was seen.
    (mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32 | 1
}

impl Prints {
    pub fn new(partitions: i32) -> Self {
        Self { partitions: vec![OfPartition::default(); partitions.max(0) as usize], entries: 0 }
    }

    pub fn begin(&mut self, partition: i32, offset: i64) {
        if let Some(known) = usize::try_from(partition).ok().and_then(|p| self.partitions.get_mut(p)) {
            known.begin = offset;
        }
    }

    #[inline]
    pub fn add(&mut self, partition: i32, offset: i64, key: u32, seq: u64) {
        let Some(known) = usize::try_from(partition).ok().and_then(|p| self.partitions.get_mut(p)) else {
            return;
        };
        let Ok(at) = usize::try_from((offset - known.begin) >> known.shift) else { return };
        if at >= known.entries.len() {
            // A hole in the offsets must not cost memory without bound.
            let more = at + 1 - known.entries.len();
            if more > ENTRIES_MAX {
                return;
            }
            known.entries.resize(at + 1, 0);
            self.entries += more;
        }
        known.entries[at] = known.entries[at].wrapping_add(print(offset, key, seq));
        if self.entries > ENTRIES_MAX {
            self.partitions.iter_mut().for_each(OfPartition::fold);
            self.entries = self.partitions.iter().map(|known| known.entries.len()).sum();
        }
    }

    /// Takes over the partitions that another thread of the same reader has seen.
    pub fn merge(&mut self, other: Self) {
        for (ours, theirs) in self.partitions.iter_mut().zip(other.partitions) {
            if ours.entries.is_empty() {
                *ours = theirs;
            }
        }
    }

    /// Where both saw something, and not the same.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (partition, (a, b)) in (0..).zip(self.partitions.iter().zip(&other.partitions)) {
            if a.begin != b.begin {
                continue;
            }
            let (mut a, mut b) = (a.clone(), b.clone());
            while a.shift < b.shift {
                a.fold();
            }
            while b.shift < a.shift {
                b.fold();
            }
            for (at, (x, y)) in (0i64..).zip(a.entries.iter().zip(&b.entries)) {
                // A block that one of them saw only in part is not compared at its end.
                let last = at as usize + 1 == a.entries.len().min(b.entries.len());
                if x != y && *x != 0 && *y != 0 && !(a.shift > 0 && last) {
                    let from = a.begin + (at << a.shift);
                    found.push(Difference { partition, from, to: from + (1 << a.shift) - 1 });
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(changed: Option<i64>, folds: u32) -> Prints {
        let mut prints = Prints::new(2);
        prints.begin(1, 100);
        for offset in 100..164 {
            let seq = if changed == Some(offset) { 999 } else { offset as u64 };
            prints.add(1, offset, 7, seq);
        }
        (0..folds).for_each(|_| prints.partitions[1].fold());
        prints
    }

    #[test]
    fn a_changed_value_is_found_at_its_offset_or_in_its_block() {
        assert_eq!(seen(None, 0).differences(&seen(None, 0)), []);
        assert_eq!(seen(None, 0).differences(&seen(None, 3)), []);
        let at = |from, to| vec![Difference { partition: 1, from, to }];
        assert_eq!(seen(None, 0).differences(&seen(Some(120), 0)), at(120, 120));
        assert_eq!(seen(None, 0).differences(&seen(Some(120), 3)), at(116, 123));
    }

    #[test]
    fn what_only_one_has_seen_is_no_difference() {
        let mut short = Prints::new(2);
        short.begin(1, 100);
        short.add(1, 100, 7, 100);
        assert_eq!(seen(None, 0).differences(&short), []);
        assert_eq!(seen(None, 0).differences(&Prints::new(2)), []);
    }
}
