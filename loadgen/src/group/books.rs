//! What the members of a group have done, what each has now, and what keeps one out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::history::History;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Books {
    history: Mutex<History>,
    given_up: AtomicU64,
    shares: Mutex<BTreeMap<usize, BTreeSet<i32>>>,
    /// What each member that has no part of the group was answered last.
    hindered: Mutex<BTreeMap<usize, String>>,
}

impl Books {
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a member gave up so many partitions.
    pub fn gave_up(&self, partitions: u64) {
        self.given_up.fetch_add(partitions, Ordering::Relaxed);
    }

    /// How many partitions members have given up, each time that they did.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// What keeps members out of the group, by member.
    pub fn hindered(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.hindered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions of each member that is in the group.
    pub fn shares(&self) -> MutexGuard<'_, BTreeMap<usize, BTreeSet<i32>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
