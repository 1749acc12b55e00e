//! The latest offset of every key in a stretch of a partition, in a fixed amount of memory.
//!
//! A key is represented by a hash of 128 bits (XXH3 with a random seed), as Kafka represents it by an MD5. If two keys had
//! the same hash, a record would be lost; among 2^32 keys the probability of that is about 2^-65.

use std::collections::{HashMap, TryReserveError};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use twox_hash::XxHash3_128;

use crate::ids::Offset;
use crate::records::{Opened, RecordsError};

/// Memory of one place in the table: hash, offset, and the table's own byte.
const BYTES_PER_PLACE: usize = size_of::<(KeyHash, Offset)>() + 1;
/// The hash table fills at most seven of eight places.
const USED_OF_8: usize = 7;

/// From keys to their latest offsets.
#[derive(Debug)]
pub struct KeyOffsets {
    seed: u64,
    latest: HashMap<KeyHash, Offset, BuildHasherDefault<AsItIs>>,
    keys_max: usize,
    end: Offset,
}

impl KeyOffsets {
    /// An empty map that begins at offset `start`. Its memory, at most `budget` bytes, is allocated here; less is allocated
    /// if at most `keys_max` keys can be added (an upper bound: the number of records). The map has room for at least one
    /// key.
    pub fn new(start: Offset, budget: usize, keys_max: usize) -> Result<Self, TryReserveError> {
        let places = (budget / BYTES_PER_PLACE).checked_ilog2().map_or(0, |log| 1usize << log);
        let keys_max = (places / 8 * USED_OF_8).min(keys_max).max(1);
        let mut latest = HashMap::default();
        latest.try_reserve(keys_max)?;
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Ok(Self { seed, latest, keys_max, end: start })
    }

    /// Adds the records of a batch at [`end`](Self::end) and after it; `limit` bounds the uncompressed bytes of the batch's
    /// records. False if the map became full: then some records of the batch may be in the map, `end` is the offset of the
    /// first one that is not, and nothing more should be added.
    pub fn add(&mut self, batch: &[u8], limit: usize) -> Result<bool, RecordsError> {
        let opened = Opened::of(batch, limit)?;
        for record in opened.records() {
            let record = record?;
            if record.offset < self.end {
                continue;
            }
            if let Some(key) = record.key
                && !self.insert(key, record.offset)
            {
                return Ok(false);
            }
            self.end = record.offset + 1;
        }
        self.end = self.end.max(opened.end_offset());
        Ok(true)
    }

    fn insert(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        if self.latest.len() >= self.keys_max {
            return self.latest.get_mut(&hash).map(|latest| *latest = offset).is_some();
        }
        self.latest.insert(hash, offset);
        true
    }

    /// The latest offset of a key, if the key was added.
    pub fn latest(&self, key: &[u8]) -> Option<Offset> {
        self.latest.get(&self.hash(key)).copied()
    }

    /// The offset after the last record that was added.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.latest.len()
    }

    /// Whether no key is in it.
    pub fn is_empty(&self) -> bool {
        self.latest.is_empty()
    }

    fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = XxHash3_128::oneshot_with_seed(self.seed, key);
        KeyHash([hash as u64, (hash >> 64) as u64])
    }
}

/// The hash of a key. Two words, for the alignment of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeyHash([u64; 2]);

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// The hash of a hash.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, &byte| hash.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::{build, patch};

    fn batch(base_offset: Offset, keys: &[&str]) -> Vec<u8> {
        let records: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (key.as_bytes(), &b"v"[..])).collect();
        let mut batch = build(&records, 1);
        patch(&mut batch, base_offset, 0);
        batch
    }

    #[test]
    fn the_latest_offset_wins_and_what_lies_before_the_start_is_left_out() {
        let mut map = KeyOffsets::new(11, 1 << 12, 100).unwrap();
        assert!(map.is_empty());
        assert!(map.add(&batch(10, &["before", "a", "b", "a"]), 1000).unwrap());
        assert!(map.add(&batch(20, &["b"]), 1000).unwrap());
        assert_eq!(
            ["before", "a", "b", "c"].map(|key| map.latest(key.as_bytes())),
            [None, Some(13), Some(20), None]
        );
        assert_eq!((map.len(), map.end()), (2, 21));
    }

    #[test]
    fn a_full_map_ends_before_the_record_that_did_not_fit_and_goes_on_from_there() {
        let mut map = KeyOffsets::new(0, 1 << 12, 3).unwrap();
        assert!(map.add(&batch(0, &["a", "b", "a"]), 1000).unwrap());
        assert!(!map.add(&batch(3, &["a", "c", "b", "d", "a"]), 1000).unwrap());
        assert_eq!((map.end(), map.len()), (6, 3));
        assert_eq!(
            ["a", "b", "c", "d"].map(|key| map.latest(key.as_bytes())),
            [Some(3), Some(5), Some(4), None]
        );
        let mut next = KeyOffsets::new(map.end(), 1 << 12, 3).unwrap();
        assert!(next.add(&batch(3, &["a", "c", "b", "d", "a"]), 1000).unwrap());
        assert_eq!(
            ["a", "b", "c", "d"].map(|key| next.latest(key.as_bytes())),
            [Some(7), None, None, Some(6)]
        );
    }

    #[test]
    fn a_budget_for_nothing_holds_one_key() {
        let mut map = KeyOffsets::new(0, 0, 0).unwrap();
        assert!(!map.add(&batch(0, &["a", "a", "b"]), 1000).unwrap());
        assert_eq!((map.end(), map.latest(b"a")), (2, Some(1)));
    }

    #[test]
    fn the_table_never_grows_and_its_places_are_as_large_as_reckoned() {
        assert_eq!(BYTES_PER_PLACE, 25);
        let mut map = KeyOffsets::new(0, 25 << 10, usize::MAX).unwrap();
        let room = map.latest.capacity();
        assert_eq!((room, map.keys_max), (1024 / 8 * 7, 1024 / 8 * 7));
        let keys: Vec<String> = (0..1000).map(|i| format!("key {i}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert!(!map.add(&batch(0, &keys), 1 << 20).unwrap());
        assert_eq!((map.len(), map.latest.capacity()), (896, room));
    }
}
