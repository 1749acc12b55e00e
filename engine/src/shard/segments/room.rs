//! The disk space of a shard, and how much of it retention by size allows.
//!
//! What the files take is counted as they are made, cut and removed. Whoever is about to make one asks for room
//! and waits while the reclaimer makes it ([`crate::shard::upkeep::reclaim`]); where there is none to be had, the bound is
//! exceeded and the log goes on. Where no partition has a bound, nobody waits.

use crate::disk::{Disk, DiskFile};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::Generation;
use crate::log::files;
use crate::log::recovery::SealedSegment;

use super::seal::take_spare;
use crate::shard::write::roll::Next;
use crate::shard::{Inner, State};

/// How long the next segment waits for room that is being made.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a segment's files.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    segment: u64,
    index: u64,
}

/// What the files of a shard take.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: HashMap<Generation, Taken>,
    used: u64,
    /// Bytes of the checkpoint, and of the one that took its place or is about to.
    checkpoints: [u64; 2],
    /// Bytes of the last index that was written: the next ones are taken to be like it.
    pub index_bytes: u64,
    /// Segments that were there at the start: how much they take is not known yet.
    unknown: Vec<Generation>,
    /// Most bytes that the segments may take. `None`: no partition has a bound.
    pub limit: Option<u64>,
    /// Bytes for which somebody waits who can do without.
    pub asked: u64,
    /// Bytes set aside for what has to stay of the segment that is emptied next.
    pub held: u64,
    /// Room may still come: the reclaimer is at work, or is about to look.
    pub coming: bool,
    /// The next segment is being made, and counted already.
    pub preparing: bool,
    /// How often room was needed.
    pub calls: u64,
}

impl Room {
    /// What a start found: the sealed segments, and the active one of so many bytes.
    pub fn at_start(segments: &BTreeMap<Generation, SealedSegment>, active: (Generation, u64)) -> Self {
        let mut room = Self { unknown: segments.keys().copied().collect(), ..Self::default() };
        room.set_segment(active.0, active.1);
        room
    }

    /// Bytes of all segments, and of the checkpoint while it is replaced.
    pub fn used(&self) -> u64 {
        self.used + self.checkpoints.iter().sum::<u64>()
    }

    /// Bytes of a segment and its index.
    pub fn of(&self, generation: Generation) -> u64 {
        self.taken.get(&generation).map_or(0, |t| t.segment + t.index)
    }

    fn change(&mut self, generation: Generation, change: impl FnOnce(&mut Taken)) {
        let taken = self.taken.entry(generation).or_default();
        let before = taken.segment + taken.index;
        change(taken);
        self.used = self.used - before + taken.segment + taken.index;
    }

    /// A segment's file has so many bytes.
    pub fn set_segment(&mut self, generation: Generation, bytes: u64) {
        self.change(generation, |t| t.segment = bytes);
    }

    /// Another segment is prepared.
    pub fn add_next(&mut self, generation: Generation, bytes: u64) {
        self.set_segment(generation, bytes);
        self.set_index(generation, self.index_bytes);
    }

    /// A checkpoint of so many bytes is written to take the place of the last one.
    pub fn set_checkpoint(&mut self, bytes: u64) {
        self.checkpoints = [self.checkpoints[1], bytes];
    }

    /// A segment's index has so many bytes.
    pub fn set_index(&mut self, generation: Generation, bytes: u64) {
        self.change(generation, |t| t.index = bytes);
    }

    /// So many bytes of a segment were given back.
    pub fn give_back(&mut self, generation: Generation, bytes: u64) {
        if self.taken.contains_key(&generation) {
            self.change(generation, |t| t.segment = t.segment.saturating_sub(bytes));
        }
    }

    /// The files of a segment are gone.
    pub fn remove(&mut self, generation: Generation) {
        if let Some(taken) = self.taken.remove(&generation) {
            self.used -= taken.segment + taken.index;
        }
    }

    /// Whether so many bytes more are within the bound, and what is set aside.
    pub fn fits(&self, bytes: u64) -> bool {
        self.limit.is_none_or(|limit| self.used() + self.held + bytes <= limit)
    }

    /// Whether there is more than the bound allows.
    pub fn is_exceeded(&self) -> bool {
        self.limit.is_some_and(|limit| self.used() > limit)
    }
}

impl State {
    /// Whether the next segment takes more than is counted.
    pub(crate) fn next_is_open(&self) -> bool {
        !matches!(self.next, Next::Ready { .. }) && !self.room.preparing
    }
}

impl Inner {
    /// Has the reclaimer look whether there is room.
    pub(crate) fn look_for_room(&self, state: &mut State) {
        state.room.coming = true;
        state.room.calls += 1;
        self.reclaiming.notify_one();
    }

    /// A freed segment to become the next one, as soon as there is one or room for a new one. What is set aside
    /// for another purpose is not taken.
    pub(crate) async fn spare_or_room(self: &Rc<Self>, len: u64) -> Option<Generation> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let notified = self.roll.notified();
            let waits = |state: &State| state.room.coming && Instant::now() < deadline && !state.stopping;
            let may_take = {
                let mut state = self.state.borrow_mut();
                state.room.preparing = state.room.fits(0) || !waits(&state);
                state.room.preparing
            };
            if may_take && let Some(spare) = take_spare(self, len).await {
                return Some(spare);
            }
            {
                let mut state = self.state.borrow_mut();
                if may_take && (state.room.fits(len + state.room.index_bytes) || !waits(&state)) {
                    return None;
                }
                state.room.preparing = false;
            }
            tokio::select! {
                () = notified => {}
                () = self.prepare.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Whether there is room for so many bytes of somebody who can do without: waits while it is being made.
    pub(crate) async fn room_for(&self, bytes: u64) -> bool {
        {
            let mut state = self.state.borrow_mut();
            if state.room.limit.is_none() {
                return true;
            }
            state.room.asked = bytes;
            self.look_for_room(&mut state);
        }
        let fits = loop {
            let notified = self.roll.notified();
            {
                let state = self.state.borrow();
                let fits = state.room.fits(bytes);
                if fits || !state.room.coming || self.ends() {
                    break fits;
                }
            }
            notified.await;
        };
        self.state.borrow_mut().room.asked = 0;
        fits
    }

    /// Finds out what the segments take that were there at the start.
    pub(crate) async fn measure(&self) {
        let size = async |path: String| match self.disk.open(&path).await {
            Ok(file) => file.size().await.unwrap_or(0),
            Err(_) => 0,
        };
        if self.state.borrow().room.checkpoints[1] == 0 {
            let bytes = size(files::checkpoint(&self.dir)).await;
            self.state.borrow_mut().room.checkpoints[1] = bytes;
        }
        loop {
            let Some(generation) = self.state.borrow_mut().room.unknown.pop() else { return };
            let segment = size(files::segment(&self.dir, generation)).await;
            let index = size(files::index(&self.dir, generation)).await;
            let mut state = self.state.borrow_mut();
            if state.segments.contains_key(&generation) || state.dead.contains(&generation) {
                state.room.set_segment(generation, segment);
                state.room.set_index(generation, index);
                state.room.index_bytes = state.room.index_bytes.max(index);
            }
        }
    }
}
