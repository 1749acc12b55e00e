//! What a large group costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;

const LIMITS: Limits =
    Limits { initial_delay: 3_000, size_max: usize::MAX, session_min: 1_000, session_max: 60_000 };

fn join(to: Ticket, id: &str) -> Join {
    Join {
        to,
        member_id: id.into(),
        new_id: format!("consumer-of-a-large-group-{to}").into(),
        instance: None,
        client_id: "consumer-of-a-large-group".into(),
        client_host: "/127.0.0.1".into(),
        session: 45_000,
        rebalance: 300_000,
        protocol_type: "consumer".into(),
        protocols: vec![
            ("range".into(), Bytes::from_static(&[7; 60])),
            ("cooperative-sticky".into(), Bytes::from_static(&[7; 60])),
        ],
        needs_id: true,
        can_skip: true,
    }
}

/// What follows is done, and the group is looked at as `live` does it after each request.
fn after(group: &mut Group, ids: &mut Vec<Arc<str>>) -> usize {
    for effect in group.take_effects() {
        match effect {
            Effect::Joined { answer: Err(Refused::MemberIdRequired(id)), .. } => ids.push(id),
            Effect::Store { id, .. } => group.stored(id, Ok(()), 10_000),
            _ => {}
        }
    }
    group.bytes() + group.due().map_or(0, |due| due as usize)
}

/// The time that it takes until a group of so many members is stable.
fn stable(members: usize) -> Duration {
    let began = Instant::now();
    let (mut group, mut ids, mut looked) = (Group::new(LIMITS), Vec::new(), 0);
    for n in 0..members {
        group.join(join(n as Ticket, ""), 0);
        looked += after(&mut group, &mut ids);
    }
    for (n, id) in ids.clone().iter().enumerate() {
        group.join(join((members + n) as Ticket, id), 1);
        looked += after(&mut group, &mut ids);
    }
    while group.state() == State::PreparingRebalance {
        let due = group.due().unwrap();
        group.tick(due);
        looked += after(&mut group, &mut ids);
    }
    assert_eq!(group.state(), State::CompletingRebalance);
    let parts: Vec<_> = ids.iter().map(|id| (Arc::clone(id), Bytes::from_static(b"part"))).collect();
    for (n, id) in ids.clone().into_iter().enumerate() {
        let sync = Sync {
            to: 0,
            member_id: id,
            instance: None,
            generation: 1,
            protocol_type: None,
            protocol: None,
            // The first leads.
            parts: if n == 0 { parts.clone() } else { Vec::new() },
        };
        group.sync(sync, 10_000);
        looked += after(&mut group, &mut ids);
    }
    assert!(group.state() == State::Stable && looked > 0);
    began.elapsed()
}

/// A group of 200 that start together costs milliseconds; the bound leaves room for a busy machine.
#[test]
fn a_large_group_is_cheap() {
    let took = stable(200);
    assert!(took < Duration::from_millis(500), "{took:?}");
    println!("200 members are stable after {took:?}, 2000 after {:?}", stable(2_000));
}
