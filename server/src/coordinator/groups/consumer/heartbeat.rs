//! What members ask of a consumer group: all of it is one request, the heartbeat.

use std::rc::Rc;
use std::sync::Arc;

use super::assign::ASSIGNORS;
use super::group::Group;
use super::image::{Classic, Entry, State, Subscriber};
use super::partitions::Partitions;
use super::pattern;
use super::planted::{self, Bug};
use super::reconcile::{Target, next_step};
use super::refused::Refused;
use super::topics::Topics;
use crate::coordinator::groups::classic::Millis;

/// Epoch with which a member joins.
pub const JOINS: i32 = 0;
/// Epoch with which a member leaves.
pub const LEAVES: i32 = -1;
/// Epoch with which a static member leaves and will come back.
pub const LEAVES_FOR_A_WHILE: i32 = -2;
/// Longest id: what the key of its record can state.
const ID_BYTES_MAX: usize = i16::MAX as usize;

/// What a member says. `None`: as before.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its epoch; or that it joins or leaves.
    pub epoch: i32,
    /// The name that it keeps over restarts.
    pub instance: Option<Arc<str>>,
    /// Where it is.
    pub rack: Option<Arc<str>>,
    /// How long it may take to give partitions back, in milliseconds; -1: as before.
    pub rebalance_ms: i32,
    /// Topics that it wants.
    pub topics: Option<Vec<Arc<str>>>,
    /// Topics that it wants, as a regular expression; empty: none.
    pub regex: Option<Arc<str>>,
    /// How it wants partitions to be assigned.
    pub assignor: Option<Arc<str>>,
    /// What it has.
    pub owned: Option<Partitions>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// What it says beyond that if it speaks the classic protocol.
    pub classic: Option<Classic>,
}

/// What a member is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its epoch.
    pub epoch: i32,
    /// When to come again; 0 for one that left.
    pub interval: Millis,
    /// What it may read, if that changed or it asked for all.
    pub assignment: Option<Partitions>,
}

impl Heartbeat {
    /// Whether it leaves, for good or not.
    pub fn leaves(&self) -> bool {
        matches!(self.epoch, LEAVES | LEAVES_FOR_A_WHILE)
    }

    /// Refuses what makes no sense, whatever the group.
    ///
    /// # Errors
    /// [`Refused::Request`], [`Refused::Assignor`].
    pub fn check(&self) -> Result<(), Refused> {
        let is_empty = |text: &Option<Arc<str>>| text.as_deref() == Some("");
        let wrong = if self.member_id.is_empty() || self.member_id.len() > ID_BYTES_MAX {
            Some("the member id must have 1 to 32767 bytes")
        } else if is_empty(&self.instance) {
            Some("the instance id must not be empty")
        } else if is_empty(&self.rack) {
            Some("the rack id must not be empty")
        } else {
            match self.epoch {
                JOINS if self.rebalance_ms == -1 => Some("a member that joins says its rebalance time-out"),
                JOINS if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
                    Some("a member that joins has no partitions")
                }
                JOINS if self.topics.is_none() && self.regex.is_none() => {
                    Some("a member that joins says which topics it wants")
                }
                LEAVES_FOR_A_WHILE if self.instance.is_none() => {
                    Some("only a member with an instance id leaves for a while")
                }
                ..LEAVES_FOR_A_WHILE => Some("there is no such epoch"),
                _ => None,
            }
        };
        if let Some(wrong) = wrong {
            return Err(Refused::Request(wrong));
        }
        match self.assignor.as_deref() {
            Some(name) if !ASSIGNORS.contains(&name) => Err(Refused::Assignor(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Whether it says everything, so that it has to be told everything.
    fn is_full(&self) -> bool {
        let all = self.rebalance_ms != -1
            && (self.topics.is_some() || self.regex.is_some())
            && self.owned.is_some();
        self.epoch == JOINS || all
    }

    /// What the member said up to now, with what it says now.
    fn over(&self, before: Subscriber) -> Subscriber {
        let or = |new: &Option<Arc<str>>, before: Option<Arc<str>>| new.clone().or(before);
        let topics = self.topics.clone().map(|mut topics| {
            topics.sort_unstable();
            topics.dedup();
            topics
        });
        Subscriber {
            instance: or(&self.instance, before.instance),
            rack: or(&self.rack, before.rack),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            topics: topics.unwrap_or(before.topics),
            regex: or(&self.regex, before.regex).filter(|text| !text.is_empty()),
            rebalance_ms: if self.rebalance_ms == -1 { before.rebalance_ms } else { self.rebalance_ms },
            assignor: or(&self.assignor, before.assignor),
            classic: self.classic.clone(),
        }
    }
}

impl Group {
    /// A member joins, lives, or leaves. The answer holds when the entries are durable.
    ///
    /// # Errors
    /// [`Refused`]: nothing changed.
    pub fn heartbeat(
        &mut self,
        asked: &Heartbeat,
        topics: &impl Topics,
        now: Millis,
    ) -> Result<Beat, Refused> {
        asked.check()?;
        if asked.leaves() { self.leave(asked, topics, now) } else { self.enter(asked, topics, now) }
    }

    /// A member joins or lives.
    pub(super) fn enter(
        &mut self,
        asked: &Heartbeat,
        topics: &impl Topics,
        now: Millis,
    ) -> Result<Beat, Refused> {
        let place = self.find_place(asked)?;
        asked.regex.as_deref().filter(|text| !text.is_empty()).map_or(Ok(()), pattern::check)?;
        self.take_place(asked, place);
        let id = &asked.member_id;
        let before = self.image.subscribers.get(id).cloned();
        let subscriber = asked.over(before.as_deref().cloned().unwrap_or_default());
        let wants_the_same =
            before.as_ref().is_some_and(|b| b.topics == subscriber.topics && b.regex == subscriber.regex);
        if before.as_deref() != Some(&subscriber) {
            self.put(Entry::Subscriber(Arc::clone(id), Some(Rc::new(subscriber))));
        }
        self.refresh(!wants_the_same, topics, now);
        self.assign(topics);
        let had = self.current(id);
        self.step(id, asked.owned.as_ref(), now);
        self.sessions.insert(Arc::clone(id), now + self.session_of(id));
        let has = self.current(id);
        let changed = had.assigned != has.assigned;
        Ok(Beat {
            member_id: Arc::clone(id),
            epoch: has.epoch,
            interval: self.limits.heartbeat,
            assignment: (changed || asked.is_full()).then(|| has.assigned.clone()),
        })
    }

    /// Takes a member a step nearer to what it is to have.
    pub(super) fn step(&mut self, id: &Arc<str>, owned: Option<&Partitions>, now: Millis) {
        let (current, none) = (self.current(id), Rc::default());
        let partitions = self.image.targets.get(id).unwrap_or(&none);
        let target = Target { epoch: self.target_epoch(), partitions };
        let next = next_step(&current, target, owned, |topic, partition| {
            !self.owners.contains_key(&(topic, partition)) || planted::is(Bug::GivenTooEarly)
        });
        if next == *current && self.image.currents.contains_key(id) {
            return;
        }
        if next.state == State::Unrevoked {
            let rebalance_ms = self.image.subscribers.get(id).map_or(0, |s| s.rebalance_ms);
            self.revocations.insert(Arc::clone(id), now + u64::from(rebalance_ms.max(0).unsigned_abs()));
        } else {
            self.revocations.remove(id);
        }
        self.put(Entry::Current(Arc::clone(id), Some(Rc::new(next))));
    }
}
