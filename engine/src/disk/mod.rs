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
pub mod uring;

use std::future::Future;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::planted::{self, Bug};

pub use self::erased::{DynDisk, DynFile};

/// A data directory.
pub trait Disk: Clone + 'static {
    /// An open file of this disk.
    type File: DiskFile;

    /// The same disk with its type hidden.
    fn erased(self) -> DynDisk {
        DynDisk::new(self)
    }

    /// Opens an existing file for reading and writing. `NotFound` if the file does not exist.
    fn open(&self, path: &str) -> impl Future<Output = io::Result<Self::File>>;

    /// Creates a file of `len` bytes that reads as zeros, with its space reserved. `AlreadyExists` if the file exists;
    /// `StorageFull`, without a file left behind, if the space is not there.
    fn create(&self, path: &str, len: u64) -> impl Future<Output = io::Result<Self::File>>;

    /// Names of the entries of a directory, in no particular order. `NotFound` if it does not exist.
    fn list(&self, dir: &str) -> impl Future<Output = io::Result<Vec<String>>>;

    /// Creates a directory; succeeds if it exists already.
    fn create_dir(&self, dir: &str) -> impl Future<Output = io::Result<()>>;

    /// Atomically gives a file another name, replacing the file that had this name.
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = io::Result<()>>;

    /// Removes a file. A reader that has the file open may read less than the file held.
    fn remove(&self, path: &str) -> impl Future<Output = io::Result<()>>;

    /// Makes the entries of a directory durable.
    fn sync_dir(&self, dir: &str) -> impl Future<Output = io::Result<()>>;

    /// Opens a file that is not written to any more for reading through the kernel's page cache, if the backend has one. With
    /// a short read the kernel does not read ahead: see [`DiskFile::will_need`].
    fn open_cached(&self, path: &str) -> impl Future<Output = io::Result<Self::File>> {
        self.open(path)
    }
}

/// An open file. Cloning gives another handle of the same file.
pub trait DiskFile: Clone + 'static {
    /// Length in bytes.
    fn size(&self) -> impl Future<Output = io::Result<u64>>;

    /// Reads up to the buffer's capacity at `pos`; returns the bytes read (0 at the end of the file)
    /// and the buffer, whose written front covers them.
    fn read_at(&self, buf: AlignedBuf, pos: u64) -> impl Future<Output = (io::Result<usize>, AlignedBuf)>;

    /// Reads from `pos` the bytes that the page cache holds, without waiting; returns their number and the buffer. The kernel
    /// may begin to read the missing bytes.
    fn read_cached(&self, buf: AlignedBuf, _pos: u64) -> (usize, AlignedBuf) {
        (0, buf)
    }

    /// Asks the kernel to read ranges into the page cache; returns when the reads were submitted. Only advice: a read works
    /// without it.
    fn will_need(&self, _ranges: Vec<Range<u64>>) -> impl Future<Output = ()> {
        std::future::ready(())
    }

    /// Drops the pages of this file from the page cache.
    fn drop_cached(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }

    /// Writes `bytes` at `pos`, or a front part of it; returns the number of bytes written.
    fn write_at(&self, bytes: Bytes, pos: u64) -> impl Future<Output = io::Result<usize>>;

    /// Makes every write that has completed so far durable (fdatasync).
    fn sync(&self) -> impl Future<Output = io::Result<()>>;

    /// Gives the space of `len` bytes at `pos` back to the file system. The bytes read as zeros from now on; after a crash
    /// they may read as before. Fails with `Unsupported` where the file system cannot do it.
    fn punch(&self, pos: u64, len: u64) -> impl Future<Output = io::Result<()>>;

    /// Cuts or extends the file to `len` bytes; durable after the next [`DiskFile::sync`].
    fn set_len(&self, len: u64) -> impl Future<Output = io::Result<()>>;
}

/// Writes all of `bytes` at `pos`. A short write that ended on a block boundary is continued; any other short write is an
/// error.
pub async fn write_all_at<F: DiskFile>(file: &F, mut bytes: Bytes, mut pos: u64) -> io::Result<()> {
    assert!(pos.is_multiple_of(BLOCK as u64) && bytes.len().is_multiple_of(BLOCK), "unaligned write");
    while !bytes.is_empty() {
        let n = file.write_at(bytes.clone(), pos).await?;
        if planted::is(Bug::ShortWriteTaken) {
            return Ok(());
        }
        if n == 0 || n % BLOCK != 0 || n > bytes.len() {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("short write: {n} of {} bytes at {pos}", bytes.len()),
            ));
        }
        bytes = bytes.split_off(n);
        pos += n as u64;
    }
    Ok(())
}

/// Reads exactly `len` bytes (whole blocks) at `pos`.
pub async fn read_exact_at<F: DiskFile>(file: &F, pos: u64, len: usize) -> io::Result<Bytes> {
    read_exact_into(file, pos, AlignedBuf::uninit(len)).await
}

/// Reads exactly as many bytes (whole blocks) at `pos` as `buf` has room for.
pub async fn read_exact_into<F: DiskFile>(file: &F, pos: u64, buf: AlignedBuf) -> io::Result<Bytes> {
    let len = buf.capacity();
    assert!(pos.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK), "unaligned read");
    let (result, buf) = file.read_at(buf, pos).await;
    let n = result?;
    if n >= len {
        return Ok(buf.into_bytes().slice(..len));
    }
    // Rare: a short read. Read the rest block by block and join.
    let mut joined = AlignedBuf::uninit(len);
    joined.put(0, &buf.as_slice()[..n - n % BLOCK]);
    while joined.init_len() < len {
        let at = joined.init_len();
        let (result, part) = file.read_at(AlignedBuf::uninit(len - at), pos + at as u64).await;
        let n = result?;
        let whole = n.min(len - at) / BLOCK * BLOCK;
        if whole == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("file ends at {} of the {len} bytes wanted at {pos}", at + n),
            ));
        }
        joined.put(at, &part.as_slice()[..whole]);
    }
    Ok(joined.into_bytes())
}
