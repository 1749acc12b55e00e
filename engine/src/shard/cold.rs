//! What was read from the disk a moment ago, and what a reader will want next; bounded in bytes.
//!
//! * Pieces of segments and indexes, by place. Small extents of several partitions lie side by side, so
//!   readers of all of them share one scan: what is read at once grows with what was wanted right before
//!   it, and what follows is read ahead for all. A piece that is being read is waited for, not read twice.
//! * Batches ahead of a reader that reads on: it finds them ready.
//! * Open files, and blocks of their indexes.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::ids::{Generation, LogId, Offset};
use crate::log::index::IndexEntry;

use super::read::Batches;

/// Files are kept in pieces of this size; some are read at once.
pub(super) const PIECE_BYTES: u64 = 64 << 10;
/// A shared scan reads so much at once, unless the cache is too small for it. With what was taken a moment ago and
/// what is read next it stays in the processor's cache.
const SCAN_BYTES_MAX: u64 = 1 << 20;
/// Of pieces from which everything was taken so much is kept, for readers of the same partitions right behind. The
/// rest goes: memory that is used again at once is in the processor's cache when the disk fills it.
const SPENT_BYTES_MAX: u64 = 1 << 20;
/// A piece counts as taken from so many bytes on: the rest is what separates batches.
const SPENT_FROM: u64 = PIECE_BYTES / 8 * 7;
/// It goes so many of them ahead.
const SCANS_AHEAD: u64 = 4;
/// The highest score of moving together; from half of it on readers count as doing so.
const TOGETHER_MAX: u8 = 64;
/// Places of small extents that are remembered, by which readers who move together know each other.
const PASSED_MAX: usize = 4 << 10;
/// So many of them show where readers are.
const RECENT_MAX: usize = 64;
const FILES_MAX: usize = 64;
/// Decoded blocks of indexes that are kept, of about 5 KiB each: fewer where little memory may be used.
const BLOCKS_MAX: usize = 64;
/// Stretches ahead of one reader at most: one that it takes from, and one that is being read. More of them
/// only keep memory in turn that no processor cache holds.
const STRETCHES_MAX: usize = 2;
/// Readers that are remembered.
const READERS_MAX: usize = 16 << 10;

/// A piece of a file: the segment, whether its index, and the position.
pub(super) type Place = (Generation, bool, u64);

/// See the module's header.
pub(super) struct ColdCache<F> {
    bytes_max: usize,
    files: VecDeque<(Generation, bool, F)>,
    blocks: VecDeque<(Generation, u32, Rc<[IndexEntry]>)>,
    /// Each from its place to the end of what was read with it.
    pieces: HashMap<Place, Piece>,
    /// Their places, the oldest first.
    order: VecDeque<Place>,
    pieces_bytes: usize,
    /// Places of pieces from which everything was taken, in that order.
    spent: VecDeque<Place>,
    coming: HashMap<Place, Rc<Notify>>,
    /// Rises with every small extent that lies at, or next to, one that was wanted not long ago. It is high
    /// at first: readers who begin together must not be far apart before they are known as such.
    together: u8,
    /// Pieces that were wanted, the oldest first, and the same for looking up.
    passed: VecDeque<Place>,
    passed_set: HashSet<Place>,
    /// Small extents that were wanted last, by anybody: where readers are now.
    recent: VecDeque<Place>,
    /// Whether pieces are being read ahead of readers who move together, and what was wanted last, in a segment that
    /// ends there.
    scanning: bool,
    scan_from: (Place, u64),
    ahead: HashMap<LogId, Ahead>,
    ahead_bytes: usize,
    epochs: u64,
    readers: usize,
}

/// A piece of a file.
struct Piece {
    bytes: Bytes,
    /// Bytes that readers have taken of it.
    taken: u64,
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
    /// It has come from the disk, and is being checked or ready.
    came: bool,
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
            blocks: VecDeque::new(),
            pieces: HashMap::new(),
            order: VecDeque::new(),
            pieces_bytes: 0,
            spent: VecDeque::new(),
            coming: HashMap::new(),
            together: TOGETHER_MAX,
            passed: VecDeque::new(),
            passed_set: HashSet::new(),
            recent: VecDeque::new(),
            scanning: false,
            scan_from: ((Generation(0), false, 0), 0),
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

    /// A decoded block of an index.
    pub fn block(&self, generation: Generation, number: u32) -> Option<Rc<[IndexEntry]>> {
        let found = self.blocks.iter().rev().find(|(g, n, _)| *g == generation && *n == number);
        found.map(|(_, _, block)| Rc::clone(block))
    }

    pub fn keep_block(&mut self, generation: Generation, number: u32, block: &Rc<[IndexEntry]>) {
        let most = (self.bytes_max / (128 << 10)).clamp(1, BLOCKS_MAX);
        while self.blocks.len() >= most {
            self.blocks.pop_front();
        }
        self.blocks.push_back((generation, number, Rc::clone(block)));
    }

    /// A piece, or word that it is being read.
    pub fn piece(&self, place: &Place) -> Option<Result<Bytes, Rc<Notify>>> {
        let here = self.pieces.get(place).map(|piece| Ok(piece.bytes.clone()));
        here.or_else(|| self.coming.get(place).map(|notify| Err(Rc::clone(notify))))
    }

    fn knows(&self, (generation, index, at): Place) -> bool {
        let place = (generation, index, at);
        self.pieces.contains_key(&place) || self.coming.contains_key(&place)
    }

    /// Bytes that a shared scan reads at once, in whole pieces.
    fn scan_bytes(&self) -> u64 {
        let share = self.bytes_max as u64 / 32;
        (share - share % PIECE_BYTES).clamp(PIECE_BYTES, SCAN_BYTES_MAX)
    }

    /// Bytes of pieces that are kept at most: a scan fills half of the memory that it takes, and all memory of pieces
    /// together is half of the cache.
    fn pieces_bytes_max(&self) -> usize {
        self.bytes_max / 4
    }

    /// Readers who move together through a segment stay within so many bytes of it.
    pub fn region_bytes(&self) -> u64 {
        self.scan_bytes()
    }

    /// Whether readers move together through the segments, as those of one topic's partitions do.
    pub fn is_shared(&self) -> bool {
        self.together >= TOGETHER_MAX / 2
    }

    /// Somebody wants a small extent that begins in this piece.
    pub fn wanted(&mut self, (generation, index, at): Place) {
        let place = (generation, index, at);
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(place);
        let near = [at.wrapping_sub(PIECE_BYTES), at + PIECE_BYTES];
        let near = near.iter().any(|at| self.passed_set.contains(&(generation, index, *at)));
        let fresh = self.passed_set.insert(place);
        self.together = match near || !fresh {
            true => (self.together + 1).min(TOGETHER_MAX),
            false => self.together.saturating_sub(1),
        };
        if fresh {
            self.passed.push_back(place);
        }
        if self.passed.len() > PASSED_MAX
            && let Some(oldest) = self.passed.pop_front()
        {
            self.passed_set.remove(&oldest);
        }
    }

    /// Whether a reader who goes on here is so far ahead of others who read together with it that what it reads would
    /// be gone when they come. Whoever has gone away is forgotten with the next few extents.
    pub fn is_far_ahead(&self, generation: Generation, at: u64) -> bool {
        let reach = self.pieces_bytes_max() as u64 / 2;
        let behind = |other: &Place| match other.0.cmp(&generation) {
            Ordering::Less => at > reach,
            Ordering::Equal => at > other.2 + reach,
            Ordering::Greater => false,
        };
        self.is_shared() && self.recent.iter().any(behind)
    }

    /// How many pieces to read at once from this one on, which is not here: `wanted`, or more when those
    /// before it were wanted, too.
    pub fn pieces_at_once(&self, (generation, index, at): Place, wanted: u64) -> u64 {
        let scan = self.scan_bytes() / PIECE_BYTES;
        let behind = |n: &u64| {
            at.checked_sub(n * PIECE_BYTES).is_some_and(|before| self.knows((generation, index, before)))
        };
        let before =
            if at == 0 && self.is_shared() { scan } else { (1..=scan).take_while(behind).count() as u64 };
        let to_boundary = scan - at / PIECE_BYTES % scan;
        let most = wanted.max(before.min(to_boundary));
        let free = |n: &u64| !self.knows((generation, index, at + n * PIECE_BYTES));
        1 + (1..most).take_while(free).count() as u64
    }

    /// What to read ahead of readers who move together, now that somebody wants this piece: place and pieces. `None`:
    /// nothing, or somebody reads ahead already. One read after the other: what is read at once comes at once, and the
    /// disk would rest while it is checked.
    pub fn begin_scan(&mut self, place: Place, data_end: u64) -> Option<(Place, u64)> {
        self.scan_from = (place, data_end);
        if self.scanning {
            return None;
        }
        let next = self.scan_ahead(place, data_end);
        self.scanning = next.is_some();
        next
    }

    /// What to read ahead after that, unless it was read in vain.
    pub fn go_on_scanning(&mut self, was_read: bool) -> Option<(Place, u64)> {
        let (place, data_end) = self.scan_from;
        let next = was_read.then(|| self.scan_ahead(place, data_end)).flatten();
        self.scanning = next.is_some();
        next
    }

    fn scan_ahead(&mut self, (generation, index, at): Place, data_end: u64) -> Option<(Place, u64)> {
        let scan = self.scan_bytes();
        let start = at - at % scan;
        let scanned =
            start.checked_sub(PIECE_BYTES).is_none_or(|before| self.knows((generation, index, before)));
        let room = (self.coming.len() as u64 * PIECE_BYTES) < self.bytes_max as u64 / 8;
        if !self.is_shared() || !scanned || !room {
            return None;
        }
        let next = (1..=SCANS_AHEAD)
            .map(|n| (generation, index, start + n * scan))
            .find(|place| place.2 < data_end && !self.knows(*place))?;
        let pieces = self.pieces_at_once(next, scan / PIECE_BYTES);
        self.pieces_come(next, pieces);
        Some((next, pieces))
    }

    /// States that so many pieces are being read.
    pub fn pieces_come(&mut self, (generation, index, at): Place, pieces: u64) {
        let notify = Rc::new(Notify::new());
        for n in 0..pieces {
            self.coming.insert((generation, index, at + n * PIECE_BYTES), Rc::clone(&notify));
        }
    }

    /// They have been read; `None`: in vain.
    pub fn pieces_are_here(&mut self, (generation, index, at): Place, pieces: u64, bytes: Option<&Bytes>) {
        for n in 0..pieces {
            let place = (generation, index, at + n * PIECE_BYTES);
            if let Some(notify) = self.coming.remove(&place) {
                notify.notify_waiters();
            }
            let from = (n * PIECE_BYTES) as usize;
            let Some(bytes) = bytes.filter(|b| from < b.len()) else { continue };
            if self.pieces.insert(place, Piece { bytes: bytes.slice(from..), taken: 0 }).is_none() {
                self.order.push_back(place);
                self.pieces_bytes += PIECE_BYTES as usize;
            }
        }
        while self.pieces_bytes > self.pieces_bytes_max() {
            let Some(oldest) = self.order.pop_front() else { break };
            self.pieces_bytes -= self.pieces.remove(&oldest).map_or(0, |_| PIECE_BYTES as usize);
        }
    }

    /// A reader has taken this range of a file, which may lie in several pieces.
    pub fn took(&mut self, generation: Generation, index: bool, taken: &Range<u64>) {
        let mut at = taken.start - taken.start % PIECE_BYTES;
        while at < taken.end {
            let bytes = taken.end.min(at + PIECE_BYTES) - taken.start.max(at);
            self.took_of_piece((generation, index, at), bytes);
            at += PIECE_BYTES;
        }
    }

    fn took_of_piece(&mut self, place: Place, bytes: u64) {
        let Some(piece) = self.pieces.get_mut(&place) else { return };
        let before = piece.taken;
        piece.taken += bytes;
        if before >= SPENT_FROM || piece.taken < SPENT_FROM {
            return;
        }
        self.spent.push_back(place);
        if self.spent.len() as u64 * PIECE_BYTES > SPENT_BYTES_MAX
            && let Some(oldest) = self.spent.pop_front()
            && self.pieces.remove(&oldest).is_some()
        {
            self.pieces_bytes -= PIECE_BYTES as usize;
            if let Some(at) = self.order.iter().position(|place| *place == oldest) {
                self.order.remove(at);
            }
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

    /// Where to read ahead for a partition, if there is room, and nothing of it is looked for or being read: two reads
    /// at once would come at once, and the disk would rest while both are checked.
    pub fn begin_ahead(&mut self, log: LogId, bytes: usize) -> Option<(u64, Offset)> {
        let room = self.ahead_bytes + bytes <= self.bytes_max / 2;
        let ahead = self.ahead.get_mut(&log)?;
        let reading = ahead.looking.is_some() || ahead.stretches.back().is_some_and(|s| !s.came);
        if !room || reading || ahead.stretches.len() >= STRETCHES_MAX {
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
        ahead.stretches.push_back(Stretch {
            from: ahead.end,
            came: false,
            batches: None,
            done: Rc::clone(&looking),
        });
        ahead.end = next;
        true
    }

    /// The stretch from `from` on has come from the disk: the next one may be read while it is checked.
    pub fn ahead_came(&mut self, log: LogId, epoch: u64, from: Offset) {
        let ahead = self.ahead.get_mut(&log).filter(|a| a.epoch == epoch);
        if let Some(stretch) = ahead.and_then(|a| a.stretches.iter_mut().find(|s| s.from == from)) {
            stretch.came = true;
        }
    }

    /// The stretch from `from` on has been read and checked; `None`: in vain, the reader will meet the error itself.
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
        self.blocks.retain(|(g, _, _)| *g != generation);
        let gone = |place: &Place| place.0 == generation;
        self.passed.retain(|place| !gone(place));
        self.passed_set.retain(|place| !gone(place));
        let Self { pieces, order, pieces_bytes, spent, .. } = self;
        order.retain(|place| !gone(place));
        spent.retain(|place| !gone(place));
        pieces.retain(|place, _| {
            *pieces_bytes -= if gone(place) { PIECE_BYTES as usize } else { 0 };
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

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Generation = Generation(7);

    fn place(piece: u64) -> Place {
        (SEGMENT, false, piece * PIECE_BYTES)
    }

    /// Reads what a small extent in this piece brings; says how many pieces.
    fn read(cold: &mut ColdCache<()>, piece: u64) -> u64 {
        cold.wanted(place(piece));
        if cold.knows(place(piece)) {
            return 0;
        }
        let pieces = cold.pieces_at_once(place(piece), 1);
        cold.pieces_come(place(piece), pieces);
        cold.pieces_are_here(place(piece), pieces, Some(&vec![0; (pieces * PIECE_BYTES) as usize].into()));
        pieces
    }

    #[test]
    fn readers_who_move_together_scan_and_one_on_its_own_does_not() {
        let mut cold = ColdCache::<()>::new(64 << 20);
        let alone: Vec<u64> = (1..41).map(|n| read(&mut cold, n * 3)).collect();
        assert_eq!(alone, [1; 40]);
        assert!(!cold.is_shared());
        assert!(cold.begin_scan(place(117), u64::MAX).is_none());

        let together: Vec<u64> = (1_000..1_200).map(|n| read(&mut cold, n)).filter(|n| *n > 0).collect();
        assert_eq!(together[..4], [1, 1, 2, 4]);
        assert!(together[8..].iter().all(|n| *n == 16), "{together:?}");
        assert!(cold.is_shared());
        let data_end = 1_232 * PIECE_BYTES;
        assert_eq!(cold.begin_scan(place(1_199), data_end), Some((place(1_200), 16)));
        assert_eq!(cold.begin_scan(place(1_199), data_end), None, "one is under way");
        assert_eq!(cold.go_on_scanning(true), Some((place(1_216), 16)));
        assert_eq!(cold.go_on_scanning(true), None, "there is no more");
        cold.pieces_are_here(place(1_200), 16, None);
        assert_eq!(cold.begin_scan(place(1_199), data_end), Some((place(1_200), 16)));
        assert_eq!(cold.go_on_scanning(false), None, "nor is it tried again at once");

        for n in 0..40 {
            read(&mut cold, 5_000 + n * 3);
        }
        assert!(!cold.is_shared());
    }

    #[test]
    fn pieces_stay_within_their_part_of_the_memory_and_the_oldest_go_first() {
        let mut cold = ColdCache::<()>::new(1 << 20);
        for n in 0..100 {
            read(&mut cold, n);
            assert!(cold.pieces_bytes <= 256 << 10 && cold.pieces.len() == cold.order.len());
        }
        assert!(cold.knows(place(99)) && !cold.knows(place(90)));
        cold.forget(SEGMENT);
        assert_eq!((cold.pieces_bytes, cold.pieces.len()), (0, 0));
    }

    #[test]
    fn who_is_far_ahead_is_known_until_the_others_come_or_have_gone() {
        let mut cold = ColdCache::<()>::new(64 << 20);
        cold.wanted(place(3));
        let at = |piece: u64| piece * PIECE_BYTES;
        assert!(!cold.is_far_ahead(SEGMENT, at(3 + 128)));
        assert!(cold.is_far_ahead(SEGMENT, at(3 + 129)));
        assert!(!cold.is_far_ahead(SEGMENT, at(1)), "who is behind waits for nobody");
        assert!(!cold.is_far_ahead(Generation(8), at(128)) && cold.is_far_ahead(Generation(8), at(129)));
        assert!(!cold.is_far_ahead(Generation(6), at(1000)));
        // The others have gone: this one goes on by itself.
        (0..RECENT_MAX as u64).for_each(|n| cold.wanted(place(260 + n)));
        assert!(!cold.is_far_ahead(SEGMENT, at(260 + RECENT_MAX as u64)));
        // Who reads alone waits for nobody.
        (0..100).for_each(|n| cold.wanted(place(1_000 + n * 300)));
        assert!(!cold.is_shared() && !cold.is_far_ahead(SEGMENT, at(1_000_000)));
    }

    #[test]
    fn what_was_taken_goes_once_others_right_behind_have_had_it() {
        let kept = SPENT_BYTES_MAX / PIECE_BYTES;
        // Batches that fill half of a piece, a whole one, or more than two, with something between that belongs to
        // nobody; they begin and end anywhere.
        for batch in [PIECE_BYTES / 2, PIECE_BYTES, PIECE_BYTES * 9 / 4] {
            let mut cold = ColdCache::<()>::new(64 << 20);
            let mut at = 0;
            while at < 200 * PIECE_BYTES {
                let taken = at..at + batch;
                (at / PIECE_BYTES..(at + batch).div_ceil(PIECE_BYTES)).for_each(|n| {
                    read(&mut cold, n);
                });
                cold.took(SEGMENT, false, &taken);
                at += batch + 100;
                let last = at / PIECE_BYTES;
                assert!(cold.pieces.len() == cold.order.len() && cold.knows(place(last.saturating_sub(1))));
                let bytes = (kept + 32) as usize * PIECE_BYTES as usize;
                assert!(cold.pieces_bytes <= bytes, "{} bytes of batches of {batch}", cold.pieces_bytes);
            }
            let last = at / PIECE_BYTES - 1;
            assert!(cold.knows(place(last - kept + 3)) && !cold.knows(place(last - kept - 3)), "{batch}");
        }
    }

    #[test]
    fn one_stretch_is_read_at_a_time_and_the_next_one_once_it_has_come() {
        let mut cold = ColdCache::<()>::new(64 << 20);
        let log = LogId(1);
        cold.expect(log, 10);
        let (epoch, from) = cold.begin_ahead(log, 1 << 20).expect("room");
        assert!(from == 10 && cold.begin_ahead(log, 1 << 20).is_none(), "it is looked for");
        assert!(cold.found_ahead(log, epoch, Some(20)));
        assert!(cold.begin_ahead(log, 1 << 20).is_none(), "it is being read");
        cold.ahead_came(log, epoch, 10);
        assert_eq!(cold.begin_ahead(log, 1 << 20), Some((epoch, 20)), "while the first is checked");
        assert!(cold.found_ahead(log, epoch, Some(30)));
        cold.ahead_came(log, epoch, 20);
        assert!(cold.begin_ahead(log, 1 << 20).is_none(), "two are there");
    }

    #[test]
    fn blocks_of_indexes_are_few_and_go_with_their_segment() {
        let mut cold = ColdCache::<()>::new(64 << 20);
        let block: Rc<[IndexEntry]> = Rc::from([]);
        (0..100).for_each(|n| cold.keep_block(SEGMENT, n, &block));
        assert!(cold.blocks.len() == BLOCKS_MAX && cold.block(SEGMENT, 99).is_some());
        assert!(cold.block(SEGMENT, 0).is_none() && cold.block(Generation(8), 99).is_none());
        cold.forget(SEGMENT);
        assert!(cold.blocks.is_empty());
    }

    #[test]
    fn what_was_read_in_vain_is_neither_here_nor_coming() {
        let mut cold = ColdCache::<()>::new(1 << 20);
        cold.pieces_come(place(0), 4);
        assert!(matches!(cold.piece(&place(3)), Some(Err(_))));
        cold.pieces_are_here(place(0), 4, None);
        assert!((0..4).all(|n| cold.piece(&place(n)).is_none()));
    }
}
