//! Sequence numbers: decimal numbers of 56 digits that say where a record lies.
//!
//! ```text
//! bits  184..188     100..136              36..100          4..36          0..4
//!       2            second in which the   position         partition      2, or 3 between
//!                    shard was made                                       two positions
//! ```
//!
//! Promises: the numbers of a shard rise with its offsets, and those of a shard are above those of its parents, as it was made later;
//! they are compared as numbers. The position of a record is its offset plus 1, so that the position 0, where a shard
//! begins, is before its first record. A number that ends with 3 lies between the record of its position and the next one: a
//! reader that goes on at it or after it gets the next one.

/// The largest second of a number: 36 bits.
const SECOND_MAX: u64 = (1 << 36) - 1;
/// The upper part of a number whose digits are split at 28: 10^28.
const SPLIT: u128 = 10_000_000_000_000_000_000_000_000_000;
/// What stands above everything else, in the upper of two 128-bit parts.
const TOP: u64 = 2 << 56;
/// The version of the layout, in the last four bits.
const VERSION: u128 = 2;
/// The same for what lies between two records.
const BETWEEN: u128 = VERSION + 1;

/// Where a record lies, or where a shard begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The second in which the shard was made.
    pub created_s: u64,
    /// The partition.
    pub shard: u32,
    /// 0: before the first record; otherwise the offset plus 1.
    pub position: u64,
    /// It is behind the position and before the next one.
    pub between: bool,
}

/// Writes the numbers of one shard.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// The number of position 0, split at 28 digits.
    upper: u128,
    lower: u128,
}

impl Numbers {
    /// The numbers of a shard.
    pub fn of(created_s: u64, shard: u32) -> Self {
        let created_s = created_s.min(SECOND_MAX);
        let high = TOP | (created_s >> 28);
        let low = (u128::from(created_s) << 100) | (u128::from(shard) << 4) | VERSION;
        // Long division by 10^14, twice, of three limbs of 64 bits.
        const PART: u128 = 100_000_000_000_000;
        let mut limbs = [high, (low >> 64) as u64, low as u64];
        let mut divide = || {
            let mut rest = 0u128;
            for limb in &mut limbs {
                let value = (rest << 64) | u128::from(*limb);
                *limb = (value / PART) as u64;
                rest = value % PART;
            }
            rest
        };
        let (last, before) = (divide(), divide());
        let upper = (u128::from(limbs[1]) << 64) | u128::from(limbs[2]);
        Self { upper, lower: before * PART + last }
    }

    /// The number of a position.
    pub fn at(&self, position: u64) -> String {
        let lower = self.lower + (u128::from(position) << 36);
        format!("{}{:028}", self.upper + lower / SPLIT, lower % SPLIT)
    }

    /// The number of the record at an offset.
    pub fn of_offset(&self, offset: u64) -> String {
        self.at(offset.saturating_add(1))
    }

    /// The number from which a reader goes on at an offset, whether it says AT or AFTER: before the record at this offset, and
    /// after all others before it.
    pub fn before_offset(&self, offset: u64) -> String {
        let behind = Self { lower: self.lower + BETWEEN - VERSION, ..*self };
        behind.at(offset)
    }
}

/// Reads a number. `None`: no shard here has one like it.
pub fn parse(text: &str) -> Option<Place> {
    if text.len() != 56 {
        return None;
    }
    let (mut high, mut low) = (0u64, 0u128);
    for digit in text.bytes() {
        let digit = char::from(digit).to_digit(10)?;
        let (below, above) = (low & u128::from(u64::MAX), low >> 64);
        let below = below * 10 + u128::from(digit);
        let above = above * 10 + (below >> 64);
        low = (above << 64) | (below & u128::from(u64::MAX));
        high = high.checked_mul(10)?.checked_add((above >> 64) as u64)?;
    }
    let created_s = ((high & 0xff) << 28) | (low >> 100) as u64;
    let between = low & 0xf == BETWEEN;
    let whole = high == TOP | (created_s >> 28) && (between || low & 0xf == VERSION);
    whole.then_some(Place { created_s, shard: (low >> 4) as u32, position: (low >> 36) as u64, between })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_read_back_and_are_in_order(
            created_s in 0..=SECOND_MAX, later in 1u64..9, shard: u32, other: u32, position in 0..u64::MAX,
        ) {
            let numbers = Numbers::of(created_s, shard);
            let text = numbers.at(position);
            prop_assert_eq!(text.len(), 56);
            prop_assert_eq!(parse(&text), Some(Place { created_s, shard, position, between: false }));
            let between = numbers.before_offset(position);
            prop_assert_eq!(parse(&between), Some(Place { created_s, shard, position, between: true }));
            prop_assert!(text < between && between < numbers.at(position + 1));
            // Of the same length, texts compare as numbers.
            prop_assert!(numbers.at(position + 1) > text);
            if created_s + later <= SECOND_MAX {
                prop_assert!(Numbers::of(created_s + later, other).at(0) > numbers.at(u64::MAX));
            }
        }

        #[test]
        fn other_numbers_are_refused(digits in "[0-9]{1,60}") {
            if let Some(place) = parse(&digits) {
                let numbers = Numbers::of(place.created_s, place.shard);
                let again = if place.between { numbers.before_offset(place.position) } else { numbers.at(place.position) };
                prop_assert_eq!(again, digits);
            }
        }
    }

    #[test]
    fn a_number_that_was_given_out_once_stays_the_same() {
        // 2 << 184 | 1_700_000_000 << 100 | 8 << 36 | 3 << 4 | 2, by another calculator.
        assert_eq!(Numbers::of(1_700_000_000, 3).of_offset(7), EXPECTED);
        for wrong in ["", "1", "x", &"9".repeat(56), &"1".repeat(57), "\u{0663}"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    const EXPECTED: &str = "49039857307708445622473125256799876420195101598831083570";
}
