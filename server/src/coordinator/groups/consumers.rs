//! The consumer groups of one partition of `__consumer_offsets`: their state machines, and the times at which they want to be
//! called.
//!
//! Promise: nothing here waits. Whoever changes a group has the turn of the log, from the look at the group until its entries
//! are appended, so that what is here is what the log makes of it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::coordinator::log::Appended;
use crate::runtime::clock::now_ms;

use super::classic::Millis;
use super::consumer::{Entry, Group, Image, Limits};

struct Slot {
    group: Group,
    /// When it is called next.
    at: Option<Millis>,
    /// What was appended of it last.
    last: Appended,
    /// Since when it has no members, in milliseconds since 1970. After a start: since then.
    empty_since_ms: Option<i64>,
}

/// See the module's header.
pub struct Consumers {
    limits: Limits,
    began: Instant,
    slots: RefCell<HashMap<Rc<str>, Slot>>,
    schedule: RefCell<BTreeSet<(Millis, Rc<str>)>>,
    /// Notified when something is due earlier than before, or the server stops.
    sooner: Notify,
    stopped: Cell<bool>,
}

impl Consumers {
    /// No groups.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            began: Instant::now(),
            slots: RefCell::default(),
            schedule: RefCell::default(),
            sooner: Notify::new(),
            stopped: Cell::new(false),
        }
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    /// Makes a group what is kept of it; its members have a full session from now.
    pub fn restore(&self, name: &Rc<str>, image: Image) {
        self.remove(name);
        let group = Group::restore(image, self.limits, self.now());
        if group.exists() {
            self.insert(name, group);
            self.after(name);
        }
    }

    fn insert(&self, name: &Rc<str>, group: Group) {
        let slot = Slot { group, at: None, last: Appended::nothing(), empty_since_ms: None };
        self.slots.borrow_mut().insert(Rc::clone(name), slot);
    }

    /// Looks at a group.
    pub fn look<R>(&self, name: &str, look: impl FnOnce(&Group) -> R) -> Option<R> {
        self.slots.borrow().get(name).map(|slot| look(&slot.group))
    }

    /// Names of all groups.
    pub fn names(&self) -> Vec<Rc<str>> {
        self.slots.borrow().keys().cloned().collect()
    }

    /// Since when a group has no members, in milliseconds since 1970.
    pub fn empty_since_ms(&self, name: &str) -> Option<i64> {
        self.slots.borrow().get(name).and_then(|slot| slot.empty_since_ms)
    }

    /// Has something done in a group, which is made for it if there is none. What changed is returned, too: it is to be appended.
    pub fn act<R>(&self, name: &Rc<str>, act: impl FnOnce(&mut Group, Millis) -> R) -> (R, Vec<Entry>) {
        if !self.slots.borrow().contains_key(name) {
            self.insert(name, Group::new(self.limits));
        }
        let now = self.now();
        let done = match self.slots.borrow_mut().get_mut(name) {
            Some(slot) => (act(&mut slot.group, now), slot.group.take_entries()),
            None => {
                let mut none = Group::new(self.limits);
                (act(&mut none, now), none.take_entries())
            }
        };
        self.after(name);
        done
    }

    /// Says what was appended of a group. Returns what has to be durable before it is answered for.
    pub fn appended(&self, name: &str, appended: Appended) -> Appended {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(name) else { return appended };
        slot.last = appended.or(slot.last);
        slot.last
    }

    /// Does what follows from what was done in a group.
    fn after(&self, name: &Rc<str>) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(name) else { return };
        if !slot.group.exists() {
            drop(slots);
            return self.remove(name);
        }
        slot.empty_since_ms = slot.group.is_empty().then(|| slot.empty_since_ms.unwrap_or_else(now_ms));
        let due = slot.group.due();
        // What is due later is found out when the earlier time has come.
        if due.is_some_and(|due| slot.at.is_none_or(|at| due < at)) || due.is_none() {
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
    }

    /// Forgets a group.
    pub fn remove(&self, name: &str) {
        let Some((name, slot)) = self.slots.borrow_mut().remove_entry(name) else { return };
        if let Some(at) = slot.at {
            self.schedule.borrow_mut().remove(&(at, name));
        }
    }

    /// Waits until groups want to be called, and names them. `None`: the server stops.
    pub async fn due(&self) -> Option<Vec<Rc<str>>> {
        let next = self.schedule.borrow().first().map(|(at, _)| *at);
        match next {
            _ if self.stopped.get() => return None,
            None => self.sooner.notified().await,
            Some(at) => {
                let at = self.began + Duration::from_millis(at);
                // Sooner, or in time.
                let _either = tokio::time::timeout_at(at, self.sooner.notified()).await;
            }
        }
        let now = self.now();
        let mut names = Vec::new();
        let mut schedule = self.schedule.borrow_mut();
        while schedule.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, name)) = schedule.pop_first()
        {
            if let Some(slot) = self.slots.borrow_mut().get_mut(&name) {
                slot.at = None;
            }
            names.push(name);
        }
        (!self.stopped.get()).then_some(names)
    }

    /// The server stops.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.sooner.notify_one();
    }
}
