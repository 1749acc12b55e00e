//! The interface of a disk. The rules that every backend keeps are those of the folder's header.

use std::future::Future;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::aligned::AlignedBuf;

/// A data directory.
pub trait Disk: Clone + 'static {
    /// An open file of this disk.
    type File: DiskFile;

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
