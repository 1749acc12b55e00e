//! What expires, on the simulated disk: offsets without members for long enough, and nothing else.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use keylane_engine::catalog::Topic;
use keylane_engine::records::BatchRules;
use keylane_engine::shard::{Shard, ShardOptions};
use keylane_engine::{LogConfig, LogId, ShardId};
use keylane_sim_disk::{SimDisk, SimOptions};

use super::*;
use crate::coordinator::groups::{classic, consumer};
use crate::service::topics::{LocalTopic, Route};

const LIMITS: Limits = Limits {
    classic: classic::Limits { initial_delay: 0, size_max: 9, session_min: 1, session_max: 90_000 },
    consumer: consumer::Limits { session: 60_000, heartbeat: 5_000, size_max: 9 },
};
const HOUR: i64 = 3_600_000;

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(future))
}

async fn held() -> Rc<Held> {
    let disk = SimDisk::new(1, SimOptions::default());
    keylane_engine::disk::Disk::create_dir(&disk, "").await.unwrap();
    let options = ShardOptions { segment_bytes: 64 << 10, zero_fill: false, ..ShardOptions::default() };
    let live = HashSet::from([LogId(7)]);
    let shard = Shard::open(disk, [1; 16], ShardId(0), &live, options).await.unwrap();
    let at = shard.attach(LogId(7));
    let place = Place { shard, at, batch_bytes_max: 8 << 10, stopping: Rc::default() };
    Rc::new(Held::new(place, LIMITS, topics().into()))
}

/// A topic `t` of two partitions.
fn topics() -> RefCell<TopicTable> {
    let topic = Topic {
        name: "t".to_owned(),
        id: Uuid::from_u128(1),
        partitions: Vec::new(),
        configs: BTreeMap::new(),
        attached: None,
    };
    let route = |n| Route::There { core: 0, shard: 0, log: LogId(n) };
    let local = LocalTopic {
        topic: Arc::new(topic),
        routes: vec![route(1), route(2)],
        max_message_bytes: 1 << 20,
        log: Arc::new(LogConfig::default()),
        rules: Arc::new(BatchRules::WITHOUT_TOPIC),
        internal: false,
        stream: OnceCell::new(),
    };
    let mut table = TopicTable::default();
    table.insert(Rc::new(local));
    RefCell::new(table)
}

async fn commit(held: &Held, group: &str, partition: i32) {
    let who = Committer { generation: -1, member_id: String::new(), instance: None, says_epoch: true };
    let (topic, metadata) = ("t".to_owned(), String::new());
    let wanted = vec![Wanted { topic, topic_id: None, partition, offset: 5, leader_epoch: -1, metadata }];
    assert_eq!(held.commit(group, &who, wanted).await, Ok(vec![true]));
}

/// Partitions for which a group has an offset.
async fn offsets(held: &Held, group: &str) -> Vec<i32> {
    let nobody = Fetcher { member_id: None, epoch: -1 };
    let found = held.fetch(group, &nobody, None).await.unwrap();
    found.into_iter().flat_map(|(_, list)| list).map(|(partition, _)| partition).collect()
}

fn join(id: &str) -> Join {
    Join {
        to: 0,
        member_id: id.into(),
        new_id: "m".into(),
        instance: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session: 60_000,
        rebalance: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), bytes::Bytes::new())],
        needs_id: false,
        can_skip: false,
    }
}

#[test]
fn offsets_expire_when_nobody_was_there_for_long_enough() {
    run(async {
        let held = held().await;
        commit(&held, "g", 0).await;
        let now = now_ms();
        held.expire(now + HOUR - 1_000, HOUR).await.unwrap();
        assert_eq!(offsets(&held, "g").await, [0], "not old enough");

        // With a member nothing expires, however old it is.
        let joined = held.join("g", join("")).await.unwrap();
        let id = Arc::clone(&joined.member_id);
        held.expire(now + 9 * HOUR, HOUR).await.unwrap();
        assert_eq!(offsets(&held, "g").await, [0], "a member is there");

        // The member leaves: from then on the time counts, not from the commit.
        let leaving = [Leaving { member_id: id, instance: None }];
        assert_eq!(held.leave("g", &leaving).await, Ok(vec![Ok(())]));
        for _ in 0..100 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            if held.log.look(|kept| kept.members("g").is_some_and(|stored| stored.members.is_empty())) {
                break;
            }
        }
        let left = held.log.look(|kept| kept.members("g").unwrap().since_ms);
        held.expire(left + HOUR - 1, HOUR).await.unwrap();
        assert_eq!(offsets(&held, "g").await, [0], "the member has just left");

        // A commit that is on its way to the disk is as good as one that is there.
        let (expired, _) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                held.expire(left + HOUR, HOUR).await
            },
            commit(&held, "g", 1)
        );
        expired.unwrap();
        assert!(!offsets(&held, "g").await.contains(&0), "old enough");

        // In the end nothing is left of the group, also after a restart.
        held.expire(now_ms() + 2 * HOUR, HOUR).await.unwrap();
        held.expire(now_ms() + 2 * HOUR, HOUR).await.unwrap();
        assert_eq!(held.describe("g"), None);
        assert!(held.list().is_empty() && held.log.look(|kept| kept.all_members().next().is_none()));
    });
}

#[test]
fn a_deleted_group_takes_the_ids_with_it_that_it_gave_out() {
    run(async {
        let held = held().await;
        commit(&held, "g", 0).await;
        let refused = held.join("g", Join { needs_id: true, ..join("") }).await;
        assert!(matches!(refused, Err(GroupError::Member(Refused::MemberIdRequired(_)))), "{refused:?}");
        held.delete("g").await.unwrap();
        assert!(held.list().is_empty() && held.live.is_empty());
        let late = held.join("g", join("m")).await;
        assert_eq!(late, Err(GroupError::Member(Refused::UnknownMember)));
    });
}
