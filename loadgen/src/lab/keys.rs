//! `lab keys`: the same events of the same users are sent twice, with the user as key and with a random key; then
//! everything is read, one partition after the other, as whoever replays a topic reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::client::{Client, Record};
use super::world::World;
use super::{Claims, Common, Finding, verdict};
use crate::keys::{Rng, partition_of};
use crate::kinesis::api;
use crate::kinesis::http::Connection;
use crate::setup::random_u64;

/// Rows of a partition that are shown.
const SHOWN: usize = 12;
/// What a user does, one after the other; users with other numbers begin elsewhere.
const ACTIONS: [&str; 7] =
    ["login", "view_item", "add_to_cart", "view_cart", "checkout", "confirm_order", "logout"];
const NAMES: [&str; 5] = ["alice", "bob", "charlie", "frida", "emil"];
const LETTERS: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

#[derive(Debug, Clone, Args)]
pub struct KeysArgs {
    #[command(flatten)]
    pub common: Common,
    /// The same with streams and shards, over Kinesis' protocol; without a URL on a Keylane in this process.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with = "bootstrap")]
    pub kinesis: Option<String>,
    /// Partitions of the topics, or shards of the streams.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Users who do something.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub users: u32,
    /// Events of each user.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub events: u32,
}

/// The value of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Event {
    user: String,
    action: String,
    sequence: u32,
}

/// One of the two ways.
#[derive(Debug, Clone, Serialize)]
pub struct Way {
    pub key: &'static str,
    pub topic: String,
    /// What a reader sees: partition, offset, user, sequence, action.
    pub read: Vec<(i32, i64, String, u32, String)>,
    pub users: Vec<User>,
}

/// What became of a user's events.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    pub user: String,
    /// Sequences in the order in which they were read.
    pub sequences: Vec<u32>,
    pub partitions: Vec<i32>,
    pub in_order: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct KeysFinding {
    pub broker: String,
    /// Shards of a stream, not partitions of a topic.
    pub kinesis: bool,
    pub partitions: i32,
    pub events: u32,
    pub ways: Vec<Way>,
    pub wrong: Vec<String>,
}

impl Finding for KeysFinding {
    fn wrong(&self) -> &[String] {
        &self.wrong
    }
}

fn user(number: u32) -> String {
    NAMES.get(number as usize).map_or_else(|| format!("user-{number}"), |name| (*name).to_owned())
}

fn events(args: &KeysArgs) -> Vec<Event> {
    let one = |sequence: u32, number: u32| Event {
        user: user(number),
        action: ACTIONS[(number * 2 + sequence) as usize % ACTIONS.len()].to_owned(),
        sequence: sequence + 1,
    };
    // Everybody does the first thing, then everybody the second.
    (0..args.events).flat_map(|sequence| (0..args.users).map(move |number| one(sequence, number))).collect()
}

/// Where events are sent and read, over one protocol or the other.
enum Side {
    Kafka(Client),
    Kinesis(Connection),
}

impl Side {
    fn create(&mut self, name: &str, partitions: i32) -> Result<String> {
        match self {
            Self::Kafka(client) => client.create_topic(name, partitions),
            Self::Kinesis(connection) => {
                let name = format!("{name}-{:08x}", random_u64() as u32);
                api::create(connection, &name, partitions)?;
                Ok(name)
            }
        }
    }

    fn send(&mut self, topic: &str, partitions: i32, event: &Event, key: String) -> Result<()> {
        let value = serde_json::to_vec(event).context("an event as JSON")?;
        match self {
            Self::Kafka(client) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let partition = partition_of(key.as_bytes(), partitions);
                let record = Record { key, value, time_ms: now.as_millis() as i64 };
                client.produce(topic, partition, &[record]).map(drop)
            }
            Self::Kinesis(connection) => api::put(connection, topic, &key, &value).map(drop),
        }
    }

    fn read(&mut self, topic: &str, partitions: i32) -> Result<Vec<(i32, i64, Event)>> {
        let mut all = Vec::new();
        for partition in 0..partitions {
            let rows: Vec<(i64, Vec<u8>)> = match self {
                Self::Kafka(client) => {
                    let rows = client.read_all(topic, partition)?;
                    rows.into_iter().map(|row| (row.offset, row.value)).collect()
                }
                Self::Kinesis(connection) => {
                    (0..).zip(api::read_all(connection, topic, partition)?).collect()
                }
            };
            for (offset, value) in rows {
                let event = serde_json::from_slice(&value).context("an event of this experiment")?;
                all.push((partition, offset, event));
            }
        }
        Ok(all)
    }
}

fn judge(read: &[(i32, i64, Event)]) -> Vec<User> {
    let mut by_user: BTreeMap<&str, (Vec<u32>, BTreeSet<i32>)> = BTreeMap::new();
    for (partition, _, event) in read {
        let (sequences, partitions) = by_user.entry(&event.user).or_default();
        sequences.push(event.sequence);
        partitions.insert(*partition);
    }
    let one = |(user, (sequences, partitions)): (&str, (Vec<u32>, BTreeSet<i32>))| User {
        user: user.to_owned(),
        in_order: sequences.is_sorted(),
        sequences,
        partitions: partitions.into_iter().collect(),
    };
    by_user.into_iter().map(one).collect()
}

/// What does not hold; `can_mix`: events that are sent anywhere can come out of order.
fn claims(ways: &[Way], can_mix: bool) -> Vec<String> {
    let mut claims = Claims::default();
    let [by_user, by_chance] = ways else { return vec!["there are two ways".to_owned()] };
    for user in &by_user.users {
        claims.check(user.partitions.len() == 1, format!("{}'s events are in one partition", user.user));
        claims.check(user.in_order, format!("{}'s events are read in their order", user.user));
    }
    if can_mix {
        let scattered = by_chance.users.iter().any(|user| user.partitions.len() > 1);
        claims.check(scattered, "with random keys some user's events are in several partitions");
        let mixed = by_chance.users.iter().any(|user| !user.in_order);
        claims.check(mixed, "with random keys some user's events are read out of order");
    }
    claims.into_wrong()
}

/// Runs the experiment.
pub fn run(args: &KeysArgs) -> Result<KeysFinding> {
    let (world, mut side) = match &args.kinesis {
        None => {
            let world = World::open(&args.common)?;
            let client = world.client()?;
            (world, Side::Kafka(client))
        }
        Some(url) => {
            let world = World::open_streams(&args.common, url)?;
            let connection = world.streams()?;
            (world, Side::Kinesis(connection))
        }
    };
    let mut rng = Rng::new(args.common.seed);
    let mut random =
        || -> String { (0..10).map(|_| char::from(LETTERS[(rng.next_u64() % 26) as usize])).collect() };
    let sent = events(args);
    let mut ways = Vec::new();
    for (name, key) in [("lab-user-key", "the user"), ("lab-random-key", "ten random letters")] {
        let topic = side.create(name, args.partitions)?;
        for event in &sent {
            let key = if key == "the user" { event.user.clone() } else { random() };
            side.send(&topic, args.partitions, event, key)?;
        }
        let rows = side.read(&topic, args.partitions)?;
        ensure!(rows.len() == sent.len(), "{} events were sent, {} read", sent.len(), rows.len());
        let users = judge(&rows);
        let row = |(partition, offset, event): (i32, i64, Event)| {
            (partition, offset, event.user, event.sequence, event.action)
        };
        ways.push(Way { key, topic, read: rows.into_iter().map(row).collect(), users });
    }
    let wrong = claims(&ways, args.partitions > 1 && args.events > 1);
    let broker = world.what();
    drop(side);
    world.close()?;
    let kinesis = args.kinesis.is_some();
    Ok(KeysFinding { broker, kinesis, partitions: args.partitions, events: args.events, ways, wrong })
}

impl fmt::Display for KeysFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users = self.ways.first().map_or(0, |way| way.users.len());
        writeln!(f, "lab keys: what the key of an event decides")?;
        writeln!(
            f,
            "  {users} users do {} things each, in turn; every event is on the disk before the next is sent.",
            self.events
        )?;
        let (topic, partition, plural) =
            if self.kinesis { ("stream", "shard", "shards") } else { ("topic", "partition", "partitions") };
        writeln!(f, "  The {topic} has {} {plural}, on {}.", self.partitions, self.broker)?;
        for (number, way) in self.ways.iter().enumerate() {
            writeln!(f)?;
            writeln!(f, "{}. The key is {}", number + 1, way.key)?;
            for number in 0..self.partitions {
                let rows: Vec<_> = way.read.iter().filter(|row| row.0 == number).collect();
                let shown = rows.iter().take(SHOWN);
                let shown: Vec<String> =
                    shown.map(|(_, _, user, sequence, _)| format!("{user}:{sequence}")).collect();
                let more = rows.len().saturating_sub(SHOWN);
                let more = if more > 0 { format!("  ... {more} more") } else { String::new() };
                let text = if shown.is_empty() { "nothing".to_owned() } else { shown.join("  ") };
                writeln!(f, "   {partition} {number}   {text}{more}")?;
            }
            writeln!(f, "   read one {partition} after the other, as in a replay:")?;
            for user in way.users.iter().take(SHOWN) {
                let shown: Vec<String> = user.sequences.iter().take(SHOWN).map(u32::to_string).collect();
                let list = |p: &[i32]| p.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
                let plural = if user.partitions.len() == 1 { partition } else { plural };
                let mark = if user.in_order { "in order    " } else { "OUT OF ORDER" };
                let (user, places) = (&user.user, list(&user.partitions));
                writeln!(f, "   {user:<9} {mark}  {}   ({plural} {places})", shown.join(" "))?;
            }
        }
        writeln!(f)?;
        let mixed = self.ways.get(1).map_or(0, |way| way.users.iter().filter(|u| !u.in_order).count());
        let lesson = format!(
            "One key, one {partition}, one order: with the user as key\n  each user's events came back as they \
             happened; with random keys those of {mixed} of {users} users did not.\n  What must stay in order \
             needs the same key."
        );
        verdict(f, &self.wrong, &lesson)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(rows: &[(i32, &str, u32)]) -> Way {
        let event = |(partition, user, sequence): &(i32, &str, u32)| {
            let event = Event { user: (*user).to_owned(), action: "login".to_owned(), sequence: *sequence };
            (*partition, 0, event)
        };
        let read: Vec<_> = rows.iter().map(event).collect();
        Way { key: "", topic: String::new(), users: judge(&read), read: Vec::new() }
    }

    /// The control of the check: histories that are not as they should be.
    #[test]
    fn claims_that_do_not_hold_are_named() {
        let good = way(&[(0, "a", 1), (0, "b", 1), (0, "a", 2)]);
        let mixed = way(&[(0, "a", 2), (1, "a", 1), (1, "b", 1)]);
        assert!(claims(&[good.clone(), mixed.clone()], true).is_empty());
        let swapped = way(&[(0, "a", 2), (0, "a", 1)]);
        assert_eq!(claims(&[swapped, mixed.clone()], true), ["a's events are read in their order"]);
        let moved = way(&[(0, "a", 1), (1, "a", 2)]);
        assert_eq!(claims(&[moved, mixed], true), ["a's events are in one partition"]);
        assert_eq!(claims(&[good.clone(), good.clone()], true).len(), 2);
        assert!(claims(&[good.clone(), good], false).is_empty());
    }
}
