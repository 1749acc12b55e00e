//! The second half of a pass: what becomes of each batch, once the latest offsets of keys are known.
//!
//! A record stays if it lies beyond what the map covers. Of the others, those go that have no key or are not
//! the latest of theirs. The latest one stays if it has a value. If it has none, it stays until its batch's
//! delete horizon: the first pass that covers the whole batch sets that, to `delete.retention.ms` after its
//! own time, and the first pass after it takes the tombstone.

use crate::planted::{self, Bug};
use crate::record_batch;
use crate::records::{Opened, RecordsError};

use super::{KeyOffsets, Rewritten, rewrite};

/// One pass over a partition.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The latest offsets of the keys in the part that was dirty.
    pub keys: &'a KeyOffsets,
    /// The time of the pass, in milliseconds since 1970. It should not lie before the last batch was added to
    /// `keys`; the same for all batches.
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: u64,
    /// Most bytes of a batch's records when uncompressed; more are an error.
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
