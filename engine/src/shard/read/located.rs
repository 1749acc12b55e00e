//! A batch whose place on the disk is known.

use crate::error::ReadError;
use crate::ids::Generation;
use crate::log::index::IndexEntry;

/// Batches are located again at most this many times because a segment could not be read any more.
pub const LOOKUPS_MAX: usize = 8;

/// One batch on the disk.
#[derive(Debug, Clone, Copy)]
pub struct Located {
    pub generation: Generation,
    pub entry: IndexEntry,
}

/// Bytes of batches.
pub fn bytes_of(batches: &[Located]) -> usize {
    batches.iter().map(|b| b.entry.len as usize).sum()
}

/// An error, and the segment that was read then, if it came to that.
pub type Failed = (Option<Generation>, ReadError);
