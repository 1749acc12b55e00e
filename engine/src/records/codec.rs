//! What all codecs share: how a codec of another project is run, and the bounds of its memory.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most decoded bytes that a decoder keeps in memory at a time.
pub const MAX_HELD: usize = 32 << 20;
/// Bytes of the pieces into which gzip and zstd are decoded. Most batches fit into one piece, and then the codec keeps no
/// window of earlier bytes.
pub(super) const PIECE_BYTES: usize = 128 << 10;
/// Most memory of a codec that is kept for the next batch.
pub(super) const KEPT_BYTES: usize = 1 << 20;

thread_local! {
    /// Whether a codec of another project runs on this thread: its panics are about its data, and are caught.
    static PANIC_IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread would be caught and become an error about a codec's data.
pub fn panic_is_caught() -> bool {
    PANIC_IS_CAUGHT.get()
}

/// Runs a codec of another project; a panic becomes an error.
pub(super) fn guarded<T>(codec: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = PANIC_IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(codec));
    PANIC_IS_CAUGHT.set(before);
    result.unwrap_or_else(|_| Err(io::Error::other("the codec panicked")))
}

/// An error: bytes are malformed in this way.
pub(super) fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
