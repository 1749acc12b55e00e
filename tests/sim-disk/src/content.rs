//! The bytes of a simulated file: blocks shared copy-on-write, so that a copy of a whole disk costs
//! about as much as its list of files.

use std::rc::Rc;

use super::rng::Rng;
use keylane_engine::aligned::BLOCK;

/// The unit that a medium writes or loses as a whole.
pub const SECTOR: usize = 512;

const SECTORS: usize = BLOCK / SECTOR;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A block; `None` is a block of zeros.
pub type Block = Option<Rc<[u8; BLOCK]>>;

/// Copies `bytes` (at most one block, the rest zeros) into a block.
pub fn block_of(bytes: &[u8]) -> Block {
    if bytes.iter().all(|&b| b == 0) {
        return None;
    }
    let mut block = [0; BLOCK];
    block[..bytes.len()].copy_from_slice(bytes);
    Some(Rc::new(block))
}

/// What becomes of each sector of a block that is written over: bit `i` stands for sector `i`. A sector
/// in neither mask stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    pub kept: u8,
    pub garbled: u8,
}

impl Fate {
    pub const KEPT: Fate = Fate { kept: 0xff, garbled: 0 };
    pub const DROPPED: Fate = Fate { kept: 0, garbled: 0 };
}

/// The bytes of a file.
#[derive(Clone, Default)]
pub struct Content {
    len: u64,
    blocks: Rc<Vec<Block>>,
}

impl Content {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Cuts the file, or extends it with zeros.
    pub fn set_len(&mut self, len: u64) {
        let count = len.div_ceil(BLOCK as u64) as usize;
        let blocks = Rc::make_mut(&mut self.blocks);
        blocks.resize(count, None);
        let tail = (len % BLOCK as u64) as usize;
        if len < self.len
            && tail > 0
            && let Some(Some(last)) = blocks.last_mut()
        {
            Rc::make_mut(last)[tail..].fill(0);
        }
        self.len = len;
    }

    /// The bytes from `pos` on, at most `len` of them, piece by piece.
    pub fn pieces(&self, pos: u64, len: usize) -> impl Iterator<Item = &[u8]> {
        let end = pos + self.len.saturating_sub(pos).min(len as u64);
        let mut at = pos;
        std::iter::from_fn(move || {
            let from = (at % BLOCK as u64) as usize;
            let n = (end - at).min((BLOCK - from) as u64) as usize;
            let block = self.blocks.get((at / BLOCK as u64) as usize)?;
            at += n as u64;
            let bytes: &[u8; BLOCK] = block.as_deref().unwrap_or(&ZEROS);
            (n > 0).then(|| &bytes[from..from + n])
        })
    }

    /// Copies bytes from `pos` on; returns how many there were.
    pub fn read(&self, pos: u64, out: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in self.pieces(pos, out.len()) {
            out[done..done + piece.len()].copy_from_slice(piece);
            done += piece.len();
        }
        done
    }

    /// Replaces whole blocks, extending the file if they reach beyond its end.
    pub fn write_blocks(&mut self, pos: u64, data: &[Block]) {
        if data.is_empty() {
            return;
        }
        let first = (pos / BLOCK as u64) as usize;
        let end = pos + (data.len() * BLOCK) as u64;
        if end > self.len {
            self.set_len(end);
        }
        Rc::make_mut(&mut self.blocks)[first..first + data.len()].clone_from_slice(data);
    }

    /// Replaces bytes within the file.
    pub fn overwrite(&mut self, pos: u64, bytes: &[u8]) {
        assert!(pos + bytes.len() as u64 <= self.len, "overwrite beyond the end of the file");
        let blocks = Rc::make_mut(&mut self.blocks);
        for (i, &byte) in bytes.iter().enumerate() {
            let at = pos + i as u64;
            let block = blocks[(at / BLOCK as u64) as usize].get_or_insert_with(|| Rc::new([0; BLOCK]));
            Rc::make_mut(block)[(at % BLOCK as u64) as usize] = byte;
        }
    }

    /// Writes over the block at `pos`, sector by sector as `fate` says.
    pub fn write_fated(&mut self, pos: u64, new: &Block, fate: Fate, rng: &mut Rng) {
        if fate == Fate::DROPPED {
            return;
        }
        if fate == Fate::KEPT {
            return self.write_blocks(pos, std::slice::from_ref(new));
        }
        let index = (pos / BLOCK as u64) as usize;
        let old = self.blocks.get(index).and_then(Option::as_ref);
        let block = mix(old, new, fate, rng);
        self.write_blocks(pos, &[block]);
    }
}

/// `new` over `old`, sector by sector.
pub fn mix(old: Option<&Rc<[u8; BLOCK]>>, new: &Block, fate: Fate, rng: &mut Rng) -> Block {
    let mut block = old.map_or([0; BLOCK], |old| **old);
    for sector in 0..SECTORS {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        if fate.garbled & (1 << sector) != 0 {
            rng.fill(&mut block[range]);
        } else if fate.kept & (1 << sector) != 0 {
            match new {
                Some(new) => block[range.clone()].copy_from_slice(&new[range]),
                None => block[range].fill(0),
            }
        }
    }
    block_of(&block)
}

/// How the sectors of one write that was never flushed turn out; drawn once for each write.
pub struct Tear {
    kind: TearKind,
    from: usize,
    to: usize,
    garble_1_in: u32,
}

enum TearKind {
    /// Sectors `from..to` are kept, the others dropped.
    Range,
    /// Each sector for itself.
    Scattered,
}

impl Tear {
    /// Draws an outcome for a write of `blocks` blocks: whole, nothing, a front, a rear, or scattered
    /// sectors of which some hold garbage.
    pub fn draw(blocks: usize, garble_1_in: u32, rng: &mut Rng) -> Self {
        let sectors = blocks * SECTORS;
        let cut = rng.below(sectors as u64 + 1) as usize;
        let (kind, from, to) = match rng.below(6) {
            0 => (TearKind::Range, 0, sectors),
            1 => (TearKind::Range, 0, 0),
            2 => (TearKind::Range, 0, cut),
            3 => (TearKind::Range, cut, sectors),
            _ => (TearKind::Scattered, 0, sectors),
        };
        let garble_1_in = if rng.one_in(2) { garble_1_in } else { 0 };
        Self { kind, from, to, garble_1_in }
    }

    /// The fate of the sectors of the write's block number `block`.
    pub fn fate(&self, block: usize, rng: &mut Rng) -> Fate {
        match self.kind {
            TearKind::Range => {
                let first = block * SECTORS;
                let kept = (0..SECTORS)
                    .filter(|sector| (self.from..self.to).contains(&(first + sector)))
                    .fold(0, |mask, sector| mask | (1 << sector));
                // The sector at the edge is the one that was being written.
                let edge = if self.from > 0 { self.from } else { self.to };
                let torn = edge.checked_sub(first).is_some_and(|sector| sector < SECTORS);
                let garbled = if torn && rng.one_in(self.garble_1_in) { 1 << (edge - first) } else { 0 };
                Fate { kept, garbled }
            }
            TearKind::Scattered => {
                let kept = rng.next_u64() as u8;
                let garbled = (0..SECTORS)
                    .filter(|_| rng.one_in(self.garble_1_in))
                    .fold(0, |mask, sector| mask | (1 << sector));
                Fate { kept, garbled }
            }
        }
    }
}
