//! One thread of the load: an epoll loop over its producer and consumer connections.
//!
//! Promises: threads share nothing on the way of a record; what they tell each other is a few counters
//! and the phases in [`Shared`]. A thread ends by itself: after the load, when every answer has come
//! or `DRAIN_NS` have passed, and its consumers have read to the end or stand still.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

use crate::consumer::{Consumer, ConsumerBooks};
use crate::cpu;
use crate::producer::{Producer, ProducerBooks};

/// How long answers are waited for after the load.
const DRAIN_NS: u64 = 15_000_000_000;
/// Consumers that get nothing for so long have not reached the end and will not.
const STALL_NS: u64 = 20_000_000_000;
const WAIT_NS_MAX: u64 = 50_000_000;
/// While waiting for other threads.
const WAIT_NS_POLL: u64 = 2_000_000;

/// A broker that is away is tried so often, and for so long each time.
const RECONNECT_NS: u64 = 50_000_000;
const RECONNECT_TIMEOUT: Duration = Duration::from_millis(200);

const READY: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

/// The times of a run, fixed when all connections stand.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub start_ns: u64,
    pub measure_ns: (u64, u64),
}

/// What threads tell each other.
#[derive(Debug)]
pub struct Shared {
    pub times: OnceLock<Times>,
    /// Where consumers stop, by partition; set after the load.
    pub ends: OnceLock<Vec<i64>>,
    /// Threads whose producers have ended.
    pub producers_done: AtomicUsize,
    pub threads_done: AtomicUsize,
    /// Counters for the progress line.
    pub acked: AtomicU64,
    pub acked_bytes: AtomicU64,
    pub read: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            times: OnceLock::new(),
            ends: OnceLock::new(),
            producers_done: AtomicUsize::new(0),
            threads_done: AtomicUsize::new(0),
            acked: AtomicU64::new(0),
            acked_bytes: AtomicU64::new(0),
            read: AtomicU64::new(0),
        }
    }
}

/// Time that a thread used between two moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadUse {
    pub cpu: Duration,
    /// Asleep in epoll because nothing was to be done.
    pub asleep_ns: u64,
}

/// A thread of the load.
pub struct Worker<'a> {
    pub producers: Vec<Producer>,
    pub consumers: Vec<Consumer>,
    pub producer_books: ProducerBooks<'a>,
    /// Of each group of consumers.
    pub consumer_books: Vec<ConsumerBooks<'a>>,
    /// Where connections are tried again, and how long consumers may get nothing.
    pub comes_back: Option<(SocketAddr, Duration)>,
    /// Connections made anew.
    pub reconnects: u64,
    /// What was used during the measurement.
    pub used: ThreadUse,
    /// Consumers that got nothing for too long.
    pub stalled: bool,
    /// Requests that were due and never sent.
    pub backlog: u64,
    /// Records read before the ends were known.
    pub read_during_load: u64,
    ends_known: bool,
    unsent_counted: bool,
    asleep_ns: u64,
    reported: (u64, u64, u64),
    try_again_ns: u64,
}

impl<'a> Worker<'a> {
    pub fn new(producer_books: ProducerBooks<'a>, consumer_books: Vec<ConsumerBooks<'a>>) -> Self {
        Self {
            producers: Vec::new(),
            consumers: Vec::new(),
            producer_books,
            consumer_books,
            comes_back: None,
            reconnects: 0,
            used: ThreadUse::default(),
            stalled: false,
            backlog: 0,
            read_during_load: 0,
            ends_known: false,
            unsent_counted: false,
            asleep_ns: 0,
            reported: (0, 0, 0),
            try_again_ns: 0,
        }
    }

    /// Records read so far by all groups.
    fn records_read(&self) -> u64 {
        self.consumer_books.iter().map(|books| books.checker.records()).sum()
    }

    fn all_read(&self) -> bool {
        let away = self.comes_back.is_some();
        self.consumers.iter().all(|consumer| consumer.is_done() || !(consumer.is_alive() || away))
    }

    /// Runs to the end. Edge-triggered: each connection is read until it is empty and written until
    /// it is full.
    pub fn run(&mut self, shared: &Shared, times: Times) -> Result<()> {
        // Due times are met to the microsecond, not to the default slack of 50.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let epoll = self.register()?;
        let mut events = Vec::with_capacity(256);
        let mut measure = Measure::default();
        let mut producing = true;
        loop {
            let now_ns = self.producer_books.clock.now_ns();
            measure.at(now_ns, times, self);
            let load_over = now_ns >= times.measure_ns.1;
            if producing {
                producing = self.step_producers(now_ns, times, load_over);
                if !producing {
                    let books = &mut self.producer_books;
                    self.producers.iter_mut().for_each(|producer| producer.end(books));
                    shared.producers_done.fetch_add(1, Ordering::AcqRel);
                    self.consumer_books.iter_mut().for_each(|books| books.progress_ns = now_ns);
                }
            }
            if !self.ends_known
                && let Some(ends) = shared.ends.get()
            {
                self.ends_known = true;
                self.read_during_load = self.records_read();
                self.consumer_books.iter_mut().for_each(|books| books.progress_ns = now_ns);
                self.consumers.iter_mut().for_each(|consumer| consumer.set_ends(ends));
            }
            self.step_consumers(now_ns);
            if self.comes_back.is_some() && now_ns >= self.try_again_ns {
                self.reconnect(&epoll, now_ns, load_over)?;
            }
            if !producing && self.ends_known && (self.all_read() || self.stalled) {
                measure.at(u64::MAX, times, self);
                return Ok(());
            }
            self.report(shared);
            let wait_ns = self.wait_ns(now_ns, times, load_over, producing);
            self.wait(&epoll, &mut events, wait_ns)?;
            for event in events.drain(..) {
                self.handle(event.data.u64() as usize, times);
            }
        }
    }

    fn register(&self) -> Result<OwnedFd> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
        let producers = self.producers.iter().map(Producer::stream);
        let streams = producers.chain(self.consumers.iter().map(Consumer::stream));
        for (index, stream) in (0u64..).zip(streams) {
            let stream: &TcpStream = stream;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, stream, EventData::new_u64(index), READY).context("epoll")?;
        }
        Ok(epoll)
    }

    /// Tries the connections that are down again.
    fn reconnect(&mut self, epoll: &OwnedFd, now_ns: u64, load_over: bool) -> Result<()> {
        let Some((address, _)) = self.comes_back else { return Ok(()) };
        let wanted: Vec<usize> = (0..self.producers.len() + self.consumers.len())
            .filter(|&index| match self.producers.get(index) {
                Some(producer) => producer.is_down() && !load_over,
                None => {
                    let consumer = &self.consumers[index - self.producers.len()];
                    !consumer.is_alive() && !consumer.is_done() && !self.stalled
                }
            })
            .collect();
        for index in wanted {
            // It is away, or already gone again.
            let Ok(stream) = TcpStream::connect_timeout(&address, RECONNECT_TIMEOUT) else { break };
            if stream.set_nodelay(true).is_err() || stream.set_nonblocking(true).is_err() {
                break;
            }
            epoll::add(epoll, &stream, EventData::new_u64(index as u64), READY).context("epoll")?;
            self.reconnects += 1;
            let producers = self.producers.len();
            match self.producers.get_mut(index) {
                Some(producer) => producer.resume(stream),
                None => self.consumers[index - producers].resume(stream),
            }
        }
        self.try_again_ns = now_ns + RECONNECT_NS;
        Ok(())
    }

    /// Sends what is due; false when all producers have ended.
    fn step_producers(&mut self, now_ns: u64, times: Times, load_over: bool) -> bool {
        let books = &mut self.producer_books;
        if !load_over {
            for producer in self.producers.iter_mut().filter(|producer| producer.has_room()) {
                if producer.pace.due_ns().is_none_or(|due_ns| due_ns <= now_ns) {
                    producer.pump(books, true);
                }
            }
            return self.producers.iter().any(|producer| producer.is_alive() || producer.is_down());
        }
        if !self.unsent_counted {
            self.unsent_counted = true;
            self.backlog = self.producers.iter().map(|producer| producer.count_unsent(books)).sum();
        }
        if now_ns > times.measure_ns.1.saturating_add(DRAIN_NS) {
            self.producers.iter_mut().for_each(|producer| producer.close(books));
        }
        self.producers.iter().any(|producer| producer.is_alive() && producer.in_flight() > 0)
    }

    fn step_consumers(&mut self, now_ns: u64) {
        for consumer in &mut self.consumers {
            let books = &mut self.consumer_books[consumer.group];
            if self.ends_known || now_ns >= books.begin_ns {
                consumer.pump(books, now_ns);
            }
        }
        let progress_ns = self.consumer_books.iter().map(|books| books.progress_ns).max().unwrap_or(0);
        let patience_ns = self.comes_back.map_or(0, |(_, timeout)| timeout.as_nanos() as u64).max(STALL_NS);
        if self.ends_known && !self.stalled && now_ns > progress_ns.saturating_add(patience_ns) {
            let away = self.comes_back.is_some();
            self.stalled = self.consumers.iter().any(|c| (c.is_alive() || away) && !c.is_done());
            let books = &mut self.consumer_books;
            self.consumers.iter_mut().for_each(|consumer| consumer.close(&mut books[consumer.group]));
        }
    }

    fn handle(&mut self, index: usize, times: Times) {
        if let Some(producer) = self.producers.get_mut(index) {
            let books = &mut self.producer_books;
            let refill = books.clock.now_ns() < times.measure_ns.1;
            producer.on_ready(books, refill);
        } else if let Some(consumer) = self.consumers.get_mut(index - self.producers.len())
            && consumer.is_alive()
        {
            let books = &mut self.consumer_books[consumer.group];
            // A new socket is writable at once: that must not start the reading before its time.
            if self.ends_known || books.clock.now_ns() >= books.begin_ns {
                consumer.on_ready(books);
            }
        }
    }

    /// How long nothing is to be done unless a socket becomes ready.
    fn wait_ns(&self, now_ns: u64, times: Times, load_over: bool, producing: bool) -> u64 {
        let mut until_ns = now_ns + if producing { WAIT_NS_MAX } else { WAIT_NS_POLL };
        let begins = self.consumer_books.iter().map(|books| books.begin_ns);
        for boundary_ns in [times.measure_ns.0, times.measure_ns.1].into_iter().chain(begins) {
            if boundary_ns > now_ns {
                until_ns = until_ns.min(boundary_ns);
            }
        }
        if !load_over {
            let due = self.producers.iter().filter(|producer| producer.has_room());
            until_ns = due.filter_map(|producer| producer.pace.due_ns()).fold(until_ns, u64::min);
        }
        until_ns.saturating_sub(now_ns)
    }

    fn wait(&mut self, epoll: &OwnedFd, events: &mut Vec<Event>, wait_ns: u64) -> Result<()> {
        let before_ns = self.producer_books.clock.now_ns();
        let timeout =
            Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as i64 };
        match epoll::wait(epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        self.asleep_ns += self.producer_books.clock.now_ns() - before_ns;
        Ok(())
    }

    /// Adds to the counters of the progress line what is new.
    fn report(&mut self, shared: &Shared) {
        let total = &self.producer_books.total;
        let now = (total.records, total.batch_bytes, self.records_read());
        let before = std::mem::replace(&mut self.reported, now);
        if now != before {
            shared.acked.fetch_add(now.0 - before.0, Ordering::Relaxed);
            shared.acked_bytes.fetch_add(now.1 - before.1, Ordering::Relaxed);
            shared.read.fetch_add(now.2 - before.2, Ordering::Relaxed);
        }
    }
}

/// Takes what the thread used at the start and at the end of the measurement.
#[derive(Default)]
struct Measure {
    start: Option<ThreadUse>,
    ended: bool,
}

impl Measure {
    fn at(&mut self, now_ns: u64, times: Times, worker: &mut Worker<'_>) {
        let (from_ns, to_ns) = times.measure_ns;
        if self.ended || now_ns < from_ns || (self.start.is_some() && now_ns < to_ns) {
            return;
        }
        let now = ThreadUse { cpu: cpu::thread_cpu(), asleep_ns: worker.asleep_ns };
        match self.start {
            None => self.start = Some(now),
            Some(start) => {
                self.ended = true;
                worker.used =
                    ThreadUse { cpu: now.cpu - start.cpu, asleep_ns: now.asleep_ns - start.asleep_ns };
            }
        }
    }
}
