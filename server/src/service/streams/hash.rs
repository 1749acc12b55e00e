//! Hashes of partition keys, and ranges of them.

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// A range of hashes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashRange {
    /// The first hash.
    pub first: u128,
    /// The last hash.
    pub last: u128,
}

impl HashRange {
    /// Whether a hash is in the range.
    pub fn contains(&self, hash: u128) -> bool {
        (self.first..=self.last).contains(&hash)
    }
}

/// The hash of a partition key: its MD5, as a number.
pub fn of_key(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

/// All hashes in `count` ranges of the same size; the last one has the rest.
pub fn even_ranges(count: usize) -> Vec<HashRange> {
    let count = count as u128;
    if count <= 1 {
        return vec![HashRange { first: 0, last: u128::MAX }];
    }
    // floor(2^128 / count), without 2^128.
    let size = u128::MAX / count + u128::from(u128::MAX % count == count - 1);
    (0..count)
        .map(|n| HashRange {
            first: size.wrapping_mul(n),
            last: if n + 1 == count { u128::MAX } else { size * (n + 1) - 1 },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_ranges_cover_every_hash_once() {
        for count in [1usize, 2, 3, 4, 5, 7, 16, 1000] {
            let ranges = even_ranges(count);
            assert_eq!(ranges.len(), count);
            assert_eq!((ranges[0].first, ranges[count - 1].last), (0, u128::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "{count}");
        }
        // As AWS divides them: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_CreateStream.html
        assert_eq!(even_ranges(3)[1].first, 113_427_455_640_312_821_154_458_202_477_256_070_485);
        assert_eq!(even_ranges(2)[0].last, 170_141_183_460_469_231_731_687_303_715_884_105_727);
    }

    #[test]
    fn keys_hash_by_md5() {
        // With three shards alice and bob belong to shard 1, charlie to shard 2.
        let ranges = even_ranges(3);
        let shard = |key: &str| ranges.iter().position(|r| r.contains(of_key(key.as_bytes())));
        assert_eq!(["alice", "bob", "charlie"].map(shard), [Some(1), Some(1), Some(2)]);
    }
}
