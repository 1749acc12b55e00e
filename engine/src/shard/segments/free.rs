//! Files are removed and cut while commits get through.
//!
//! A file system may take a tenth of a second to free a segment of 128 MiB (ext4 mounted with `discard` does), and the
//! disk serves no flush meanwhile. So a large file is cut from its end, [`FREE_BYTES`] at a time, and while commits flow
//! each cut is followed by a rest as long as the cut took.
//!
//! A reader that has the file of a freed segment open may find it shorter. A reader whose read fails looks whether the
//! segment is still in use. After a crash, a start removes files of segments that are not in use.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::{DiskFile, DynFile};
use crate::ids::Generation;
use crate::shard::inner::Inner;

/// Bytes that are given back at once.
pub const FREE_BYTES: u64 = 4 << 20;

/// Removes the file of a segment that is not needed any more, if it is there.
pub async fn remove_segment(inner: &Inner, generation: Generation) -> io::Result<()> {
    // A small segment is removed at once.
    if inner.options.segment_bytes > FREE_BYTES
        && let Ok(file) = inner.dir.open_segment(generation).await
        && let Ok(size) = file.size().await
    {
        // An error here comes again when the file is removed.
        let _shorter = shrink(inner, &file, size, FREE_BYTES.min(size)).await;
    }
    inner.dir.remove(&inner.dir.segment(generation)).await
}

/// Removes a sorted segment that came to nothing.
pub async fn discard(inner: &Inner, generation: Generation) -> io::Result<()> {
    inner.dir.remove(&inner.dir.index(generation)).await?;
    remove_segment(inner, generation).await?;
    inner.state.borrow_mut().space.remove(generation);
    Ok(())
}

/// Cuts a file of `len` bytes to `to`.
pub async fn shrink(inner: &Inner, file: &DynFile, mut len: u64, to: u64) -> io::Result<()> {
    while len - to > FREE_BYTES {
        len -= FREE_BYTES;
        let begun = Instant::now();
        file.set_len(len).await?;
        rest(inner, begun.elapsed()).await;
    }
    file.set_len(to).await
}

/// Lets others go on; while commits flow, for as long as the work took.
pub async fn rest(inner: &Inner, worked: Duration) {
    if inner.commits_flow() && !inner.ends() {
        tokio::time::sleep(worked).await;
    } else {
        tokio::task::yield_now().await;
    }
}
