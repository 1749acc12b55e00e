//! What happens to a classic group without anybody asking.

use std::sync::Arc;

use super::group::{Group, State};
use super::limits::Millis;
use super::planted;

impl Group {
    /// The time at which [`Self::tick`] has something to do, if nothing is heard until then.
    pub fn due(&self) -> Option<Millis> {
        let sessions = self.members.values().filter_map(|m| m.dies_at());
        let pending = self.pending.values().copied();
        let gathering = self.gathering.map(|g| g.until);
        let synced = self.sync_until.filter(|_| !self.unsynced.is_empty());
        sessions.chain(pending).chain(gathering).chain(synced).min()
    }

    /// Does what is due: ids that nobody used are forgotten, members that were not heard of are removed, and rebalances go on
    /// without those who are missing.
    pub fn tick(&mut self, now: Millis) {
        if !planted::is(planted::Bug::PendingStays) {
            self.pending.retain(|_, until| *until > now);
        }
        let dead = self.members.values().filter(|m| m.dies_at().is_some_and(|at| at <= now));
        let dead: Vec<Arc<str>> = dead.map(|m| Arc::clone(&m.id)).collect();
        dead.iter().for_each(|id| self.expel(id, now));
        if self.sync_until.is_some_and(|until| until <= now) {
            self.give_up_unsynced(now);
        }
        self.go_on(now);
    }

    /// Members of this generation that never asked for their assignment are removed.
    fn give_up_unsynced(&mut self, now: Millis) {
        self.sync_until = None;
        let silent = std::mem::take(&mut self.unsynced);
        if silent.is_empty() || !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return;
        }
        silent.iter().for_each(|id| self.remove(id));
        self.prepare(now);
    }
}
