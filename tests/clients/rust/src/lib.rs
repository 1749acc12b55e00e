//! What every client is asked to do, as ../story.py tells it, for clients of Rust.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const PARTITIONS: i32 = 4;
pub const HEARTBEAT_MS: u32 = 300;
pub const SESSION_MS: u32 = 10_000;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The address that the program was given.
pub fn bootstrap() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".into())
}

/// A name that no other run has.
pub fn unique(name: &str) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_millis());
    format!("story-{name}-{}-{now}", std::process::id())
}

/// Prints a cell: what its test came to, or that the client has no such feature.
pub fn cell(client: &str, version: &str, feature: &str, outcome: Option<Outcome>) {
    let mut made =
        serde_json::json!({"section": "kafka", "client": client, "version": version, "feature": feature});
    made["result"] = match outcome {
        Some(Ok(())) => "yes".into(),
        Some(Err(cause)) => {
            made["why"] = cause.to_string().replace('\n', " ").chars().take(400).collect::<String>().into();
            "no".into()
        }
        None => "none".into(),
    };
    println!("cell {made}");
}

pub fn equal<T: PartialEq + std::fmt::Debug>(got: T, wanted: T, what: impl Display) -> Outcome {
    if got == wanted { Ok(()) } else { Err(format!("{what}: got {got:?}, wanted {wanted:?}").into()) }
}

pub fn until(what: &str, mut ready: impl FnMut() -> Outcome<bool>) -> Outcome {
    let end = Instant::now() + Duration::from_secs(30);
    while !ready()? {
        if Instant::now() > end {
            return Err(format!("not within 30 s: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What a member's thread shows to the story and is asked by it.
#[derive(Default)]
pub struct Shown {
    pub values: Mutex<Vec<i32>>,
    pub partitions: AtomicUsize,
    pub commit: AtomicBool,
    pub leave: AtomicBool,
    pub failed: Mutex<Option<String>>,
}

impl Shown {
    pub fn read(&self) -> Vec<i32> {
        let mut values = self.values.lock().map(|values| values.clone()).unwrap_or_default();
        values.sort_unstable();
        values
    }
}

pub struct Member {
    pub shown: Arc<Shown>,
    pub thread: std::thread::JoinHandle<()>,
}

impl Member {
    fn fail(&self) -> Outcome {
        match self.shown.failed.lock().ok().and_then(|mut failed| failed.take()) {
            Some(cause) => Err(cause.into()),
            None => Ok(()),
        }
    }

    fn commit(&self) -> Outcome {
        self.shown.commit.store(true, Ordering::SeqCst);
        until("a commit", || {
            self.fail()?;
            Ok(!self.shown.commit.load(Ordering::SeqCst))
        })
    }

    fn leave(self) -> Outcome {
        self.shown.leave.store(true, Ordering::SeqCst);
        until("its leave", || Ok(self.thread.is_finished()))?;
        self.fail()
    }
}

/// A client that has groups.
pub trait Groups {
    fn create(&self, topic: &str) -> Outcome;
    fn produce(&self, topic: &str, values: std::ops::Range<i32>) -> Outcome;
    fn join(&self, topic: &str, group: &str) -> Member;
}

fn until_read(wanted: Vec<i32>, members: &[&Member]) -> Outcome {
    let mut got = Vec::new();
    until("the records", || {
        members.iter().try_for_each(|member| member.fail())?;
        got = members.iter().flat_map(|member| member.shown.read()).collect();
        Ok(got.len() >= wanted.len())
    })?;
    got.sort_unstable();
    equal(got, wanted, "records")
}

fn until_assigned(count: usize, members: &[&Member]) -> Outcome {
    until("the partitions", || {
        members.iter().try_for_each(|member| member.fail())?;
        Ok(members.iter().all(|member| member.shown.partitions.load(Ordering::SeqCst) == count))
    })
}

/// The cells of a client with groups, but for `admin`.
pub fn tell(client: &str, version: &str, groups: &impl Groups) {
    let topic = unique(client);
    let group = format!("{topic}-group");
    let mut first = None;
    let produce = groups.create(&topic).and_then(|()| groups.produce(&topic, 0..100));
    cell(client, version, "produce", Some(produce));
    let mut consume = || {
        let member = first.insert(groups.join(&topic, &group));
        until_read((0..100).collect(), &[member])?;
        until_assigned(4, &[member])
    };
    cell(client, version, "consume by group", Some(consume()));
    let Some(first) = first else { return };
    cell(client, version, "rebalance", Some(rebalance(groups, &topic, &group, &first)));
    cell(client, version, "commit and resume", Some(resume(groups, &topic, &group, first)));
    println!("done");
}

fn rebalance(groups: &impl Groups, topic: &str, group: &str, first: &Member) -> Outcome {
    first.commit()?;
    let second = groups.join(topic, group);
    until_assigned(2, &[first, &second])?;
    groups.produce(topic, 100..200)?;
    until_read((0..200).collect(), &[first, &second])?;
    equal(second.shown.read().is_empty(), false, "the second member reads nothing")?;
    first.commit()?;
    second.commit()?;
    second.leave()?;
    until_assigned(4, &[first])
}

fn resume(groups: &impl Groups, topic: &str, group: &str, first: Member) -> Outcome {
    let mut wanted = first.shown.read();
    groups.produce(topic, 200..220)?;
    wanted.extend(200..220);
    until_read(wanted, &[&first])?;
    first.commit()?;
    first.leave()?;
    groups.produce(topic, 220..240)?;
    let third = groups.join(topic, group);
    until_read((220..240).collect(), &[&third])?;
    third.leave()
}
