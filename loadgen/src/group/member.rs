//! A member of a group, on a thread of its own: it reads on where the group has committed, commits what it has read, and
//! takes on and gives up partitions as its `Seat` says.
//!
//! Promises: what it reads follows without a hole on what it had read, or on what the group had committed, else it says
//! so; it commits only what it has read (unless it is spoiled to do otherwise); while its processing takes its time its
//! heart beats, as a consumer's does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::fetch::FetchedPartition;

use super::books::Books;
use super::classic::Classic;
use super::consumer::Consumer;
use super::history::{Commit, Kind, Span};
use super::seat::{Meaning, Seat, Turn};
use super::spec::{Protocol, Spec};
use super::wire::{Fault, Link};
use crate::batch::BatchView;

/// A coordinator is loading, not there yet, or elsewhere until it is.
const NOT_READY: [ErrorCode; 3] =
    [ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator];
const RETRY: Duration = Duration::from_millis(20);

const RUN: u8 = 0;
const LEAVE: u8 = 1;
const DIE: u8 = 2;

/// What a member is told from outside.
#[derive(Debug, Default)]
struct Orders {
    what: AtomicU8,
    /// How long it works on each record, in nanoseconds.
    work_ns: AtomicU64,
}

/// A member that runs.
pub struct Running {
    pub number: usize,
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
}

impl Running {
    pub fn start(spec: &Arc<Spec>, books: &Arc<Books>, number: usize) -> std::io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let seat: Box<dyn Seat> = match spec.protocol {
            Protocol::Classic(strategy) => Box::new(Classic::new(spec, strategy)),
            Protocol::Consumer => Box::new(Consumer::new(spec)),
        };
        let mut member = Member {
            spec: Arc::clone(spec),
            books: Arc::clone(books),
            orders: Arc::clone(&orders),
            number,
            seat,
            told: None,
            data: None,
            positions: BTreeMap::new(),
            committed: BTreeMap::new(),
            turns: 0,
            committed_at: Instant::now(),
            joins_since: None,
        };
        let name = format!("member-{number}");
        let thread = std::thread::Builder::new().name(name).spawn(move || member.run())?;
        Ok(Self { number, orders, thread })
    }

    /// From now on it works so long on each record.
    pub fn works(&self, on_each: Duration) {
        self.orders.work_ns.store(on_each.as_nanos() as u64, Ordering::Relaxed);
    }

    fn end(self, order: u8) -> Result<()> {
        self.orders.what.store(order, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a member panicked"))
    }

    /// It commits what it has read and leaves the group.
    pub fn leave(self) -> Result<()> {
        self.end(LEAVE)
    }

    /// It ends where it is: its connections close, and nobody is told.
    pub fn kill(self) -> Result<()> {
        self.end(DIE)
    }

    /// Has several leave at the same time.
    pub fn leave_all(members: Vec<Self>) -> Result<()> {
        members.iter().for_each(|member| member.orders.what.store(LEAVE, Ordering::Relaxed));
        members.into_iter().try_for_each(Self::leave)
    }
}

struct Member {
    spec: Arc<Spec>,
    books: Arc<Books>,
    orders: Arc<Orders>,
    number: usize,
    seat: Box<dyn Seat>,
    /// The partitions that it is to have, as long as it does not.
    told: Option<Vec<i32>>,
    /// Fetches and commits; the seat has a connection of its own.
    data: Option<Link>,
    /// The offset to read next of each partition that it has.
    positions: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
    /// How often it has fetched.
    turns: usize,
    committed_at: Instant,
    /// When it began to want to join.
    joins_since: Option<Instant>,
}

impl Member {
    fn run(&mut self) {
        while self.orders.what.load(Ordering::Relaxed) == RUN {
            if let Err(fault) = self.step() {
                self.stumble(&fault);
            }
        }
        if self.orders.what.load(Ordering::Relaxed) == LEAVE {
            // One that cannot say so is missed when its session ends.
            let _gone = self.leave();
        }
        self.books.shares().remove(&self.number);
        self.books.hindered().remove(&self.number);
    }

    /// Does what a refusal says; after anything else the connections are made anew.
    fn stumble(&mut self, fault: &Fault) {
        self.books.hindered().insert(self.number, in_full(fault));
        let meaning = match fault {
            Fault::Refused(code) => self.seat.refused(*code),
            Fault::Broken(_) => Meaning::Unknown,
        };
        match (meaning, fault) {
            (Meaning::Known, _) => {}
            (Meaning::Out, _) => {
                self.told = None;
                self.give_up(|_| false);
                self.show();
            }
            (Meaning::Unknown, Fault::Refused(code)) if NOT_READY.contains(code) => std::thread::sleep(RETRY),
            (Meaning::Unknown, other) => {
                if !self.spec.restarts {
                    let text = format!("member {}: {}", self.number, in_full(other));
                    self.books.history().troubles.push(text);
                }
                self.data = None;
                self.seat.disconnect();
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Drops the partitions that are not to be kept.
    fn give_up(&mut self, keep: impl Fn(i32) -> bool) {
        let had = self.positions.len();
        self.positions.retain(|partition, _| keep(*partition));
        let gone = (had - self.positions.len()) as u64;
        self.books.gave_up(gone);
    }

    fn show(&self) {
        self.books.shares().insert(self.number, self.positions.keys().copied().collect());
    }

    fn step(&mut self) -> Result<(), Fault> {
        if self.data.is_none() {
            self.data = Some(Link::to_coordinator(self.spec.address, &self.spec.group)?);
        }
        if !self.seat.is_in() {
            self.joins_since.get_or_insert_with(Instant::now);
        }
        if self.told.is_none() {
            match self.seat.turn(&self.owned())? {
                Turn::Wait if self.positions.is_empty() => {}
                // In a cooperative group it goes on meanwhile with what it owns.
                Turn::Wait => self.read()?,
                Turn::Stay => {
                    self.read()?;
                    self.commit(false)?;
                }
                Turn::GiveUp => self.keep(|_| false)?,
                Turn::Have(partitions) => self.told = Some(partitions),
            }
        }
        match self.told.clone() {
            Some(partitions) => self.have(&partitions),
            None => Ok(()),
        }
    }

    fn owned(&self) -> Vec<i32> {
        self.positions.keys().copied().collect()
    }

    fn link(&mut self) -> Result<&mut Link, Fault> {
        let closed = || keylane_kafka::client::ClientError::Length(-1);
        self.data.as_mut().ok_or_else(|| Fault::Broken(closed()))
    }

    /// Commits, and drops the partitions that are not to be kept.
    fn keep(&mut self, keep: impl Fn(i32) -> bool) -> Result<(), Fault> {
        // Whoever gets them next goes on from here. A refusal is no matter: then they are read again.
        match self.commit(true) {
            Ok(()) | Err(Fault::Refused(_)) => self.give_up(keep),
            Err(broken) => return Err(broken),
        }
        self.show();
        Ok(())
    }

    /// Has these partitions from now on.
    fn have(&mut self, partitions: &[i32]) -> Result<(), Fault> {
        if self.positions.keys().any(|owned| !partitions.contains(owned)) {
            self.keep(|owned| partitions.contains(&owned))?;
        }
        let new = partitions.iter().filter(|partition| !self.positions.contains_key(partition));
        self.begin(&new.copied().collect::<Vec<_>>())?;
        self.told = None;
        self.show();
        if let Some(since) = self.joins_since.take() {
            self.books.history().rebalances_ms.push(since.elapsed().as_secs_f64() * 1e3);
            self.books.hindered().remove(&self.number);
        }
        Ok(())
    }

    /// Reads on where the group has committed.
    fn begin(&mut self, partitions: &[i32]) -> Result<(), Fault> {
        if partitions.is_empty() {
            return Ok(());
        }
        // What was answered before the question must be in the answer.
        let floor = self.books.history().floor.clone();
        let (group, topic) = (self.spec.group.clone(), self.spec.topic.clone());
        for (partition, offset) in self.link()?.committed(&group, &topic, partitions)? {
            let least = floor.get(&partition).copied().unwrap_or(-1);
            if offset < least {
                let text =
                    format!("partition {partition}: the group is said to be at {offset}, after {least}");
                self.books.history().find(Kind::Back, text);
            }
            let begin = self.spec.begin.get(partition as usize).copied().unwrap_or(0);
            self.positions.insert(partition, if offset < 0 { begin } else { offset });
            self.committed.insert(partition, offset);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Fault> {
        let mut positions: Vec<(i32, i64)> = self.positions.iter().map(|(p, at)| (*p, *at)).collect();
        if positions.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
            return Ok(());
        }
        // Each partition comes first in its turn.
        self.turns = self.turns.wrapping_add(1);
        let first = self.number.wrapping_add(self.turns) % positions.len();
        positions.rotate_left(first);
        let (topic, limits) = (self.spec.topic.clone(), self.spec.limits);
        let mut read = Vec::new();
        let mut refused = None;
        let mut at = self.positions.clone();
        let books = Arc::clone(&self.books);
        self.link()?.fetch(&topic, positions, limits, |fetched| {
            if !fetched.error.is_none() {
                refused = Some(fetched.error);
            } else if let Some(position) = at.get_mut(&fetched.index) {
                let from = *position;
                follow(fetched, position, &books);
                read.extend((*position > from).then_some((fetched.index, from, *position)));
            }
        })?;
        if self.spec.ahead > 0 && !read.is_empty() {
            let offsets: Vec<_> = read.iter().map(|(partition, _, to)| (*partition, *to)).collect();
            self.send(&offsets)?;
            std::thread::sleep(Duration::from_millis(self.spec.ahead));
            if self.orders.what.load(Ordering::Relaxed) == DIE {
                return Ok(());
            }
        }
        self.positions = at;
        let (generation, member) = (self.seat.identity().generation, self.number);
        for (partition, from, to) in &read {
            let span = Span { generation, member, partition: *partition, from: *from, to: *to };
            self.books.history().read(span);
        }
        self.work(read.iter().map(|(_, from, to)| to - from).sum());
        refused.map_or(Ok(()), |code| Err(Fault::Refused(code)))
    }

    /// Takes its time over records; its heart beats meanwhile, and what the beats are answered is for later.
    fn work(&mut self, records: i64) {
        let work = self.orders.work_ns.load(Ordering::Relaxed).saturating_mul(records as u64);
        let end = Instant::now() + Duration::from_nanos(work);
        while self.orders.what.load(Ordering::Relaxed) == RUN {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(self.spec.heartbeat / 2));
            let _later = self.seat.beat(&self.owned());
        }
    }

    /// Commits what was read since the last time, if that is long ago or `now`.
    fn commit(&mut self, now: bool) -> Result<(), Fault> {
        let due = now || self.committed_at.elapsed() >= self.spec.commit_every;
        // One that is killed commits nothing more.
        if !due || self.orders.what.load(Ordering::Relaxed) == DIE {
            return Ok(());
        }
        let new: Vec<(i32, i64)> = self
            .positions
            .iter()
            .filter(|(partition, at)| self.committed.get(partition) != Some(at))
            .map(|(partition, at)| (*partition, *at))
            .collect();
        self.committed_at = Instant::now();
        if new.is_empty() {
            return Ok(());
        }
        self.send(&new)?;
        self.committed.extend(new);
        Ok(())
    }

    /// Commits these offsets.
    fn send(&mut self, offsets: &[(i32, i64)]) -> Result<(), Fault> {
        let (identity, topic) = (self.seat.identity().clone(), self.spec.topic.clone());
        let version = self.seat.commit_version();
        self.link()?.commit(version, &identity, &topic, offsets)?;
        let (generation, member) = (identity.generation, self.number);
        let mut history = self.books.history();
        for &(partition, offset) in offsets {
            history.committed(Commit { generation, member, partition, offset });
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Fault> {
        self.seat.arrive()?;
        // What cannot be committed is read again.
        let _refused = self.commit(true);
        self.seat.leave()
    }
}

/// A fault and what caused it.
fn in_full(fault: &Fault) -> String {
    let causes = std::iter::successors(std::error::Error::source(fault), |cause| cause.source());
    causes.fold(fault.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Moves a position over the batches that were fetched, which must follow each other and the position.
fn follow(fetched: &FetchedPartition<'_>, position: &mut i64, books: &Books) {
    let mut rest = fetched.records.unwrap_or_default();
    while let Some(batch) = BatchView::split_first(&mut rest) {
        let Ok(batch) = batch else {
            books.history().troubles.push(format!("partition {}: a batch that is none", fetched.index));
            return;
        };
        if batch.base_offset > *position {
            let (partition, at, next) = (fetched.index, *position, batch.base_offset);
            let text = format!("partition {partition}: {next} came after {at} was asked for");
            books.history().find(Kind::Skipped, text);
        }
        *position = batch.next_offset().max(*position);
    }
}
