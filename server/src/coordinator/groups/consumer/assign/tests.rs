//! What assignors promise.

use std::collections::{BTreeMap, BTreeSet};

use keylane_sim_disk::Rng;
use uuid::Uuid;

use super::*;
use crate::coordinator::groups::consumer::partitions::Partitions;

const T: Uuid = Uuid::from_u128(1);
const U: Uuid = Uuid::from_u128(2);

fn member(id: &str, wants: &[Uuid], had: &[i32]) -> Consumer {
    Consumer {
        id: id.into(),
        instance: None,
        wants: wants.iter().copied().collect(),
        had: had.iter().map(|partition| (T, *partition)).collect(),
    }
}

/// Partitions of each member, as `topic:partitions` in order.
fn assigned(assignor: &str, members: &[Consumer], topics: &[(Uuid, i32)]) -> Vec<String> {
    let lists = assign(assignor, members, &topics.iter().copied().collect());
    let text = |list: &Partitions| {
        let topics = list.topics().map(|(topic, list)| {
            let numbers: String = list.iter().map(ToString::to_string).collect();
            format!("{}{numbers}", if *topic == T { "t" } else { "u" })
        });
        topics.collect::<Vec<_>>().join(" ")
    };
    lists.values().map(text).collect()
}

/// Seen at Apache Kafka 4.1, with the same members.
#[test]
fn uniform_keeps_what_it_can() {
    let all = [T];
    let two = [member("A", &all, &[0, 1, 2, 3, 4, 5, 6]), member("B", &all, &[])];
    assert_eq!(assigned("uniform", &two, &[(T, 7)]), ["t0123", "t456"]);
    let three = [member("A", &all, &[0, 1, 2, 3]), member("B", &all, &[4, 5, 6]), member("C", &all, &[])];
    assert_eq!(assigned("uniform", &three, &[(T, 7)]), ["t012", "t45", "t36"]);
    let without_b = [member("A", &all, &[0, 1, 2]), member("C", &all, &[3, 6])];
    assert_eq!(assigned("uniform", &without_b, &[(T, 7)]), ["t012", "t3456"]);
    let alone = [member("B", &all, &[4, 5, 6])];
    assert_eq!(assigned("uniform", &alone, &[(T, 7)]), ["t0123456"]);
    assert_eq!(assigned("uniform", &[], &[(T, 7)]), Vec::<String>::new());
    // A topic that is gone, a partition that is, a topic that nobody wants.
    let gone = [member("A", &[U], &[0, 1]), member("B", &[U], &[9])];
    assert_eq!(assigned("uniform", &gone, &[(T, 1), (U, 2)]), ["u0", "u1"]);
}

/// Seen at Apache Kafka 4.1, with the same members.
#[test]
fn range_gives_static_members_the_first_ranges() {
    let both = [T, U];
    let z = Consumer { instance: Some("z".into()), ..member("C", &both, &[]) };
    let three = [member("A", &both, &[]), member("B", &both, &[]), z];
    assert_eq!(assigned("range", &three, &[(T, 7), (U, 5)]), ["t34 u23", "t56 u4", "t012 u01"]);
    assert_eq!(assigned("range", &three[1..], &[(T, 7), (U, 5)]), ["t456 u34", "t0123 u012"]);
    let many = ["A", "B", "C"].map(|id| member(id, &[T], &[]));
    assert_eq!(assigned("range", &many, &[(T, 1)]), ["t0", "", ""]);
}

/// Whatever members want and had: every partition that somebody wants is assigned once, to somebody who wants it. Uniform is even,
/// and moves nothing when it is asked again.
#[test]
fn random_members_share_everything() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let count = 1 + rng.below(4);
        let topics: BTreeMap<Uuid, i32> =
            (1..=u128::from(count)).map(|n| (Uuid::from_u128(n), rng.below(9) as i32)).collect();
        let same = rng.one_in(2);
        let mut members: Vec<Consumer> = Vec::new();
        for n in 0..1 + rng.below(6) {
            let mut wants: BTreeSet<Uuid> = topics.keys().copied().collect();
            let had = topics.iter().flat_map(|(topic, n)| (0..*n + 2).map(|partition| (*topic, partition)));
            let had = had.filter(|_| rng.one_in(3)).collect();
            if !same {
                wants.retain(|_| !rng.one_in(3));
            }
            members.push(Consumer { id: format!("{n}").into(), instance: None, wants, had });
        }
        for assignor in ASSIGNORS {
            let lists = assign(assignor, &members, &topics);
            let wanted = |topic: &Uuid| members.iter().any(|m| m.wants.contains(topic));
            let there =
                topics.iter().filter(|(topic, _)| wanted(topic)).map(|(_, n)| *n as usize).sum::<usize>();
            let all: BTreeSet<_> = lists.values().flat_map(Partitions::iter).collect();
            assert_eq!((all.len(), lists.values().map(Partitions::len).sum()), (there, there), "{seed}");
            for member in &members {
                assert!(lists[&member.id].topics().all(|(topic, _)| member.wants.contains(topic)), "{seed}");
            }
            if assignor == "uniform" {
                is_even(seed, &members, &lists);
                members.iter_mut().for_each(|m| m.had = lists[&m.id].clone());
                assert_eq!(assign(assignor, &members, &topics), lists, "{seed}");
            }
        }
    }
}

/// Nobody has a partition that somebody who wants it, and has at least two less, could have.
fn is_even(seed: u64, members: &[Consumer], lists: &BTreeMap<std::sync::Arc<str>, Partitions>) {
    for rich in members {
        for poor in members {
            let more = lists[&poor.id].len() + 1 < lists[&rich.id].len();
            let could = lists[&rich.id].topics().any(|(topic, _)| poor.wants.contains(topic));
            assert!(!(more && could), "{seed}: {lists:?}");
        }
    }
}

#[test]
fn the_assignor_is_that_of_most() {
    let votes = |names: &[&str]| {
        let names: Vec<std::sync::Arc<str>> = names.iter().map(|name| (*name).into()).collect();
        preferred(names.iter())
    };
    assert_eq!(votes(&[]), "uniform");
    assert_eq!(votes(&["range", "uniform", "range"]), "range");
    assert_eq!(votes(&["range", "uniform"]), "uniform");
}
