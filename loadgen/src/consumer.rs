//! One consumer connection: fetches its partitions one answer at a time and feeds the checker.
//!
//! Promises: every batch that arrives is checked before the next request is sent; the next offset asked
//! for is always the one after the last record read.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use keylane_kafka::hot::answers::read_fetched;
use keylane_kafka::messages::fetch::FetchedPartition;

use crate::batch::{BatchView, Stamp};
use crate::checker::Checker;
use crate::client::{Flow, Inbox};
use crate::fetch_shape::{FetchLimits, FetchPlanner, FetchShape};
use crate::histogram::Latencies;
use crate::keys::KeyNames;
use crate::pacing::Clock;
use crate::protocol::{encode_fetch, fetch_request};

/// What readers ask for at once.
pub const LIMITS: FetchLimits =
    FetchLimits { max_wait_ms: 100, max_bytes: 4 << 20, partition_max_bytes: 1 << 20 };
/// What readers ask for who have much to read while producers of the same thread are measured: an answer is
/// checked in one go, and meanwhile the thread does not see what else arrives.
pub const LIMITS_BESIDE_LOAD: FetchLimits = FetchLimits { max_bytes: 1 << 20, ..LIMITS };
/// After an error the broker is left alone for a while.
const ERROR_PAUSE_NS: u64 = 20_000_000;

/// What the consumers of a thread share.
pub struct ConsumerBooks<'a> {
    pub clock: Clock,
    pub names: &'a KeyNames,
    pub checker: Checker,
    /// Nothing is read before, unless the load is over.
    pub begin_ns: u64,
    /// What is asked for at once, and as which client; `None`: the load generator's own way.
    pub limits: FetchLimits,
    pub shape: Option<FetchShape>,
    pub verify_crc: bool,
    /// End-to-end latencies count for records sent between these times; `None`: none do.
    pub measure_ns: Option<(u64, u64)>,
    pub latencies: Latencies,
    /// Bytes of records between the times of the measurement, and of all.
    pub measured_records: u64,
    pub batch_bytes: u64,
    /// Batches that end above the high watermark of their answer. No fault: a broker may read the
    /// watermark before the records, and Apache Kafka does.
    pub batches_above_watermark: u64,
    pub errors: BTreeMap<i16, u64>,
    pub disconnects: u64,
    /// When records last arrived.
    pub progress_ns: u64,
    pub catching_up: CatchingUp,
}

/// The way to the end as it was when it was reached: how long it took, over how many bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct CatchingUp {
    /// When the first request left.
    pub begun_ns: Option<u64>,
    /// Partitions whose high watermark was not reached yet.
    pub behind: usize,
    /// When the last one was reached.
    pub ended_ns: u64,
    pub batch_bytes: u64,
}

impl CatchingUp {
    /// Adds what another connection or thread of the same reader did.
    pub fn add(&mut self, other: &Self) {
        self.begun_ns = [self.begun_ns, other.begun_ns].into_iter().flatten().min();
        self.behind += other.behind;
        self.ended_ns = self.ended_ns.max(other.ended_ns);
        self.batch_bytes += other.batch_bytes;
    }

    /// From the first request to the last high watermark; `None` if one was not reached.
    pub fn seconds(&self) -> Option<f64> {
        let begun_ns = self.begun_ns.filter(|_| self.behind == 0)?;
        Some(self.ended_ns.saturating_sub(begun_ns) as f64 / 1e9)
    }
}

#[derive(Debug, Clone, Copy)]
struct Position {
    partition: i32,
    next: i64,
    /// Where reading ends; known only after the load.
    end: Option<i64>,
    /// The high watermark was reached once.
    caught_up: bool,
}

impl Position {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

pub struct Consumer {
    stream: TcpStream,
    inbox: Inbox,
    version: i16,
    topic: String,
    positions: Vec<Position>,
    /// Index into `positions` by partition.
    by_partition: Vec<usize>,
    planner: FetchPlanner,
    request: BytesMut,
    request_sent: usize,
    waiting: bool,
    correlation: i32,
    not_before_ns: u64,
    alive: bool,
    /// Which of the thread's books are its own.
    pub group: usize,
}

impl Consumer {
    pub fn new(
        stream: TcpStream,
        version: i16,
        topic: &str,
        from: &[(i32, i64)],
        books: &mut ConsumerBooks<'_>,
    ) -> Self {
        let partitions = from.iter().map(|&(partition, _)| partition as usize + 1).max().unwrap_or(0);
        let mut by_partition = vec![usize::MAX; partitions];
        for (index, &(partition, offset)) in from.iter().enumerate() {
            by_partition[partition as usize] = index;
            books.checker.begin_partition(partition, offset);
        }
        books.catching_up.behind += from.len();
        let positions =
            from.iter().map(|&(partition, next)| Position { partition, next, end: None, caught_up: false });
        Self {
            stream,
            inbox: Inbox::new(1 << 20),
            version,
            topic: topic.to_owned(),
            positions: positions.collect(),
            by_partition,
            planner: FetchPlanner::new(books.shape, topic),
            request: BytesMut::new(),
            request_sent: 0,
            waiting: false,
            correlation: 0,
            not_before_ns: 0,
            alive: true,
            group: 0,
        }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Reading ends at these offsets, by partition.
    pub fn set_ends(&mut self, ends: &[i64]) {
        for position in &mut self.positions {
            position.end = ends.get(position.partition as usize).copied();
        }
    }

    pub fn is_done(&self) -> bool {
        self.positions.iter().all(Position::is_done)
    }

    /// Sends the next fetch if none is under way.
    pub fn pump(&mut self, books: &mut ConsumerBooks<'_>, now_ns: u64) {
        if !self.alive || self.is_done() {
            return;
        }
        if !self.waiting && now_ns >= self.not_before_ns {
            books.catching_up.begun_ns.get_or_insert(now_ns);
            self.encode(books.limits);
        }
        while self.request_sent < self.request.len() {
            match (&self.stream).write(&self.request[self.request_sent..]) {
                Ok(written) => self.request_sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.close(books),
            }
        }
    }

    fn encode(&mut self, limits: FetchLimits) {
        let wanted = self.positions.iter().filter(|p| !p.is_done()).map(|p| (p.partition, p.next)).collect();
        let plan = self.planner.plan(wanted);
        self.correlation = self.correlation.wrapping_add(1);
        self.request_sent = 0;
        let request = fetch_request(&self.topic, limits, &plan);
        encode_fetch(&mut self.request, self.correlation, self.version, &request);
        self.waiting = true;
    }

    /// Reads what arrived; a whole answer is checked and the next fetch leaves.
    pub fn on_ready(&mut self, books: &mut ConsumerBooks<'_>) {
        let mut flow = Flow::More;
        while self.alive && flow == Flow::More {
            flow = self.inbox.fill(&self.stream);
            if self.take_answers(books).is_err() {
                flow = Flow::Closed;
            }
        }
        if flow == Flow::Closed {
            self.close(books);
        }
        self.pump(books, books.clock.now_ns());
    }

    fn take_answers(&mut self, books: &mut ConsumerBooks<'_>) -> Result<(), ()> {
        loop {
            let frame = match self.inbox.next_frame() {
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => frame,
                Err(_) => return Err(()),
            };
            let id = frame.first_chunk::<4>().ok_or(())?;
            if !self.waiting || i32::from_be_bytes(*id) != self.correlation {
                return Err(());
            }
            self.waiting = false;
            let now_ns = books.clock.now_ns();
            let mut any_error = false;
            let mut any_records = false;
            let (positions, by_partition) = (&mut self.positions, &self.by_partition);
            let answer = read_fetched(self.version, frame, |_, fetched| {
                any_records |= fetched.records.is_some_and(|records| !records.is_empty());
                let index = usize::try_from(fetched.index).ok().and_then(|p| by_partition.get(p));
                match index.and_then(|index| positions.get_mut(*index)) {
                    None => books.checker.corrupt(fetched.index, -1, "a partition that was not asked for"),
                    Some(_) if !fetched.error.is_none() => {
                        *books.errors.entry(fetched.error.code()).or_default() += 1;
                        any_error = true;
                    }
                    Some(position) => take_partition(position, fetched, books, now_ns),
                }
            });
            let (_, error, session_id) = answer.map_err(|_| ())?;
            self.planner.answered(error, session_id, any_records);
            if !error.is_none() {
                *books.errors.entry(error.code()).or_default() += 1;
            }
            if !error.is_none() || any_error {
                self.not_before_ns = now_ns + ERROR_PAUSE_NS;
            }
        }
    }

    /// Goes on where it was, over a new connection.
    pub fn resume(&mut self, stream: TcpStream) {
        self.stream = stream;
        self.inbox = Inbox::new(1 << 20);
        self.request.clear();
        self.request_sent = 0;
        self.planner.reconnected();
        self.waiting = false;
        self.alive = true;
    }

    /// Tells whether it ended before all was read.
    pub fn close(&mut self, books: &mut ConsumerBooks<'_>) {
        if self.alive && !self.is_done() {
            books.disconnects += 1;
        }
        self.alive = false;
        // The socket may be gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn take_partition(
    position: &mut Position,
    fetched: FetchedPartition<'_>,
    books: &mut ConsumerBooks<'_>,
    now_ns: u64,
) {
    let partition = position.partition;
    let records = fetched.records.unwrap_or_default();
    let mut rest = records;
    let mut first = true;
    while let Some(batch) = BatchView::split_first(&mut rest) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(_) => return books.checker.corrupt(partition, position.next, "not a batch of format v2"),
        };
        if fetched.high_watermark < batch.next_offset() {
            books.batches_above_watermark += 1;
        }
        let (base, end, count) = (batch.base_offset, batch.next_offset(), batch.records_count);
        if std::mem::take(&mut first) {
            books.checker.poll(partition, position.next, base, end, count);
        } else {
            books.checker.batch(partition, base, end, count);
        }
        position.next = end;
        books.progress_ns = now_ns;
        if books.verify_crc && !batch.crc_matches() {
            books.checker.corrupt(partition, batch.base_offset, "the batch's CRC-32C does not match");
        }
        if !batch.is_control() {
            take_records(partition, &batch, books, now_ns);
        }
    }
    books.batch_bytes += (records.len() - rest.len()) as u64;
    if !position.caught_up && position.next >= fetched.high_watermark {
        position.caught_up = true;
        let catching_up = &mut books.catching_up;
        catching_up.behind -= 1;
        (catching_up.ended_ns, catching_up.batch_bytes) = (now_ns, books.batch_bytes);
    }
}

fn take_records(partition: i32, batch: &BatchView<'_>, books: &mut ConsumerBooks<'_>, now_ns: u64) {
    // The records of a batch were mostly sent together: one entry for all of them.
    let mut together = (0, 0);
    let mut next = batch.base_offset;
    let (checker, names) = (&mut books.checker, books.names);
    let (latencies, measured) = (&mut books.latencies, &mut books.measured_records);
    let (from_ns, to_ns) = books.measure_ns.unwrap_or((u64::MAX, 0));
    let mut count = |(time_ns, records): (u64, u64)| {
        if records > 0 && time_ns >= from_ns && time_ns < to_ns {
            latencies.record(now_ns.saturating_sub(time_ns), records);
            *measured += records;
        }
    };
    let read = batch.for_each(|offset, key, value| {
        if offset != next {
            checker.corrupt(partition, offset, "an offset inside a batch that is not the next one");
        }
        next = offset + 1;
        let Some(stamp) = Stamp::read(value) else {
            return checker.corrupt(partition, offset, "a value that was not written by this program");
        };
        checker.record(partition, offset, stamp.run, stamp.key, stamp.seq);
        if (stamp.key as usize) < names.len() && names.name(stamp.key) != key {
            checker.corrupt(partition, offset, "a value with another record's key");
        }
        if together.0 != stamp.time_ns {
            count(together);
            together = (stamp.time_ns, 0);
        }
        together.1 += 1;
    });
    count(together);
    match read {
        Ok(newest) if batch.states_its_time(newest) => {}
        Ok(_) => books.checker.lying_header(partition, batch.base_offset),
        Err(_) => books.checker.corrupt(partition, next, "records that cannot be read"),
    }
}
