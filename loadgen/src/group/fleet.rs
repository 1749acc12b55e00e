//! The members of a group: started, ended, waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::books::Books;
use super::history::History;
use super::member::Running;
use super::spec::Spec;
use super::wire::Link;

/// How many members were started, and how they ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub started: usize,
    pub left: usize,
    pub killed: usize,
}

/// See the module's header.
pub struct Fleet {
    pub spec: Arc<Spec>,
    pub books: Arc<Books>,
    pub members: Vec<Running>,
    pub counts: Counts,
}

impl Fleet {
    pub fn new(spec: Spec) -> Self {
        let (books, counts) = (Arc::default(), Counts::default());
        Self { spec: Arc::new(spec), books, members: Vec::new(), counts }
    }

    /// Starts so many members.
    pub fn add(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let member = Running::start(&self.spec, &self.books, self.counts.started);
            self.members.push(member.context("starting a member's thread")?);
            self.counts.started += 1;
        }
        Ok(())
    }

    /// Has the oldest member leave.
    pub fn leave(&mut self) -> Result<()> {
        ensure!(!self.members.is_empty(), "nobody to leave");
        self.counts.left += 1;
        self.members.remove(0).leave()
    }

    /// Kills the oldest member.
    pub fn kill(&mut self) -> Result<()> {
        ensure!(!self.members.is_empty(), "nobody to kill");
        self.counts.killed += 1;
        self.members.remove(0).kill()
    }

    /// Waits until all members that run have joined, every partition has one owner, and they share them evenly.
    pub fn settled(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let shares = self.books.shares().clone();
            let sizes: Vec<usize> =
                self.members.iter().map(|m| shares.get(&m.number).map_or(0, |share| share.len())).collect();
            let all: usize = sizes.iter().sum();
            let even =
                sizes.iter().max().zip(sizes.iter().min()).is_some_and(|(most, least)| most - least <= 1);
            let joined = self.members.iter().all(|member| shares.contains_key(&member.number));
            if joined && even && all == self.spec.begin.len() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{}", self.unsettled(&shares, patience));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Why the members do not share the partitions.
    fn unsettled(&self, shares: &BTreeMap<usize, BTreeSet<i32>>, waited: Duration) -> String {
        let (members, partitions) = (self.members.len(), self.spec.begin.len());
        let joined = self.members.iter().filter(|member| shares.contains_key(&member.number)).count();
        let owned: usize = shares.values().map(BTreeSet::len).sum();
        let mut text = format!(
            "after {} s {joined} of {members} members have joined group {}, and {owned} of {partitions} partitions have \
             an owner",
            waited.as_secs(),
            self.spec.group
        );
        for (member, fault) in self.books.hindered().iter().take(3) {
            text += &format!("; member {member}: {fault}");
        }
        text
    }

    /// Waits until the group has committed everything up to these ends; false if it takes longer than `patience`.
    pub fn caught_up(&self, ends: &[i64], patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let partitions: Vec<i32> = (0..ends.len() as i32).collect();
        while Instant::now() < deadline {
            let asked = Link::connect(self.spec.address)
                .and_then(|mut link| link.committed(&self.spec.group, &self.spec.topic, &partitions));
            if let Ok(at) = asked
                && at.iter().all(|(p, at)| ends.get(*p as usize).is_some_and(|end| *at >= *end || *end == 0))
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Has all members leave; what happened.
    pub fn end(mut self) -> Result<(History, Counts)> {
        self.counts.left += self.members.len();
        Running::leave_all(self.members)?;
        Ok((self.books.history().clone(), self.counts))
    }
}
