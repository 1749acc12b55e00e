//! A broker to measure the load generator with, and to lie to its checker.
//!
//! [`Keep::Nothing`] answers Produce with success and the offset that a log would have: as little as a
//! broker can do, one thread, large reads, one write for all answers to what was read. With
//! [`Keep::Batches`] it serves from memory what was produced, and can be told to make one mistake: the
//! negative control of the checks, over real sockets.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::BytesMut;
use keylane_engine::bytes_at::i32_be;
use keylane_engine::record_batch::{HEADER_BYTES, seal};
use keylane_kafka::frame::write_response;
use keylane_kafka::hot::produce::{ProduceRequest, ProduceResponseWriter};
use keylane_kafka::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use keylane_kafka::messages::create_topics::{CreateTopicsResponse, CreatedTopic};
use keylane_kafka::messages::fetch::{FetchRequest, FetchResponse, FetchedPartition, FetchedTopic};
use keylane_kafka::messages::list_offsets::{
    EARLIEST, ListOffsetsRequest, ListOffsetsResponse, ListedPartition, ListedTopic,
};
use keylane_kafka::messages::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use keylane_kafka::messages::produce::ProducedPartition;
use keylane_kafka::{ApiKey, Message, Reader, Request, RequestHeader, ResponseHeader, Writer};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

use crate::batch::{STAMP_MAGIC, STAMP_SEQ_AT};
use crate::client::{Flow, Inbox};
use crate::units::parse_duration;

const LISTENER: u64 = u64::MAX;

/// Standing still for a while, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    pub lasts: Duration,
    pub every: Duration,
}

impl std::str::FromStr for Stall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (lasts, every) = text.split_once('@').ok_or_else(|| format!("{text}: such as 200ms@2s"))?;
        Ok(Self { lasts: parse_duration(lasts)?, every: parse_duration(every)? })
    }
}

impl Stall {
    /// Sleeps through the stall if there is one now.
    fn stand_still(self, since: Instant) {
        let every = self.every.as_nanos().max(1);
        let into = since.elapsed().as_nanos() % every;
        // It comes at the end of each stretch, so that none is cut by the start.
        let begins = every.saturating_sub(self.lasts.as_nanos());
        if into >= begins {
            std::thread::sleep(Duration::from_nanos((every - into) as u64));
        }
    }
}

/// What becomes of what is produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// Kept in memory; the mistake is made with the given batch, counted from 0.
    Batches(Option<(Lie, u64)>),
}

/// A mistake that a broker must not make. The batch is acked in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    Lose,
    Repeat,
    /// Stored behind the next one of its partition.
    Swap,
    /// Stored in the next partition.
    Move,
    /// An offset before it is left out.
    SkipOffset,
    /// A bit of it is flipped.
    Garble,
    /// Served with another sequence the second time.
    TwoFaces,
    /// The answer to the so-many-th fetch that gets something begins behind what was asked for.
    SkipPoll,
    /// That answer begins before it.
    RepeatPoll,
    /// With it, the last batches of each partition are gone, and all connections are closed: what a crash does
    /// that comes before the flush.
    Forget,
}

/// Batches of each partition that [`Lie::Forget`] takes.
const FORGOTTEN: usize = 5;

#[derive(Debug, Default)]
struct Partition {
    next_offset: i64,
    /// Next offset after each batch, and its bytes.
    batches: Vec<(i64, Vec<u8>)>,
    /// A batch, and what is served in its place the second time.
    two_faced: Option<(usize, Vec<u8>)>,
    served: bool,
    /// Batch that waits to be stored behind the next one.
    held: Option<Vec<u8>>,
}

impl Partition {
    fn append(&mut self, mut batch: Vec<u8>, count: i32) {
        batch[..8].copy_from_slice(&self.next_offset.to_be_bytes());
        self.next_offset += i64::from(count);
        self.batches.push((self.next_offset, batch));
    }
}

/// All partitions of the one topic.
struct Log {
    keep: Keep,
    partitions: Vec<Partition>,
    produced: u64,
    /// Fetches that got something.
    fetched: u64,
    /// All connections are to be closed.
    hang_up: bool,
}

impl Log {
    /// Stores a batch, or not, and returns its first offset.
    fn produce(&mut self, partition: i32, records: &[u8]) -> Option<i64> {
        let count = i32_be(records, HEADER_BYTES - 4)?;
        let index = usize::try_from(partition).ok()?;
        let known = self.partitions.get_mut(index)?;
        let base = known.next_offset;
        match self.keep {
            Keep::Nothing => known.next_offset += i64::from(count),
            Keep::Batches(lie) => {
                let lie = lie.filter(|(_, nth)| *nth == self.produced).map(|(lie, _)| lie);
                self.store(index, records.to_vec(), count, lie);
            }
        }
        self.produced += 1;
        Some(base)
    }

    fn store(&mut self, index: usize, mut batch: Vec<u8>, count: i32, lie: Option<Lie>) {
        let partitions = self.partitions.len();
        let partition = &mut self.partitions[index];
        match lie {
            Some(Lie::Lose) => return,
            Some(Lie::Swap) => return partition.held = Some(batch),
            Some(Lie::Move) => return self.partitions[(index + 1) % partitions].append(batch, count),
            Some(Lie::Repeat) => partition.append(batch.clone(), count),
            Some(Lie::SkipOffset) => partition.next_offset += 1,
            Some(Lie::Garble) => batch.iter_mut().nth_back(1).into_iter().for_each(|byte| *byte ^= 1),
            Some(Lie::TwoFaces) => {
                partition.two_faced = with_another_sequence(&batch, partition.next_offset)
                    .map(|other| (partition.batches.len(), other));
            }
            Some(Lie::Forget) => return self.forget(),
            Some(Lie::SkipPoll | Lie::RepeatPoll) | None => {}
        }
        partition.append(batch, count);
        if let Some(held) = partition.held.take() {
            partition.append(held, count);
        }
    }

    fn forget(&mut self) {
        self.hang_up = true;
        for partition in &mut self.partitions {
            let left = partition.batches.len().saturating_sub(FORGOTTEN);
            partition.batches.truncate(left);
            partition.next_offset = partition.batches.last().map_or(0, |(next, _)| *next);
        }
    }

    /// Batches of a partition from an offset on, up to about `limit` bytes.
    fn read(&mut self, index: usize, offset: i64, limit: usize) -> Vec<u8> {
        let partition = &mut self.partitions[index];
        let mut first = partition.batches.partition_point(|(next, _)| *next <= offset);
        if first < partition.batches.len() {
            self.fetched += 1;
            match self.keep {
                Keep::Batches(Some((lie, nth))) if nth == self.fetched => match lie {
                    Lie::SkipPoll if first + 1 < partition.batches.len() => first += 1,
                    // Not yet possible: with the next one.
                    Lie::SkipPoll => self.fetched -= 1,
                    Lie::RepeatPoll if first > 0 => first -= 1,
                    Lie::RepeatPoll => self.fetched -= 1,
                    _ => {}
                },
                _ => {}
            }
        }
        let mut out = Vec::new();
        for (at, (_, batch)) in (first..).zip(&partition.batches[first..]) {
            if out.len() + batch.len() > limit && !out.is_empty() {
                break;
            }
            match &partition.two_faced {
                Some((two_faced, other)) if *two_faced == at => {
                    let again = std::mem::replace(&mut partition.served, true);
                    out.extend_from_slice(if again { other } else { batch });
                }
                _ => out.extend_from_slice(batch),
            }
        }
        out
    }
}

/// The same batch at `base`, the first of its records with a later sequence, and the CRC right.
fn with_another_sequence(batch: &[u8], base: i64) -> Option<Vec<u8>> {
    let at = batch.windows(STAMP_MAGIC.len()).position(|window| window == STAMP_MAGIC)? + STAMP_SEQ_AT;
    let mut other = batch.to_vec();
    let seq = u64::from_le_bytes(*other.get(at..)?.first_chunk()?);
    other[at..at + 8].copy_from_slice(&(seq + 1_000).to_le_bytes());
    seal(&mut other);
    other[..8].copy_from_slice(&base.to_be_bytes());
    Some(other)
}

struct Peer {
    stream: TcpStream,
    inbox: Inbox,
    answers: BytesMut,
    written: usize,
}

/// The versions it offers: as much as the client side needs.
const OFFERED: [(ApiKey, RangeInclusive<i16>); 6] = [
    (ApiKey::Produce, 3..=11),
    (ApiKey::Fetch, 4..=12),
    (ApiKey::ListOffsets, 1..=5),
    (ApiKey::Metadata, 1..=8),
    (ApiKey::ApiVersions, 0..=0),
    (ApiKey::CreateTopics, 2..=4),
];

/// Serves `listener` until `duration` has passed.
pub fn serve(listener: &TcpListener, partitions: i32, keep: Keep, duration: Duration) -> Result<()> {
    serve_stalling(listener, partitions, keep, duration, None)
}

/// Serves, and stands still now and then.
pub fn serve_stalling(
    listener: &TcpListener,
    partitions: i32,
    keep: Keep,
    duration: Duration,
    stall: Option<Stall>,
) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN).context("epoll")?;
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let partitions = (0..partitions).map(|_| Partition::default()).collect();
    let mut log = Log { keep, partitions, produced: 0, fetched: 0, hang_up: false };
    let mut events = Vec::with_capacity(256);
    let start = Instant::now();
    let deadline = start + duration;
    while Instant::now() < deadline {
        if let Some(stall) = stall {
            stall.stand_still(start);
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: if stall.is_some() { 1_000_000 } else { 100_000_000 } };
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                accept(listener, &epoll, &mut peers)?;
            } else if let Some(slot) = peers.get_mut(event.data.u64() as usize)
                && slot.as_mut().is_some_and(|peer| !peer.on_ready(&mut log))
            {
                *slot = None;
            }
        }
        if std::mem::take(&mut log.hang_up) {
            peers.iter_mut().for_each(|peer| *peer = None);
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, epoll: &OwnedFd, peers: &mut Vec<Option<Peer>>) -> io::Result<()> {
    let (stream, _) = match listener.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        accepted => accepted?,
    };
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(epoll, stream.as_fd(), EventData::new_u64(peers.len() as u64), flags)?;
    peers.push(Some(Peer { stream, inbox: Inbox::new(512 << 10), answers: BytesMut::new(), written: 0 }));
    Ok(())
}

impl Peer {
    /// False when the peer is gone.
    fn on_ready(&mut self, log: &mut Log) -> bool {
        let mut flow = Flow::More;
        while flow == Flow::More {
            flow = self.inbox.fill(&self.stream);
            loop {
                match self.inbox.next_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if answer(frame, &mut self.answers, log).is_none() {
                            return false;
                        }
                    }
                    Err(_) => return false,
                }
            }
            if !self.flush() {
                return false;
            }
        }
        flow != Flow::Closed
    }

    fn flush(&mut self) -> bool {
        while self.written < self.answers.len() {
            match (&self.stream).write(&self.answers[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        self.answers.clear();
        self.written = 0;
        true
    }
}

/// Answers a request; `None`: it makes no sense, and the connection ends.
fn answer(frame: &[u8], out: &mut BytesMut, log: &mut Log) -> Option<()> {
    let mut r = Reader::new(frame);
    let header = RequestHeader::decode(&mut r).ok()?;
    let version = header.version;
    if header.api == ApiKey::Produce {
        return answer_produce(&mut r, out, header.response(), log);
    }
    let request = Request::decode(header.api, version, &mut r).ok()?;
    let whole = |w: &mut Writer<'_>| match request {
        Request::ApiVersions(_) => api_versions().encode(version, w),
        Request::Metadata(request) => metadata(&request, log.partitions.len()).encode(version, w),
        Request::CreateTopics(request) => {
            let name = request.topics.first().map_or("", |topic| topic.name).into();
            let topics = vec![CreatedTopic { name, ..Default::default() }];
            CreateTopicsResponse { topics, ..Default::default() }.encode(version, w);
        }
        Request::ListOffsets(request) => offsets(&request, log).encode(version, w),
        Request::Fetch(request) => fetch(&request, log, |response| response.encode(version, w)),
        _ => {}
    };
    write_response(out, header.response(), whole).ok()
}

fn answer_produce(
    r: &mut Reader<'_>,
    out: &mut BytesMut,
    header: ResponseHeader,
    log: &mut Log,
) -> Option<()> {
    let request = ProduceRequest::decode(header.version, r).ok()?;
    let asked = request.single_partition()?;
    let base_offset = log.produce(asked.index, asked.records)?;
    if request.outline.acks == 0 {
        return Some(());
    }
    let mut writer = ProduceResponseWriter::begin(out, header, 1);
    writer.topic(asked.topic, 1);
    let outcome = ProducedPartition { index: asked.index, base_offset, ..Default::default() };
    writer.partition(&ProducedPartition { log_start_offset: 0, ..outcome });
    writer.finish(0).ok()
}

fn api_versions() -> ApiVersionsResponse<'static> {
    let offered = OFFERED.iter().map(|(api, versions)| ApiVersion {
        api_key: api.code(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    });
    ApiVersionsResponse { apis: offered.collect(), ..Default::default() }
}

fn metadata<'a>(request: &MetadataRequest<'a>, partitions: usize) -> MetadataResponse<'a> {
    let topic = request.topics.iter().flatten().next();
    let partition = |index: usize| MetadataPartition {
        index: index as i32,
        leader_id: 0,
        leader_epoch: 0,
        ..Default::default()
    };
    MetadataResponse {
        brokers: vec![MetadataBroker { node_id: 0, host: "localhost".into(), ..Default::default() }],
        controller_id: 0,
        topics: vec![MetadataTopic {
            name: topic.and_then(|topic| topic.name).map(Into::into),
            partitions: (0..partitions).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn offsets(request: &ListOffsetsRequest<'_>, log: &Log) -> ListOffsetsResponse<'static> {
    let asked = request.topics.iter().flat_map(|topic| &topic.partitions).next();
    let earliest = asked.is_some_and(|asked| asked.timestamp == EARLIEST);
    let listed = |(index, partition): (i32, &Partition)| ListedPartition {
        index,
        offset: if earliest { 0 } else { partition.next_offset },
        leader_epoch: 0,
        ..Default::default()
    };
    let partitions = (0..).zip(&log.partitions).map(listed).collect();
    ListOffsetsResponse { topics: vec![ListedTopic { name: "".into(), partitions }], ..Default::default() }
}

/// Hands the answer to a Fetch to `send`. Partitions that are not there are left out of it.
fn fetch(request: &FetchRequest<'_>, log: &mut Log, send: impl FnOnce(&FetchResponse<'_>)) {
    let Some(topic) = request.topics.first() else { return send(&FetchResponse::default()) };
    let mut read = Vec::with_capacity(topic.partitions.len());
    for asked in &topic.partitions {
        let place = usize::try_from(asked.index).unwrap_or(usize::MAX);
        if let Some(end) = log.partitions.get(place).map(|partition| partition.next_offset) {
            let limit = usize::try_from(asked.max_bytes).unwrap_or(0);
            read.push((asked.index, end, log.read(place, asked.fetch_offset, limit)));
        }
    }
    let partitions = read.iter().map(|(index, end, records)| FetchedPartition {
        index: *index,
        high_watermark: *end,
        last_stable_offset: *end,
        log_start_offset: 0,
        records: Some(records),
        ..Default::default()
    });
    let topics = vec![FetchedTopic { topic: topic.topic, partitions: partitions.collect() }];
    send(&FetchResponse { topics, ..Default::default() });
}
