//! The fetch sessions of one core: a bounded number in bounded memory.
//!
//! Promises: a session belongs to the core that opened it, which its id tells ([`home`]); a session that is being answered is
//! lent out, and nobody else gets it meanwhile. When there is no room, a new session takes the place of one that was not used
//! for [`EVICTABLE_AFTER`], else of a smaller one that is older than that, else it is not opened, as in Kafka
//! (`max.incremental.fetch.session.cache.slots`, `min.incremental.fetch.session.eviction.ms`).

use std::collections::HashMap;
use std::time::Duration;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::fetch::FetchRequest;
use tokio::time::Instant;
use uuid::Uuid;

use super::session::{Session, bytes_of};

/// Memory of all sessions of a core.
const BYTES_MAX: usize = 64 << 20;
/// Time without use after which any session can be replaced; age from which a smaller one can.
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);

/// A session with what is looked at without it.
struct Entry {
    /// `None` while it is lent out.
    session: Option<Session>,
    /// The epoch that the next request must have.
    epoch: i32,
    /// Whether its topics are named by id.
    by_id: bool,
    created: Instant,
    used: Instant,
    partitions: usize,
    bytes: usize,
}

impl Entry {
    /// Since it was old enough to be replaced by a larger one when it was used last.
    fn is_old(&self) -> bool {
        self.used.duration_since(self.created) > EVICTABLE_AFTER
    }
}

/// The sessions of a core.
pub struct Sessions {
    core: usize,
    cores: usize,
    slots_max: usize,
    entries: HashMap<i32, Entry>,
    bytes: usize,
}

/// The core that a session belongs to, by its id.
pub fn home(id: i32, cores: usize) -> usize {
    id.unsigned_abs() as usize % cores
}

/// The epoch after one. 0 and -1 stand for requests that name everything.
fn epoch_after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

impl Sessions {
    /// Sessions of one of `cores` cores, which share `slots` evenly.
    pub fn new(core: usize, cores: usize, slots: usize) -> Self {
        Self { core, cores, slots_max: slots.div_ceil(cores), entries: HashMap::new(), bytes: 0 }
    }

    /// Whether a session, or a new one, could ever hold what a request adds to it.
    pub fn could_hold(&self, session: Option<&Session>, request: &FetchRequest<'_>) -> bool {
        self.slots_max > 0 && session.map_or(0, Session::bytes) + bytes_of(request) <= BYTES_MAX
    }

    /// Opens a new session, if there is room or can be made, and lends it out at once. Returns its id.
    pub fn open(&mut self, session: &Session, by_id: bool, now: Instant) -> Option<i32> {
        let (partitions, bytes) = (session.len(), session.bytes());
        if self.slots_max == 0 || bytes > BYTES_MAX {
            return None;
        }
        while self.entries.len() >= self.slots_max || self.bytes + bytes > BYTES_MAX {
            let id = self.replaceable(partitions, now)?;
            self.close(id);
        }
        let id = self.free_id();
        let entry = Entry { session: None, epoch: 1, by_id, created: now, used: now, partitions, bytes };
        self.bytes += bytes;
        self.entries.insert(id, entry);
        Some(id)
    }

    /// A session that gives way to one of so many partitions.
    fn replaceable(&self, partitions: usize, now: Instant) -> Option<i32> {
        let (stale, entry) = self.entries.iter().min_by_key(|(_, entry)| entry.used)?;
        if now.duration_since(entry.used) > EVICTABLE_AFTER {
            return Some(*stale);
        }
        let old = self.entries.iter().filter(|(_, entry)| entry.is_old());
        let (smallest, entry) = old.min_by_key(|(_, entry)| entry.partitions)?;
        (entry.partitions < partitions).then_some(*smallest)
    }

    /// An id above 0 of this core, which cannot be guessed.
    fn free_id(&self) -> i32 {
        loop {
            let drawn = (Uuid::new_v4().as_u128() as u32 >> 1) as usize;
            let id = i32::try_from(drawn - drawn % self.cores + self.core).unwrap_or(0);
            if id > 0 && !self.entries.contains_key(&id) {
                return id;
            }
        }
    }

    /// Ends a session. One that does not exist is ended already.
    pub fn close(&mut self, id: i32) {
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes;
        }
    }

    /// Lends a session out for one request; its epoch counts as used.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND: there is no such session; INVALID_FETCH_SESSION_EPOCH: a request is missing, or another one is being
    /// answered; FETCH_SESSION_TOPIC_ID_ERROR: it names topics in the other way.
    pub fn lend(&mut self, id: i32, epoch: i32, by_id: bool, now: Instant) -> Result<Session, ErrorCode> {
        let entry = self.entries.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if entry.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if entry.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let session = entry.session.take().ok_or(ErrorCode::InvalidFetchSessionEpoch)?;
        entry.epoch = epoch_after(epoch);
        entry.used = now;
        Ok(session)
    }

    /// Takes a session back. One that was ended meanwhile stays so; one that does not fit any more ends.
    pub fn give_back(&mut self, id: i32, session: Session) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.bytes = self.bytes - entry.bytes + session.bytes();
        (entry.partitions, entry.bytes) = (session.len(), session.bytes());
        entry.session = Some(session);
        if self.bytes > BYTES_MAX {
            self.close(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use keylane_kafka::TopicRef;
    use keylane_kafka::messages::fetch::{FetchPartition, FetchTopic};

    use super::*;

    const BY_ID: bool = false;

    fn session(partitions: i32) -> Session {
        let partition = |index| FetchPartition { index, ..FetchPartition::default() };
        let partitions = (0..partitions).map(partition).collect();
        let topics = vec![FetchTopic { topic: TopicRef::Name("t"), partitions }];
        Session::new(&FetchRequest { topics, ..FetchRequest::default() })
    }

    fn open(sessions: &mut Sessions, partitions: i32, now: Instant) -> Option<i32> {
        let session = session(partitions);
        let id = sessions.open(&session, BY_ID, now)?;
        sessions.give_back(id, session);
        Some(id)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn an_id_tells_its_core() {
        for core in 0..3 {
            let mut sessions = Sessions::new(core, 3, 3000);
            for _ in 0..100 {
                let id = open(&mut sessions, 1, Instant::now()).unwrap();
                assert!(id > 0 && home(id, 3) == core);
            }
            assert_eq!(sessions.entries.len(), 100);
        }
        assert!(home(i32::MIN, 3) < 3 && home(-1, 3) < 3);
    }

    #[test]
    fn epochs_follow_each_other() {
        let (mut sessions, now) = (Sessions::new(0, 1, 10), Instant::now());
        let id = open(&mut sessions, 2, now).unwrap();
        let error = |lent: Result<Session, ErrorCode>| lent.unwrap_err();
        assert_eq!(error(sessions.lend(id + 1, 1, BY_ID, now)), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(error(sessions.lend(id, 2, BY_ID, now)), ErrorCode::InvalidFetchSessionEpoch);
        assert_eq!(error(sessions.lend(id, 1, !BY_ID, now)), ErrorCode::FetchSessionTopicIdError);
        let lent = sessions.lend(id, 1, BY_ID, now).unwrap();
        // The same again, and the next one too early.
        assert_eq!(error(sessions.lend(id, 1, BY_ID, now)), ErrorCode::InvalidFetchSessionEpoch);
        assert_eq!(error(sessions.lend(id, 2, BY_ID, now)), ErrorCode::InvalidFetchSessionEpoch);
        sessions.give_back(id, lent);
        assert_eq!(sessions.lend(id, 2, BY_ID, now).unwrap().len(), 2);
        assert_eq!((epoch_after(1), epoch_after(i32::MAX)), (2, 1));
    }

    #[test]
    fn a_session_that_was_closed_while_it_was_lent_stays_closed() {
        let (mut sessions, now) = (Sessions::new(0, 1, 10), Instant::now());
        let id = open(&mut sessions, 2, now).unwrap();
        let lent = sessions.lend(id, 1, BY_ID, now).unwrap();
        sessions.close(id);
        sessions.give_back(id, lent);
        assert_eq!((sessions.entries.len(), sessions.bytes), (0, 0));
    }

    #[test]
    fn a_full_cache_gives_up_what_is_unused_and_then_what_is_old_and_small() {
        let (mut sessions, start) = (Sessions::new(0, 1, 2), Instant::now());
        let first = open(&mut sessions, 5, start).unwrap();
        let second = open(&mut sessions, 3, start).unwrap();
        let mut epoch = 0;
        let mut touch = |sessions: &mut Sessions, ids: &[i32], now| {
            epoch += 1;
            for id in ids {
                let lent = sessions.lend(*id, epoch, BY_ID, now).unwrap();
                sessions.give_back(*id, lent);
            }
        };
        touch(&mut sessions, &[first, second], start + seconds(100));
        assert_eq!(open(&mut sessions, 9, start + seconds(101)), None, "both are young");
        touch(&mut sessions, &[first, second], start + seconds(121));
        let now = start + seconds(122);
        assert_eq!(open(&mut sessions, 3, now), None, "none is smaller");
        let third = open(&mut sessions, 4, now).unwrap();
        assert!(!sessions.entries.contains_key(&second) && sessions.entries.contains_key(&first));
        // Nobody uses the first one any more.
        assert_eq!(open(&mut sessions, 1, now + seconds(119)), None);
        let fourth = open(&mut sessions, 1, now + seconds(120)).unwrap();
        assert!(!sessions.entries.contains_key(&first));
        assert!(sessions.entries.contains_key(&third) && sessions.entries.contains_key(&fourth));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut sessions, now) = (Sessions::new(0, 1, 1000), Instant::now());
        let each = 50_000;
        let ids: Vec<_> = (0..6).map(|_| open(&mut sessions, each, now)).collect();
        let opened = ids.iter().flatten().count();
        assert_eq!(opened, BYTES_MAX / session(each).bytes(), "{ids:?}");
        assert!(sessions.bytes <= BYTES_MAX);
        // One that grows beyond it ends.
        let id = ids[0].unwrap();
        drop(sessions.lend(id, 1, BY_ID, now).unwrap());
        sessions.give_back(id, session(3 * each));
        assert_eq!(sessions.lend(id, 2, BY_ID, now).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(sessions.bytes, (opened - 1) * session(each).bytes());
        assert!(open(&mut Sessions::new(0, 1, 0), 1, now).is_none(), "no slots, no sessions");
    }
}
