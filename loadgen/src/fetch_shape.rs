//! What a consumer asks for in its next Fetch, as clients in use ask by default.
//!
//! Promises: a plan names only partitions that are wanted, each once, at the offset that is wanted next; with a fetch
//! session (KIP-227), what the broker knows after an answer is what was wanted when it was asked.
//!
//! | shape | partitions of a request | answer | partition | wait | session |
//! |---|---|---|---|---|---|
//! | own (no option) | all, the first one rotates | 4 MiB, 1 MiB to catch up beside the load | 1 MiB | 100 ms | no |
//! | `librdkafka` | all, the first one rotates | 50 MiB | 1 MiB | 500 ms | no |
//! | `java` | all, in the order of a hash set | 50 MiB | 1 MiB | 500 ms | yes |
//! | `one` | one until it has no more, then the next one | 1 MiB | 1 MiB | 100 ms | no |
//!
//! `librdkafka`: version 2.x, `fetch.max.bytes`, `fetch.message.max.bytes`, `fetch.wait.max.ms`. It leaves out partitions
//! with more than `queued.min.messages` records in their queue; a reader that takes each answer at once has none.
//! `java`: version 4.1, `fetch.max.bytes`, `max.partition.fetch.bytes`, `fetch.max.wait.ms`. Since 4.1 a broker with any
//! partition whose records are still buffered is not asked at all (before, only those partitions were left out), so that
//! requests to one broker follow each other and each one names everything.

use std::collections::BTreeMap;

use clap::ValueEnum;
use keylane_kafka::ErrorCode;

/// What a Fetch asks for besides its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    pub max_wait_ms: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
}

/// Whose requests a consumer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FetchShape {
    /// All partitions at once, 1 MiB each and 50 MiB together, without a session.
    Librdkafka,
    /// The same with a session, in the order of a Java hash set.
    Java,
    /// One partition after another, 1 MiB at a time.
    One,
}

impl FetchShape {
    /// What it asks for besides its partitions.
    pub fn limits(self) -> FetchLimits {
        match self {
            Self::Librdkafka | Self::Java => {
                FetchLimits { max_wait_ms: 500, max_bytes: 50 << 20, partition_max_bytes: 1 << 20 }
            }
            Self::One => FetchLimits { max_wait_ms: 100, max_bytes: 1 << 20, partition_max_bytes: 1 << 20 },
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Librdkafka => "librdkafka",
            Self::Java => "java",
            Self::One => "one",
        }
    }
}

/// One request: its session, the partitions with the offsets that are wanted, and those that leave the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPlan {
    pub session_id: i32,
    pub session_epoch: i32,
    pub partitions: Vec<(i32, i64)>,
    pub forgotten: Vec<i32>,
}

impl FetchPlan {
    /// Everything that is wanted, without a session.
    pub fn without_session(partitions: Vec<(i32, i64)>) -> Self {
        Self { session_id: 0, session_epoch: -1, partitions, forgotten: Vec::new() }
    }
}

/// Plans the requests of one connection.
#[derive(Debug)]
pub struct FetchPlanner {
    /// `None`: the load generator's own shape.
    shape: Option<FetchShape>,
    topic_hash: i32,
    /// Which of the wanted partitions comes first.
    turn: usize,
    /// The partition that is read now, with [`FetchShape::One`].
    current: Option<i32>,
    session: Session,
}

impl FetchPlanner {
    pub fn new(shape: Option<FetchShape>, topic: &str) -> Self {
        Self {
            shape,
            topic_hash: java_string_hash(topic),
            turn: 0,
            current: None,
            session: Session::default(),
        }
    }

    /// The next request, for at least one wanted (partition, offset), in order of the partitions.
    pub fn plan(&mut self, mut wanted: Vec<(i32, i64)>) -> FetchPlan {
        match self.shape {
            None | Some(FetchShape::Librdkafka) => {
                self.turn = (self.turn + 1) % wanted.len().max(1);
                wanted.rotate_left(self.turn);
                FetchPlan::without_session(wanted)
            }
            Some(FetchShape::One) => {
                let from = self.current.unwrap_or(i32::MIN);
                let next =
                    wanted.iter().find(|(partition, _)| *partition >= from).or(wanted.first()).copied();
                self.current = next.map(|(partition, _)| partition);
                FetchPlan::without_session(next.into_iter().collect())
            }
            Some(FetchShape::Java) => {
                let buckets = java_buckets(wanted.len());
                wanted.sort_by_key(|(partition, _)| java_bucket(*partition, self.topic_hash, buckets));
                self.session.plan(wanted)
            }
        }
    }

    /// Takes notice of an answer: its error and session, and whether it brought any records.
    pub fn answered(&mut self, error: ErrorCode, session_id: i32, any_records: bool) {
        if let Some(partition) = self.current.filter(|_| !any_records) {
            self.current = Some(partition.saturating_add(1));
        }
        self.session.answered(error, session_id);
    }

    /// What a broker that came back does not know any more.
    pub fn reconnected(&mut self) {
        self.session = Session::default();
    }
}

/// The client's side of an incremental fetch session (KIP-227).
#[derive(Debug, Default)]
struct Session {
    id: i32,
    /// 0: the next request names everything and asks for a session.
    epoch: i32,
    /// Offsets that the broker has been told, by partition.
    told: BTreeMap<i32, i64>,
}

impl Session {
    fn plan(&mut self, wanted: Vec<(i32, i64)>) -> FetchPlan {
        let known = std::mem::replace(&mut self.told, wanted.iter().copied().collect());
        let (session_id, session_epoch) = (self.id, self.epoch);
        if session_epoch == 0 {
            return FetchPlan { session_id, session_epoch, partitions: wanted, forgotten: Vec::new() };
        }
        let changed = |(partition, offset): &(i32, i64)| known.get(partition) != Some(offset);
        let partitions = wanted.into_iter().filter(changed).collect();
        let forgotten = known.into_keys().filter(|partition| !self.told.contains_key(partition)).collect();
        FetchPlan { session_id, session_epoch, partitions, forgotten }
    }

    fn answered(&mut self, error: ErrorCode, session_id: i32) {
        (self.id, self.epoch) = match error {
            ErrorCode::None if session_id != 0 => {
                (session_id, if self.epoch == i32::MAX { 1 } else { self.epoch + 1 })
            }
            // No session, or none any more.
            ErrorCode::None | ErrorCode::FetchSessionIdNotFound => (0, 0),
            // A new session in the place of this one.
            _ => (self.id, 0),
        };
    }
}

/// `String.hashCode` of Java.
fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Buckets of a `HashSet` that is made of so many elements: room for 4/3 of them, at least 16, a power of two.
fn java_buckets(len: usize) -> u32 {
    let room = (len as f64 / 0.75) as usize + 1;
    u32::try_from(room.max(16).next_power_of_two()).unwrap_or(1 << 30)
}

/// Where such a set keeps a `TopicPartition`; it is walked from the first bucket to the last.
fn java_bucket(partition: i32, topic_hash: i32, buckets: u32) -> u32 {
    let hash = 31i32.wrapping_mul(31i32.wrapping_add(partition)).wrapping_add(topic_hash) as u32;
    (hash ^ hash >> 16) & (buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planner(shape: Option<FetchShape>) -> FetchPlanner {
        FetchPlanner::new(shape, "t")
    }

    fn names(plan: &FetchPlan) -> Vec<i32> {
        plan.partitions.iter().map(|(partition, _)| *partition).collect()
    }

    #[test]
    fn librdkafka_asks_for_everything_and_begins_one_further_each_time() {
        let mut planner = planner(Some(FetchShape::Librdkafka));
        let wanted = vec![(0, 5), (1, 6), (2, 7)];
        let plans: Vec<FetchPlan> = (0..4).map(|_| planner.plan(wanted.clone())).collect();
        let orders: Vec<Vec<i32>> = plans.iter().map(names).collect();
        assert_eq!(orders, [[1, 2, 0], [2, 0, 1], [0, 1, 2], [1, 2, 0]]);
        assert_eq!(plans[0].partitions, [(1, 6), (2, 7), (0, 5)]);
        assert!(plans.iter().all(|plan| (plan.session_id, plan.session_epoch) == (0, -1)));
    }

    #[test]
    fn one_stays_with_a_partition_until_it_brings_nothing() {
        let mut planner = planner(Some(FetchShape::One));
        let wanted = vec![(0, 0), (1, 0), (3, 0)];
        assert_eq!(names(&planner.plan(wanted.clone())), [0]);
        planner.answered(ErrorCode::None, 0, true);
        assert_eq!(names(&planner.plan(wanted.clone())), [0]);
        planner.answered(ErrorCode::None, 0, false);
        assert_eq!(names(&planner.plan(wanted.clone())), [1]);
        planner.answered(ErrorCode::None, 0, false);
        assert_eq!(names(&planner.plan(wanted.clone())), [3]);
        planner.answered(ErrorCode::None, 0, false);
        assert_eq!(names(&planner.plan(wanted.clone())), [0], "and again from the first one");
        // What is read to its end is not wanted any more.
        assert_eq!(names(&planner.plan(vec![(3, 0)])), [3]);
    }

    #[test]
    fn a_session_is_told_what_changed_and_what_is_not_wanted_any_more() {
        let mut planner = planner(Some(FetchShape::Java));
        let all = vec![(0, 0), (1, 0), (2, 0)];
        let first = planner.plan(all.clone());
        assert_eq!((first.session_id, first.session_epoch, first.partitions.len()), (0, 0, 3));
        planner.answered(ErrorCode::None, 77, true);
        let second = planner.plan(vec![(0, 10), (1, 0)]);
        let expected =
            FetchPlan { session_id: 77, session_epoch: 1, partitions: vec![(0, 10)], forgotten: vec![2] };
        assert_eq!(second, expected);
        planner.answered(ErrorCode::None, 77, false);
        // Back in the session, though its offset was told once.
        let third = planner.plan(vec![(0, 10), (1, 0), (2, 0)]);
        assert_eq!((third.session_epoch, third.partitions, third.forgotten), (2, vec![(2, 0)], vec![]));
    }

    #[test]
    fn without_a_session_everything_is_named_again() {
        // A broker that gives none, one that has lost it, and one that was started anew.
        let lost: [fn(&mut FetchPlanner); 3] = [
            |planner| planner.answered(ErrorCode::None, 0, true),
            |planner| planner.answered(ErrorCode::FetchSessionIdNotFound, 0, false),
            FetchPlanner::reconnected,
        ];
        for lose in lost {
            let mut planner = planner(Some(FetchShape::Java));
            planner.plan(vec![(0, 0), (1, 0)]);
            planner.answered(ErrorCode::None, 5, true);
            planner.plan(vec![(0, 3), (1, 0)]);
            lose(&mut planner);
            let plan = planner.plan(vec![(0, 3), (1, 0)]);
            assert_eq!((plan.session_id, plan.session_epoch, plan.partitions.len()), (0, 0, 2));
        }
        // Any other error: everything again, and the old session ends.
        let mut planner = planner(Some(FetchShape::Java));
        planner.plan(vec![(0, 0)]);
        planner.answered(ErrorCode::None, 5, true);
        planner.answered(ErrorCode::InvalidFetchSessionEpoch, 0, false);
        let plan = planner.plan(vec![(0, 0)]);
        assert_eq!((plan.session_id, plan.session_epoch, plan.partitions.len()), (5, 0, 1));
    }

    /// The orders are those in which Java 17 walks `new HashSet<>(partitions)` of topic "t".
    #[test]
    fn java_walks_its_set_of_partitions() {
        let order_of = |partitions| {
            let wanted: Vec<(i32, i64)> = (0..partitions).map(|partition| (partition, 0)).collect();
            names(&planner(Some(FetchShape::Java)).plan(wanted))
        };
        assert_eq!(order_of(5), [4, 3, 2, 1, 0]);
        assert_eq!(order_of(13), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        let of_30 = [
            21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0, 29,
            27, 25, 23,
        ];
        assert_eq!(order_of(30), of_30);
        assert_eq!(java_string_hash("catch-up"), 48_630_509);
    }
}
