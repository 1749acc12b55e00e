//! The second half of a pass: decides what becomes of each batch, once the latest offsets of the keys are known.
//!
//! * A record at or after the end of the map stays.
//! * A record without a key, or that is not the latest of its key, is removed.
//! * The latest record of a key stays if it has a value.
//! * A tombstone that is the latest record of its key stays until the delete horizon of its batch. The first pass that covers
//!   the whole batch sets the horizon to `delete.retention.ms` after the time of the pass; the first pass after the horizon
//!   removes the tombstone.

use crate::planted::{self, Bug};
use crate::record_batch;
use crate::records::{Opened, RecordsError};

use super::{KeyOffsets, Rewritten, rewrite};

/// One pass over a partition.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The latest offsets of the keys in the part that was dirty.
    pub keys: &'a KeyOffsets,
    /// The time of the pass, in milliseconds since 1970: the same for all batches, and not before the last batch was added
    /// to `keys`.
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// Most uncompressed bytes of a batch's records; more are an error.
    pub limit: usize,
}

impl Pass<'_> {
    /// What becomes of a batch, clean or dirty, that has passed
    /// [`check_stored`](record_batch::RecordBatch::check_stored).
    pub fn clean(&self, batch: &[u8]) -> Result<Rewritten, RecordsError> {
        let end = self.keys.end();
        if record_batch::base_offset(batch).is_some_and(|base| base >= end) {
            return Ok(Rewritten::Unchanged);
        }
        let opened = Opened::of(batch, self.limit)?;
        let covered = opened.end_offset() <= end;
        let horizon = covered.then(|| self.now_ms.saturating_add_unsigned(self.delete_retention_ms));
        let expired = opened.delete_horizon().is_some_and(|horizon| self.now_ms >= horizon)
            || planted::is(Bug::TombstonesDropped);
        rewrite(&opened, horizon, |record| {
            if record.offset >= end {
                return true;
            }
            let Some(key) = record.key else { return false };
            let latest = self.keys.latest(key).is_none_or(|latest| record.offset >= latest);
            latest && (record.value.is_some() || !expired)
        })
    }
}
