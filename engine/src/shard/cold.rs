//! What was read from the disk a moment ago, and what a reader will want next; bounded in bytes.
//!
//! * Pieces of segments and indexes, by place: small extents of several partitions lie in the same
//!   piece, so readers of all of them share one scan. A piece that is being read is waited for, not
//!   read twice.
//! * Batches ahead of a reader that reads on: it finds them ready.
//! * Open files.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ids::{Generation, LogId, Offset};

use super::read::Batches;

const FILES_MAX: usize = 64;
/// Stretches ahead of one reader at most.
const STRETCHES_MAX: usize = 3;
/// Readers that are remembered.
const READERS_MAX: usize = 16 << 10;

/// A piece of a file: the segment, whether its index, and the position.
pub(super) type Place = (Generation, bool, u64);

/// See the module's header.
pub(super) struct ColdCache<F> {
    bytes_max: usize,
    files: VecDeque<(Generation, bool, F)>,
    pieces: HashMap<Place, Bytes>,
    /// Their places, the oldest first.
    order: VecDeque<Place>,
    pieces_bytes: usize,
    coming: HashMap<Place, Rc<Notify>>,
    ahead: HashMap<LogId, Ahead>,
    ahead_bytes: usize,
    epochs: u64,
    readers: usize,
}

/// What is read ahead of one reader.
struct Ahead {
    /// Tells this reader from one before it.
    epoch: u64,
    /// Where the reader is expected next.
    next: Offset,
    /// Where reading ahead goes on.
    end: Offset,
    /// Somebody looks where the stretch at `end` lies.
    looking: Option<Rc<Notify>>,
    /// Stretches in order, read or being read.
    stretches: VecDeque<Stretch>,
}

struct Stretch {
    from: Offset,
    batches: Option<Batches>,
    done: Rc<Notify>,
}

impl Ahead {
    fn bytes(&self) -> usize {
        self.stretches.iter().filter_map(|s| s.batches.as_ref()).map(|b| b.bytes).sum()
    }

    fn wake(&self) {
        self.stretches.iter().map(|s| &s.done).chain(&self.looking).for_each(|n| n.notify_waiters());
    }
}

/// What a reader finds.
pub(super) enum Found {
    /// Batches from its offset on.
    Ready(Batches),
    /// They are being read.
    Coming(Rc<Notify>),
    /// Nothing. `reads_on`: but it goes on where the last one stopped.
    Nothing { reads_on: bool },
}

impl<F: Clone> ColdCache<F> {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            files: VecDeque::new(),
            pieces: HashMap::new(),
            order: VecDeque::new(),
            pieces_bytes: 0,
            coming: HashMap::new(),
            ahead: HashMap::new(),
            ahead_bytes: 0,
            epochs: 0,
            readers: 0,
        }
    }

    pub fn file(&self, generation: Generation, index: bool) -> Option<F> {
        self.files.iter().find(|(g, i, _)| *g == generation && *i == index).map(|(_, _, f)| f.clone())
    }

    pub fn keep_file(&mut self, generation: Generation, index: bool, file: F) {
        if self.files.len() >= FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back((generation, index, file));
    }

    /// A piece, or word that it is being read.
    pub fn piece(&self, place: &Place) -> Option<Result<Bytes, Rc<Notify>>> {
        let here = self.pieces.get(place).map(|piece| Ok(piece.clone()));
        here.or_else(|| self.coming.get(place).map(|notify| Err(Rc::clone(notify))))
    }

    /// States that a piece is being read.
    pub fn piece_comes(&mut self, place: Place) {
        self.coming.insert(place, Rc::new(Notify::new()));
    }

    /// The piece has been read; `None`: in vain.
    pub fn piece_is_here(&mut self, place: Place, piece: Option<&Bytes>) {
        if let Some(notify) = self.coming.remove(&place) {
            notify.notify_waiters();
        }
        let Some(piece) = piece else { return };
        if self.pieces.insert(place, piece.clone()).is_none() {
            self.order.push_back(place);
            self.pieces_bytes += piece.len();
        }
        while self.pieces_bytes > self.bytes_max / 2 {
            let Some(oldest) = self.order.pop_front() else { break };
            self.pieces_bytes -= self.pieces.remove(&oldest).map_or(0, |p| p.len());
        }
    }

    /// What was read ahead for a reader at `offset`: at most `bytes_max` bytes of it, but for one batch if
    /// it `must` have one.
    pub fn take_ahead(&mut self, log: LogId, offset: Offset, bytes_max: usize, must: bool) -> Found {
        let Some(ahead) = self.ahead.get_mut(&log) else { return Found::Nothing { reads_on: false } };
        if ahead.next != offset {
            return Found::Nothing { reads_on: false };
        }
        let Some(stretch) = ahead.stretches.front_mut() else {
            return match &ahead.looking {
                Some(looking) => Found::Coming(Rc::clone(looking)),
                None => Found::Nothing { reads_on: true },
            };
        };
        let Some(first) = &mut stretch.batches else { return Found::Coming(Rc::clone(&stretch.done)) };
        if !must && first.first_len() > bytes_max {
            return Found::Ready(Batches { next_offset: offset, ..Batches::default() });
        }
        let batches = first.split_front(bytes_max);
        if first.slices.is_empty() {
            ahead.stretches.pop_front();
        }
        ahead.next = batches.next_offset;
        self.ahead_bytes -= batches.bytes;
        Found::Ready(batches)
    }

    /// A reader will go on at `next`.
    pub fn expect(&mut self, log: LogId, next: Offset) {
        if self.ahead.len() >= READERS_MAX && !self.ahead.contains_key(&log) {
            self.ahead.retain(|_, a| a.looking.is_some() || !a.stretches.is_empty());
        }
        self.forget_log(log);
        self.epochs += 1;
        let epoch = self.epochs;
        let ahead = Ahead { epoch, next, end: next, looking: None, stretches: VecDeque::new() };
        self.ahead.insert(log, ahead);
    }

    /// Where to read ahead for a partition, if there is room and nobody looks already.
    pub fn begin_ahead(&mut self, log: LogId, bytes: usize) -> Option<(u64, Offset)> {
        let room = self.ahead_bytes + bytes <= self.bytes_max / 2;
        let ahead = self.ahead.get_mut(&log)?;
        if !room || ahead.looking.is_some() || ahead.stretches.len() >= STRETCHES_MAX {
            return None;
        }
        ahead.looking = Some(Rc::new(Notify::new()));
        Some((ahead.epoch, ahead.end))
    }

    /// The stretch that was looked for goes up to `next`, and is being read. `None`: there is none.
    /// `false`: nobody waits for it any more.
    pub fn found_ahead(&mut self, log: LogId, epoch: u64, next: Option<Offset>) -> bool {
        let Some(ahead) = self.ahead.get_mut(&log).filter(|a| a.epoch == epoch) else { return false };
        let Some(looking) = ahead.looking.take() else { return false };
        let Some(next) = next.filter(|next| *next > ahead.end) else {
            looking.notify_waiters();
            return false;
        };
        ahead.stretches.push_back(Stretch { from: ahead.end, batches: None, done: Rc::clone(&looking) });
        ahead.end = next;
        true
    }

    /// The stretch from `from` on has been read; `None`: in vain, the reader will meet the error itself.
    pub fn end_ahead(&mut self, log: LogId, epoch: u64, from: Offset, batches: Option<Batches>) {
        let Some(ahead) = self.ahead.get_mut(&log).filter(|a| a.epoch == epoch) else { return };
        let Some(at) = ahead.stretches.iter().position(|s| s.from == from) else { return };
        ahead.stretches[at].done.notify_waiters();
        match batches.filter(|b| !b.slices.is_empty()) {
            Some(batches) => {
                self.ahead_bytes += batches.bytes;
                ahead.stretches[at].batches = Some(batches);
            }
            None => {
                let next = ahead.next;
                self.expect(log, next);
            }
        }
    }

    /// A reader has found a place and goes to read it.
    pub fn enter(&mut self) {
        self.readers += 1;
    }

    /// It has read it.
    pub fn leave(&mut self) {
        self.readers -= 1;
    }

    /// Whether any reader is on its way.
    pub fn is_read(&self) -> bool {
        self.readers > 0
    }

    /// Drops what belongs to a segment that is gone.
    pub fn forget(&mut self, generation: Generation) {
        self.files.retain(|(g, _, _)| *g != generation);
        let gone = |place: &Place| place.0 == generation;
        let Self { pieces, order, pieces_bytes, .. } = self;
        order.retain(|place| !gone(place));
        pieces.retain(|place, piece| {
            *pieces_bytes -= if gone(place) { piece.len() } else { 0 };
            !gone(place)
        });
    }

    /// Drops what was read ahead of a partition.
    pub fn forget_log(&mut self, log: LogId) {
        if let Some(old) = self.ahead.remove(&log) {
            self.ahead_bytes -= old.bytes();
            old.wake();
        }
    }
}
