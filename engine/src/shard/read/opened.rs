//! What readers have open: the files of segments, and the blocks of indexes that were decoded last.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::disk::DynFile;
use crate::ids::Generation;
use crate::log::index::IndexEntry;

/// Most open files, of two descriptors each, or four where the page cache is used.
const FILES_MAX: usize = 64;
/// Most decoded blocks, of about 5 KiB each.
const BLOCKS_MAX: usize = 256;

/// What a file is. That decides how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A segment that commits may still be written to. It is read past the page cache, which would have to be kept in
    /// step with every write.
    Unsealed,
    /// A segment that is not written to any more.
    Sealed,
    /// The index of one.
    Index,
}

/// See the module's header. The newest are at the back.
#[derive(Default)]
pub struct Opened {
    files: VecDeque<(Generation, Kind, DynFile)>,
    blocks: VecDeque<(Generation, u32, Rc<[IndexEntry]>)>,
}

impl Opened {
    /// A decoded block of an index.
    pub fn block(&self, generation: Generation, number: u32) -> Option<Rc<[IndexEntry]>> {
        let found = self.blocks.iter().rev().find(|(g, n, _)| *g == generation && *n == number);
        found.map(|(_, _, block)| Rc::clone(block))
    }

    /// Keeps a decoded block of an index.
    pub fn keep_block(&mut self, generation: Generation, number: u32, block: &Rc<[IndexEntry]>) {
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back((generation, number, Rc::clone(block)));
    }

    /// An open file.
    pub fn file(&self, generation: Generation, kind: Kind) -> Option<DynFile> {
        let found = self.files.iter().rev().find(|(g, k, _)| *g == generation && *k == kind);
        found.map(|(_, _, file)| file.clone())
    }

    /// Keeps an open file.
    pub fn keep_file(&mut self, generation: Generation, kind: Kind, file: &DynFile) {
        if self.files.len() >= FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back((generation, kind, file.clone()));
    }

    /// Forgets a segment that is gone.
    pub fn forget(&mut self, generation: Generation) {
        self.files.retain(|(g, ..)| *g != generation);
        self.blocks.retain(|(g, ..)| *g != generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_indexes_are_bounded_and_go_with_their_segment() {
        let mut opened = Opened::default();
        let block: Rc<[IndexEntry]> = Rc::from([]);
        let segment = Generation(7);
        (0..1_000).for_each(|n| opened.keep_block(segment, n, &block));
        assert!(opened.blocks.len() == BLOCKS_MAX && opened.block(segment, 999).is_some());
        assert!(opened.block(segment, 0).is_none() && opened.block(Generation(8), 999).is_none());
        opened.forget(segment);
        assert!(opened.blocks.is_empty());
    }
}
