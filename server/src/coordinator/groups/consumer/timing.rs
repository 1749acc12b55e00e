//! What happens to a consumer group without anybody asking.

use std::sync::Arc;

use super::group::Group;
use super::planted::{self, Bug};
use super::topics::Topics;
use crate::coordinator::groups::classic::Millis;

impl Group {
    /// The time at which [`Self::tick`] has something to do, if nothing is heard until then.
    pub fn due(&self) -> Option<Millis> {
        self.sessions.values().chain(self.revocations.values()).copied().min()
    }

    /// Removes members that were not heard of for longer than their session, or did not give partitions back in time.
    pub fn tick(&mut self, topics: &impl Topics, now: Millis) {
        let late = self.sessions.iter().chain(&self.revocations).filter(|(_, until)| **until <= now);
        let mut late: Vec<Arc<str>> = late.map(|(id, _)| Arc::clone(id)).collect();
        late.sort_unstable();
        late.dedup();
        if !late.is_empty() && !planted::is(Bug::NobodyDies) {
            self.fence(&late, topics, now);
        }
    }
}
