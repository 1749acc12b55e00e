//! The simulated disk: seeded, reordering, faulty, and able to lose power at any step.
//!
//! It keeps the rules of the [seam](keylane_engine::disk) and grants nothing beyond them:
//!
//! * Each operation is submitted when it is first polled and completes some seeded number of polls
//!   later, so that concurrent operations complete in a seeded order. It runs on any executor, uses no
//!   clock and no thread; the same seed and the same calls give the same run.
//! * [`SimDisk::crash_image`] gives what the medium could hold if power were lost now. Synced data is
//!   there, exactly. Of every other write each 512-byte sector is kept, dropped or garbled; names and
//!   lengths that are not durable are kept or lost. The image shares memory with its origin, so that it
//!   can be taken at every step ([`SimDisk::on_step`]).
//! * A write is durable when it *completed before* a successful sync of its file *began*; the length
//!   that [`Disk::create`] gives a file is durable after a sync of the file, its name after a sync of
//!   the directory.
//! * A write whose future is dropped stays in flight for good: no sync covers it, a crash may show it.
//! * A file that is opened for it is read through a page cache that holds everything, keeps in step with writes and
//!   is empty after a crash.
//! * Faults are injected by step or by rule ([`Fault`], [`Rule`]); what is stored can be damaged
//!   ([`SimDisk::flip_bit`] and its kin).

mod content;
mod crash;
mod damage;
mod fault;
mod file;
mod inode;
mod names;
mod rng;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use keylane_engine::aligned::{BLOCK, round_down};
use keylane_engine::disk::Disk;

pub use self::content::SECTOR;
pub use self::crash::CrashStyle;
use self::fault::Faults;
pub use self::fault::{Fault, Op, Rule};
pub use self::file::SimFile;
use self::inode::Inode;
use self::names::{Entry, Ino, Names, normal};
pub use self::rng::Rng;

/// Turns that pass.
pub type Turns = Pin<Box<dyn Future<Output = ()>>>;

/// How the disk behaves when nothing special is injected.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Least and greatest number of polls between submission and completion.
    pub latency_turns: (u32, u32),
    /// Lets so many turns pass instead of polls. For an executor that sends and receives only when nothing else is to be
    /// done: polls would keep it from that until the disk is at rest.
    pub wait: Option<fn(u32) -> Turns>,
    /// One write in so many of more than one block is short, by whole blocks; 0 for none.
    pub short_write_1_in: u32,
    /// One read in so many of more than one block is short, by whole blocks; 0 for none.
    pub short_read_1_in: u32,
    /// Of the sectors that a crash may garble, one in so many is; 0 for none.
    pub garble_1_in: u32,
    /// Syncs of files report success and do nothing: with it, a harness must find loss.
    pub ignore_syncs: bool,
    /// Syncs of directories report success and do nothing.
    pub ignore_dir_syncs: bool,
    /// Bytes that all files together may have.
    pub capacity_bytes: Option<u64>,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            latency_turns: (1, 8),
            wait: None,
            short_write_1_in: 0,
            short_read_1_in: 0,
            garble_1_in: 16,
            ignore_syncs: false,
            ignore_dir_syncs: false,
            capacity_bytes: None,
        }
    }
}

impl SimOptions {
    /// Every operation completes when it is first polled.
    pub fn immediate() -> Self {
        Self { latency_turns: (0, 0), ..Self::default() }
    }
}

/// Whether a step begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Submitted,
    Completed,
}

/// What an observer of the disk is told.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Number of the operation, counted from 0.
    pub number: u64,
    pub op: Op,
    pub phase: Phase,
    /// The file or directory; of a rename, the old name.
    pub path: &'a str,
}

type Hook = Rc<dyn Fn(&Step<'_>, &SimDisk)>;

struct State {
    options: SimOptions,
    rng: Rng,
    names: Names,
    inodes: BTreeMap<Ino, Inode>,
    next_ino: Ino,
    /// Orders completions and the beginnings of syncs.
    clock: u64,
    steps: u64,
    faults: Faults,
    hook: Option<Hook>,
}

/// A simulated disk; clones are handles of the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Rc<RefCell<State>>,
}

/// An operation under way.
struct Ticket {
    number: u64,
    op: Op,
    path: Rc<str>,
    turns: u32,
    fault: Option<Fault>,
}

impl State {
    fn new(seed: u64, options: SimOptions) -> Self {
        Self {
            options,
            rng: Rng::new(seed),
            names: Names::default(),
            inodes: BTreeMap::new(),
            next_ino: 1,
            clock: 0,
            steps: 0,
            faults: Faults::default(),
            hook: None,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn inode(&mut self, ino: Ino) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("files are never forgotten")
    }

    fn used_bytes(&self) -> u64 {
        let files = self.names.visible.values().filter_map(|entry| match entry {
            Entry::File(ino) => self.inodes.get(ino),
            Entry::Dir => None,
        });
        files.map(|inode| inode.visible.len().next_multiple_of(BLOCK as u64)).sum()
    }

    /// Whether a file may grow from `old` to `new` bytes.
    fn check_room(&self, old: u64, new: u64) -> io::Result<()> {
        let more = new.next_multiple_of(BLOCK as u64).saturating_sub(old.next_multiple_of(BLOCK as u64));
        match self.options.capacity_bytes {
            Some(capacity) if more > 0 && self.used_bytes() + more > capacity => Err(no_space()),
            _ => Ok(()),
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64, options: SimOptions) -> Self {
        Self { state: Rc::new(RefCell::new(State::new(seed, options))) }
    }

    /// Operations submitted so far.
    pub fn steps(&self) -> u64 {
        self.state.borrow().steps
    }

    /// Calls `hook` at the submission and at the completion of each operation; the caller of the
    /// operation learns of the completion afterwards. The hook may take crash images.
    pub fn on_step(&self, hook: Option<Hook>) {
        self.state.borrow_mut().hook = hook;
    }

    /// Changes how the disk behaves from now on.
    pub fn set_options(&self, change: impl FnOnce(&mut SimOptions)) {
        change(&mut self.state.borrow_mut().options);
    }

    /// Sets the bytes that all files together may have.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.set_options(|options| options.capacity_bytes = bytes);
    }

    /// Bytes that all files together have.
    pub fn used_bytes(&self) -> u64 {
        self.state.borrow().used_bytes()
    }

    /// Injects a fault into the operation of this number (see [`SimDisk::steps`]).
    pub fn fail_step(&self, number: u64, fault: Fault) {
        self.state.borrow_mut().faults.at_step(number, fault);
    }

    /// Injects a fault by rule. Rules are tried in the order they were added.
    pub fn add_rule(&self, rule: Rule) {
        self.state.borrow_mut().faults.add(rule);
    }

    /// Forgets all faults that have not struck yet.
    pub fn clear_faults(&self) {
        self.state.borrow_mut().faults.clear();
    }

    /// Changes of files and names that are not durable.
    pub fn unsynced(&self) -> usize {
        let state = self.state.borrow();
        state.names.pending() + state.inodes.values().map(Inode::pending).sum::<usize>()
    }

    fn ticket(&self, op: Op, path: Rc<str>) -> Ticket {
        let state = &mut *self.state.borrow_mut();
        let number = state.steps;
        state.steps += 1;
        let (low, high) = state.options.latency_turns;
        let mut turns = state.rng.between(u64::from(low), u64::from(high.max(low))) as u32;
        let mut fault = state.faults.take(number, op, &path);
        if let Some(Fault::Delay(longer)) = fault {
            turns = longer;
            fault = None;
        }
        Ticket { number, op, path, turns, fault }
    }

    fn tell(&self, ticket: &Ticket, phase: Phase) {
        let hook = self.state.borrow().hook.clone();
        if let Some(hook) = hook {
            hook(&Step { number: ticket.number, op: ticket.op, phase, path: &ticket.path }, self);
        }
    }

    /// Performs an operation: `begin` when it is submitted, `end` when it completes.
    async fn perform<B, T>(
        &self,
        op: Op,
        path: Rc<str>,
        begin: impl FnOnce(&mut State, &Ticket) -> B,
        end: impl FnOnce(&mut State, &Ticket, B) -> T,
    ) -> T {
        let ticket = self.ticket(op, path);
        let begun = begin(&mut self.state.borrow_mut(), &ticket);
        self.tell(&ticket, Phase::Submitted);
        let wait = self.state.borrow().options.wait;
        match wait {
            None => turns(ticket.turns).await,
            Some(wait) => wait(ticket.turns).await,
        }
        let result = end(&mut self.state.borrow_mut(), &ticket, begun);
        self.tell(&ticket, Phase::Completed);
        result
    }

    /// Performs a change of names: it is made when submitted, or not at all if it fails.
    async fn change_names<T>(
        &self,
        op: Op,
        path: &str,
        change: impl FnOnce(&mut State, u64) -> io::Result<T>,
    ) -> io::Result<T> {
        self.perform(
            op,
            path.into(),
            |state, ticket| match ticket.fault {
                Some(Fault::NoSpace) => Err(no_space()),
                Some(Fault::ErrorLost) => Err(eio()),
                Some(Fault::Error) => {
                    if state.rng.one_in(2) {
                        change(state, ticket.number)?;
                    }
                    Err(eio())
                }
                _ => change(state, ticket.number),
            },
            |state, ticket, result| {
                let now = state.tick();
                state.names.complete(ticket.number, now);
                result
            },
        )
        .await
    }

    fn file(&self, ino: Ino) -> SimFile {
        SimFile::new(self.clone(), ino)
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn open(&self, path: &str) -> io::Result<SimFile> {
        let path = normal(path);
        let ino = self
            .perform(
                Op::Open,
                path.as_str().into(),
                |_, _| (),
                |state, ticket, ()| match ticket.fault {
                    None => state.names.file(&path),
                    Some(_) => Err(eio()),
                },
            )
            .await?;
        Ok(self.file(ino))
    }

    async fn open_cached(&self, path: &str) -> io::Result<SimFile> {
        Ok(Disk::open(self, path).await?.through_page_cache())
    }

    async fn create(&self, path: &str, len: u64) -> io::Result<SimFile> {
        let path = normal(path);
        let begin = |state: &mut State, number| {
            state.names.check_dir(names::parent(&path))?;
            if state.names.visible.contains_key(path.as_str()) {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.as_str()));
            }
            let room = state.check_room(0, len);
            let ino = state.next_ino;
            state.next_ino += 1;
            state.inodes.insert(ino, Inode::new(path.as_str().into()));
            state.names.add(number, &path, Entry::File(ino));
            if let Err(cause) = room {
                // The name is there while the space is asked for: a crash may leave an empty file.
                state.names.remove(number, &path, ino);
                return Err(cause);
            }
            state.inode(ino).begin_set_len(number, len);
            let now = state.tick();
            state.inode(ino).complete(number, now, None);
            Ok(ino)
        };
        Ok(self.file(self.change_names(Op::Create, &path, begin).await?))
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = normal(dir);
        self.perform(
            Op::List,
            dir.as_str().into(),
            |_, _| (),
            |state, ticket, ()| match ticket.fault {
                None => state.names.list(&dir),
                Some(_) => Err(eio()),
            },
        )
        .await
    }

    async fn create_dir(&self, dir: &str) -> io::Result<()> {
        let dir = normal(dir);
        self.change_names(Op::CreateDir, &dir, |state, number| {
            let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
            for path in ends.map(|end| &dir[..end]).filter(|path| !path.is_empty()) {
                match state.names.check_dir(path) {
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                        state.names.add(number, path, Entry::Dir);
                    }
                    other => other?,
                }
            }
            Ok(())
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (normal(from), normal(to));
        self.change_names(Op::Rename, &from, |state, number| {
            let ino = state.names.file(&from)?;
            state.names.check_dir(names::parent(&to))?;
            if state.names.visible.get(to.as_str()) == Some(&Entry::Dir) {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, to.as_str()));
            }
            if from != to {
                state.names.rename(number, &from, &to, ino);
                state.inode(ino).path = to.as_str().into();
            }
            Ok(())
        })
        .await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let path = normal(path);
        self.change_names(Op::Remove, &path, |state, number| {
            let ino = state.names.file(&path)?;
            // Large files are cut before they are removed, which those that fit in here never are: so who has it open
            // reads less from now on, and a crash may leave the name without the content.
            let len = state.inode(ino).visible.len();
            let left = if number % 2 == 0 { 0 } else { round_down(len / 2) };
            state.inode(ino).begin_set_len(number, left);
            let now = state.tick();
            state.inode(ino).complete(number, now, None);
            state.names.remove(number, &path, ino);
            Ok(())
        })
        .await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let dir = normal(dir);
        self.perform(
            Op::SyncDir,
            dir.as_str().into(),
            |state, _| state.tick(),
            |state, ticket, begun| {
                state.names.check_dir(&dir)?;
                match ticket.fault {
                    Some(Fault::Error | Fault::ErrorLost) => {
                        state.names.lose(&dir, begun);
                        Err(eio())
                    }
                    Some(Fault::NoSpace) => Err(no_space()),
                    Some(Fault::Lost) => Ok(()),
                    _ if state.options.ignore_dir_syncs => Ok(()),
                    _ => {
                        state.names.sync(&dir, begun);
                        Ok(())
                    }
                }
            },
        )
        .await
    }
}

/// Lets `n` turns of the scheduler pass.
async fn turns(n: u32) {
    let mut left = n;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}
