//! What groups cost a broker, of several brokers in turn: how long a rebalance takes with more and more members, how many
//! commits a second it takes, and its processor time while members only keep their place.
//!
//! A rebalance is measured from the start of one member more until all members share the partitions again, five times, with
//! the oldest member leaving in between; eager and cooperative (the classic protocol), and by KIP-848. The topic has 200
//! partitions and nothing in it. Members beat their hearts every 100 ms then, and learn of a rebalance at a beat. A commit
//! is one offset of a group without members; each connection has its own group or all have one. `peers/groups` runs it
//! beside Apache Kafka.
//!
//! `groups --broker keylane=127.0.0.1:9092,pid=PID --broker kafka=127.0.0.1:9093,pid=PID`

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use keylane_kafka::ApiKey;
use keylane_kafka::api::Message;
use keylane_kafka::client::Client;
use keylane_kafka::messages::offset_commit::{
    OffsetCommitPartition, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitTopic,
};
use keylane_kafka::wire::Reader;
use keylane_loadgen::client::{Admin, resolve};
use keylane_loadgen::cpu;
use keylane_loadgen::fetch_shape::FetchLimits;
use keylane_loadgen::group::assignor::Strategy;
use keylane_loadgen::group::fleet::Fleet;
use keylane_loadgen::group::spec::{Protocol, Spec};
use keylane_loadgen::group::wire::{Timeouts, find_coordinator};
use keylane_loadgen::setup::random_u64;
use keylane_loadgen::sweep::spec::BrokerSpec;

const PARTITIONS: i32 = 200;
const PROTOCOLS: [Protocol; 3] =
    [Protocol::Classic(Strategy::Eager), Protocol::Classic(Strategy::Cooperative), Protocol::Consumer];
/// Rebalances of a group that are measured in a round.
const REBALANCES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);
const COMMIT: i16 = 7;

/// Measures groups of several brokers.
#[derive(Parser)]
struct Args {
    /// `NAME=HOST:PORT[,pid=PID]`.
    #[arg(long, required = true)]
    broker: Vec<BrokerSpec>,
    /// Members of a group after the rebalance.
    #[arg(long, value_delimiter = ',', default_value = "2,20,200")]
    members: Vec<usize>,
    /// Groups that commit, a connection for each; with one group there is one connection.
    #[arg(long, value_delimiter = ',', default_value = "1,100")]
    groups: Vec<usize>,
    /// Commits in flight on each connection.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    windows: Vec<usize>,
    /// Seconds of commits.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Members that do nothing, 100 in a group; 0: not measured.
    #[arg(long, default_value_t = 1000)]
    idle_members: usize,
    #[arg(long, default_value_t = 20.0)]
    idle_seconds: f64,
    /// Everything but the idle members is measured so often, in turns; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Core of the load.
    #[arg(long)]
    core: Option<usize>,
}

/// A broker, and the topic made on it.
struct Broker {
    name: String,
    address: SocketAddr,
    pid: Option<u32>,
    topic: String,
}

/// What a broker came to, by what was measured.
type Rows = Vec<(String, Vec<Vec<f64>>)>;

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(core) = args.core {
        ensure!(cpu::pin(core), "core {core} cannot be used");
    }
    let brokers = args.broker.iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut rows: Rows = Vec::new();
    for round in 0..args.rounds {
        for (column, broker) in brokers.iter().enumerate() {
            eprintln!("round {} on {}", round + 1, broker.name);
            let found = one_round(&args, broker).with_context(|| format!("on {}", broker.name))?;
            found.into_iter().for_each(|(name, values)| note(&mut rows, name, brokers.len(), column, values));
        }
    }
    for (column, broker) in brokers.iter().enumerate().filter(|_| args.idle_members > 0) {
        let Some(pid) = broker.pid else { continue };
        for (protocol, called) in [(PROTOCOLS[0], "classic"), (Protocol::Consumer, "KIP-848")] {
            eprintln!("idle members ({called}) on {}", broker.name);
            let name = format!("{} idle members, {called}, % of a core", args.idle_members);
            let time = Duration::from_secs_f64(args.idle_seconds);
            let share = idle(broker, protocol, pid, args.idle_members, time);
            let share = share.with_context(|| format!("{name} on {}", broker.name))?;
            note(&mut rows, name, brokers.len(), column, vec![share * 100.0]);
        }
    }
    print(&brokers, &rows);
    Ok(())
}

/// Rebalances and commits, by what was measured.
fn one_round(args: &Args, broker: &Broker) -> Result<Vec<(String, Vec<f64>)>> {
    let mut found = Vec::new();
    for &members in &args.members {
        for protocol in PROTOCOLS {
            let name = format!("rebalance, {members} members, {}, ms", protocol.name());
            let times = rebalances(broker, protocol, members).with_context(|| name.clone())?;
            found.push((name, times));
        }
    }
    for (&groups, &window) in args.groups.iter().flat_map(|g| args.windows.iter().map(move |w| (g, w))) {
        let name = format!("commits/s, {groups} groups, {window} in flight each");
        let rate = commits(broker, groups, window, Duration::from_secs_f64(args.seconds));
        let rate = rate.with_context(|| name.clone())?;
        found.push((name, vec![rate]));
    }
    Ok(found)
}

fn note(rows: &mut Rows, name: String, columns: usize, column: usize, values: Vec<f64>) {
    let at = rows.iter().position(|(row, _)| *row == name).unwrap_or(rows.len());
    if at == rows.len() {
        rows.push((name, vec![Vec::new(); columns]));
    }
    rows[at].1[column].extend(values);
}

fn print(brokers: &[Broker], rows: &Rows) {
    let names: Vec<&str> = brokers.iter().map(|broker| broker.name.as_str()).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---{}|", "|---:".repeat(names.len()));
    for (name, columns) in rows {
        let median = |values: &Vec<f64>| {
            let mut values = values.clone();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).map_or("-".to_owned(), |value| format!("{value:.1}"))
        };
        let columns: Vec<String> = columns.iter().map(median).collect();
        println!("| {name} | {} |", columns.join(" | "));
    }
}

fn open(spec: &BrokerSpec) -> Result<Broker> {
    let address = resolve(spec.address.as_deref().context("a broker with an address")?)?;
    let mut admin = Admin::connect(address)?;
    let topic = format!("groups-{:08x}", random_u64() as u32);
    admin.create_topic(&topic, PARTITIONS, &[])?;
    admin.wait_for_topic(&topic, PATIENCE)?;
    Ok(Broker { name: spec.name.clone(), address, pid: spec.pid, topic })
}

fn fleet(broker: &Broker, protocol: Protocol, heartbeat: Duration) -> Fleet {
    Fleet::new(Spec {
        address: broker.address,
        group: format!("group-{:016x}", random_u64()),
        topic: broker.topic.clone(),
        begin: vec![0; PARTITIONS as usize],
        protocol,
        times: Timeouts { session_ms: 45_000, rebalance_ms: 60_000 },
        heartbeat,
        commit_every: Duration::from_secs(5),
        ahead: 0,
        restarts: false,
        limits: FetchLimits { max_wait_ms: 500, max_bytes: 50 << 20, partition_max_bytes: 1 << 20 },
    })
}

/// One member more joins, some times; milliseconds until all share the partitions again.
fn rebalances(broker: &Broker, protocol: Protocol, members: usize) -> Result<Vec<f64>> {
    let mut fleet = fleet(broker, protocol, Duration::from_millis(100));
    // An answer to a Fetch that waits must not hold a member up.
    let spec = Spec { limits: FetchLimits { max_wait_ms: 20, ..fleet.spec.limits }, ..(*fleet.spec).clone() };
    fleet.spec = spec.into();
    fleet.add(members - 1)?;
    let mut times = Vec::new();
    for _ in 0..REBALANCES {
        fleet.settled(PATIENCE)?;
        // Not at the same time after a heartbeat each time.
        std::thread::sleep(Duration::from_millis(500 + random_u64() % 100));
        let began = Instant::now();
        fleet.add(1)?;
        fleet.settled(PATIENCE)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        fleet.leave()?;
    }
    let (history, _) = fleet.end()?;
    ensure!(history.troubles.is_empty(), "a member's request failed: {:?}", history.troubles.first());
    Ok(times)
}

/// Commits a second, of so many groups with a connection each.
fn commits(broker: &Broker, groups: usize, window: usize, time: Duration) -> Result<f64> {
    let ready = Arc::new(Barrier::new(groups));
    let threads = (0..groups).map(|_| {
        let (address, topic, ready) = (broker.address, broker.topic.clone(), Arc::clone(&ready));
        std::thread::spawn(move || {
            let group = format!("commits-{:016x}", random_u64());
            let client = committer(address, &topic, &group);
            ready.wait();
            commit_for(client?, &topic, &group, window, time)
        })
    });
    let threads: Vec<_> = threads.collect();
    let counts = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
    let total: u64 = counts.sum::<Result<u64>>()?;
    Ok(total as f64 / time.as_secs_f64())
}

/// A connection over which a group's first commit was answered: its coordinator may have been on its way until then.
fn committer(address: SocketAddr, topic: &str, group: &str) -> Result<Client> {
    let mut client = Client::connect(address, "groups", PATIENCE)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let committed = find_coordinator(&mut client, group).map_err(anyhow::Error::from).and_then(|()| {
            let id = client.send(COMMIT, &commit(group, topic, 0))?;
            answered(&mut client, id)
        });
        match committed {
            Ok(()) => return Ok(client),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("the first commit of group {group}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn commit<'a>(group: &'a str, topic: &'a str, offset: i64) -> OffsetCommitRequest<'a> {
    let partition = OffsetCommitPartition { index: 0, offset, leader_epoch: -1, metadata: Some("") };
    let topic = OffsetCommitTopic { name: topic, partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest { group, topics: vec![topic], ..Default::default() }
}

/// Takes the answer to a commit.
fn answered(client: &mut Client, id: i32) -> Result<()> {
    let body = client.receive(id, ApiKey::OffsetCommit, COMMIT)?;
    let answer = OffsetCommitResponse::decode(COMMIT, &mut Reader::new(body))?;
    let error = answer.topics.first().and_then(|t| t.partitions.first()).context("an answer")?.error;
    ensure!(error.is_none(), "a commit: {error}");
    Ok(())
}

fn commit_for(mut client: Client, topic: &str, group: &str, window: usize, time: Duration) -> Result<u64> {
    let mut waiting = std::collections::VecDeque::new();
    let (mut count, mut offset) = (0, 0);
    let end = Instant::now() + time;
    loop {
        while waiting.len() < window && Instant::now() < end {
            offset += 1;
            waiting.push_back(client.send(COMMIT, &commit(group, topic, offset))?);
        }
        let Some(id) = waiting.pop_front() else { return Ok(count) };
        answered(&mut client, id)?;
        count += u64::from(Instant::now() < end);
    }
}

/// The server's part of a core while members only keep their place: each waits for records and beats its heart every
/// three seconds.
fn idle(broker: &Broker, protocol: Protocol, pid: u32, members: usize, time: Duration) -> Result<f64> {
    let mut fleets = Vec::new();
    for _ in 0..members.div_ceil(100) {
        let mut fleet = fleet(broker, protocol, Duration::from_secs(3));
        fleet.add(100.min(members))?;
        fleets.push(fleet);
    }
    for fleet in &fleets {
        fleet.settled(PATIENCE)?;
    }
    std::thread::sleep(Duration::from_secs(3));
    let before = cpu::process_use(pid)?.cpu_s;
    std::thread::sleep(time);
    let share = (cpu::process_use(pid)?.cpu_s - before) / time.as_secs_f64();
    for fleet in fleets {
        fleet.end()?;
    }
    Ok(share)
}
