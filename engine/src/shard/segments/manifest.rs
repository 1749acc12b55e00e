//! Which segments belong to the shard: those that the checkpoint names. The set changes when the checkpoint is replaced.
//! Only one change is made at a time: whoever makes it holds `Inner::manifest`.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::ids::Generation;
use crate::log::checkpoint::{Checkpoint, Compacted};
use crate::log::sealed::Sealed;
use crate::shard::inner::Inner;

use super::base::Base;

impl Inner {
    /// Durably states which segments there are: those in memory, without `gone` and with `new`. Also states what was
    /// compacted: what is known in memory, with `compacted` in place of what is known of the same log.
    pub(crate) async fn store_checkpoint(
        &self,
        base: &Base,
        new: &[Sealed],
        gone: &[Generation],
        compacted: Option<&Compacted>,
    ) -> io::Result<()> {
        let checkpoint = {
            let state = self.state.borrow();
            let stay = state.segments.sealed.values().map(|s| s.sealed);
            let stay = stay.filter(|s| !gone.contains(&s.generation));
            let known = state.partitions.compacted().filter_map(|p| p.compacted.as_ref());
            let known = known.filter(|c| compacted.is_none_or(|new| new.log != c.log));
            Checkpoint {
                through: base.through,
                next_seq: base.next_seq,
                next_sorted: state.segments.next_sorted(),
                segments: stay.chain(new.iter().copied()).collect(),
                trims: state.deleted.starts_after(base.through).collect(),
                compacted: known.chain(compacted).cloned().collect(),
                logs: Arc::clone(&base.logs),
            }
        };
        let content = checkpoint.encode(self.dir.identity.shard);
        self.state.borrow_mut().space.set_checkpoint(content.len() as u64);
        self.dir.write_checkpoint(content).await
    }

    /// Durably states the segments that are in memory now, and the log start offsets.
    pub(crate) async fn refresh_checkpoint(&self) -> io::Result<()> {
        let _manifest = self.manifest.lock().await;
        let base = Rc::clone(&self.state.borrow().segments.base);
        self.store_checkpoint(&base, &[], &[], None).await
    }
}
