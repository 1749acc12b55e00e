//! Everything before the first record: the stream, the books, the connections.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::args::{Acks, RunArgs};
use crate::batch::STAMP_BYTES;
use crate::found::Found;
use crate::keys::{KeyNames, KeyPicker, Placing, assign_keys};
use crate::ledger::{Ledger, State};
use crate::limits;
use crate::load_args::Codec;
use crate::pacing::{Clock, Pace};
use crate::producer::ProducerBooks;
use crate::protocol::Versions;
use crate::readers::Reader;
use crate::sabotage::Sabotage;
use crate::setup::{BatchShape, Target, consumer_books, random_u64, shares};
use crate::worker::Times;

use super::api::{self, Shard, shard_id};
use super::consumer::{self, Consumer};
use super::http::{Connection, Endpoint};
use super::producer::{self, Producer};
use super::request::{Request, RequestSpec};

/// What a request may have.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: usize = 10 << 20;
/// Each has a thread.
const CONNECTIONS_MAX: usize = 1000;

/// Refuses what makes no sense here, and what is not done.
pub fn check(args: &RunArgs) -> Result<()> {
    let no = |given: bool, option: &str| {
        ensure!(!given, "{option} is about Kafka's protocol, and not for --kinesis");
        Ok(())
    };
    no(args.acks != Acks::All, "--acks")?;
    no(args.codec != Codec::None, "--codec")?;
    no(args.static_payload, "--static-payload")?;
    no(args.produce_version.is_some() || args.fetch_version.is_some(), "a version of requests")?;
    no(args.shape.fetch_shape.is_some(), "--fetch-shape")?;
    no(args.check.prime, "--prime")?;
    no(args.check.expect_restart, "--expect-restart")?;
    let elsewhere = matches!(args.check.sabotage, Some(Sabotage::RandomKey | Sabotage::BadHeader));
    no(elsewhere, "this --sabotage")?;
    ensure!(
        !args.kinesis_args.kinesis_throttle || args.is_embedded(),
        "--kinesis-throttle is for a server in this process"
    );
    ensure!((0.0..=1.0).contains(&args.shape.compressibility), "--compressibility lies between 0 and 1");
    Ok(())
}

/// The sizes of records and requests.
pub fn shape(args: &RunArgs, key_bytes: usize) -> Result<BatchShape> {
    let least = key_bytes + STAMP_BYTES;
    ensure!(args.record_bytes >= least, "a record has at least {least} bytes");
    let within = (BYTES_MAX / args.record_bytes).clamp(1, RECORDS_MAX);
    let records = args.batch_records.unwrap_or(within);
    ensure!(
        (1..=within).contains(&records),
        "a request of {records} records: it may have {within} of this size"
    );
    let value_bytes = args.record_bytes - key_bytes;
    Ok(BatchShape {
        key_bytes,
        value_bytes,
        records,
        batch_bytes: records * (args.record_bytes * 4 / 3 + 40),
    })
}

/// A stream to be loaded, and where reading of each of its open shards begins.
pub struct Stream {
    pub target: Target,
    pub begin: Vec<(i32, String)>,
}

impl Stream {
    pub fn prepare(args: &RunArgs, endpoint: &Endpoint) -> Result<Self> {
        let connection = &mut Connection::open(endpoint)?;
        let resumed = match (&args.state, args.resume) {
            (Some(path), true) => Some(State::load(path)?),
            _ => None,
        };
        let fresh = || format!("keylane-load-{:08x}", random_u64() as u32);
        let named = resumed.as_ref().map(|state| state.topic.clone());
        let name = named.or_else(|| args.topic.clone()).unwrap_or_else(fresh);
        ensure!(
            args.topic.as_ref().is_none_or(|topic| *topic == name),
            "the state file is about stream {name}"
        );
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        ensure!(name.bytes().all(plain), "{name} is no name of a stream");
        let created = match &resumed {
            Some(_) => false,
            None => api::create(connection, &name, args.partitions)?,
        };
        let shards = api::shards(connection, &name)?;
        let partitions =
            shards.iter().map(|shard| shard.number + 1).max().context("a stream without shards")?;
        let placing = placing(&shards);
        let rounds = resumed.as_ref().map_or(0, |state| state.rounds);
        let resuming = resumed.is_some();
        let mut ledger = match resumed {
            Some(state) => state.ledger,
            None => Ledger::new(random_u64(), partitions, args.keys),
        };
        ensure!(
            !resuming || (ledger.partitions == partitions && ledger.placing == placing),
            "the shards of {name} are not those of the state file any more"
        );
        ledger.placing = placing;
        let kind = if created || resuming { "TRIM_HORIZON" } else { "LATEST" };
        let mut begin = Vec::new();
        for shard in shards.iter().filter(|shard| shard.open) {
            let id = shard_id(shard.number);
            let position = json!({"StreamName": name, "ShardId": id, "ShardIteratorType": kind});
            begin.push((shard.number, api::iterator(connection, &position)?));
        }
        let names = KeyNames::new(ledger.keys());
        let versions = Versions { produce: 0, fetch: 0, list_offsets: 0, metadata: 0, create_topics: 0 };
        let (address, topic) = (endpoint.address, name);
        let target =
            Target { address, versions, topic, partitions, begin: Vec::new(), ledger, rounds, names };
        Ok(Self { target, begin })
    }
}

/// Which shard has which hashes.
fn placing(shards: &[Shard]) -> Placing {
    let open = shards.iter().filter(|shard| shard.open);
    let mut ranges: Vec<(u128, i32)> = open.map(|shard| (shard.last, shard.number)).collect();
    ranges.sort_unstable();
    Placing::Md5(ranges)
}

/// Makes the threads of a run with their connections.
pub struct Threads<'a> {
    pub args: &'a RunArgs,
    pub endpoint: &'a Endpoint,
    pub stream: &'a Stream,
    pub shape: BatchShape,
    pub clock: Clock,
    pub times: Times,
    pub readers: &'a [Reader],
}

impl<'a> Threads<'a> {
    pub fn producers(&self) -> Result<Vec<Producer<'a>>> {
        let (args, target) = (self.args, &self.stream.target);
        let keys = target.ledger.keys();
        ensure!(
            args.connections <= CONNECTIONS_MAX,
            "at most {CONNECTIONS_MAX} connections: each has a thread"
        );
        ensure!(keys as usize >= args.connections, "fewer keys than connections: each owns its own (--keys)");
        let consumers = args.consumers * self.readers.len();
        limits::allow_connections(args.connections + consumers, args.is_embedded())?;
        limits::check_memory(args.connections, 1, self.shape.batch_bytes)?;
        let dist = args.key_dist.weights(keys, args.zipf_exponent);
        let owned = assign_keys(keys, args.connections, dist);
        let shares = shares(&owned, dist);
        let producer = |(index, (owned, share)): (u32, (&Vec<u32>, _))| {
            let request = Request::new(&RequestSpec {
                stream: &target.topic,
                key_bytes: self.shape.key_bytes,
                value_bytes: self.shape.value_bytes,
                records: self.shape.records,
                run: target.ledger.run,
                connection: index,
                seed: args.seed,
                payload: args.shape.payload,
                compressibility: args.shape.compressibility,
            });
            let spec = producer::Spec {
                request,
                // A request has records of any shard.
                picker: KeyPicker::new(owned, &target.names, 1, dist),
                pace: Pace::new(args.pace(), self.shape.records, share, self.times.start_ns),
                seed: args.seed ^ (u64::from(index) + 1) << 32 ^ target.ledger.sent_records(),
                careless: args.kinesis_args.careless,
                sabotage: args.check.sabotage,
            };
            let connection = Connection::open(self.endpoint).context("connecting a producer")?;
            Ok(Producer::new(spec, connection, self.found(target.ledger.clone())))
        };
        (0..).zip(owned.iter().zip(shares)).map(producer).collect()
    }

    /// The consumers of all groups: the shards are dealt to those of a group.
    pub fn consumers(&self) -> Result<Vec<Consumer<'a>>> {
        let (args, begin) = (self.args, &self.stream.begin);
        let mut all = Vec::new();
        for (group, reader) in self.readers.iter().enumerate() {
            for index in 0..args.consumers.min(begin.len()) {
                let spec = consumer::Spec {
                    group,
                    stream: self.stream.target.topic.clone(),
                    begin: begin.iter().skip(index).step_by(args.consumers).cloned().collect(),
                    poll: args.kinesis_args.poll,
                };
                let measured = reader.timed.then_some(self.times.measure_ns);
                let verify = !args.no_verify_payload;
                let books = consumer_books(&self.stream.target, self.clock, verify, measured, reader);
                let connection = Connection::open(self.endpoint).context("connecting a consumer")?;
                all.push(Consumer::new(spec, connection, books, self.found(Ledger::default())));
            }
        }
        Ok(all)
    }

    fn found(&self, ledger: Ledger) -> Found<'a> {
        Found::new(ProducerBooks::new(self.clock, &self.stream.target.names, ledger, self.times.measure_ns))
    }
}
