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
/// Stretches that lie ready for one reader at most.
const READY_MAX: usize = 2;
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
    readers: usize,
}

/// What was read ahead of one reader.
struct Ahead {
    /// Where the reader is expected next.
    next: Offset,
    /// Where reading ahead goes on.
    end: Offset,
    ready: VecDeque<Batches>,
    reading: Option<Rc<Notify>>,
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

    /// What was read ahead for a reader at `offset`; at most `bytes_max` bytes of it.
    pub fn take_ahead(&mut self, log: LogId, offset: Offset, bytes_max: usize) -> Found {
        let Some(ahead) = self.ahead.get_mut(&log) else { return Found::Nothing { reads_on: false } };
        if ahead.next != offset {
            return Found::Nothing { reads_on: false };
        }
        if let Some(first) = ahead.ready.front_mut() {
            let batches = first.split_front(bytes_max);
            if first.slices.is_empty() {
                ahead.ready.pop_front();
            }
            ahead.next = batches.next_offset;
            self.ahead_bytes -= batches.bytes;
            return Found::Ready(batches);
        }
        match &ahead.reading {
            Some(reading) => Found::Coming(Rc::clone(reading)),
            None => Found::Nothing { reads_on: true },
        }
    }

    /// A reader will go on at `next`.
    pub fn expect(&mut self, log: LogId, next: Offset) {
        if self.ahead.len() >= READERS_MAX && !self.ahead.contains_key(&log) {
            self.ahead.retain(|_, a| a.reading.is_some() || !a.ready.is_empty());
        }
        let fresh = Ahead { next, end: next, ready: VecDeque::new(), reading: None };
        if let Some(old) = self.ahead.insert(log, fresh) {
            self.ahead_bytes -= old.ready.iter().map(|b| b.bytes).sum::<usize>();
            if let Some(reading) = old.reading {
                reading.notify_waiters();
            }
        }
    }

    /// Where to read ahead for a partition, if there is room and nobody does.
    pub fn begin_ahead(&mut self, log: LogId, bytes: usize) -> Option<Offset> {
        let room = self.ahead_bytes + bytes <= self.bytes_max / 2;
        let ahead = self.ahead.get_mut(&log)?;
        if !room || ahead.reading.is_some() || ahead.ready.len() >= READY_MAX {
            return None;
        }
        ahead.reading = Some(Rc::new(Notify::new()));
        Some(ahead.end)
    }

    /// What was read ahead from `from` on; nothing if in vain. `false`: nobody waits for it any more.
    pub fn end_ahead(&mut self, log: LogId, from: Offset, batches: Option<Batches>) -> bool {
        let Some(ahead) = self.ahead.get_mut(&log).filter(|a| a.end == from) else { return false };
        if let Some(reading) = ahead.reading.take() {
            reading.notify_waiters();
        }
        let Some(batches) = batches.filter(|b| !b.slices.is_empty()) else { return false };
        ahead.end = batches.next_offset;
        self.ahead_bytes += batches.bytes;
        ahead.ready.push_back(batches);
        true
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
            self.ahead_bytes -= old.ready.iter().map(|b| b.bytes).sum::<usize>();
            if let Some(reading) = old.reading {
                reading.notify_waiters();
            }
        }
    }
}
