//! Finding batches by their timestamps.
//!
//! Timestamps need not rise with the offsets. So the largest timestamp of a run says only that some batch of the run may
//! match; the index states the largest timestamp of each batch.

use crate::error::ReadError;
use crate::ids::Offset;
use crate::log::index::IndexEntry;
use crate::log::sealed::Run;

use crate::shard::handle::Shard;
use crate::shard::partitions::PartitionRef;

use super::batches::Batches;
use super::located::LOOKUPS_MAX;

impl Shard {
    /// The first batch with a record at or after `from` whose largest timestamp is at least `timestamp_ms`, and the first of
    /// its offsets that counts: offsets before `from`, and deleted ones, do not.
    ///
    /// The largest timestamp can be that of a record that does not count. A caller that finds no record in the batch asks
    /// again, from the end of the batch on.
    pub async fn find_by_time(
        &self,
        at: PartitionRef,
        timestamp_ms: i64,
        from: Offset,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        self.find_batch(at, from, |t| t >= timestamp_ms).await
    }

    /// The first of the batches with a record at or after `from` that hold the largest timestamp, and the first of
    /// its offsets that counts, as for [`Self::find_by_time`].
    pub async fn find_latest_time(
        &self,
        at: PartitionRef,
        from: Offset,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let mut lookups = 0;
        let latest = loop {
            lookups += 1;
            let before = self.runs_of(at)?;
            match self.latest_time(at, from).await {
                // Segments were replaced meanwhile.
                Err(_) if lookups < LOOKUPS_MAX && self.runs_of(at).is_ok_and(|now| now != before) => {}
                other => break other?,
            }
        };
        match latest {
            Some(latest) => self.find_batch(at, from, |t| t == latest).await,
            None => Ok(None),
        }
    }

    /// The largest timestamp of the batches that have an offset at or after `from`.
    async fn latest_time(&self, at: PartitionRef, from: Offset) -> Result<Option<i64>, ReadError> {
        let (whole, cut, start) = {
            let state = self.inner.state.borrow();
            let partition = state.partitions.get(at).ok_or(ReadError::UnknownPartition)?;
            let start = partition.start.max(from);
            let (whole, cut): (Vec<Run>, Vec<Run>) = partition
                .runs
                .iter()
                .filter(|run| run.next_offset > start)
                .partition(|run| run.base_offset >= start);
            let sealed = whole.iter().map(|run| run.max_timestamp);
            let latest = sealed.chain(partition.durable_recent(start).map(|b| b.max_timestamp)).max();
            (latest, cut, start)
        };
        let mut latest = whole;
        // The timestamp of a run is that of all its batches, also of those before `start`.
        for run in cut.iter().filter(|run| whole.is_none_or(|latest| run.max_timestamp > latest)) {
            let mut number = 0;
            while number < run.entries {
                let block = self.inner.entries_from(run, number).await?;
                let kept = block.iter().filter(|e| e.end() > start);
                latest = latest.max(kept.map(|e| e.max_timestamp).max());
                number += block.len() as u32;
            }
        }
        Ok(latest)
    }

    async fn find_batch(
        &self,
        at: PartitionRef,
        from: Offset,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let mut lookups = 0;
        loop {
            lookups += 1;
            let again = lookups < LOOKUPS_MAX;
            let before = self.runs_of(at)?;
            let changed = || self.runs_of(at).is_ok_and(|now| now != before);
            match self.find_batch_now(at, from, &wanted).await {
                // Segments were replaced meanwhile, or the batch was deleted.
                Err(_) if again && changed() => {}
                Ok(Some((offset, batches))) if again && !batches.begin_by(offset) => {}
                other => return other,
            }
        }
    }

    fn runs_of(&self, at: PartitionRef) -> Result<Vec<Run>, ReadError> {
        let state = self.inner.state.borrow();
        Ok(state.partitions.get(at).ok_or(ReadError::UnknownPartition)?.runs.clone())
    }

    async fn find_batch_now(
        &self,
        at: PartitionRef,
        from: Offset,
        wanted: impl Fn(i64) -> bool,
    ) -> Result<Option<(Offset, Batches)>, ReadError> {
        let (runs, in_recent, start) = {
            let state = self.inner.state.borrow();
            let partition = state.partitions.get(at).ok_or(ReadError::UnknownPartition)?;
            let start = partition.start.max(from);
            let found = partition.durable_recent(start).find(|b| wanted(b.max_timestamp));
            let in_recent = found.map(|b| b.base_offset.max(start));
            (partition.runs.clone(), in_recent, start)
        };
        let mut found = None;
        'runs: for run in runs.iter().filter(|r| r.next_offset > start && wanted(r.max_timestamp)) {
            let mut number = 0;
            while number < run.entries {
                let block = self.inner.entries_from(run, number).await?;
                let kept = |e: &&IndexEntry| e.end() > start;
                if let Some(entry) = block.iter().find(|e| kept(e) && wanted(e.max_timestamp)) {
                    found = Some(entry.base_offset.max(start));
                    break 'runs;
                }
                number += block.len() as u32;
            }
        }
        let first = match (found, in_recent) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match first {
            Some(offset) => Ok(Some((offset, self.read(at, offset, 1).await?))),
            None => Ok(None),
        }
    }
}
