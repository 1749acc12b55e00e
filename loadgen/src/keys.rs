//! Which key the next record has, and which partition a key belongs to.
//!
//! Promises: a key's partition is the one Kafka's default partitioner picks (murmur2), or the shard that has its MD5; a key belongs
//! to exactly one producer connection, so that connection alone defines the order of the key; the
//! same seed draws the same keys.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use keylane_engine::partition_for;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// SplitMix64: small, fast, good enough to draw keys and filler.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// The partition of a key in a topic of `partitions`.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    partition_for(key, partitions as u32) as i32
}

/// Which partition the keys of a topic, or of a stream, belong to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placing {
    /// Kafka's: see [`partition_of`].
    #[default]
    Murmur2,
    /// Kinesis': the last hash of each open shard and its number, by rising hashes.
    Md5(Vec<(u128, i32)>),
}

impl Placing {
    /// The partition, or shard, of a key; `partitions` is how many there are.
    pub fn home(&self, key: &[u8], partitions: i32) -> i32 {
        match self {
            Self::Murmur2 => partition_of(key, partitions),
            Self::Md5(shards) => {
                let hash = u128::from_be_bytes(Md5::digest(key).into());
                let at = shards.partition_point(|(last, _)| *last < hash);
                shards.get(at).map_or(-1, |(_, shard)| *shard)
            }
        }
    }
}

/// The names of all keys, of equal length.
#[derive(Debug, Clone)]
pub struct KeyNames {
    bytes: Vec<u8>,
    key_bytes: usize,
}

impl KeyNames {
    pub fn new(keys: u32) -> Self {
        let digits = keys.saturating_sub(1).to_string().len().max(7);
        let mut bytes = Vec::new();
        for key in 0..keys {
            bytes.extend_from_slice(format!("user-{key:0digits$}").as_bytes());
        }
        Self { bytes, key_bytes: 5 + digits }
    }

    pub fn key_bytes(&self) -> usize {
        self.key_bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / self.key_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[inline]
    pub fn name(&self, key: u32) -> &[u8] {
        let at = key as usize * self.key_bytes;
        &self.bytes[at..at + self.key_bytes]
    }
}

/// How often each key is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyDist {
    Uniform,
    /// Weight of the k-th key is `1 / k^exponent`.
    Zipf(f64),
    /// The first key has this weight, every other one 1.
    Hot(f64),
}

impl KeyDist {
    pub fn weight(self, key: u32) -> f64 {
        match self {
            Self::Hot(weight) if key == 0 => weight,
            Self::Hot(_) => 1.0,
            Self::Uniform => 1.0,
            Self::Zipf(exponent) => 1.0 / f64::from(key + 1).powf(exponent),
        }
    }
}

/// Gives every key to one connection so that the weights of the connections are as equal as can be
/// (each next key to the lightest connection).
pub fn assign_keys(keys: u32, connections: usize, dist: KeyDist) -> Vec<Vec<u32>> {
    let mut owned = vec![Vec::new(); connections];
    // Weights as integers, so that they are ordered.
    let mut lightest: BinaryHeap<Reverse<(u64, usize)>> = (0..connections).map(|c| Reverse((0, c))).collect();
    for key in 0..keys {
        let Some(Reverse((weight, connection))) = lightest.pop() else { break };
        owned[connection].push(key);
        let more = (dist.weight(key) * 1e9) as u64 + 1;
        lightest.push(Reverse((weight + more, connection)));
    }
    owned
}

/// Draws an index with given weights in constant time (Vose's alias method).
#[derive(Debug, Clone)]
pub struct Alias {
    /// Threshold of 32 bits and the alias, by index.
    slots: Vec<(u32, u32)>,
}

impl Alias {
    pub fn new(weights: &[f64]) -> Self {
        let n = weights.len();
        let mean = weights.iter().sum::<f64>() / n as f64;
        let mut scaled: Vec<f64> = weights.iter().map(|w| w / mean).collect();
        let mut slots = vec![(u32::MAX, 0u32); n];
        for (index, slot) in slots.iter_mut().enumerate() {
            slot.1 = index as u32;
        }
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&index| scaled[index] < 1.0);
        while let (Some(&less), Some(&more)) = (small.last(), large.last()) {
            small.pop();
            slots[less] = ((scaled[less] * f64::from(u32::MAX)) as u32, more as u32);
            scaled[more] -= 1.0 - scaled[less];
            if scaled[more] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        Self { slots }
    }

    #[inline]
    pub fn draw(&self, rng: &mut Rng) -> usize {
        let random = rng.next_u64();
        let index = ((random >> 32) * self.slots.len() as u64) >> 32;
        let (threshold, alias) = self.slots[index as usize];
        if random as u32 <= threshold { index as usize } else { alias as usize }
    }
}

/// The keys of one connection in one partition.
#[derive(Debug, Clone)]
pub struct Group {
    pub partition: i32,
    pub keys: Vec<u32>,
    draw: Alias,
    /// Its place among the groups.
    pub index: usize,
}

impl Group {
    #[inline]
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        self.keys[self.draw.draw(rng)]
    }
}

/// The keys of one connection, grouped by partition.
#[derive(Debug, Clone)]
pub struct KeyPicker {
    groups: Vec<Group>,
    draw: Alias,
}

impl KeyPicker {
    pub fn new(keys: &[u32], names: &KeyNames, partitions: i32, dist: KeyDist) -> Self {
        let mut by_partition = std::collections::BTreeMap::<i32, Vec<u32>>::new();
        for &key in keys {
            by_partition.entry(partition_of(names.name(key), partitions)).or_default().push(key);
        }
        let mut weights = Vec::new();
        let mut groups = Vec::new();
        for (partition, keys) in by_partition {
            let own: Vec<f64> = keys.iter().map(|&key| dist.weight(key)).collect();
            weights.push(own.iter().sum());
            groups.push(Group { partition, keys, draw: Alias::new(&own), index: groups.len() });
        }
        Self { groups, draw: Alias::new(&weights) }
    }

    /// How many partitions the keys are in.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The partition, with its keys, of the next batch.
    #[inline]
    pub fn next_group(&self, rng: &mut Rng) -> &Group {
        &self.groups[self.draw.draw(rng)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_one_owner_and_the_loads_are_even() {
        let owned = assign_keys(1000, 8, KeyDist::Zipf(0.9));
        let mut all: Vec<u32> = owned.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        let load = |keys: &Vec<u32>| keys.iter().map(|&k| KeyDist::Zipf(0.9).weight(k)).sum::<f64>();
        let loads: Vec<f64> = owned.iter().map(load).collect();
        let (min, max) = loads.iter().fold((f64::MAX, 0f64), |(a, b), &l| (a.min(l), b.max(l)));
        assert!(max / min < 1.05, "{loads:?}");
    }

    #[test]
    fn the_alias_method_draws_by_weight() {
        let alias = Alias::new(&[1.0, 2.0, 5.0]);
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 3];
        for _ in 0..80_000 {
            seen[alias.draw(&mut rng)] += 1;
        }
        for (count, expected) in seen.into_iter().zip([10_000u32, 20_000, 50_000]) {
            assert!(count.abs_diff(expected) < 1_000, "{seen:?}");
        }
    }

    #[test]
    fn a_shard_has_the_keys_whose_hash_it_has() {
        // Three even shards, as AWS divides them: alice and bob belong to shard 1, charlie to shard 2.
        let third = 113_427_455_640_312_821_154_458_202_477_256_070_485;
        let placing = Placing::Md5(vec![(third - 1, 0), (2 * third - 1, 1), (u128::MAX, 2)]);
        let home = |name: &str| placing.home(name.as_bytes(), 3);
        assert_eq!(["alice", "bob", "charlie"].map(home), [1, 1, 2]);
        let kept: Placing = serde_json::from_str(&serde_json::to_string(&placing).unwrap()).unwrap();
        assert_eq!(kept, placing);
        assert_eq!(Placing::Murmur2.home(b"alice", 3), partition_of(b"alice", 3));
    }

    #[test]
    fn batches_take_keys_of_one_partition() {
        let names = KeyNames::new(100);
        let keys: Vec<u32> = (0..100).collect();
        let picker = KeyPicker::new(&keys, &names, 4, KeyDist::Uniform);
        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            let group = picker.next_group(&mut rng);
            let key = group.draw(&mut rng);
            assert_eq!(partition_of(names.name(key), 4), group.partition);
        }
    }
}
