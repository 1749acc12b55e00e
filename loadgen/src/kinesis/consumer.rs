//! One connection that reads shards in turn: a thread of its own.
//!
//! Promises: every record that arrives is checked before the next request is sent; the next iterator is the one that came with
//! the last answer. A shard is read to its end when an answer to a request that left after the load brings nothing, is not
//! behind, and the last acked record was seen; if that does not come, the shard is looked at for some seconds more.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use crate::batch::Stamp;
use crate::consumer::ConsumerBooks;
use crate::found::Found;
use crate::worker::{Shared, Times};

use super::api::{self, Fault, shard_id};
use super::http::Connection;
use super::number::Number;
use super::producer::Usage;
use super::request;

/// Most records of an answer.
const LIMIT: usize = 1000;
/// How long a shard is left alone that was read too often, or with an error.
const PAUSE_NS: u64 = 200_000_000;
/// How long an acked record is waited for that does not come.
const PATIENCE_NS: u64 = 3_000_000_000;
/// Consumers that get no answer to the end for so long will not get it.
const STALL_NS: u64 = 20_000_000_000;
const SLEEP_NS: u64 = 20_000_000;

/// How a connection is to read.
pub struct Spec {
    /// Its group of consumers.
    pub group: usize,
    pub stream: String,
    /// Where reading begins, by shard.
    pub begin: Vec<(i32, String)>,
    pub poll: Duration,
}

/// Where a shard is read.
struct Position {
    shard: i32,
    iterator: String,
    last: Number,
    last_text: String,
    /// Records that were read.
    count: i64,
    not_before_ns: u64,
    done: bool,
    caught_up: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got<'a> {
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(borrow)]
    partition_key: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    #[serde(borrow)]
    records: Vec<Got<'a>>,
    next_shard_iterator: Option<String>,
    #[serde(default)]
    millis_behind_latest: u64,
}

/// See the module's header.
pub struct Consumer<'a> {
    spec: Spec,
    connection: Connection,
    positions: Vec<Position>,
    /// Begins further each time.
    turn: usize,
    books: ConsumerBooks<'a>,
    found: Found<'a>,
    value: Vec<u8>,
}

/// The highest number of each shard that was acked; known after the load.
pub type Reached = OnceLock<BTreeMap<i32, Number>>;

impl<'a> Consumer<'a> {
    pub fn new(spec: Spec, connection: Connection, mut books: ConsumerBooks<'a>, found: Found<'a>) -> Self {
        let position = |(shard, iterator): &(i32, String)| {
            books.checker.begin_partition(*shard, 0);
            Position {
                shard: *shard,
                iterator: iterator.clone(),
                last: Number::default(),
                last_text: String::new(),
                count: 0,
                not_before_ns: 0,
                done: false,
                caught_up: false,
            }
        };
        let positions: Vec<Position> = spec.begin.iter().map(position).collect();
        books.catching_up.behind = positions.len();
        Self { spec, connection, positions, turn: 0, books, found, value: Vec::new() }
    }

    /// Reads until all shards were read to their ends.
    pub fn run(mut self, shared: &Shared, reached: &Reached, times: Times) -> Found<'a> {
        let clock = self.books.clock;
        let (mut usage, mut ends_known) = (Usage::default(), false);
        loop {
            let now_ns = clock.now_ns();
            usage.at(now_ns, times);
            if !ends_known && reached.get().is_some() {
                ends_known = true;
                self.found.read_during_load = self.books.checker.records();
                self.books.progress_ns = now_ns;
            }
            if self.positions.iter().all(|position| position.done) {
                break;
            }
            if ends_known && now_ns > self.books.progress_ns + STALL_NS {
                self.found.stalled = true;
                break;
            }
            if !ends_known && now_ns < self.books.begin_ns {
                sleep(now_ns, self.books.begin_ns);
                continue;
            }
            let Some(at) = self.next(now_ns) else {
                let open = self.positions.iter().filter(|position| !position.done);
                sleep(now_ns, open.map(|position| position.not_before_ns).min().unwrap_or(now_ns));
                continue;
            };
            self.books.catching_up.begun_ns.get_or_insert(now_ns);
            let before = self.books.checker.records();
            if !self.read(at, ends_known, reached) {
                self.books.disconnects += 1;
                break;
            }
            shared.read.fetch_add(self.books.checker.records() - before, Ordering::Relaxed);
        }
        if self.positions.iter().any(|position| !position.done) {
            self.found.incomplete.push(self.spec.group);
        }
        usage.at(times.measure_ns.1, times);
        self.found.used = usage.used();
        self.found.consumer_books.push((self.spec.group, self.books));
        self.found
    }

    /// The next shard that may be read.
    fn next(&mut self, now_ns: u64) -> Option<usize> {
        let shards = self.positions.len();
        let turns = (0..shards).map(|step| (self.turn + step) % shards);
        let may = |at: &usize| !self.positions[*at].done && self.positions[*at].not_before_ns <= now_ns;
        let at = { turns }.find(may)?;
        self.turn = at + 1;
        Some(at)
    }

    /// Reads a shard once; false when the connection is gone.
    fn read(&mut self, at: usize, ends_known: bool, reached: &Reached) -> bool {
        let request = json!({"ShardIterator": self.positions[at].iterator, "Limit": LIMIT}).to_string();
        let asked_ns = self.books.clock.now_ns();
        let Ok((status, body)) = self.connection.call("GetRecords", request.as_bytes()) else { return false };
        let now_ns = self.books.clock.now_ns();
        let position = &mut self.positions[at];
        if status != 200 {
            let fault = Fault::read(status, body);
            position.not_before_ns = now_ns + PAUSE_NS;
            if fault.kind == "ExpiredIteratorException" {
                return self.renew(at);
            }
            if !fault.is_too_fast() {
                *self.found.errors.entry(fault.kind).or_default() += 1;
            }
            return true;
        }
        let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
            self.books.checker.corrupt(position.shard, position.count, "an answer that cannot be read");
            return false;
        };
        match answer.records.len() {
            0 => self.found.gets.empty.record(now_ns - asked_ns, 1),
            LIMIT => self.found.gets.full.record(now_ns - asked_ns, 1),
            _ => {}
        }
        take_records(position, &answer, &mut self.books, &mut self.value, now_ns);
        if !position.caught_up && answer.millis_behind_latest == 0 {
            position.caught_up = true;
            let catching_up = &mut self.books.catching_up;
            catching_up.behind -= 1;
            (catching_up.ended_ns, catching_up.batch_bytes) = (now_ns, self.books.batch_bytes);
        }
        if answer.records.is_empty() {
            position.not_before_ns = now_ns + self.spec.poll.as_nanos() as u64;
            let wanted = reached.get().and_then(|reached| reached.get(&position.shard));
            let seen = wanted.is_none_or(|number| position.last >= *number);
            let waited = now_ns > self.books.progress_ns + PATIENCE_NS;
            position.done = ends_known && answer.millis_behind_latest == 0 && (seen || waited);
        }
        match answer.next_shard_iterator {
            Some(next) => position.iterator = next,
            None => position.done = true,
        }
        true
    }

    /// Goes on where it was with a new iterator.
    fn renew(&mut self, at: usize) -> bool {
        let position = &mut self.positions[at];
        let mut request = json!({"StreamName": self.spec.stream, "ShardId": shard_id(position.shard)});
        if position.last_text.is_empty() {
            request["ShardIteratorType"] = json!("TRIM_HORIZON");
        } else {
            request["ShardIteratorType"] = json!("AFTER_SEQUENCE_NUMBER");
            request["StartingSequenceNumber"] = json!(position.last_text);
        }
        let iterator = api::iterator(&mut self.connection, &request);
        iterator.map(|iterator| position.iterator = iterator).is_ok()
    }
}

fn sleep(now_ns: u64, until_ns: u64) {
    std::thread::sleep(Duration::from_nanos(until_ns.saturating_sub(now_ns).clamp(1, SLEEP_NS)));
}

fn take_records(
    position: &mut Position,
    answer: &Answer<'_>,
    books: &mut ConsumerBooks<'_>,
    value: &mut Vec<u8>,
    now_ns: u64,
) {
    let shard = position.shard;
    let count = answer.records.len() as i64;
    if count > 0 {
        books.checker.batch(shard, position.count, position.count + count, count as i32);
        books.progress_ns = now_ns;
    }
    let (from_ns, to_ns) = books.measure_ns.unwrap_or((u64::MAX, 0));
    for record in &answer.records {
        let at = position.count;
        position.count += 1;
        match Number::parse(&record.sequence_number) {
            Some(number) if number > position.last => position.last = number,
            _ => books.checker.went_back(shard, at),
        }
        value.clear();
        if STANDARD.decode_vec(record.data.as_bytes(), value).is_err() {
            books.checker.corrupt(shard, at, "data that is no base64");
            continue;
        }
        books.batch_bytes += (record.partition_key.len() + value.len()) as u64;
        let Some(stamp) = Stamp::read(value) else {
            books.checker.corrupt(shard, at, "a value that was not written by this program");
            continue;
        };
        books.checker.record(shard, at, stamp.run, stamp.key, stamp.seq);
        let names = books.names;
        if (stamp.key as usize) < names.len() && names.name(stamp.key) != record.partition_key.as_bytes() {
            books.checker.corrupt(shard, at, "a value with another record's key");
        }
        if books.verify_crc && !request::is_whole(value) {
            books.checker.corrupt(shard, at, "the value's CRC-32C does not match");
        }
        if stamp.time_ns >= from_ns && stamp.time_ns < to_ns {
            books.latencies.record(now_ns.saturating_sub(stamp.time_ns), 1);
            books.measured_records += 1;
        }
    }
    if let Some(last) = answer.records.last() {
        position.last_text.clear();
        position.last_text.push_str(&last.sequence_number);
    }
}
