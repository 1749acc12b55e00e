//! Segments that are not needed any more are taken out of the checkpoint. Then a few are kept as spares, to become the
//! next segment, and the others are removed.

use std::io;
use std::rc::Rc;

use crate::disk::DiskFile;
use crate::ids::Generation;
use crate::shard::counters::Counters;
use crate::shard::inner::Inner;
use crate::shard::state::State;

use super::free::remove_segment;
use super::front::Next;

/// Freed segments that are kept, the prepared one included: as many as are often freed at once, since a segment that was
/// never written is slower.
const SPARES_MAX: usize = 3;

/// Frees the dead segments.
pub async fn free_dead(inner: &Rc<Inner>) -> io::Result<()> {
    let dead = inner.state.borrow().segments.dead.clone();
    inner.refresh_checkpoint().await?;
    for generation in dead {
        // A reader that is on its way to the segment notices that it is gone.
        inner.reads.opened.borrow_mut().forget(generation);
        inner.dir.remove(&inner.dir.index(generation)).await?;
        let keep = inner.state.borrow_mut().is_kept_as_spare(generation);
        if !keep {
            remove_segment(inner, generation).await?;
        }
        let mut state = inner.state.borrow_mut();
        state.segments.dead.retain(|g| *g != generation);
        if keep {
            state.space.set_index(generation, 0);
            state.segments.spares.push(generation);
        } else {
            state.space.remove(generation);
        }
        Counters::add(&inner.counters.freed, 1);
    }
    inner.look_for_space(&mut inner.state.borrow_mut());
    Ok(())
}

impl State {
    /// Whether a dead segment becomes a spare. A segment with holes does not, nor one in which holes are being made.
    fn is_kept_as_spare(&mut self, generation: Generation) -> bool {
        let prepared = usize::from(!matches!(self.front.next, Next::Wanted));
        let kept = self.segments.spares.len() + prepared;
        // When the bound is reached, only what the next segment is made of.
        let max = if self.space.fits(self.space.requested) { SPARES_MAX } else { 1 };
        let whole = self.deleted.take_whole(generation);
        kept < max && !self.stopping && !generation.is_sorted() && whole
    }
}

/// A spare of full length, to become the next segment.
pub async fn take_spare(inner: &Inner, len: u64) -> Option<Generation> {
    loop {
        let generation = inner.state.borrow_mut().segments.spares.pop()?;
        if let Ok(file) = inner.dir.open_segment(generation).await
            && file.size().await.is_ok_and(|size| size == len)
        {
            // Else each write would have to look for what readers left in the page cache.
            file.drop_cached().await;
            return Some(generation);
        }
        drop_spare(inner, generation).await;
    }
}

/// Removes a spare.
pub async fn drop_spare(inner: &Inner, generation: Generation) {
    let _gone_already = remove_segment(inner, generation).await;
    inner.state.borrow_mut().space.remove(generation);
}
