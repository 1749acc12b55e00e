//! The seam: all disk access of the engine goes through [`Disk`] and [`DiskFile`].
//!
//! There are two backends: [`uring`] (io_uring, O_DIRECT), and the simulated, faulty disk of the tests, which is a crate of its
//! own. The engine itself knows only [`DynDisk`] and [`DynFile`], which hide the backend. Every backend keeps these rules, and
//! the engine relies on them:
//!
//! * Paths are relative to the data directory and use `/`.
//! * Every transfer is made of whole [`BLOCK`](crate::aligned::BLOCK)s at block-aligned positions.
//! * A write is durable only after a later [`DiskFile::sync`] of the same file, *begun after the write
//!   completed*, succeeds. Writes may reach the medium in any order before that.
//! * A new file, a rename or a removal is durable only after [`Disk::sync_dir`] of its directory.
//! * A write or read may be short. [`write_all_at`] and [`read_exact_at`] continue it.
//! * A backend retries nothing. The caller decides what a failure means; for the log it is final.

mod erased;
mod seam;
mod transfer;
pub mod uring;

/// A read of so many bytes and more is long: through the page cache the kernel may read ahead of it by itself.
pub const LONG_READ_BYTES: u64 = 512 << 10;

pub use erased::{DynDisk, DynFile};
pub use seam::{Disk, DiskFile};
pub use transfer::{read_exact_at, read_exact_into, write_all_at};
