//! What members of a group did, and what must hold of it.

use std::collections::BTreeMap;

/// A partition and an offset in it.
pub type At = (i32, i64);

/// A record that a member was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processed {
    /// The generation in which the member had the partition.
    pub generation: i32,
    /// Which member.
    pub member: usize,
    /// Where the record lies.
    pub at: At,
    /// What is in it.
    pub value: u64,
}

/// A commit that was answered without an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The generation in which it was made.
    pub generation: i32,
    /// The partition, and the offset to read next.
    pub at: At,
}

/// Everything that happened.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Records that were acknowledged, and what is in them.
    pub acked: BTreeMap<At, u64>,
    /// In the order in which each member did it.
    pub processed: Vec<Processed>,
    /// In the order in which each member did it.
    pub committed: Vec<Committed>,
    /// What was found wrong while it happened.
    pub findings: Vec<String>,
    /// What did not go as it should, and proves nothing against the group: requests that nobody expected to fail.
    pub troubles: Vec<String>,
}

impl History {
    /// What is wrong.
    pub fn check(&self) -> Vec<String> {
        let mut found = self.findings.clone();
        found.extend(self.lost());
        found.extend(self.twice());
        found.extend(self.back());
        found
    }

    /// Records that nobody processed, or that were not what was sent.
    fn lost(&self) -> Vec<String> {
        let seen: BTreeMap<At, u64> = self.processed.iter().map(|p| (p.at, p.value)).collect();
        let missing = self.acked.iter().filter(|(at, value)| seen.get(at) != Some(value));
        missing.map(|(at, value)| format!("lost: {value} at {at:?}, seen is {:?}", seen.get(at))).collect()
    }

    /// Records that were processed twice in one generation, by one member or two.
    fn twice(&self) -> Vec<String> {
        let mut owners = BTreeMap::new();
        let mut found = Vec::new();
        for Processed { generation, member, at, .. } in &self.processed {
            if let Some(before) = owners.insert((*generation, *at), *member) {
                found.push(format!("twice: {at:?} in generation {generation}, by {before} and {member}"));
            }
        }
        found
    }

    /// Commits that went back: within a generation, or from one to the next.
    fn back(&self) -> Vec<String> {
        let mut commits: Vec<&Committed> = self.committed.iter().collect();
        commits.sort_by_key(|c| (c.at.0, c.generation));
        let pairs = commits.windows(2).filter(|two| two[0].at.0 == two[1].at.0 && two[1].at.1 < two[0].at.1);
        pairs.map(|two| format!("back: {:?} after {:?}", two[1], two[0])).collect()
    }

    /// The highest generation that somebody was in.
    pub fn generations(&self) -> i32 {
        self.committed.iter().map(|c| c.generation).max().unwrap_or(0)
    }

    /// How often a record was processed once more, in a later generation.
    pub fn again(&self) -> usize {
        let mut all: Vec<At> = self.processed.iter().map(|p| p.at).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        count - all.len()
    }
}
