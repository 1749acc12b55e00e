//! The next segment is prepared in the background, when half of the active one is used: so it can be one that was freed
//! meanwhile.
//!
//! Promises: before a segment can become active, its space is reserved, and its header and its directory entry are
//! durable.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::disk::{DiskFile, DynFile, write_all_at};
use crate::error::is_full;
use crate::ids::Generation;
use crate::shard::inner::Inner;
use crate::shard::segments::front::Next;
use crate::shard::state::State;
use crate::shard::tasks::Task;

/// Pause before a segment is tried again for which there was no space.
const RETRY: Duration = Duration::from_millis(250);
/// The log counts as idle, and zeros are written, when nothing was committed for this long.
const IDLE: Duration = Duration::from_millis(20);
/// Zeros written at once.
const FILL_BYTES: u64 = 1 << 20;

impl Inner {
    /// Has the next segment prepared, if it is not.
    pub(crate) fn want_next(&self, state: &mut State) {
        if matches!(state.front.next, Next::Wanted) && !state.front.next_wanted {
            state.front.next_wanted = true;
            self.tasks.wake(Task::Prepare);
        }
    }
}

/// Prepares the next segment whenever it is wanted, until the shard stops or fails.
pub async fn preparer(inner: Rc<Inner>) {
    while !inner.ends() {
        let wanted = {
            let front = &inner.state.borrow().front;
            let wanted = front.next_wanted && !front.is_next_ready();
            wanted.then(|| front.active.generation.next())
        };
        match wanted {
            None => inner.tasks.woken(Task::Prepare).await,
            Some(generation) => prepare(&inner, generation).await,
        }
    }
}

async fn prepare(inner: &Rc<Inner>, generation: Generation) {
    let len = inner.options.segment_bytes;
    let spare = inner.spare_or_space(len).await;
    {
        let mut state = inner.state.borrow_mut();
        if inner.ends_in(&state) {
            state.segments.spares.extend(spare);
            return;
        }
        if let Some(old) = spare {
            state.space.remove(old);
        }
        state.space.add_next(generation, len);
    }
    match inner.dir.create_segment(generation, len, spare).await {
        Ok((file, len)) => {
            {
                let mut state = inner.state.borrow_mut();
                state.front.next = Next::Ready { file: file.clone(), len, generation, filling: false };
                state.front.next_wanted = false;
                state.space.preparing = false;
                state.commits.wake_appenders();
            }
            inner.segments_changed.notify_waiters();
            inner.tasks.wake(Task::Commit);
            if spare.is_none() && inner.options.zero_fill {
                fill(inner, &file, len, generation).await;
            }
        }
        Err(e) if is_full(&e) => wait_for_disk(inner, generation).await,
        Err(e) => inner.fail("preparing a segment", e),
    }
}

/// There is no disk space for the next segment: has appends answered so, and waits before it is tried again.
async fn wait_for_disk(inner: &Rc<Inner>, generation: Generation) {
    {
        let mut state = inner.state.borrow_mut();
        if !matches!(state.front.next, Next::Full) {
            tracing::warn!(shard = inner.dir.identity.shard.0, "no space for another segment; retrying");
        }
        state.front.next = Next::Full;
        state.space.preparing = false;
        state.space.remove(generation);
        state.commits.wake_appenders();
    }
    // A file that was created but could not be written is in the way of the next try.
    let _absent = inner.dir.remove(&inner.dir.segment(generation)).await;
    tokio::select! {
        () = tokio::time::sleep(RETRY) => {}
        () = inner.tasks.woken(Task::Prepare) => {}
    }
}

/// Writes zeros over a prepared segment while nothing else goes to the disk, because a flush after an overwrite is
/// cheaper than one after a write into new space. Stops as soon as the segment is wanted.
async fn fill(inner: &Rc<Inner>, file: &DynFile, len: u64, generation: Generation) {
    let zeros: Bytes = AlignedBuf::zeroed(FILL_BYTES.min(len) as usize).into_bytes();
    let mut position = BLOCK as u64;
    while position < len {
        let seq = inner.durable_below.get();
        tokio::select! {
            () = tokio::time::sleep(IDLE) => {}
            () = inner.tasks.woken(Task::Prepare) => {}
        }
        while position < len {
            if !inner.set_filling(generation, true) {
                return;
            }
            let part = zeros.slice(..(len - position).min(FILL_BYTES) as usize);
            let written = write_if_idle(inner, file, part, position, seq).await;
            inner.set_filling(generation, false);
            inner.segments_changed.notify_waiters();
            match written {
                Ok(0) => break,
                Ok(written) => position += written,
                Err(e) => return inner.fail("writing zeros to the next segment", e),
            }
        }
    }
    if let Err(e) = file.sync().await {
        inner.fail("flushing the next segment", e);
    }
}

/// Writes zeros, if nothing was committed since `seq` and nothing is in flight. Returns the bytes that were written.
async fn write_if_idle(
    inner: &Inner,
    file: &DynFile,
    zeros: Bytes,
    position: u64,
    seq: u64,
) -> io::Result<u64> {
    if inner.durable_below.get() != seq || !inner.state.borrow().commits.none_in_flight() {
        return Ok(0);
    }
    let len = zeros.len() as u64;
    write_all_at(file, zeros, position).await.map(|()| len)
}

impl Inner {
    /// Notes whether zeros are being written over the next segment. `false`: it is not the next segment any more, or the
    /// shard ends.
    fn set_filling(&self, segment: Generation, now: bool) -> bool {
        let mut state = self.state.borrow_mut();
        let ends = self.ends_in(&state);
        match &mut state.front.next {
            Next::Ready { generation, filling, .. } if *generation == segment => {
                *filling = now && !ends;
                !ends
            }
            _ => false,
        }
    }
}
