//! What is around the members: the server, which is killed and started again, a producer, and somebody who watches what is
//! committed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;
use keylane_tests::e2e::batch::{NOBODY, batch, numbered};
use keylane_tests::e2e::client::Client;
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::{scratch, two_cores};
use tempfile::TempDir;

use super::history::{Committed, History, Processed};

pub const TOPIC: &str = "churned";
pub const GROUP: &str = "churn";
pub const PARTITIONS: i32 = 50;
/// Records of one batch.
const BATCH: u64 = 5;
/// A rest after each batch of the producer: some 2,000 records a second.
const REST: Duration = Duration::from_millis(2);

struct Process {
    server: Option<Server>,
    address: SocketAddr,
}

/// See the module's header.
pub struct World {
    binary: PathBuf,
    dir: TempDir,
    process: Mutex<Process>,
    restarting: AtomicBool,
    produces: AtomicBool,
    watches: AtomicBool,
    history: Mutex<History>,
    /// The highest offset of each partition that was committed, of all answers.
    floor: Mutex<BTreeMap<i32, i64>>,
}

impl World {
    /// A server with an empty topic.
    pub fn start(tmp: &str) -> Result<Arc<Self>> {
        let (binary, dir) = (binary()?, scratch(tmp, "churn-")?);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let world = Self {
            binary,
            dir,
            process: Mutex::new(Process { server: None, address }),
            restarting: AtomicBool::new(false),
            produces: AtomicBool::new(true),
            watches: AtomicBool::new(true),
            history: Mutex::default(),
            floor: Mutex::default(),
        };
        world.start_server()?;
        let error = Client::connect(world.address())?.create_topic(TOPIC, PARTITIONS)?;
        ensure!(error == 0, "CreateTopics: error {error}");
        Ok(Arc::new(world))
    }

    fn start_server(&self) -> Result<()> {
        let cores = if two_cores().len() > 1 { "0-1" } else { "0" };
        let args = [
            ["--cores", cores],
            ["--shards", "2"],
            ["--segment-bytes", "16777216"],
            ["--group-initial-rebalance-delay-ms", "0"],
            ["--group-min-session-timeout-ms", "500"],
            ["--group-consumer-session-timeout-ms", "600"],
            ["--group-consumer-heartbeat-interval-ms", "60"],
        ];
        let (data, log) = (self.dir.path().join("data"), self.dir.path().join("server.log"));
        let server = Server::start(&self.binary, &data, &args.concat(), &log)?;
        let address = server.address;
        *self.process.lock().expect("a lock") = Process { server: Some(server), address };
        Ok(())
    }

    /// Kills the server and starts it again.
    pub fn kill_server(&self) -> Result<()> {
        self.restarting.store(true, Ordering::SeqCst);
        let server = self.process.lock().expect("a lock").server.take();
        server.context("a server")?.kill()?;
        self.start_server()?;
        // Whoever has not noticed yet notices now.
        std::thread::sleep(Duration::from_millis(100));
        self.restarting.store(false, Ordering::SeqCst);
        Ok(())
    }

    pub fn stop_server(&self) -> Result<()> {
        let server = self.process.lock().expect("a lock").server.take();
        server.context("a server")?.stop()
    }

    pub fn address(&self) -> SocketAddr {
        self.process.lock().expect("a lock").address
    }

    pub fn is_restarting(&self) -> bool {
        self.restarting.load(Ordering::SeqCst)
    }

    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("a lock")
    }

    /// The highest committed offset of each partition.
    pub fn floor(&self) -> BTreeMap<i32, i64> {
        self.floor.lock().expect("a lock").clone()
    }

    pub fn find(&self, what: String) {
        self.history().findings.push(what);
    }

    /// A request failed; `ours`: because the test has ended its connection.
    pub fn trouble(&self, what: impl FnOnce() -> String, ours: bool) {
        if !ours {
            self.history().troubles.push(what());
        }
    }

    pub fn processed(&self, records: Vec<Processed>) {
        self.history().processed.extend(records);
    }

    pub fn committed(&self, commits: Vec<Committed>) {
        let mut floor = self.floor.lock().expect("a lock");
        for commit in &commits {
            let highest = floor.entry(commit.at.0).or_default();
            *highest = commit.at.1.max(*highest);
        }
        drop(floor);
        self.history().committed.extend(commits);
    }

    /// Produces until it is told to stop. A batch without an answer is not sent again: it may be there or not.
    pub fn produce(&self) {
        let mut client = None;
        let mut number = 0;
        while self.produces.load(Ordering::Relaxed) {
            let partition = i32::try_from(number / BATCH).unwrap_or(0) % PARTITIONS;
            let values: Vec<_> = (number..number + BATCH).map(|n| numbered(n, 24)).collect();
            let mut send = || -> Result<i64> {
                let client = match &mut client {
                    Some(client) => client,
                    none => none.insert(Client::connect(self.address())?),
                };
                client.append(TOPIC, partition, batch(&values, NOBODY))
            };
            match send() {
                Ok(offset) => {
                    let records = (number..number + BATCH).zip(offset..);
                    self.history().acked.extend(records.map(|(n, offset)| ((partition, offset), n)));
                }
                Err(_) => client = None,
            }
            number += BATCH;
            std::thread::sleep(REST);
        }
    }

    /// Looks, again and again, at what is committed: it never goes back.
    pub fn watch(&self) {
        let mut client = None;
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        while self.watches.load(Ordering::Relaxed) {
            match self.look(&mut client) {
                Ok(now) => {
                    for (partition, before) in &last {
                        let offset = now.get(partition).copied().unwrap_or(-1);
                        if offset < *before {
                            self.find(format!("back: {partition} has {offset} after {before}"));
                        }
                    }
                    last = now;
                }
                Err(_) => client = None,
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn look(&self, client: &mut Option<Client>) -> Result<BTreeMap<i32, i64>> {
        let client = match client {
            Some(client) => client,
            none => none.insert(Client::connect(self.address())?),
        };
        let group = GroupId(StrBytes::from_static_str(GROUP));
        let request = OffsetFetchRequest::default().with_group_id(group).with_topics(None);
        let answer = client.call(7, &request)?;
        ensure!(answer.error_code == 0, "OffsetFetch: error {}", answer.error_code);
        let partitions = answer.topics.into_iter().flat_map(|t| t.partitions);
        Ok(partitions.map(|p| (p.partition_index, p.committed_offset)).collect())
    }

    /// Ends the producer, and waits until everything that there is was committed.
    pub fn finish(&self, patience: Duration) -> Result<()> {
        self.produces.store(false, Ordering::Relaxed);
        let mut client = Client::connect(self.address())?;
        let mut ends = BTreeMap::new();
        for partition in 0..PARTITIONS {
            ends.insert(partition, client.end_offset(TOPIC, partition)?);
        }
        let deadline = Instant::now() + patience;
        let mut client = Some(client);
        loop {
            let committed = self.look(&mut client)?;
            let behind: Vec<_> = ends.iter().filter(|(p, end)| committed.get(p) < Some(end)).collect();
            if behind.is_empty() {
                break;
            }
            ensure!(Instant::now() < deadline, "not read to the end: {behind:?}, committed {committed:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.watches.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Ends producer and watcher.
    pub fn end(&self) {
        self.produces.store(false, Ordering::Relaxed);
        self.watches.store(false, Ordering::Relaxed);
    }
}
