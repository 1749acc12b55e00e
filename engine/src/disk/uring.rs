//! The real disk: io_uring through `tokio-uring`, O_DIRECT files.
//!
//! Must be used on a thread that runs a `tokio-uring` runtime. Directory operations and size changes
//! are rare and short; they are plain system calls, but for the flush of a directory.
//!
//! When a runtime ends with transfers under way, `tokio-uring` frees their buffers although the kernel still
//! uses them. So each transfer holds its memory a second time, and lets go of it only when it has
//! completed: what is under way when the runtime ends is never freed.

use std::fs::{self, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio_uring::buf::{IoBuf, IoBufMut};

use super::{Disk, DiskFile};
use crate::aligned::AlignedBuf;

/// A directory of the local file system.
#[derive(Clone, Debug)]
pub struct UringDisk {
    root: Arc<PathBuf>,
    direct: bool,
    write: bool,
}

impl UringDisk {
    /// Uses the existing directory `root`. With `direct` off, files are opened without O_DIRECT (for
    /// file systems that lack it): flushes still make writes durable, but every byte is copied once
    /// more and the page cache is used.
    pub fn new(root: impl Into<PathBuf>, direct: bool) -> Self {
        Self { root: Arc::new(root.into()), direct, write: true }
    }

    /// The same, with files opened for reading only: writes fail, and a read-only copy will do.
    pub fn read_only(root: impl Into<PathBuf>, direct: bool) -> Self {
        Self { write: false, ..Self::new(root, direct) }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(self.write);
        if self.direct {
            options.custom_flags(libc::O_DIRECT);
        }
        options
    }
}

/// An open file of a [`UringDisk`].
#[derive(Clone)]
pub struct UringFile {
    ring: Rc<tokio_uring::fs::File>,
    std: Rc<fs::File>,
}

impl UringFile {
    fn new(std: fs::File) -> io::Result<Self> {
        let ring = tokio_uring::fs::File::from_std(std.try_clone()?);
        Ok(Self { ring: Rc::new(ring), std: Rc::new(std) })
    }
}

impl Disk for UringDisk {
    type File = UringFile;

    async fn open(&self, path: &str) -> io::Result<UringFile> {
        UringFile::new(self.options().open(self.root.join(path))?)
    }

    async fn create(&self, path: &str, len: u64) -> io::Result<UringFile> {
        let full = self.root.join(path);
        let file = self.options().create_new(true).open(&full)?;
        if len > 0 {
            let flags = rustix::fs::FallocateFlags::empty();
            if let Err(cause) = rustix::fs::fallocate(file.as_fd(), flags, 0, len) {
                fs::remove_file(&full)?;
                return Err(cause.into());
            }
        }
        UringFile::new(file)
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(dir))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    async fn create_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(dir))
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        // Can take as long as any flush: the thread goes on meanwhile.
        tokio_uring::fs::File::from_std(fs::File::open(self.root.join(dir))?).sync_all().await
    }

    /// The ring hands over what is in it when the thread has nothing else to do; a transfer of nothing is done
    /// after that.
    async fn begun(&self) {
        let _nothing = tokio_uring::no_op().await;
    }

    /// On another thread, which need not stay on this one's core: the first touch of a huge page can take a
    /// virtual machine milliseconds.
    async fn ready(&self, mut buf: AlignedBuf) -> AlignedBuf {
        let bytes = buf.capacity();
        let touched = tokio::task::spawn_blocking(move || {
            let mut cores = rustix::thread::CpuSet::new();
            (0..rustix::thread::CpuSet::MAX_CPU).for_each(|core| cores.set(core));
            // Else it waits for its turn on this core.
            let _kept = rustix::thread::sched_setaffinity(None, &cores);
            buf.touch();
            buf
        });
        touched.await.unwrap_or_else(|_| AlignedBuf::uninit(bytes))
    }
}

impl DiskFile for UringFile {
    async fn size(&self) -> io::Result<u64> {
        Ok(self.std.metadata()?.len())
    }

    async fn read_at(&self, buf: AlignedBuf, pos: u64) -> (io::Result<usize>, AlignedBuf) {
        let ring = Rc::clone(&self.ring);
        // A task of its own: it goes on when nobody waits for it any more, and ends only with the runtime.
        let read = tokio::task::spawn_local(async move {
            let memory = ManuallyDrop::new(buf.memory());
            let done = ring.read_at(buf, pos).await;
            drop(ManuallyDrop::into_inner(memory));
            done
        });
        match read.await {
            Ok(done) => done,
            Err(e) => (Err(io::Error::other(e)), AlignedBuf::uninit(0)),
        }
    }

    async fn write_at(&self, bytes: Bytes, pos: u64) -> io::Result<usize> {
        let memory = ManuallyDrop::new(bytes.clone());
        let done = self.ring.write_at(bytes, pos).submit().await;
        drop(ManuallyDrop::into_inner(memory));
        done.0
    }

    async fn sync(&self) -> io::Result<()> {
        self.ring.sync_data().await
    }

    async fn punch(&self, pos: u64, len: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags as Flags;
        Ok(rustix::fs::fallocate(self.std.as_fd(), Flags::PUNCH_HOLE | Flags::KEEP_SIZE, pos, len)?)
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.std.set_len(len)
    }
}

impl std::fmt::Debug for UringFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UringFile(fd {})", self.std.as_raw_fd())
    }
}

// SAFETY: the pointer stays the same while the buffer is alive and unmoved in its allocation, and
// `bytes_init`/`bytes_total` are the bounds of memory that this buffer alone may touch.
unsafe impl IoBuf for AlignedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.init_len()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }
}

// SAFETY: as above; `set_init` is called by the driver with the number of bytes the kernel wrote.
unsafe impl IoBufMut for AlignedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    unsafe fn set_init(&mut self, pos: usize) {
        // SAFETY: forwarded from the caller's obligation.
        unsafe { AlignedBuf::set_init(self, pos) }
    }
}
