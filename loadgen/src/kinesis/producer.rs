//! One connection that puts records: a thread of its own.
//!
//! Promises: the time of a record counts from when it was due, to when it was acked, however often it was refused in
//! between. What was refused for the rate of its shard was not put, and is sent again; what failed otherwise has an
//! unknown fate, and is never sent twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;

use crate::cpu;
use crate::found::Found;
use crate::keys::{KeyPicker, Rng};
use crate::pacing::Pace;
use crate::producer::ProduceCounts;
use crate::sabotage::{Sabotage, Saboteur};
use crate::worker::{Shared, ThreadUse, Times};

use super::api::{Fault, is_too_fast, shard_number};
use super::http::Connection;
use super::number::Number;
use super::outbox::Outbox;
use super::request::{Record, Request};

/// What was refused for the rate of its shard is sent again after this time.
const PAUSE_NS: u64 = 100_000_000;
/// How long records that are left are sent after the load.
const DRAIN_NS: u64 = 15_000_000_000;
/// Sleeps end after this time at the latest, to look at the clock.
const SLEEP_NS: u64 = 20_000_000;
/// A request that has been due for less when the load ends does not count as unsent.
const LATE_NS: u64 = 1_000_000;

/// How a connection is to put records.
pub struct Spec {
    pub request: Request,
    pub picker: KeyPicker,
    pub pace: Pace,
    pub seed: u64,
    pub careless: bool,
    pub sabotage: Option<Sabotage>,
}

/// Processor time of a thread between the start and the end of the measurement.
#[derive(Default)]
pub struct Usage {
    at_start: Option<Duration>,
    used: Option<ThreadUse>,
}

impl Usage {
    /// Looks at the clock; to be called often.
    pub fn at(&mut self, now_ns: u64, times: Times) {
        let (from_ns, to_ns) = times.measure_ns;
        if self.at_start.is_none() && now_ns >= from_ns {
            self.at_start = Some(cpu::thread_cpu());
        }
        if let Some(before) = self.at_start
            && self.used.is_none()
            && now_ns >= to_ns
        {
            let cpu = cpu::thread_cpu() - before;
            let asleep_ns = (to_ns - from_ns).saturating_sub(cpu.as_nanos() as u64);
            self.used = Some(ThreadUse { cpu, asleep_ns });
        }
    }

    pub fn used(&self) -> ThreadUse {
        self.used.unwrap_or_default()
    }
}

/// What became of a record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Put<'a> {
    #[serde(borrow)]
    sequence_number: Option<&'a str>,
    #[serde(borrow)]
    shard_id: Option<&'a str>,
    #[serde(borrow)]
    error_code: Option<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutAll<'a> {
    #[serde(borrow)]
    records: Vec<Put<'a>>,
}

/// See the module's header.
pub struct Producer<'a> {
    spec: Spec,
    connection: Connection,
    outbox: Outbox,
    rng: Rng,
    saboteur: Option<Saboteur>,
    /// The number of the last record of each key.
    numbers: HashMap<u32, Number>,
    /// The highest number of each shard.
    reached: BTreeMap<i32, Number>,
    taken: Vec<Record>,
    refused: Vec<Record>,
    found: Found<'a>,
}

impl<'a> Producer<'a> {
    pub fn new(spec: Spec, connection: Connection, found: Found<'a>) -> Self {
        let outbox = Outbox::new(spec.careless, found.producer_books.ledger.keys());
        let saboteur = spec.sabotage.map(|kind| Saboteur::new(kind, spec.seed));
        let rng = Rng::new(spec.seed);
        let (numbers, reached) = (HashMap::new(), BTreeMap::new());
        let (taken, refused) = (Vec::new(), Vec::new());
        Self { spec, connection, outbox, rng, saboteur, numbers, reached, taken, refused, found }
    }

    /// Runs to the end of the load. Returns what was found, and the highest number of each shard.
    pub fn run(mut self, shared: &Shared, times: Times) -> (Found<'a>, BTreeMap<i32, Number>) {
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let clock = self.found.producer_books.clock;
        let (mut usage, mut over) = (Usage::default(), false);
        loop {
            let now_ns = clock.now_ns();
            usage.at(now_ns, times);
            if now_ns < times.measure_ns.1 {
                self.draw(now_ns);
            } else if !std::mem::replace(&mut over, true) {
                self.count_unsent(times);
            }
            let mut taken = std::mem::take(&mut self.taken);
            self.outbox.take(self.spec.request.records(), now_ns, &mut taken);
            self.taken = taken;
            if !self.taken.is_empty() {
                if !self.send(now_ns, shared) {
                    break;
                }
            } else if over && (self.outbox.is_empty() || now_ns > times.measure_ns.1 + DRAIN_NS) {
                break;
            } else {
                self.sleep(now_ns, times, over);
            }
        }
        self.give_up(times);
        usage.at(times.measure_ns.1, times);
        self.found.used = usage.used();
        (self.found, self.reached)
    }

    /// Draws the records that are due, unless too many wait already.
    fn draw(&mut self, now_ns: u64) {
        let records = self.spec.request.records();
        while self.outbox.len() < 2 * records {
            let due_ns = match self.spec.pace.due_ns() {
                Some(due_ns) if due_ns > now_ns => break,
                Some(due_ns) => due_ns,
                // As soon as there is room: it counts from when it is sent.
                None => 0,
            };
            for _ in 0..records {
                let ledger = &mut self.found.producer_books.ledger;
                let group = self.spec.picker.next_group(&mut self.rng);
                let key = group.draw(&mut self.rng);
                let (key, seq) = match &mut self.saboteur {
                    None => (key, ledger.next_seq(key)),
                    Some(saboteur) => saboteur.next(0, key, ledger),
                };
                self.outbox.add(Record { key, seq, due_ns });
            }
            self.spec.pace.sent_one();
        }
    }

    fn sleep(&self, now_ns: u64, times: Times, over: bool) {
        let mut until_ns = now_ns + SLEEP_NS;
        let due_ns = self.spec.pace.due_ns().filter(|_| !over);
        for boundary_ns in
            [due_ns, self.outbox.next_ns(now_ns), Some(times.measure_ns.1)].into_iter().flatten()
        {
            if boundary_ns > now_ns {
                until_ns = until_ns.min(boundary_ns);
            }
        }
        std::thread::sleep(Duration::from_nanos(until_ns - now_ns));
    }

    /// Sends what was taken, and books what became of it; false when the connection is gone.
    fn send(&mut self, now_ns: u64, shared: &Shared) -> bool {
        self.taken.iter_mut().filter(|record| record.due_ns == 0).for_each(|record| record.due_ns = now_ns);
        let names = self.found.producer_books.names;
        let operation = self.spec.request.operation();
        let body = self.spec.request.fill(&self.taken, names);
        self.found.producer_books.writes += 1;
        let Ok((status, answer)) = self.connection.call(operation, body) else {
            self.found.producer_books.disconnects += 1;
            self.taken_are_unknown();
            return false;
        };
        let acked_ns = self.found.producer_books.clock.now_ns();
        self.refused.clear();
        if status == 200 {
            let mut booking = Booking {
                found: &mut self.found,
                numbers: &mut self.numbers,
                reached: &mut self.reached,
                refused: &mut self.refused,
                acked_ns,
                record_bytes: self.spec.request.record_bytes(),
            };
            let read = match operation {
                "PutRecord" => serde_json::from_slice(answer).map(|put| PutAll { records: vec![put] }),
                _ => serde_json::from_slice::<PutAll<'_>>(answer),
            };
            match read {
                Ok(all) if all.records.len() == self.taken.len() => booking.book(&self.taken, &all, shared),
                _ => {
                    *self.found.errors.entry("an answer that cannot be read".to_owned()).or_default() += 1;
                    self.taken_are_unknown();
                    return false;
                }
            }
        } else {
            let fault = Fault::read(status, answer);
            if fault.is_too_fast() {
                self.refused.extend_from_slice(&self.taken);
            } else {
                *self.found.errors.entry(fault.kind).or_default() += self.taken.len() as u64;
                self.taken_are_unknown();
            }
        }
        if !self.refused.is_empty() {
            self.found.resent += self.refused.len() as u64;
            self.outbox.refused(&self.refused, acked_ns + PAUSE_NS);
        }
        true
    }

    /// Nobody knows what became of them.
    fn taken_are_unknown(&mut self) {
        let ledger = &mut self.found.producer_books.ledger;
        self.taken.iter().for_each(|record| ledger.mark_maybe(record.key, record.seq, record.seq));
    }

    /// What was due and never left counts with the time that it had waited by the end.
    fn count_unsent(&mut self, times: Times) {
        let (from_ns, to_ns) = times.measure_ns;
        let records = self.spec.request.records() as u64;
        for due_ns in self.spec.pace.unsent_ns(to_ns.saturating_sub(LATE_NS)) {
            self.found.backlog += 1;
            if due_ns >= from_ns {
                self.found.producer_books.latencies.record(to_ns - due_ns, records);
            }
        }
    }

    /// What still waits was not put, or its fate is unknown: it may be there or not.
    fn give_up(&mut self, times: Times) {
        let books = &mut self.found.producer_books;
        let now_ns = books.clock.now_ns();
        let mut given_up = 0;
        for Record { key, seq, due_ns } in self.outbox.drain() {
            books.ledger.mark_maybe(key, seq, seq);
            given_up += 1;
            if due_ns >= times.measure_ns.0 {
                // It would have taken longer still.
                books.latencies.record(now_ns.saturating_sub(due_ns), 1);
            }
        }
        self.found.backlog += u64::div_ceil(given_up, self.spec.request.records() as u64);
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.give_up(&mut books.ledger);
        }
    }
}

/// Books the answer to a request.
struct Booking<'b, 'a> {
    found: &'b mut Found<'a>,
    numbers: &'b mut HashMap<u32, Number>,
    reached: &'b mut BTreeMap<i32, Number>,
    refused: &'b mut Vec<Record>,
    acked_ns: u64,
    record_bytes: usize,
}

impl Booking<'_, '_> {
    fn book(&mut self, records: &[Record], all: &PutAll<'_>, shared: &Shared) {
        let mut acked = 0;
        for (record, put) in records.iter().zip(&all.records) {
            let number = put.sequence_number.and_then(Number::parse);
            let shard = put.shard_id.and_then(shard_number);
            match (number, shard, put.error_code) {
                (Some(number), Some(shard), None) => {
                    acked += 1;
                    self.acked(record, number, shard);
                }
                (_, _, Some(kind)) if is_too_fast(kind) => self.refused.push(*record),
                (_, _, kind) => {
                    let kind = kind.unwrap_or("neither a number nor an error");
                    *self.found.errors.entry(kind.to_owned()).or_default() += 1;
                    self.found.producer_books.ledger.mark_maybe(record.key, record.seq, record.seq);
                }
            }
        }
        let books = &mut self.found.producer_books;
        let counts =
            ProduceCounts { requests: 1, records: acked, batch_bytes: acked * self.record_bytes as u64 };
        books.total.add(&counts);
        let (from_ns, to_ns) = books.measure_ns;
        if self.acked_ns >= from_ns && self.acked_ns < to_ns {
            books.measured.add(&counts);
        }
        books.in_flight_share.0 += 1.0;
        books.in_flight_share.1 += 1;
        shared.acked.fetch_add(counts.records, Ordering::Relaxed);
        shared.acked_bytes.fetch_add(counts.batch_bytes, Ordering::Relaxed);
    }

    fn acked(&mut self, record: &Record, number: Number, shard: i32) {
        let books = &mut self.found.producer_books;
        if record.due_ns >= books.measure_ns.0 {
            books.latencies.record(self.acked_ns - record.due_ns, 1);
        }
        let reached = self.reached.entry(shard).or_default();
        *reached = number.max(*reached);
        // One request after another: the numbers of a key rise as its records were sent.
        let before = self.numbers.insert(record.key, number);
        books.out_of_order += u64::from(before.is_some_and(|before| before >= number));
    }
}
