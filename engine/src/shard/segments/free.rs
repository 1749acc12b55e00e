//! Giving space back while commits get through.
//!
//! A file system may take a tenth of a second to free a segment of 128 MiB (ext4 mounted with `discard` does), and
//! the disk serves no flush meanwhile. So a large file is cut from its end, [`FREE_BYTES`] at a time, and while
//! commits flow each cut is followed by a rest as long as it took.
//!
//! Who still has the file of a freed segment open may find it shorter: whoever fails to read looks whether the segment
//! is still one of the log's. A start after a crash removes what is not.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::{Disk, DiskFile, DynFile};
use crate::ids::Generation;
use crate::log::files;

use super::seal::remove;
use crate::shard::Inner;

/// So much is given back at once.
pub(crate) const FREE_BYTES: u64 = 4 << 20;

/// Removes the file of a segment that is not needed any more, if it is there.
pub(crate) async fn remove_segment(inner: &Rc<Inner>, generation: Generation) -> io::Result<()> {
    let path = files::segment(&inner.dir, generation);
    // Else it is small enough.
    if inner.options.segment_bytes > FREE_BYTES
        && let Ok(file) = inner.disk.open(&path).await
        && let Ok(size) = file.size().await
    {
        // What goes wrong here goes wrong again when it is removed.
        let _shorter = shrink(inner, &file, size, FREE_BYTES.min(size)).await;
    }
    remove(inner, &path).await
}

/// Cuts a file of `len` bytes to `to`.
pub(crate) async fn shrink(inner: &Rc<Inner>, file: &DynFile, mut len: u64, to: u64) -> io::Result<()> {
    while len - to > FREE_BYTES {
        len -= FREE_BYTES;
        let begun = Instant::now();
        file.set_len(len).await?;
        rest(inner, begun.elapsed()).await;
    }
    file.set_len(to).await
}

/// Lets others go on; while commits flow, for as long as the work took.
pub(crate) async fn rest(inner: &Rc<Inner>, worked: Duration) {
    if inner.commits_flow() && !inner.ends() {
        tokio::time::sleep(worked).await;
    } else {
        tokio::task::yield_now().await;
    }
}
