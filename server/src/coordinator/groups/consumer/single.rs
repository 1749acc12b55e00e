//! Single cases: a group that goes from one protocol to the other while it has members, and what is refused.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::coordinator::groups::classic::{self, Effect, Join, Leaving, Sync};

const LIMITS: Limits = Limits { session: 45_000, heartbeat: 5_000, size_max: 3 };
const CLASSIC: classic::Limits =
    classic::Limits { initial_delay: 0, size_max: 9, session_min: 1, session_max: 90_000 };
const T: Uuid = Uuid::from_u128(7);

/// One topic `t` of four partitions.
struct One;

impl Topics for One {
    fn revision(&self) -> u64 {
        1
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        (name == "t").then_some((T, 4))
    }

    fn each(&self, see: &mut dyn FnMut(&str)) {
        see("t");
    }
}

fn join(id: &str) -> Join {
    Join {
        to: 1,
        member_id: id.into(),
        new_id: "a".into(),
        instance: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session: 6_000,
        rebalance: 9_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"))],
        needs_id: false,
        can_skip: true,
    }
}

fn sync(id: &str, generation: i32, parts: Vec<(Arc<str>, Bytes)>) -> Sync {
    let (protocol_type, protocol) = (Some("consumer".into()), Some("range".into()));
    Sync { to: 2, member_id: id.into(), instance: None, generation, protocol_type, protocol, parts }
}

fn assignment(partitions: &[i32]) -> Bytes {
    super::embedded::assignment(b"\0\0", [("t", partitions.to_vec())].into_iter())
}

fn beat(id: &str, epoch: i32, owned: Option<&[i32]>) -> Heartbeat {
    let owned = owned.map(|list| list.iter().map(|partition| (T, *partition)).collect());
    let joins = epoch == 0;
    let rebalance_ms = if joins { 9_000 } else { -1 };
    let topics = joins.then(|| vec!["t".into()]);
    Heartbeat { member_id: id.into(), epoch, rebalance_ms, topics, owned, ..Heartbeat::default() }
}

fn has(beat: &Beat) -> Vec<i32> {
    beat.assignment.iter().flat_map(Partitions::iter).map(|(_, partition)| partition).collect()
}

/// A classic group whose only member `a` has everything.
fn classic_group() -> classic::Group {
    let mut group = classic::Group::new(CLASSIC);
    group.join(join(""), 0);
    group.tick(0);
    group.sync(sync("a", 1, vec![("a".into(), assignment(&[0, 1, 2, 3]))]), 0);
    let stored = group.take_effects().into_iter().find_map(|effect| match effect {
        Effect::Store { id, .. } => Some(id),
        _ => None,
    });
    group.stored(stored.expect("an assignment to store"), Ok(()), 0);
    group
}

#[test]
fn a_group_with_members_goes_over_and_back() {
    let mut group = Group::new(LIMITS);
    group.take_over(&classic_group(), &One, 0).unwrap();
    let b = group.heartbeat(&beat("b", 0, Some(&[])), &One, 0).unwrap();
    assert_eq!((b.epoch, has(&b)), (2, vec![]), "nothing is free yet");

    // The member of before is told to join again, and commits until then.
    assert_eq!(group.heartbeat_classic("a", None, 1, 1_000), Err(classic::Refused::Rebalancing));
    assert_eq!(group.check_commit("a", 1, false), Ok(()));
    assert_eq!(group.sync_classic(&sync("a", 1, vec![]), &One, 1_000), Err(classic::Refused::Rebalancing));
    let a = group.join_classic(&join("a"), &One, 2_000).unwrap();
    assert_eq!((a.generation, a.protocol.as_deref(), &*a.leader), (2, Some("range"), ""));
    let part = group.sync_classic(&sync("a", 2, vec![]), &One, 2_000).unwrap();
    assert_eq!(part.assignment, assignment(&[0, 1]));
    assert_eq!(group.heartbeat_classic("a", None, 2, 3_000), Ok(()));
    assert_eq!(group.heartbeat_classic("a", None, 1, 3_000), Err(classic::Refused::IllegalGeneration));
    assert_eq!(group.check_commit("a", 1, false), Err(Refused::IllegalGeneration));
    assert_eq!(has(&group.heartbeat(&beat("b", 2, None), &One, 3_000).unwrap()), [2, 3]);

    // It is what it is after a restart, too.
    let again = Group::restore(group.image.clone(), LIMITS, 3_000);
    assert_eq!((again.owners.clone(), again.due()), (group.owners.clone(), Some(9_000)));

    let leaves = Heartbeat { epoch: -1, ..beat("b", 2, None) };
    group.heartbeat(&leaves, &One, 3_000).unwrap();
    assert!(group.is_classic());
    let stored = group.as_classic(&One);
    let mut back = classic::Group::restore(&stored, CLASSIC, 3_000);
    back.begin_again(3_000);
    assert_eq!((back.generation(), back.state()), (2, classic::State::PreparingRebalance));
    assert_eq!(back.heartbeat("a", None, 2, 3_000), Err(classic::Refused::Rebalancing));
    assert_eq!(back.members().next().map(|a| a.assignment.clone()), Some(assignment(&[0, 1])));
}

/// A cooperative member keeps what it may, gives the rest back, and is waited for no longer than it said.
#[test]
fn a_member_that_keeps_partitions_gives_them_back_in_time() {
    let owns = |list: &[u8]| {
        let parts = list.iter().flat_map(|partition| [0, 0, 0, *partition]);
        let head =
            [&b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01\0\x01t\0\0\0"[..], &[list.len() as u8]]
                .concat();
        let protocols = vec![("range".into(), head.into_iter().chain(parts).collect())];
        Join { protocols, ..join("a") }
    };
    let mut group = Group::new(LIMITS);
    group.take_over(&classic_group(), &One, 0).unwrap();
    group.heartbeat(&beat("b", 0, Some(&[])), &One, 0).unwrap();
    let a = group.join_classic(&owns(&[0, 1, 2, 3]), &One, 1_000).unwrap();
    assert_eq!(a.generation, 1, "not before it has given back");
    let part = group.sync_classic(&sync("a", 1, vec![]), &One, 1_000).unwrap();
    assert_eq!(part.assignment[2..], assignment(&[0, 1])[2..]);
    assert!(has(&group.heartbeat(&beat("b", 2, None), &One, 1_000).unwrap()).is_empty());
    assert_eq!(group.heartbeat_classic("a", None, 1, 2_000), Err(classic::Refused::Rebalancing));
    let mut late = Group::restore(group.image.clone(), LIMITS, 2_000);
    let a = group.join_classic(&owns(&[0, 1]), &One, 2_000).unwrap();
    assert_eq!(a.generation, 2);
    assert_eq!(has(&group.heartbeat(&beat("b", 2, None), &One, 2_000).unwrap()), [2, 3]);
    // The session of a classic member is its own.
    late.tick(&One, 8_000);
    assert_eq!(has(&late.heartbeat(&beat("b", 2, None), &One, 8_000).unwrap()), [0, 1, 2, 3]);
}

#[test]
fn what_cannot_go_on_is_refused_and_changes_nothing() {
    let mut group = Group::new(LIMITS);
    let mut connect = classic::Group::new(CLASSIC);
    connect.join(Join { protocol_type: "connect".into(), ..join("") }, 0);
    assert!(matches!(group.take_over(&connect, &One, 0), Err(Refused::NotConvertible(_))));
    let mut strange = classic::Group::new(CLASSIC);
    strange.join(Join { protocols: vec![("range".into(), Bytes::from_static(b"x"))], ..join("") }, 0);
    assert!(matches!(group.take_over(&strange, &One, 0), Err(Refused::NotConvertible(_))));
    assert!(group.take_entries().is_empty() && !group.exists());

    group.take_over(&classic_group(), &One, 0).unwrap();
    group.heartbeat(&beat("b", 0, Some(&[])), &One, 0).unwrap();
    group.take_entries();
    let refused = |group: &mut Group, join: Join| group.join_classic(&join, &One, 0).unwrap_err();
    let sticky = Join { protocols: vec![("sticky".into(), Bytes::new())], ..join("c") };
    assert_eq!(refused(&mut group, sticky), classic::Refused::Protocol);
    let id = refused(&mut group, Join { needs_id: true, ..join("") });
    assert_eq!(id, classic::Refused::MemberIdRequired("a".into()));
    assert_eq!(group.heartbeat_classic("b", None, 2, 0), Err(classic::Refused::UnknownMember));
    let nobody = Leaving { member_id: "nobody".into(), instance: None };
    assert_eq!(group.leave_classic(&nobody, &One, 0), Err(classic::Refused::UnknownMember));
    assert!(group.take_entries().is_empty());
    group.heartbeat(&beat("c", 0, Some(&[])), &One, 0).unwrap();
    assert_eq!(group.heartbeat(&beat("d", 0, Some(&[])), &One, 0), Err(Refused::Full(3)));
}
