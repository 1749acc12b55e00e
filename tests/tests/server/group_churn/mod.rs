//! A group of five consumers, classic or of KIP-848, over 50 partitions under load, while members join, leave and are
//! killed and the server is ended by `kill -9`: every acknowledged record is processed, none is processed twice within one
//! generation, and committed offsets never go back, neither in answers nor for whoever looks.
//!
//! The controls: members that commit what they have not processed lose records, which must be found; and each kind of fault,
//! put into the history of a sound run, must be found.
//!
//! `KEYLANE_CHURN_SECONDS` is how long it goes on; the server is killed once in twelve seconds, at least twice.

mod consumer;
mod history;
mod member;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use history::{Committed, History};
use member::{Running, Speaks};
use world::World;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const MEMBERS: usize = 5;
const SECONDS: f64 = 3.5;

#[derive(Debug, Default)]
struct Counts {
    started: usize,
    left: usize,
    killed: usize,
    servers_killed: usize,
}

/// Has members come and go for a while.
fn churn(
    world: &Arc<World>,
    speaks: Speaks,
    time: Duration,
    events: u32,
    kills: u32,
    ahead: i64,
) -> (Vec<Running>, Counts) {
    let mut counts = Counts::default();
    let mut members = Vec::new();
    let begin = |members: &mut Vec<Running>, counts: &mut Counts| {
        members.push(Running::start(world, counts.started, speaks, ahead));
        counts.started += 1;
    };
    (0..MEMBERS).for_each(|_| begin(&mut members, &mut counts));
    let began = Instant::now();
    for event in 0..events {
        let due = time * (event + 1) / (events + 1);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        // One goes and one comes, in turns.
        match event % 4 {
            0 => {
                members.remove(0).leave();
                counts.left += 1;
            }
            2 => {
                members.remove(1).kill();
                counts.killed += 1;
            }
            _ => begin(&mut members, &mut counts),
        }
        if (event + 1) * kills / events > u32::try_from(counts.servers_killed).unwrap_or(0) {
            world.kill_server().expect("the server is killed and starts again");
            counts.servers_killed += 1;
        }
    }
    std::thread::sleep(time.saturating_sub(began.elapsed()));
    (members, counts)
}

/// A whole run; what happened.
fn run(speaks: Speaks, time: Duration, events: u32, kills: u32, ahead: i64) -> (History, Counts) {
    let world = World::start(TMP).expect("a server");
    let (producer, watcher) = (Arc::clone(&world), Arc::clone(&world));
    let producer = std::thread::spawn(move || producer.produce());
    let watcher = std::thread::spawn(move || watcher.watch());
    let (members, counts) = churn(&world, speaks, time, events, kills, ahead);
    if ahead == 0 {
        world.finish(Duration::from_secs(30)).expect("members read to the end");
    }
    world.end();
    members.into_iter().for_each(Running::leave);
    producer.join().expect("a producer");
    watcher.join().expect("a watcher");
    world.stop_server().expect("a clean stop");
    let history = world.history().clone();
    (history, counts)
}

fn some(findings: &[String], kind: &str) -> bool {
    findings.iter().any(|finding| finding.starts_with(kind))
}

#[test]
fn members_that_come_and_go_lose_nothing() {
    members_come_and_go(Speaks::Classic);
}

#[test]
fn members_of_a_consumer_group_that_come_and_go_lose_nothing() {
    members_come_and_go(Speaks::Consumer);
}

fn members_come_and_go(speaks: Speaks) {
    let seconds =
        std::env::var("KEYLANE_CHURN_SECONDS").ok().map(|s| s.parse().expect("a number of seconds"));
    let seconds: f64 = seconds.unwrap_or(SECONDS);
    let kills = (seconds / 12.0).max(2.0) as u32;
    let events = if seconds > SECONDS { seconds as u32 } else { 8 };
    let (history, counts) = run(speaks, Duration::from_secs_f64(seconds), events, kills, 0);
    let found = history.check();
    assert!(found.is_empty(), "{} findings, first {:#?}", found.len(), &found[..found.len().min(5)]);
    assert!(history.troubles.is_empty(), "{:#?}", history.troubles);
    println!(
        "churn, {speaks:?}: {seconds} s, {counts:?}, {} generations, {} records acked, {} processed, {} of them again, {} commits of a \
         partition, 0 lost, 0 twice in a generation, 0 back",
        history.generations(),
        history.acked.len(),
        history.processed.len(),
        history.again(),
        history.committed.len()
    );
    assert!(history.generations() > 5 && history.acked.len() > 500, "too little happened: {counts:?}");
    faults_are_found(&history);
}

/// Puts one fault of each kind into a sound history.
fn faults_are_found(sound: &History) {
    let mut lost = sound.clone();
    let gone = sound.processed[sound.processed.len() / 2].at;
    lost.processed.retain(|p| p.at != gone);
    assert!(some(&lost.check(), "lost"));

    let mut twice = sound.clone();
    let mut other = sound.processed[sound.processed.len() / 2].clone();
    other.member += 1;
    twice.processed.push(other);
    assert!(some(&twice.check(), "twice"));

    let mut back = sound.clone();
    let last = sound.committed.iter().max_by_key(|c| c.generation).expect("commits");
    back.committed.push(Committed { at: (last.at.0, 0), ..*last });
    assert!(some(&back.check(), "back"));
}

#[test]
fn members_that_commit_too_early_lose_records() {
    let (history, counts) = run(Speaks::Classic, Duration::from_secs_f64(1.5), 4, 0, 10);
    assert!(some(&history.check(), "lost"), "{counts:?}: {} records, none lost", history.acked.len());
}
