//! Extents: neighbouring batches of a segment, which are read in one go.

use std::ops::Range;

use crate::aligned::{BLOCK, round_down, round_up};

use super::located::Located;
use super::memory::READ_BUFFER_BYTES;

/// Batches further apart than this are not neighbours.
const APART_BYTES: u64 = 2 * BLOCK as u64;

/// Batches of one segment near each other, and the bytes of it that hold them.
pub struct Extent<'a> {
    /// The batches, by position.
    pub batches: &'a [Located],
    /// The bytes of the segment that hold them, in whole blocks.
    pub range: Range<u64>,
}

/// Joins batches near each other.
pub fn extents(mut rest: &[Located]) -> Vec<Extent<'_>> {
    let mut out = Vec::new();
    while let Some(first) = rest.first() {
        let from = round_down(first.entry.position.into());
        let mut end = u64::from(first.entry.position) + u64::from(first.entry.len);
        let joins = |next: &&Located| {
            let (at, to) =
                (u64::from(next.entry.position), next.entry.position as u64 + next.entry.len as u64);
            let near = at >= end && at - end <= APART_BYTES;
            let fits = round_up((to - from.min(to)) as usize) <= READ_BUFFER_BYTES;
            let joined = next.generation == first.generation && near && fits;
            if joined {
                end = to;
            }
            joined
        };
        let count = 1 + rest[1..].iter().take_while(joins).count();
        let (batches, after) = rest.split_at(count);
        out.push(Extent { batches, range: from..from + round_up((end - from) as usize) as u64 });
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;
    use crate::log::index::IndexEntry;

    fn located(generation: u64, position: u32, len: u32) -> Located {
        let entry = IndexEntry { base_offset: 0, position, len, span: 1, max_timestamp: 0 };
        Located { generation: Generation(generation), entry }
    }

    #[test]
    fn neighbours_are_read_together_in_whole_blocks_and_what_lies_apart_is_not() {
        let batches = [
            located(1, 5_000, 3_000),
            located(1, 8_000, 100),
            located(1, 15_000, 100),
            located(1, 100_000, 1),
            located(2, 100_001, 1),
            located(2, 50_000, 10),
        ];
        let found: Vec<_> = extents(&batches).iter().map(|e| (e.batches.len(), e.range.clone())).collect();
        assert_eq!(
            found,
            [(3, 4_096..16_384), (1, 98_304..102_400), (1, 98_304..102_400), (1, 49_152..53_248)]
        );
    }

    #[test]
    fn no_read_is_larger_than_its_memory_unless_one_batch_is() {
        let batches: Vec<_> = (0..6).map(|n| located(1, n << 20, 1 << 20)).collect();
        assert!(extents(&batches).iter().all(|e| e.batches.len() == 2));
        let large = [located(1, 0, 5 << 20), located(1, 5 << 20, 100)];
        assert_eq!(extents(&large)[0].range, 0..5 << 20);
        assert!(extents(&[]).is_empty());
    }
}
