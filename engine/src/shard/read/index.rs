//! The indexes of sealed segments, block by block.

use std::ops::Range;
use std::rc::Rc;

use crate::aligned::BLOCK;
use crate::disk::DiskFile;
use crate::error::ReadError;
use crate::ids::Generation;
use crate::log::index::{ENTRIES_PER_BLOCK, IndexEntry, decode_entries};
use crate::log::sealed::Run;
use crate::shard::inner::Inner;

use super::opened::Kind;

/// Bytes of an index that are read at once.
const INDEX_READ_BYTES: u64 = 64 << 10;

/// Some entries of one index block.
pub struct Entries {
    block: Rc<[IndexEntry]>,
    range: Range<usize>,
}

impl std::ops::Deref for Entries {
    type Target = [IndexEntry];

    fn deref(&self) -> &[IndexEntry] {
        &self.block[self.range.clone()]
    }
}

impl Inner {
    /// The entries of the run from `number` to the end of that index block. All of them are there, or it is an error: who
    /// searches in them goes on behind them.
    pub(crate) async fn entries_from(&self, run: &Run, number: u32) -> Result<Entries, ReadError> {
        let (entries_block, data_end) = {
            let state = self.state.borrow();
            let segment = state.segments.sealed.get(&run.generation);
            segment.map(|s| (s.entries_block, s.sealed.data_end)).ok_or(ReadError::UnknownPartition)?
        };
        let absolute = run.first_entry + number;
        let block_number = entries_block + absolute / ENTRIES_PER_BLOCK as u32;
        let block = self.index_block(run.generation, block_number, data_end).await?;
        let from = absolute as usize % ENTRIES_PER_BLOCK;
        let to = (from + (run.entries - number) as usize).min(ENTRIES_PER_BLOCK);
        match block.get(from..to) {
            Some(entries) if !entries.is_empty() => Ok(Entries { block, range: from..to }),
            _ => Err(self.damaged(run.generation, 0, format!("index block {block_number} ends early"))),
        }
    }

    /// A block of an index of a segment whose data end at `data_end`. Blocks near it are read with it, and are in the page
    /// cache then.
    async fn index_block(
        &self,
        generation: Generation,
        number: u32,
        data_end: u64,
    ) -> Result<Rc<[IndexEntry]>, ReadError> {
        if let Some(known) = self.reads.opened.borrow().block(generation, number) {
            return Ok(known);
        }
        let at = u64::from(number) * BLOCK as u64;
        let io = |cause| ReadError::Io { shard: self.dir.identity.shard, generation, position: at, cause };
        let file = self.open_file(generation, Kind::Index, at).await?;
        let near = at - at % INDEX_READ_BYTES;
        let size = file.size().await.map_err(io)?;
        let end = size.next_multiple_of(BLOCK as u64).min(near + INDEX_READ_BYTES);
        let block = self.read_block(&file, near..end.max(at + BLOCK as u64), at).await.map_err(io)?;
        let entries = decode_entries(self.dir.identity.shard, generation, number, &block)
            .filter(|entries| entries.iter().all(|entry| entry.is_before(data_end)));
        let entries: Rc<[IndexEntry]> = entries.map(Rc::from).ok_or_else(|| {
            let what = format!(
                "index block {number} is damaged; a restart derives it again once the index file is removed"
            );
            self.damaged(generation, at, what)
        })?;
        if self.state.borrow().exists(generation) {
            self.reads.opened.borrow_mut().keep_block(generation, number, &entries);
        }
        Ok(entries)
    }
}
