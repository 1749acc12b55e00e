//! Everything before the first record: the broker, the topic, the books, the connections.

use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane::{ServerConfig, ServerHandle};

use keylane_kafka::messages::list_offsets::{EARLIEST, LATEST};

use crate::args::RunArgs;
use crate::batch::{self, Template, TemplateSpec};
use crate::checker::Checker;
use crate::client::{self, Admin};
use crate::consumer::{Consumer, ConsumerBooks};
use crate::cpu;
use crate::keys::{KeyDist, KeyNames, KeyPicker, assign_keys};
use crate::ledger::{Ledger, State};
use crate::limits;
use crate::pacing::{Clock, Pace, Share};
use crate::payload::Payload;
use crate::producer::{Producer, ProducerBooks, ProducerSpec};
use crate::protocol::Versions;
use crate::readers::Reader;
use crate::worker::{Times, Worker};

/// A number that no other run has.
pub fn random_u64() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Which cores the load and an embedded server run on; empty: any.
#[derive(Debug, Clone, Default)]
pub struct CorePlan {
    pub load: Vec<usize>,
    pub server: Vec<usize>,
    pub threads: usize,
}

pub fn plan_cores(args: &RunArgs) -> CorePlan {
    let allowed = cpu::allowed_cores();
    let embedded = args.is_embedded();
    let given = args.cores.as_ref().map(|cores| cores.0.clone());
    let load = given.unwrap_or_else(|| match allowed.last() {
        Some(&last) if embedded && allowed.len() > 1 => vec![last],
        _ => Vec::new(),
    });
    let server = match (&args.server_cores, embedded) {
        (_, false) => Vec::new(),
        (Some(cores), true) => cores.0.clone(),
        (None, true) => {
            let rest: Vec<usize> = allowed.iter().copied().filter(|core| !load.contains(core)).collect();
            if rest.is_empty() { allowed } else { rest }
        }
    };
    let threads = args.threads.unwrap_or(load.len()).max(1);
    CorePlan { load, server, threads }
}

/// A server in this process, and its data, which goes with it.
pub struct Embedded {
    pub server: ServerHandle,
    data: tempfile::TempDir,
}

impl Embedded {
    pub fn start(args: &RunArgs, cores: &[usize]) -> Result<Self> {
        let target = PathBuf::from("target");
        let parent = args.data_parent.clone();
        let parent = parent.unwrap_or(if target.is_dir() { target } else { PathBuf::from(".") });
        let data = tempfile::Builder::new().prefix("keylane-load-").tempdir_in(&parent);
        let data = data.with_context(|| format!("a data directory in {}", parent.display()))?;
        let mut config = ServerConfig {
            data: data.path().to_owned(),
            kafka: SocketAddr::from(([127, 0, 0, 1], 0)),
            kinesis: args.kinesis.is_some().then_some(SocketAddr::from(([127, 0, 0, 1], 0))),
            kinesis_throttle: args.kinesis_args.kinesis_throttle,
            cores: (!cores.is_empty()).then(|| cores.to_vec()),
            ..ServerConfig::default()
        };
        // A group's first members come together.
        config.group_initial_rebalance_delay_ms = 100;
        let session_ms = args.group.group_session.as_millis() as u32;
        config.group_min_session_timeout_ms = config.group_min_session_timeout_ms.min(session_ms);
        config.group_consumer_session_timeout_ms = session_ms;
        config.group_consumer_heartbeat_interval_ms = (session_ms / 10).max(1);
        config.max_connections = config.max_connections.max(args.connections + 1_000);
        config.max_message_bytes = config.max_message_bytes.max(args.batch_bytes + 4096);
        let server = keylane::start(config).context("starting the embedded server")?;
        Ok(Self { server, data })
    }

    /// Stops the server, then removes its data.
    pub fn stop(self) -> Result<()> {
        self.server.stop().context("stopping the embedded server")?;
        self.data.close().context("removing the data directory")
    }
}

/// What a run works on.
pub struct Target {
    pub address: SocketAddr,
    pub versions: Versions,
    pub topic: String,
    pub partitions: i32,
    /// Where reading begins, by partition.
    pub begin: Vec<i64>,
    pub ledger: Ledger,
    /// Runs of the state file before this one.
    pub rounds: u64,
    pub names: KeyNames,
}

impl Target {
    pub fn prepare(args: &RunArgs, address: SocketAddr) -> Result<(Self, Admin)> {
        let mut admin = Admin::connect(address)?;
        let versions = &mut admin.versions;
        versions.produce = args.produce_version.unwrap_or(versions.produce);
        versions.fetch = args.fetch_version.unwrap_or(versions.fetch);
        let resumed = match (&args.state, args.resume) {
            (Some(path), true) => Some(State::load(path)?),
            _ => None,
        };
        let fresh = || format!("keylane-load-{:08x}", random_u64() as u32);
        let topic = match (&resumed, &args.topic) {
            (Some(state), None) => state.topic.clone(),
            (Some(state), Some(topic)) => {
                ensure!(*topic == state.topic, "the state file is about topic {}", state.topic);
                topic.clone()
            }
            (None, topic) => topic.clone().unwrap_or_else(fresh),
        };
        let created = match &resumed {
            Some(_) => false,
            None => create_topic(args, &mut admin, &topic)?,
        };
        let partitions = admin.wait_for_topic(&topic, TOPIC_TIMEOUT)?;
        let from_the_beginning = created || resumed.is_some();
        let when = if from_the_beginning { EARLIEST } else { LATEST };
        let begin = admin.offsets(&topic, partitions, when)?;
        let rounds = resumed.as_ref().map_or(0, |state| state.rounds);
        let ledger = match resumed {
            Some(state) => state.ledger,
            None => Ledger::new(random_u64(), partitions, args.keys),
        };
        ensure!(
            ledger.partitions == partitions,
            "the topic has {partitions} partitions, the state file {}",
            ledger.partitions
        );
        let names = KeyNames::new(ledger.keys());
        Ok((
            Self { address, versions: admin.versions, topic, partitions, begin, ledger, rounds, names },
            admin,
        ))
    }
}

/// Brokers with a file for each partition take their time to create thousands.
const TOPIC_TIMEOUT: Duration = Duration::from_secs(180);

/// The largest batch that brokers take without being told to.
const BATCH_BYTES_DEFAULT_MAX: usize = 1_000_000;

fn create_topic(args: &RunArgs, admin: &mut Admin, topic: &str) -> Result<bool> {
    let shape = BatchShape::of(args, KeyNames::new(args.keys).key_bytes())?;
    let mut configs = Vec::new();
    if shape.batch_bytes > BATCH_BYTES_DEFAULT_MAX {
        configs.push(("max.message.bytes", (shape.batch_bytes + 4096).to_string()));
    }
    admin.create_topic(topic, args.partitions, &configs)
}

/// The size of records and batches.
#[derive(Debug, Clone, Copy)]
pub struct BatchShape {
    pub key_bytes: usize,
    pub value_bytes: usize,
    pub records: usize,
    pub batch_bytes: usize,
}

impl BatchShape {
    pub fn of(args: &RunArgs, key_bytes: usize) -> Result<Self> {
        let least = key_bytes + batch::STAMP_BYTES;
        ensure!(args.record_bytes >= least, "a record has at least {least} bytes");
        let value_bytes = args.record_bytes - key_bytes;
        let within = || batch::records_within(args.batch_bytes, key_bytes, value_bytes);
        let records = args.batch_records.unwrap_or_else(within);
        ensure!((1..=1_000_000).contains(&records), "a batch of {records} records");
        let batch_bytes = batch::batch_bytes(records, key_bytes, value_bytes);
        ensure!(batch_bytes <= client::FRAME_BYTES_MAX / 2, "a batch of {batch_bytes} bytes");
        Ok(Self { key_bytes, value_bytes, records, batch_bytes })
    }
}

/// Makes the threads of a run with all their connections.
pub struct Workers<'a> {
    pub args: &'a RunArgs,
    pub target: &'a Target,
    pub shape: BatchShape,
    pub clock: Clock,
    pub times: Times,
    pub readers: &'a [Reader],
}

impl<'a> Workers<'a> {
    pub fn build(&self, threads: usize) -> Result<Vec<Worker<'a>>> {
        let args = self.args;
        ensure!((0.0..=1.0).contains(&args.shape.compressibility), "--compressibility lies between 0 and 1");
        let noise = args.shape.payload == Payload::Noise;
        ensure!(noise || args.shape.compressibility == 0.0, "--compressibility is about --payload noise");
        let mixed = args.check.sabotage == Some(crate::sabotage::Sabotage::RandomKey);
        ensure!(!mixed || self.target.partitions > 1, "--sabotage random-key needs more than one partition");
        let consumers = args.consumers * self.readers.len();
        limits::allow_connections(args.connections + consumers, args.bootstrap.is_none())?;
        limits::check_memory(args.connections, args.window, self.shape.batch_bytes)?;
        let mut workers: Vec<Worker<'a>> = (0..threads)
            .map(|_| {
                let books = self.readers.iter().map(|reader| {
                    let measured = reader.timed.then_some(self.times.measure_ns);
                    consumer_books(self.target, self.clock, !args.no_verify_payload, measured, reader)
                });
                let books = books.collect();
                let ledger = self.target.ledger.clone();
                let names = &self.target.names;
                let producers = ProducerBooks::new(self.clock, names, ledger, self.times.measure_ns);
                let mut worker = Worker::new(producers, books);
                let comes_back = (self.target.address, args.check.restart_timeout);
                worker.comes_back = args.check.expect_restart.then_some(comes_back);
                worker
            })
            .collect();
        let keys = self.target.ledger.keys();
        let dist = args.key_dist.weights(keys, args.zipf_exponent);
        ensure!(keys as usize >= args.connections, "fewer keys than connections: each owns its own (--keys)");
        let owned = assign_keys(keys, args.connections, dist);
        for (index, (owned, share)) in (0u32..).zip(owned.iter().zip(shares(&owned, dist))) {
            let producer = self.producer(index, owned, dist, share)?;
            workers[index as usize % threads].producers.push(producer);
        }
        for group in 0..self.readers.len() {
            add_consumers(&mut workers, self.target, args.consumers, group)?;
        }
        Ok(workers)
    }

    fn producer(&self, index: u32, owned: &[u32], dist: KeyDist, share: Share) -> Result<Producer> {
        let (args, target) = (self.args, self.target);
        // A connection that owns more of the load has more of the requests in flight.
        let window = args.window as f64 * share.own * args.connections as f64;
        let template = Template::new(&TemplateSpec {
            produce_version: target.versions.produce,
            topic: &target.topic,
            acks: args.acks.code(),
            key_bytes: self.shape.key_bytes,
            value_bytes: self.shape.value_bytes,
            records: self.shape.records,
            run: target.ledger.run,
            connection: index,
            seed: args.seed,
            payload: args.shape.payload,
            compressibility: args.shape.compressibility,
        });
        let spec = ProducerSpec {
            partitions: target.partitions,
            window: (window.round() as usize).max(1),
            template,
            picker: KeyPicker::new(owned, &target.names, target.partitions, dist),
            seed: args.seed ^ (u64::from(index) + 1) << 32 ^ target.ledger.sent_records(),
            version: target.versions.produce,
            acks: args.acks.code(),
            static_payload: args.static_payload,
            codec: args.codec.code(),
            sabotage: args.check.sabotage,
            comes_back: args.check.expect_restart,
        };
        let stream = client::connect(target.address).context("connecting a producer")?;
        let mut producer = Producer::new(spec, stream, &target.names);
        let (records, start_ns) = (self.shape.records, self.times.start_ns);
        producer.pace = Pace::new(args.pace(), records, share, start_ns);
        Ok(producer)
    }
}

/// The part of each connection in the load: that of its keys. Parts that are nearly equal are taken as equal.
pub fn shares(owned: &[Vec<u32>], dist: KeyDist) -> Vec<Share> {
    let connections = owned.len();
    let weight = |keys: &Vec<u32>| keys.iter().map(|key| dist.weight(*key)).sum::<f64>();
    let weights: Vec<f64> = owned.iter().map(weight).collect();
    let all: f64 = weights.iter().sum();
    let even = 1.0 / connections as f64;
    if weights.iter().all(|weight| (weight / all / even - 1.0).abs() < 0.2) {
        return (0..connections).map(|index| Share::even(index, connections)).collect();
    }
    let mut before = 0.0;
    let mut share = |(index, weight): (usize, &f64)| {
        let share = Share { index, connections, before, own: weight / all };
        before += share.own;
        share
    };
    weights.iter().enumerate().map(&mut share).collect()
}

pub fn consumer_books<'a>(
    target: &'a Target,
    clock: Clock,
    verify_crc: bool,
    measure_ns: Option<(u64, u64)>,
    reader: &Reader,
) -> ConsumerBooks<'a> {
    let checker = Checker::new(target.ledger.run, target.ledger.keys(), target.partitions);
    ConsumerBooks {
        clock,
        names: &target.names,
        checker: if reader.compared { checker.with_prints() } else { checker },
        begin_ns: reader.begin_ns,
        limits: reader.limits(),
        shape: reader.shape,
        verify_crc,
        measure_ns,
        latencies: Default::default(),
        measured_records: 0,
        batch_bytes: 0,
        batches_above_watermark: 0,
        errors: Default::default(),
        disconnects: 0,
        progress_ns: 0,
        catching_up: Default::default(),
    }
}

/// Deals the partitions to `consumers` connections of a group and those to the threads.
pub fn add_consumers(
    workers: &mut [Worker<'_>],
    target: &Target,
    consumers: usize,
    group: usize,
) -> Result<()> {
    let threads = workers.len();
    for index in 0..consumers.min(target.begin.len()) {
        let mine = (0i32..).zip(&target.begin).skip(index).step_by(consumers);
        let from: Vec<(i32, i64)> = mine.map(|(partition, offset)| (partition, *offset)).collect();
        let stream = client::connect(target.address).context("connecting a consumer")?;
        let worker = &mut workers[(index + group) % threads];
        let books = &mut worker.consumer_books[group];
        let mut consumer = Consumer::new(stream, target.versions.fetch, &target.topic, &from, books);
        consumer.group = group;
        worker.consumers.push(consumer);
    }
    Ok(())
}
