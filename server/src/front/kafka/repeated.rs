//! What a request names more than once.

use std::collections::HashSet;
use std::hash::Hash;

/// What is named more than once.
pub fn repeated<T: Eq + Hash + Copy>(all: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    all.filter(|item| !seen.insert(*item)).collect()
}
