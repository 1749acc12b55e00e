//! One simulated file: what is durable, what reads see, and the changes in between.

use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use super::content::{Block, Content, Fate, SECTOR, Tear, block_of, mix};
use super::rng::Rng;
use keylane_engine::aligned::BLOCK;

/// A change of a file that no completed sync covers.
#[derive(Clone)]
struct Pending {
    id: u64,
    /// When it completed; `None` while it is in flight.
    completed: Option<u64>,
    change: Change,
}

#[derive(Clone)]
enum Change {
    Write { pos: u64, data: Vec<Block> },
    SetLen(u64),
}

/// A simulated file.
pub struct Inode {
    pub path: Rc<str>,
    /// What every crash leaves, but for what the pending changes do to it.
    pub durable: Content,
    /// What reads see.
    pub visible: Content,
    pending: Vec<Pending>,
    /// Blocks in the page cache, by number. What is read through it is what is visible, as of the system's.
    cached: BTreeSet<u64>,
}

impl Inode {
    /// An empty file. Its emptiness is durable as soon as its name is.
    pub fn new(path: Rc<str>) -> Self {
        Self {
            path,
            durable: Content::default(),
            visible: Content::default(),
            pending: Vec::new(),
            cached: BTreeSet::new(),
        }
    }

    /// A file found with this content.
    pub fn found(path: Rc<str>, content: Content) -> Self {
        Self {
            path,
            durable: content.clone(),
            visible: content,
            pending: Vec::new(),
            cached: BTreeSet::new(),
        }
    }

    /// Puts blocks into the page cache.
    pub fn cache(&mut self, range: Range<u64>) {
        self.cached.extend(range.start / BLOCK as u64..range.end.div_ceil(BLOCK as u64));
    }

    /// Bytes from `pos` on, at most `len`, that are in the page cache without a gap.
    pub fn cached(&self, pos: u64, len: u64) -> u64 {
        let first = pos / BLOCK as u64;
        let blocks = (first..first + len / BLOCK as u64).take_while(|block| self.cached.contains(block));
        blocks.count() as u64 * BLOCK as u64
    }

    /// Empties the page cache.
    pub fn drop_cached(&mut self) {
        self.cached.clear();
    }

    /// Changes that are not durable.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Notes a write as in flight.
    pub fn begin_write(&mut self, id: u64, pos: u64, data: Vec<Block>) {
        self.pending.push(Pending { id, completed: None, change: Change::Write { pos, data } });
    }

    /// Notes a change of the length as in flight.
    pub fn begin_set_len(&mut self, id: u64, len: u64) {
        self.pending.push(Pending { id, completed: None, change: Change::SetLen(len) });
    }

    /// Completes a change: reads see it from now on, and syncs begun from now on cover it. With
    /// `limit`, only so many bytes of a write were written.
    pub fn complete(&mut self, id: u64, now: u64, limit: Option<usize>) {
        let Some(at) = self.pending.iter().position(|pending| pending.id == id) else { return };
        // In the list, what has completed stands in the order of completion, before what is in flight.
        let mut pending = self.pending.remove(at);
        let place = self.pending.iter().take_while(|other| other.completed.is_some()).count();
        pending.completed = Some(now);
        // A write past the page cache takes what it changes out of it.
        match &pending.change {
            Change::SetLen(_) => self.cached.clear(),
            Change::Write { pos, data } => {
                let first = pos / BLOCK as u64;
                (first..first + data.len() as u64).for_each(|block| {
                    self.cached.remove(&block);
                });
            }
        }
        match &mut pending.change {
            Change::SetLen(len) => self.visible.set_len(*len),
            Change::Write { pos, data } => {
                if let Some(limit) = limit {
                    cut(&self.visible, *pos, data, limit);
                }
                self.visible.write_blocks(*pos, data);
            }
        }
        self.pending.insert(place, pending);
    }

    /// Forgets a change that was in flight: it never happened.
    pub fn cancel(&mut self, id: u64) {
        self.pending.retain(|pending| pending.id != id);
    }

    /// Turns a write in flight into one of which each sector was written, not written or spoilt.
    pub fn spoil(&mut self, id: u64, rng: &mut Rng) {
        let Some(pending) = self.pending.iter_mut().find(|pending| pending.id == id) else { return };
        if let Change::Write { pos, data } = &mut pending.change {
            let tear = Tear::draw(data.len(), 8, rng);
            for (i, block) in data.iter_mut().enumerate() {
                let old = old_block(&self.visible, *pos + (i * BLOCK) as u64);
                let fate = tear.fate(i, rng);
                *block = mix(old.as_ref(), block, fate, rng);
            }
        }
    }

    /// Makes the changes durable that completed before `begun`.
    pub fn sync(&mut self, begun: u64) {
        let covered = self.covered(begun);
        for pending in self.pending.drain(..covered) {
            match pending.change {
                Change::SetLen(len) => self.durable.set_len(len),
                Change::Write { pos, data } => self.durable.write_blocks(pos, &data),
            }
        }
    }

    /// Gives up the changes that completed before `begun`: no later sync covers them. If `in_part`,
    /// seeded sectors of them are durable all the same.
    pub fn lose(&mut self, begun: u64, in_part: bool, rng: &mut Rng) {
        let covered = self.covered(begun);
        for pending in self.pending.drain(..covered) {
            if in_part {
                apply_torn(&mut self.durable, &pending.change, 0, rng);
            }
        }
    }

    fn covered(&self, begun: u64) -> usize {
        self.pending.iter().take_while(|pending| pending.completed.is_some_and(|at| at < begun)).count()
    }

    /// What a crash now could leave: the durable content and what `survival` grants the pending changes.
    pub fn after_crash(&self, survival: Survival, rng: &mut Rng) -> Content {
        let mut content = self.durable.clone();
        match survival {
            Survival::Nothing => {}
            Survival::Everything => {
                for pending in &self.pending {
                    match &pending.change {
                        Change::SetLen(len) => content.set_len(*len),
                        Change::Write { pos, data } => content.write_blocks(*pos, data),
                    }
                }
            }
            Survival::Seeded { garble_1_in } => {
                // Changes of the length are journalled in order: a front part of them is kept.
                let is_len = |pending: &&Pending| matches!(pending.change, Change::SetLen(_));
                let lens = self.pending.iter().filter(is_len).count();
                let mut lens_kept = if lens > 0 { rng.below(lens as u64 + 1) } else { 0 };
                for pending in &self.pending {
                    match &pending.change {
                        Change::SetLen(len) => {
                            if lens_kept > 0 {
                                lens_kept -= 1;
                                content.set_len(*len);
                            }
                        }
                        write => apply_torn(&mut content, write, garble_1_in, rng),
                    }
                }
            }
        }
        content
    }
}

/// What a crash leaves of changes that are not durable.
#[derive(Clone, Copy, Debug)]
pub enum Survival {
    Nothing,
    Everything,
    /// Drawn for each sector; of the kept ones, one in so many holds garbage (0: none).
    Seeded {
        garble_1_in: u32,
    },
}

fn apply_torn(content: &mut Content, change: &Change, garble_1_in: u32, rng: &mut Rng) {
    match change {
        Change::SetLen(len) => {
            if rng.one_in(2) {
                content.set_len(*len);
            }
        }
        Change::Write { pos, data } => {
            let tear = Tear::draw(data.len(), garble_1_in, rng);
            let end = pos + (data.len() * BLOCK) as u64;
            // The longer length may be lost with the write that brought it.
            let limit = if end > content.len() && rng.one_in(2) { content.len() } else { end };
            for (i, block) in data.iter().enumerate() {
                let at = pos + (i * BLOCK) as u64;
                let fate = tear.fate(i, rng);
                if at + BLOCK as u64 <= limit {
                    content.write_fated(at, block, fate, rng);
                }
            }
        }
    }
}

fn old_block(content: &Content, pos: u64) -> Block {
    let mut old = [0; BLOCK];
    content.read(pos, &mut old);
    block_of(&old)
}

/// Reduces a write to its first `limit` bytes; the rest of the block they end in stays as it was.
fn cut(old: &Content, pos: u64, data: &mut Vec<Block>, limit: usize) {
    let whole = limit / BLOCK;
    let sectors = (limit % BLOCK).div_ceil(SECTOR);
    if sectors > 0
        && let Some(block) = data.get_mut(whole)
    {
        let old = old_block(old, pos + (whole * BLOCK) as u64);
        let fate = Fate { kept: ((1u16 << sectors) - 1) as u8, garbled: 0 };
        *block = mix(old.as_ref(), block, fate, &mut Rng::new(0));
    }
    data.truncate(whole + usize::from(sectors > 0));
}
