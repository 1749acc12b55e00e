//! Closing a shard: commits what waits, seals the active segment, ends the background tasks, and leaves nothing to scan.

use std::rc::Rc;

use crate::error::Failure;
use crate::log::sealed::Sealed;
use crate::shard::handle::Shard;
use crate::shard::inner::Inner;
use crate::shard::segments::free::shrink;
use crate::shard::segments::front::Next;
use crate::shard::segments::sealer::start_sealer;
use crate::shard::state::State;
use crate::shard::tasks::Task;

impl Shard {
    /// Commits what waits, seals the active segment and stops. Afterwards every append says `Failed` or `Busy`, and the
    /// next open has nothing to scan.
    pub async fn close(&self) -> Result<(), Rc<Failure>> {
        let closing = std::mem::replace(&mut self.inner.state.borrow_mut().stopping, true);
        self.inner.wake_everybody();
        if closing {
            // Another handle closes it already.
            self.inner.wait_until(|_| !self.inner.tasks.any_runs()).await;
        } else {
            close(&self.inner).await;
        }
        self.inner.failure.get().cloned().map_or(Ok(()), Err)
    }
}

async fn close(inner: &Rc<Inner>) {
    inner.wait_until(|_| !inner.tasks.runs(Task::Commit)).await;
    if inner.failure.get().is_some() {
        return;
    }
    inner.state.borrow_mut().queue_active(inner.durable_below.get());
    // The sealer may have ended already. If it runs, it finds the last job when it looks next.
    inner.tasks.wake(Task::Seal);
    start_sealer(inner);
    let sealed = |s: &State| s.segments.jobs.is_empty() && s.segments.dead.is_empty();
    inner.wait_until(|s| sealed(s) || !inner.tasks.runs(Task::Seal)).await;
    if inner.failure.get().is_some() || !sealed(&inner.state.borrow()) {
        // What is left is what a crash leaves.
        return;
    }
    // Nothing may write into the directory when it is closed.
    inner.wait_until(|_| !inner.tasks.any_runs()).await;
    remove_unused(inner).await;
}

impl State {
    /// Queues the active segment to be sealed. Nothing is committed any more.
    fn queue_active(&mut self, next_seq: u64) {
        let active = &mut self.front.active;
        let (generation, first_seq, data_end) = (active.generation, active.first_seq, active.position);
        let touched = std::mem::take(&mut active.touched);
        let sealed = Sealed { generation, first_seq, next_seq, data_end };
        self.segments.queue(sealed, touched, &mut self.partitions);
    }
}

/// Removes the segments that nothing was committed to, and gives the unused end of the last one back.
async fn remove_unused(inner: &Rc<Inner>) {
    let (mut unused, file, len, end) = {
        let mut state = inner.state.borrow_mut();
        let mut unused = std::mem::take(&mut state.segments.spares);
        if let Next::Ready { generation, .. } = std::mem::replace(&mut state.front.next, Next::Full) {
            unused.push(generation);
        }
        let active = &state.front.active;
        if active.first_seq == inner.durable_below.get() {
            unused.push(active.generation);
            (unused, None, active.len, active.position)
        } else {
            (unused, Some(active.file.clone()), active.len, active.position)
        }
    };
    if let Some(file) = file
        && let Err(e) = shrink(inner, &file, len, end).await
    {
        tracing::warn!(%e, "could not give back the unused end of the last segment");
    }
    for generation in unused.drain(..) {
        for path in [inner.dir.segment(generation), inner.dir.index(generation)] {
            if let Err(e) = inner.dir.remove(&path).await {
                tracing::warn!(path, %e, "could not remove an unused segment");
            }
        }
    }
    if let Err(e) = inner.dir.sync_dir().await {
        tracing::warn!(%e, "could not flush the directory");
    }
}

impl Inner {
    /// Waits until something is done. Looks again when the segments have changed or a task has ended; gives up when the
    /// shard has failed.
    async fn wait_until(&self, done: impl Fn(&State) -> bool) {
        loop {
            let (changed, ended) = (self.segments_changed.notified(), self.tasks.one_ended());
            if done(&self.state.borrow()) || self.failure.get().is_some() {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = ended => {}
            }
        }
    }
}
