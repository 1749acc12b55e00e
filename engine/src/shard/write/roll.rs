//! Segments: the next one is prepared in the background, the active one is left when it is full.
//!
//! The next one is prepared when half of the active one is used, so that it can be one that was freed
//! meanwhile. It is created with its space reserved, its header durable and its directory entry durable
//! before it can become active. A roll waits until every commit of the old segment is durable, so that
//! the first commit of a segment proves all those before it.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::disk::{Disk, DiskFile, DynDisk, DynFile, write_all_at};
use crate::ids::{CommitSeq, Generation, LogId};
use crate::log::files;
use crate::log::format::SegmentHeader;
use crate::log::recovery::Identity;
use crate::planted::{self, Bug};

use crate::shard::{Inner, State};

const RETRY: Duration = Duration::from_millis(250);
const IDLE: Duration = Duration::from_millis(20);
const FILL_BYTES: u64 = 1 << 20;
/// Segments that may wait to be sealed before a roll waits.
const UNSEALED_MAX: usize = 2;

/// The segment that commits go to.
pub(crate) struct Active {
    pub file: DynFile,
    pub len: u64,
    pub generation: Generation,
    pub position: u64,
    pub first_seq: CommitSeq,
    pub touched: Vec<(u32, LogId)>,
}

impl Active {
    pub fn new((file, len): (DynFile, u64), generation: Generation, first_seq: CommitSeq) -> Self {
        Self { file, len, generation, position: BLOCK as u64, first_seq, touched: Vec::new() }
    }

    /// Bytes that still fit.
    pub fn room(&self) -> u64 {
        self.len - self.position
    }
}

/// The segment after the active one.
pub(crate) enum Next {
    /// To be prepared.
    Wanted,
    /// Prepared; `filling` while zeros are being written over it.
    Ready { file: DynFile, len: u64, generation: Generation, filling: bool },
    /// There is no space for it; tried again from time to time.
    Full,
}

/// Creates a segment file, or makes one of a freed segment, durably.
pub(crate) async fn create_segment(
    disk: &DynDisk,
    identity: &Identity,
    generation: Generation,
    len: u64,
    recycle: Option<Generation>,
) -> io::Result<(DynFile, u64)> {
    let dir = files::shard_dir(identity.shard);
    let path = files::segment(&dir, generation);
    let file = match recycle {
        Some(old) => {
            disk.rename(&files::segment(&dir, old), &path).await?;
            disk.open(&path).await?
        }
        None => disk.create(&path, len).await?,
    };
    let header = SegmentHeader { directory: identity.directory, shard: identity.shard, generation };
    write_all_at(&file, files::padded(&header.encode()), 0).await?;
    file.sync().await?;
    if !planted::is(Bug::NameNotFlushed) {
        disk.sync_dir(&dir).await?;
    }
    let len = file.size().await?;
    Ok((file, len))
}

impl Inner {
    /// Has the next segment prepared, if it is not.
    pub(crate) fn want_next(&self, state: &mut State) {
        if matches!(state.next, Next::Wanted) && !state.next_wanted {
            state.next_wanted = true;
            self.prepare.notify_one();
        }
    }
}

/// Prepares the next segment when it is wanted.
pub(crate) async fn preparer(inner: Rc<Inner>) {
    loop {
        let wanted = {
            let state = inner.state.borrow();
            if state.stopping || inner.failure.get().is_some() {
                return;
            }
            match state.next {
                Next::Ready { .. } => None,
                _ => state.next_wanted.then(|| state.active.generation.next()),
            }
        };
        match wanted {
            None => inner.prepare.notified().await,
            Some(generation) => prepare(&inner, generation).await,
        }
    }
}

async fn prepare(inner: &Rc<Inner>, generation: Generation) {
    let len = inner.options.segment_bytes;
    let recycle = inner.spare_or_room(len).await;
    {
        let mut state = inner.state.borrow_mut();
        if state.stopping {
            state.spares.extend(recycle);
            return;
        }
        if let Some(old) = recycle {
            state.room.remove(old);
        }
        state.room.add_next(generation, len);
    }
    match create_segment(&inner.disk, &inner.identity, generation, len, recycle).await {
        Ok((file, len)) => {
            {
                let mut state = inner.state.borrow_mut();
                state.next = Next::Ready { file: file.clone(), len, generation, filling: false };
                state.room.preparing = false;
                state.next_wanted = false;
                state.wake_space();
            }
            inner.roll.notify_waiters();
            inner.work.notify_one();
            if recycle.is_none() && inner.options.zero_fill {
                fill(inner, &file, len, generation).await;
            }
        }
        Err(e) if e.kind() == io::ErrorKind::StorageFull || e.kind() == io::ErrorKind::QuotaExceeded => {
            {
                let mut state = inner.state.borrow_mut();
                if !matches!(state.next, Next::Full) {
                    tracing::warn!(shard = inner.identity.shard.0, "no space for another segment; retrying");
                }
                state.next = Next::Full;
                state.room.preparing = false;
                state.room.remove(generation);
                state.wake_space();
            }
            // A file that was created but could not be written is in the way of the next try.
            let _absent = inner.disk.remove(&files::segment(&inner.dir, generation)).await;
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = inner.prepare.notified() => {}
            }
        }
        Err(e) => inner.fail("preparing a segment", e),
    }
}

/// Writes zeros over a prepared segment while nothing else goes to the disk, so that commits overwrite
/// written extents. Purely an optimisation: stops as soon as the segment is wanted.
async fn fill(inner: &Rc<Inner>, file: &DynFile, len: u64, generation: Generation) {
    let zeros: Bytes = AlignedBuf::zeroed(FILL_BYTES.min(len) as usize).into_bytes();
    let mut position = BLOCK as u64;
    while position < len {
        let seq = inner.durable_below.get();
        tokio::select! {
            () = tokio::time::sleep(IDLE) => {}
            () = inner.prepare.notified() => {}
        }
        loop {
            {
                let mut state = inner.state.borrow_mut();
                if state.stopping || inner.failure.get().is_some() {
                    return;
                }
                match &mut state.next {
                    Next::Ready { generation: g, filling, .. } if *g == generation => *filling = true,
                    _ => return,
                }
            }
            let busy = inner.durable_below.get() != seq || !inner.state.borrow().in_flight.is_empty();
            let part = zeros.slice(..(len - position).min(FILL_BYTES) as usize);
            let written = if busy { Ok(()) } else { write_all_at(file, part.clone(), position).await };
            if let Next::Ready { filling, .. } = &mut inner.state.borrow_mut().next {
                *filling = false;
            }
            inner.roll.notify_waiters();
            if let Err(e) = written {
                return inner.fail("writing zeros to the next segment", e);
            }
            if busy {
                break;
            }
            position += part.len() as u64;
            if position >= len {
                break;
            }
        }
    }
    if let Err(e) = file.sync().await {
        inner.fail("flushing the next segment", e);
    }
}

/// Leaves the full segment for the prepared one. Called with no commit in flight.
pub(crate) async fn roll(inner: &Rc<Inner>) {
    loop {
        let notified = inner.roll.notified();
        {
            let mut state = inner.state.borrow_mut();
            if inner.failure.get().is_some() {
                return;
            }
            assert!(state.in_flight.is_empty(), "a roll waits for the commits in flight");
            inner.want_next(&mut state);
            let ready = matches!(state.next, Next::Ready { filling: false, .. });
            if ready && state.unsealed < UNSEALED_MAX {
                let Next::Ready { file, len, generation, .. } =
                    std::mem::replace(&mut state.next, Next::Wanted)
                else {
                    unreachable!("matched above")
                };
                let next_seq = inner.durable_below.get();
                let active = Active::new((file, len), generation, next_seq);
                let old = std::mem::replace(&mut state.active, active);
                state.queue_seal(&old, next_seq);
                inner.sealing.notify_one();
                inner.look_for_room(&mut state);
                return;
            }
        }
        notified.await;
    }
}
