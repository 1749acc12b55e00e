//! What was sent and what was acked, per key, also across runs (the state file).
//!
//! Promises: memory is a constant per key plus the ranges whose fate is unknown: everything that was
//! sent is acked unless it is in `maybe`. A state file is replaced whole or not at all.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::keys::{KeyNames, Placing};
use crate::ranges::Ranges;

/// The producers' side of the books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    pub run: u64,
    pub partitions: i32,
    pub placing: Placing,
    /// Highest sequence sent, by key.
    pub sent: Vec<u64>,
    /// Sent but neither acked nor known to be absent: may be there, once, or not.
    pub maybe: HashMap<u32, Ranges>,
}

impl Ledger {
    pub fn new(run: u64, partitions: i32, keys: u32) -> Self {
        Self {
            run,
            partitions,
            placing: Placing::default(),
            sent: vec![0; keys as usize],
            maybe: HashMap::new(),
        }
    }

    pub fn keys(&self) -> u32 {
        self.sent.len() as u32
    }

    /// The partition, or shard, of a key by its name.
    pub fn home(&self, name: &[u8]) -> i32 {
        self.placing.home(name, self.partitions)
    }

    /// The next sequence of a key, counted as sent.
    #[inline]
    pub fn next_seq(&mut self, key: u32) -> u64 {
        let sent = &mut self.sent[key as usize];
        *sent += 1;
        *sent
    }

    pub fn mark_maybe(&mut self, key: u32, from: u64, to: u64) {
        self.maybe.entry(key).or_default().insert(from, to);
    }

    /// Adds the books of a thread that began with these: its keys are its own.
    pub fn merge(&mut self, thread: &Self) {
        for (into, from) in self.sent.iter_mut().zip(&thread.sent) {
            *into = (*into).max(*from);
        }
        for (key, ranges) in &thread.maybe {
            let into = self.maybe.entry(*key).or_default();
            ranges.iter().for_each(|(from, to)| into.insert(from, to));
        }
    }

    /// All that was sent since the books were `before` may be there or not.
    pub fn nothing_was_acked_since(&mut self, before: &Self) {
        for key in 0..self.keys() {
            let from = before.sent[key as usize] + 1;
            let to = self.sent[key as usize];
            if from <= to {
                self.mark_maybe(key, from, to);
            }
        }
    }

    pub fn sent_records(&self) -> u64 {
        self.sent.iter().sum()
    }

    pub fn maybe_records(&self) -> u64 {
        self.maybe.values().map(Ranges::len).sum()
    }

    pub fn acked_records(&self) -> u64 {
        self.sent_records() - self.maybe_records()
    }

    /// The highest sequence of a key that was acked; 0 if none.
    pub fn highest_acked(&self, key: u32) -> u64 {
        let sent = self.sent[key as usize];
        let tail = self.maybe.get(&key).and_then(|maybe| maybe.iter().last());
        tail.filter(|&(_, to)| to == sent).map_or(sent, |(from, _)| from - 1)
    }
}

#[derive(Serialize, Deserialize)]
struct StateKey {
    key: String,
    partition: i32,
    sent: u64,
    acked: u64,
    #[serde(default, skip_serializing_if = "Ranges::is_empty")]
    maybe: Ranges,
}

/// A state file: the books of all runs on a topic so far.
#[derive(Serialize, Deserialize)]
struct StateFile {
    topic: String,
    run: u64,
    partitions: i32,
    #[serde(default)]
    placing: Placing,
    rounds: u64,
    acked_records: u64,
    maybe_records: u64,
    keys: Vec<StateKey>,
}

/// A ledger and the topic that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub topic: String,
    /// Runs that wrote to it.
    pub rounds: u64,
    pub ledger: Ledger,
}

impl State {
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let file: StateFile = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        ensure!(file.partitions > 0, "{}: no partitions", path.display());
        let keys = u32::try_from(file.keys.len())?;
        let names = KeyNames::new(keys);
        let mut ledger = Ledger::new(file.run, file.partitions, keys);
        ledger.placing = file.placing;
        for (index, key) in (0..keys).zip(file.keys) {
            ensure!(key.key.as_bytes() == names.name(index), "{}: unknown key {}", path.display(), key.key);
            ledger.sent[index as usize] = key.sent;
            let possible = key.maybe.iter().all(|(from, to)| 1 <= from && from <= to && to <= key.sent);
            ensure!(possible, "{}: {}: ranges that were not sent", path.display(), key.key);
            if !key.maybe.is_empty() {
                ledger.maybe.insert(index, key.maybe);
            }
        }
        Ok(Self { topic: file.topic, rounds: file.rounds, ledger })
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let ledger = &self.ledger;
        let names = KeyNames::new(ledger.keys());
        let key = |key: u32| StateKey {
            key: String::from_utf8_lossy(names.name(key)).into_owned(),
            partition: ledger.home(names.name(key)),
            sent: ledger.sent[key as usize],
            acked: ledger.highest_acked(key),
            maybe: ledger.maybe.get(&key).cloned().unwrap_or_default(),
        };
        let file = StateFile {
            topic: self.topic.clone(),
            run: ledger.run,
            partitions: ledger.partitions,
            placing: ledger.placing.clone(),
            rounds: self.rounds,
            acked_records: ledger.acked_records(),
            maybe_records: ledger.maybe_records(),
            keys: (0..ledger.keys()).map(key).collect(),
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut temp = tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new(".")))?;
        serde_json::to_writer(&mut temp, &file)?;
        temp.flush()?;
        temp.as_file().sync_all()?;
        temp.persist(path).with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_keeps_the_books() {
        let mut ledger = Ledger::new(9, 4, 3);
        (0..5).for_each(|_| assert!(ledger.next_seq(1) > 0));
        ledger.mark_maybe(1, 2, 2);
        ledger.mark_maybe(1, 4, 5);
        assert_eq!((ledger.highest_acked(1), ledger.highest_acked(0)), (3, 0));
        assert_eq!((ledger.sent_records(), ledger.acked_records()), (5, 2));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let state = State { topic: "t".to_owned(), rounds: 2, ledger };
        state.save(&path).unwrap();
        assert_eq!(State::load(&path).unwrap(), state);
    }
}
