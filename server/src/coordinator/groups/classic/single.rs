//! Single cases that random histories do not show.

use std::sync::Arc;

use bytes::Bytes;

use super::*;

const LIMITS: Limits = Limits { initial_delay: 0, size_max: 3, session_min: 1, session_max: 90_000 };

fn join(to: Ticket, new_id: &str, instance: Option<&str>) -> Join {
    Join {
        to,
        member_id: "".into(),
        new_id: new_id.into(),
        instance: instance.map(Into::into),
        client_id: "client".into(),
        client_host: "/here".into(),
        session: 10_000,
        rebalance: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"wants"))],
        needs_id: true,
        can_skip: true,
    }
}

/// What was to be stored is, with this outcome; the answers to JoinGroups.
fn settle(group: &mut Group, outcome: &Result<(), Refused>) -> Vec<(Ticket, Result<Joined, Refused>)> {
    let mut answers = Vec::new();
    loop {
        let effects = group.take_effects();
        if effects.is_empty() {
            return answers;
        }
        for effect in effects {
            match effect {
                Effect::Joined { to, answer } => answers.push((to, answer)),
                Effect::Synced { .. } => {}
                Effect::Store { id, .. } => group.stored(id, outcome.clone(), 0),
            }
        }
    }
}

/// The new id of a static member was not stored, and stayed: after a restart the server knew the old id, and the process that
/// had been told of the new one lost its place.
#[test]
fn a_new_id_that_is_not_stored_is_taken_back() {
    let mut group = Group::new(LIMITS);
    group.join(join(1, "old", Some("one")), 0);
    settle(&mut group, &Ok(()));
    let parts = vec![("old".into(), Bytes::from_static(b"part"))];
    let sync = Sync {
        to: 2,
        member_id: "old".into(),
        instance: None,
        generation: 1,
        protocol_type: None,
        protocol: None,
        parts,
    };
    group.sync(sync, 0);
    settle(&mut group, &Ok(()));
    assert_eq!(group.state(), State::Stable);
    group.join(join(3, "new", Some("one")), 0);
    let answers = settle(&mut group, &Err(Refused::NotStored));
    assert_eq!(answers, [(3, Err(Refused::NotStored))]);
    let members: Vec<(Arc<str>, Bytes)> =
        group.members().map(|m| (Arc::clone(&m.id), m.assignment.clone())).collect();
    assert_eq!(members, [("old".into(), Bytes::from_static(b"part"))]);
    assert_eq!(group.heartbeat("old", Some("one"), 1, 0), Ok(()));
    assert_eq!(group.heartbeat("new", Some("one"), 1, 0), Err(Refused::Fenced));
    // The process tries again.
    group.join(join(4, "newer", Some("one")), 0);
    let answers = settle(&mut group, &Ok(()));
    assert_eq!(answers[0].1.as_ref().map(|joined| &*joined.leader), Ok("newer"));
}

/// Ids that nobody used took memory without a bound.
#[test]
fn ids_that_nobody_uses_are_as_many_as_there_may_be_members() {
    let mut group = Group::new(LIMITS);
    for n in 0..5 {
        group.join(join(n, &format!("id-{n}"), None), 0);
    }
    let refused: Vec<Refused> =
        settle(&mut group, &Ok(())).into_iter().filter_map(|(_, answer)| answer.err()).collect();
    let given = |n: i32| Refused::MemberIdRequired(format!("id-{n}").into());
    assert_eq!(refused, [given(0), given(1), given(2), Refused::Full, Refused::Full]);
}
