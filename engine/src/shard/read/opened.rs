//! What readers have open: files of segments, and blocks of their indexes that were decoded last.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::disk::{Disk, DynFile};
use crate::error::ReadError;
use crate::ids::Generation;
use crate::log::files;
use crate::log::index::IndexEntry;

use crate::shard::Inner;

const FILES_MAX: usize = 128;
/// Of about 5 KiB each.
const BLOCKS_MAX: usize = 256;

/// What a file is, which says how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A segment that commits may still be written to: never through the page cache, which would have to be kept
    /// in step with every write.
    Unsealed,
    /// A segment that is not written to any more.
    Sealed,
    /// The index of one.
    Index,
}

/// See the module's header. The newest are at the back.
#[derive(Default)]
pub(crate) struct Opened {
    files: VecDeque<(Generation, Kind, DynFile)>,
    blocks: VecDeque<(Generation, u32, Rc<[IndexEntry]>)>,
}

impl Opened {
    /// A decoded block of an index.
    pub fn block(&self, generation: Generation, number: u32) -> Option<Rc<[IndexEntry]>> {
        let found = self.blocks.iter().rev().find(|(g, n, _)| *g == generation && *n == number);
        found.map(|(_, _, block)| Rc::clone(block))
    }

    pub fn keep_block(&mut self, generation: Generation, number: u32, block: &Rc<[IndexEntry]>) {
        if self.blocks.len() >= BLOCKS_MAX {
            self.blocks.pop_front();
        }
        self.blocks.push_back((generation, number, Rc::clone(block)));
    }

    fn file(&self, generation: Generation, kind: Kind) -> Option<DynFile> {
        let found = self.files.iter().rev().find(|(g, k, _)| *g == generation && *k == kind);
        found.map(|(_, _, file)| file.clone())
    }

    fn keep_file(&mut self, generation: Generation, kind: Kind, file: &DynFile) {
        if self.files.len() >= FILES_MAX {
            self.files.pop_front();
        }
        self.files.push_back((generation, kind, file.clone()));
    }

    /// Drops what belongs to a segment that is gone.
    pub fn forget(&mut self, generation: Generation) {
        self.files.retain(|(g, ..)| *g != generation);
        self.blocks.retain(|(g, ..)| *g != generation);
    }
}

impl Inner {
    pub(crate) async fn open_file(
        &self,
        generation: Generation,
        kind: Kind,
        at: u64,
    ) -> Result<DynFile, ReadError> {
        let known = self.opened.borrow().file(generation, kind);
        if let Some(file) = known {
            return Ok(file);
        }
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let file = match kind {
            Kind::Unsealed => self.disk.open(&files::segment(&self.dir, generation)).await,
            Kind::Sealed => self.disk.open_cached(&files::segment(&self.dir, generation)).await,
            Kind::Index => self.disk.open_cached(&files::index(&self.dir, generation)).await,
        };
        let file = file.map_err(io)?;
        if self.state.borrow().exists(generation) {
            self.opened.borrow_mut().keep_file(generation, kind, &file);
        }
        Ok(file)
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
