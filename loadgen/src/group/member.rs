//! A member of a group, on a thread of its own: it joins, reads on where the group has committed, commits what it has
//! read, and joins again when it is told to.
//!
//! Promises: what it reads follows without a hole on what it had read, or on what the group had committed, else it says
//! so; it commits only what it has read (unless it is spoiled to do otherwise); while its processing takes its time its
//! heart beats, as a consumer's does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::fetch::FetchedPartition;

use super::assignor::{self, Strategy};
use super::history::{Commit, History, Kind, Span};
use super::wire::{Fault, Identity, Joined, Link, Timeouts};
use crate::batch::BatchView;
use crate::fetch_shape::FetchLimits;

/// A coordinator is loading, not there yet, or elsewhere until it is.
const NOT_READY: [ErrorCode; 3] =
    [ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator];
const RETRY: Duration = Duration::from_millis(20);

/// What all members of a group have in common.
#[derive(Debug, Clone)]
pub struct Spec {
    pub address: SocketAddr,
    pub group: String,
    pub topic: String,
    /// Where a partition is read from if nothing was committed, by partition.
    pub begin: Vec<i64>,
    pub strategy: Strategy,
    pub times: Timeouts,
    pub heartbeat: Duration,
    /// From one commit to the next.
    pub commit_every: Duration,
    /// Spoiled: commits what it has fetched, and reads it so many milliseconds later.
    pub ahead: u64,
    /// The broker may go away: a broken connection is nothing to tell.
    pub restarts: bool,
    /// What a Fetch asks for.
    pub limits: FetchLimits,
}

/// What the members have done, and what each has now.
#[derive(Debug, Default)]
pub struct Books {
    history: Mutex<History>,
    /// Partitions that a member had and gave up.
    given_up: AtomicU64,
    shares: Mutex<BTreeMap<usize, BTreeSet<i32>>>,
    /// What each member that has no part of the group was answered last.
    hindered: Mutex<BTreeMap<usize, String>>,
}

impl Books {
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many partitions members have given up, each time that they did.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// What keeps members out of the group, by member.
    pub fn hindered(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.hindered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions of each member that is in the group.
    pub fn shares(&self) -> MutexGuard<'_, BTreeMap<usize, BTreeSet<i32>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        let identity = Identity { group: spec.group.clone(), generation: -1, ..Identity::default() };
        let mut member = Member {
            spec: Arc::clone(spec),
            books: Arc::clone(books),
            orders: Arc::clone(&orders),
            number,
            identity,
            data: None,
            coordinator: None,
            state: State::Out,
            positions: BTreeMap::new(),
            committed: BTreeMap::new(),
            heard: Instant::now(),
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

/// A join that is under way, and its connection.
type Joining = JoinHandle<(Link, Result<(Joined, Vec<i32>), Fault>)>;

enum State {
    /// It has to join.
    Out,
    Joining(Joining),
    /// It has its part of the generation.
    In,
}

struct Member {
    spec: Arc<Spec>,
    books: Arc<Books>,
    orders: Arc<Orders>,
    number: usize,
    identity: Identity,
    /// Fetches and commits; the coordinator has a connection of its own, on which JoinGroup waits.
    data: Option<Link>,
    coordinator: Option<Link>,
    state: State,
    /// The offset to read next of each partition that it has.
    positions: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
    heard: Instant,
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
        match fault {
            Fault::Refused(ErrorCode::RebalanceInProgress) => self.rejoin(),
            Fault::Refused(ErrorCode::IllegalGeneration) => self.lose(),
            Fault::Refused(ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId) => {
                self.identity.id.clear();
                self.lose();
            }
            Fault::Refused(code) if NOT_READY.contains(code) => std::thread::sleep(RETRY),
            other => {
                if !self.spec.restarts {
                    self.books.history().troubles.push(format!("member {}: {}", self.number, in_full(other)));
                }
                (self.data, self.coordinator) = (None, None);
                std::thread::sleep(RETRY);
            }
        }
    }

    fn rejoin(&mut self) {
        if matches!(self.state, State::In) {
            self.state = State::Out;
        }
    }

    /// It has no part of the group any more: others may have its partitions.
    fn lose(&mut self) {
        self.give_up(|_| false);
        self.show();
        self.state = State::Out;
    }

    /// Drops the partitions that are not to be kept.
    fn give_up(&mut self, keep: impl Fn(i32) -> bool) {
        let had = self.positions.len();
        self.positions.retain(|partition, _| keep(*partition));
        let gone = (had - self.positions.len()) as u64;
        self.books.given_up.fetch_add(gone, Ordering::Relaxed);
    }

    fn show(&self) {
        self.books.shares().insert(self.number, self.positions.keys().copied().collect());
    }

    fn step(&mut self) -> Result<(), Fault> {
        if self.data.is_none() {
            self.data = Some(Link::to_coordinator(self.spec.address, &self.spec.group)?);
        }
        match &self.state {
            State::Out => self.begin_to_join(),
            State::Joining(join) if join.is_finished() => self.joined(),
            State::Joining(_) if self.positions.is_empty() => {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            }
            // In a cooperative group it goes on meanwhile with what it owns.
            State::Joining(_) => self.read(),
            State::In => {
                self.read()?;
                self.commit(false)?;
                self.beat()
            }
        }
    }

    fn link(&mut self) -> Result<&mut Link, Fault> {
        let closed = || keylane_kafka::client::ClientError::Length(-1);
        self.data.as_mut().ok_or_else(|| Fault::Broken(closed()))
    }

    fn beat(&mut self) -> Result<(), Fault> {
        if self.heard.elapsed() < self.spec.heartbeat {
            return Ok(());
        }
        self.heard = Instant::now();
        let identity = self.identity.clone();
        match &mut self.coordinator {
            Some(link) => link.heartbeat(&identity),
            None => Ok(()),
        }
    }

    /// Starts to join, in another thread: JoinGroup waits for the other members.
    fn begin_to_join(&mut self) -> Result<(), Fault> {
        self.joins_since.get_or_insert_with(Instant::now);
        if self.spec.strategy == Strategy::Eager && !self.positions.is_empty() {
            // Whoever gets them next goes on from here. A refusal is no matter: then they are read again.
            match self.commit(true) {
                Ok(()) | Err(Fault::Refused(_)) => self.give_up(|_| false),
                Err(broken) => return Err(broken),
            }
            self.show();
        }
        let mut link = match self.coordinator.take() {
            Some(link) => link,
            None => Link::connect(self.spec.address)?,
        };
        let (spec, identity) = (Arc::clone(&self.spec), self.identity.clone());
        let owned: Vec<i32> = self.positions.keys().copied().collect();
        self.state = State::Joining(std::thread::spawn(move || {
            let outcome = join_and_sync(&mut link, &spec, &identity, &owned);
            (link, outcome)
        }));
        Ok(())
    }

    fn joined(&mut self) -> Result<(), Fault> {
        let State::Joining(join) = std::mem::replace(&mut self.state, State::Out) else { return Ok(()) };
        let Ok((link, outcome)) = join.join() else { return Ok(()) };
        let broken = matches!(outcome, Err(Fault::Broken(_)));
        self.coordinator = (!broken).then_some(link);
        let (joined, assigned) = outcome?;
        self.identity = joined.identity;
        self.heard = Instant::now();
        self.state = State::In;
        let revoked: Vec<i32> =
            self.positions.keys().copied().filter(|owned| !assigned.contains(owned)).collect();
        if !revoked.is_empty() {
            self.commit(true)?;
            self.give_up(|owned| assigned.contains(&owned));
        }
        let added: Vec<i32> =
            assigned.into_iter().filter(|partition| !self.positions.contains_key(partition)).collect();
        self.begin(&added)?;
        self.show();
        if let Some(since) = self.joins_since.take() {
            self.books.history().rebalances_ms.push(since.elapsed().as_secs_f64() * 1e3);
            self.books.hindered().remove(&self.number);
        }
        if !revoked.is_empty() {
            // What it gave up is dealt in the next round.
            self.state = State::Out;
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
        let turn = self.number.wrapping_add(self.heard.elapsed().as_micros() as usize) % positions.len();
        positions.rotate_left(turn);
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
        let (generation, member) = (self.identity.generation, self.number);
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
            if matches!(self.state, State::In) {
                let _later = self.beat();
            }
        }
    }

    /// Commits what was read since the last time, if that is long ago or `now`.
    fn commit(&mut self, now: bool) -> Result<(), Fault> {
        if !now && self.committed_at.elapsed() < self.spec.commit_every {
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
        let (identity, topic) = (self.identity.clone(), self.spec.topic.clone());
        self.link()?.commit(&identity, &topic, offsets)?;
        let (generation, member) = (identity.generation, self.number);
        let mut history = self.books.history();
        for &(partition, offset) in offsets {
            history.committed(Commit { generation, member, partition, offset });
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Fault> {
        if let State::Joining(join) = std::mem::replace(&mut self.state, State::Out)
            && let Ok((link, outcome)) = join.join()
        {
            self.coordinator = Some(link);
            self.identity = outcome?.0.identity;
        }
        if self.identity.id.is_empty() {
            return Ok(());
        }
        // What cannot be committed is read again.
        let _refused = self.commit(true);
        let identity = self.identity.clone();
        self.link()?.leave(&identity)
    }
}

/// A fault and what caused it.
fn in_full(fault: &Fault) -> String {
    let causes = std::iter::successors(std::error::Error::source(fault), |cause| cause.source());
    causes.fold(fault.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Joins a generation and gets its part of it; deals the partitions if it leads.
fn join_and_sync(
    link: &mut Link,
    spec: &Spec,
    identity: &Identity,
    owned: &[i32],
) -> Result<(Joined, Vec<i32>), Fault> {
    let subscription = assignor::subscription(&spec.topic, owned);
    let joined = link.join(identity, spec.times, spec.strategy.name(), &subscription)?;
    let claims = joined.members.iter().map(|(_, wants)| assignor::owned(wants).unwrap_or_default());
    let claims: Vec<Vec<i32>> = claims.collect();
    let dealt = if claims.is_empty() {
        Vec::new()
    } else {
        assignor::deal(spec.strategy, &claims, spec.begin.len() as i32)
    };
    let dealt = joined.members.iter().zip(dealt);
    let dealt: Vec<(String, Vec<u8>)> =
        dealt.map(|((id, _), part)| (id.clone(), assignor::assignment(&spec.topic, &part))).collect();
    let bytes = link.sync(&joined.identity, &dealt)?;
    Ok((joined, assignor::assigned(&bytes).unwrap_or_default()))
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
