//! The groups of one partition of `__consumer_offsets` that have, or had, members: their state machines, the requests that
//! wait for them, and the times at which they want to be called.
//!
//! Promises: a request that waits is answered, or its sender is told that the server stops. Memory is bounded: members for
//! which there is no room are refused. A heartbeat costs no look at the other members of its group.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::classic::{
    Effect, Group, Join, Joined, Limits, Millis, Refused, State, StoreId, Stored, Sync, Synced, Ticket,
};

/// Most bytes of members in memory for one partition of `__consumer_offsets`.
const BYTES_MAX: usize = 64 << 20;

/// Tells a group from an earlier one of the same name that was deleted.
pub type Serial = u64;

/// Something of a group that is to be stored.
pub struct ToStore {
    /// The group.
    pub group: Rc<str>,
    /// Which group of that name.
    pub serial: Serial,
    /// Its number there.
    pub id: StoreId,
    /// What.
    pub what: Stored,
}

struct Slot {
    serial: Serial,
    group: Group,
    bytes: usize,
    /// When it is called next.
    at: Option<Millis>,
    /// It is, or will be, in the log.
    stored: bool,
}

impl Slot {
    fn exists(&self) -> bool {
        self.stored || self.group.members().next().is_some()
    }
}

enum Waiter {
    Join(oneshot::Sender<Result<Joined, Refused>>),
    Sync(oneshot::Sender<Result<Synced, Refused>>),
}

/// See the module's header.
pub struct Live {
    limits: Limits,
    began: Instant,
    slots: RefCell<HashMap<Rc<str>, Slot>>,
    bytes: Cell<usize>,
    schedule: RefCell<BTreeSet<(Millis, Rc<str>)>>,
    /// Notified when something is due earlier than before, or the server stops.
    sooner: Notify,
    waiting: RefCell<HashMap<Ticket, Waiter>>,
    last: Cell<u64>,
    to_store: RefCell<Vec<ToStore>>,
    stopped: Cell<bool>,
}

impl Live {
    /// No groups.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            began: Instant::now(),
            slots: RefCell::default(),
            bytes: Cell::new(0),
            schedule: RefCell::default(),
            sooner: Notify::new(),
            waiting: RefCell::default(),
            last: Cell::new(0),
            to_store: RefCell::default(),
            stopped: Cell::new(false),
        }
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Takes a stored group over; its members have a full session from now.
    pub fn restore(&self, name: &Rc<str>, stored: &Stored) {
        let group = Group::restore(stored, self.limits, self.now());
        self.insert(name, group, true);
        self.after(name);
    }

    fn insert(&self, name: &Rc<str>, group: Group, stored: bool) {
        let slot = Slot { serial: self.number(), group, bytes: 0, at: None, stored };
        self.slots.borrow_mut().insert(Rc::clone(name), slot);
    }

    /// Looks at a group. One in which ids were given out and nobody joined does not exist yet.
    pub fn look<R>(&self, name: &str, look: impl FnOnce(&Group) -> R) -> Option<R> {
        let slots = self.slots.borrow();
        slots.get(name).filter(|slot| slot.exists()).map(|slot| look(&slot.group))
    }

    /// Names of all groups that exist.
    pub fn names(&self) -> Vec<Rc<str>> {
        let slots = self.slots.borrow();
        slots.iter().filter(|(_, slot)| slot.exists()).map(|(name, _)| Rc::clone(name)).collect()
    }

    /// Whether the group that wanted something to be stored is still there.
    pub fn has(&self, name: &str, serial: Serial) -> bool {
        self.slots.borrow().get(name).is_some_and(|slot| slot.serial == serial)
    }

    /// Has something done in a group, if there is such a group. What follows is done, too, except that
    /// [`Self::take_to_store`] may have more.
    pub fn act<R>(&self, name: &str, act: impl FnOnce(&mut Group, Millis) -> R) -> Option<R> {
        let now = self.now();
        let mut slots = self.slots.borrow_mut();
        let (name, mut slot) = slots.remove_entry(name)?;
        let done = act(&mut slot.group, now);
        slots.insert(Rc::clone(&name), slot);
        drop(slots);
        self.after(&name);
        Some(done)
    }

    /// The same for what only makes a member live longer: nothing follows, and nothing is due earlier.
    pub fn hear<R>(&self, name: &str, hear: impl FnOnce(&mut Group, Millis) -> R) -> Option<R> {
        let now = self.now();
        self.slots.borrow_mut().get_mut(name).map(|slot| hear(&mut slot.group, now))
    }

    /// Takes a JoinGroup; its answer comes later. `None`: the server stops.
    pub fn join(&self, name: &str, mut join: Join) -> Option<oneshot::Receiver<Result<Joined, Refused>>> {
        let (sender, receiver) = oneshot::channel();
        join.to = self.wait(Waiter::Join(sender))?;
        let to = join.to;
        let wanted: usize = join.protocols.iter().map(|(name, wants)| name.len() + wants.len()).sum();
        let mut refused = None;
        if self.bytes.get() + wanted > BYTES_MAX {
            tracing::warn!(group = name, "there is no room for more members of groups");
            refused = Some(Refused::Full);
        } else if !self.slots.borrow().contains_key(name) {
            if join.member_id.is_empty() {
                self.insert(&name.into(), Group::new(self.limits), false);
            } else {
                refused = Some(Refused::UnknownMember);
            }
        }
        match refused {
            Some(refused) => self.answer_join(to, Err(refused)),
            None => {
                self.act(name, |group, now| group.join(join, now));
            }
        }
        Some(receiver)
    }

    /// Takes a SyncGroup; its answer comes later. `None`: the server stops.
    pub fn sync(&self, name: &str, mut sync: Sync) -> Option<oneshot::Receiver<Result<Synced, Refused>>> {
        let (sender, receiver) = oneshot::channel();
        sync.to = self.wait(Waiter::Sync(sender))?;
        let to = sync.to;
        if self.act(name, |group, now| group.sync(sync, now)).is_none() {
            self.answer_sync(to, Err(Refused::UnknownMember));
        }
        Some(receiver)
    }

    fn wait(&self, waiter: Waiter) -> Option<Ticket> {
        if self.stopped.get() {
            return None;
        }
        let ticket = self.number();
        self.waiting.borrow_mut().insert(ticket, waiter);
        Some(ticket)
    }

    /// One that was not given out before.
    fn number(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    fn answer_join(&self, to: Ticket, answer: Result<Joined, Refused>) {
        if let Some(Waiter::Join(sender)) = self.waiting.borrow_mut().remove(&to) {
            // Nobody waits any more if the connection is gone.
            let _unwanted = sender.send(answer);
        }
    }

    fn answer_sync(&self, to: Ticket, answer: Result<Synced, Refused>) {
        if let Some(Waiter::Sync(sender)) = self.waiting.borrow_mut().remove(&to) {
            let _unwanted = sender.send(answer);
        }
    }

    /// Does what follows from what was done in a group.
    fn after(&self, name: &Rc<str>) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(name) else { return };
        for effect in slot.group.take_effects() {
            match effect {
                Effect::Joined { to, answer } => self.answer_join(to, answer),
                Effect::Synced { to, answer } => self.answer_sync(to, answer),
                Effect::Store { id, what } => {
                    slot.stored = true;
                    let (group, serial) = (Rc::clone(name), slot.serial);
                    self.to_store.borrow_mut().push(ToStore { group, serial, id, what });
                }
            }
        }
        let bytes = name.len() + slot.group.bytes();
        self.bytes.set(self.bytes.get() + bytes - slot.bytes);
        slot.bytes = bytes;
        let due = slot.group.due();
        let sooner = due.is_some_and(|due| slot.at.is_none_or(|at| due < at));
        if sooner || due.is_none() {
            let mut schedule = self.schedule.borrow_mut();
            if let Some(at) = slot.at.take() {
                schedule.remove(&(at, Rc::clone(name)));
            }
            if let Some(due) = due {
                schedule.insert((due, Rc::clone(name)));
                slot.at = Some(due);
                self.sooner.notify_one();
            }
        }
        if slot.group.is_vacant() && !slot.stored {
            self.remove(&mut slots, name);
        }
    }

    fn remove(&self, slots: &mut HashMap<Rc<str>, Slot>, name: &str) {
        let Some((name, slot)) = slots.remove_entry(name) else { return };
        self.bytes.set(self.bytes.get() - slot.bytes);
        if let Some(at) = slot.at {
            self.schedule.borrow_mut().remove(&(at, name));
        }
    }

    /// Forgets a group without members that is removed from the log, and the ids that were given out in it.
    pub fn forget(&self, name: &str) {
        let mut slots = self.slots.borrow_mut();
        if slots.get(name).is_some_and(|slot| slot.group.state() == State::Empty) {
            self.remove(&mut slots, name);
        }
    }

    /// Whether there is nothing, not even an id that was given out.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.slots.borrow().is_empty()
    }

    /// What is to be stored, in order.
    pub fn take_to_store(&self) -> Vec<ToStore> {
        std::mem::take(&mut self.to_store.borrow_mut())
    }

    /// Waits until something is due, and does it. `false`: the server stops.
    pub async fn tick(&self) -> bool {
        let next = self.schedule.borrow().first().map(|(at, _)| *at);
        match next {
            _ if self.stopped.get() => return false,
            None => self.sooner.notified().await,
            Some(at) => {
                let at = self.began + std::time::Duration::from_millis(at);
                // Sooner, or in time.
                let _either = tokio::time::timeout_at(at, self.sooner.notified()).await;
            }
        }
        let now = self.now();
        loop {
            let first = self.schedule.borrow_mut().pop_first();
            let Some((at, name)) = first else { break };
            if at > now {
                self.schedule.borrow_mut().insert((at, name));
                break;
            }
            if let Some(slot) = self.slots.borrow_mut().get_mut(&name) {
                slot.at = None;
            }
            self.act(&name, |group, now| group.tick(now));
        }
        !self.stopped.get()
    }

    /// The server stops: nobody waits any more.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.waiting.borrow_mut().clear();
        self.sooner.notify_one();
    }
}
