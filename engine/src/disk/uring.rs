//! The real disk: io_uring through `tokio-uring`, O_DIRECT files.
//!
//! Must be used on a thread that runs a `tokio-uring` runtime. System calls that reserve or free space, or change names, run
//! on other threads: freeing a segment of 128 MiB can take the file system a tenth of a second (where it is mounted with
//! `discard`), and the core that owns the shard would answer nobody meanwhile. Opening and listing take little time, and are
//! plain system calls on the core's thread.
//!
//! When a runtime ends during transfers, `tokio-uring` frees their buffers although the kernel still uses them. So each
//! transfer holds a second handle of its memory until it completes; the memory of a transfer that never completes is never
//! freed.

use std::fs::{self, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tokio_uring::buf::{IoBuf, IoBufMut};

use super::{Disk, DiskFile, LONG_READ_BYTES};
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

    /// The same, with files opened for reading only: writes fail, and the directory may be read-only.
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

/// Runs work that may take long on another thread. That thread is not pinned to this thread's CPU, where it would have to wait
/// for its turn. Work that was begun is completed even if its future is dropped, and a runtime that ends waits for it.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(move || {
        let mut cores = rustix::thread::CpuSet::new();
        (0..rustix::thread::CpuSet::MAX_CPU).for_each(|core| cores.set(core));
        let _kept = rustix::thread::sched_setaffinity(None, &cores);
        work()
    });
    done.await.map_err(io::Error::other)
}

/// A descriptor, for the ring and for system calls.
#[derive(Clone)]
struct Handle {
    ring: Rc<tokio_uring::fs::File>,
    std: Arc<fs::File>,
}

impl Handle {
    fn new(std: fs::File) -> io::Result<Self> {
        let ring = tokio_uring::fs::File::from_std(std.try_clone()?);
        Ok(Self { ring: Rc::new(ring), std: Arc::new(std) })
    }
}

/// An open file of a [`UringDisk`].
#[derive(Clone)]
pub struct UringFile {
    handle: Handle,
    /// The same file opened once more, if it is read through the page cache: for long reads. The kernel decides for each
    /// descriptor how far it reads ahead.
    in_order: Option<Handle>,
}

impl UringFile {
    fn new(std: fs::File) -> io::Result<Self> {
        Ok(Self { handle: Handle::new(std)?, in_order: None })
    }

    /// The descriptor for a read of `len` bytes.
    fn to_read(&self, len: usize) -> &Handle {
        match &self.in_order {
            Some(in_order) if len as u64 >= LONG_READ_BYTES => in_order,
            _ => &self.handle,
        }
    }
}

impl Disk for UringDisk {
    type File = UringFile;

    async fn open(&self, path: &str) -> io::Result<UringFile> {
        UringFile::new(self.options().open(self.root.join(path))?)
    }

    async fn create(&self, path: &str, len: u64) -> io::Result<UringFile> {
        let (full, mut options) = (self.root.join(path), self.options());
        let created = elsewhere(move || {
            let file = options.create_new(true).open(&full)?;
            if len > 0 {
                let flags = rustix::fs::FallocateFlags::empty();
                if let Err(cause) = rustix::fs::fallocate(file.as_fd(), flags, 0, len) {
                    fs::remove_file(&full)?;
                    return Err(io::Error::from(cause));
                }
            }
            Ok(file)
        });
        UringFile::new(created.await??)
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
        let (from, to) = (self.root.join(from), self.root.join(to));
        elsewhere(move || fs::rename(from, to)).await?
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.root.join(path);
        elsewhere(move || fs::remove_file(path)).await?
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        // A flush through the ring: it can take long, and the thread goes on meanwhile.
        tokio_uring::fs::File::from_std(fs::File::open(self.root.join(dir))?).sync_all().await
    }

    async fn open_cached(&self, path: &str) -> io::Result<UringFile> {
        let open = |advice| {
            let file = fs::File::open(self.root.join(path))?;
            rustix::fs::fadvise(&file, 0, None, advice)?;
            Handle::new(file)
        };
        // Around a short read the kernel would read several times as much. Behind a long one it reads what follows, in large
        // pages, which takes a quarter of the processor time of advice (0.06 instead of 0.25 ms for each MiB).
        let handle = open(rustix::fs::Advice::Random)?;
        Ok(UringFile { handle, in_order: Some(open(rustix::fs::Advice::Sequential)?) })
    }
}

impl DiskFile for UringFile {
    async fn size(&self) -> io::Result<u64> {
        Ok(self.handle.std.metadata()?.len())
    }

    async fn read_at(&self, buf: AlignedBuf, pos: u64) -> (io::Result<usize>, AlignedBuf) {
        let ring = Rc::clone(&self.to_read(buf.capacity()).ring);
        // A task of its own, so that the read completes even if this future is dropped.
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

    /// Uses `RWF_NOWAIT`, with which the kernel also begins to read the missing pages.
    fn read_cached(&self, mut buf: AlignedBuf, pos: u64) -> (usize, AlignedBuf) {
        let cached = self.in_order.is_some();
        let Some(pos) = libc::off_t::try_from(pos).ok().filter(|_| cached) else { return (0, buf) };
        let file = &self.to_read(buf.capacity()).std;
        let part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.capacity() };
        // SAFETY: the one part is memory that `buf` alone may touch, for as long as the call lasts.
        let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, pos, libc::RWF_NOWAIT) };
        // After an error the caller reads again, with waiting, and gets the error then.
        let read = usize::try_from(read).unwrap_or(0);
        // SAFETY: the kernel has just written this many bytes.
        unsafe { buf.set_init(read) }
        (read, buf)
    }

    /// Runs on another thread, because it can wait for room in the device's queue.
    async fn will_need(&self, ranges: Vec<Range<u64>>) {
        let file = Arc::clone(&self.handle.std);
        let asked = elsewhere(move || {
            for range in ranges {
                let len = std::num::NonZeroU64::new(range.end - range.start);
                // The call is only advice: an error changes nothing.
                let _refused = rustix::fs::fadvise(&file, range.start, len, rustix::fs::Advice::WillNeed);
            }
        });
        let _vain = asked.await;
    }

    async fn drop_cached(&self) {
        let file = Arc::clone(&self.handle.std);
        let dropped = elsewhere(move || rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed));
        let _vain = dropped.await;
    }

    async fn write_at(&self, bytes: Bytes, pos: u64) -> io::Result<usize> {
        let memory = ManuallyDrop::new(bytes.clone());
        let done = self.handle.ring.write_at(bytes, pos).submit().await;
        drop(ManuallyDrop::into_inner(memory));
        done.0
    }

    async fn sync(&self) -> io::Result<()> {
        self.handle.ring.sync_data().await
    }

    async fn punch(&self, pos: u64, len: u64) -> io::Result<()> {
        use rustix::fs::FallocateFlags as Flags;
        let file = Arc::clone(&self.handle.std);
        let flags = Flags::PUNCH_HOLE | Flags::KEEP_SIZE;
        Ok(elsewhere(move || rustix::fs::fallocate(file.as_fd(), flags, pos, len)).await??)
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        let file = Arc::clone(&self.handle.std);
        elsewhere(move || file.set_len(len)).await?
    }
}

impl std::fmt::Debug for UringFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UringFile(fd {})", self.handle.std.as_raw_fd())
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Does it; notes whether it was not done yet when it had been asked for.
    async fn note<T>(seen: &mut bool, work: impl Future<Output = io::Result<T>>) -> T {
        let mut work = pin!(work);
        let first = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        *seen |= first.is_pending();
        match first {
            Poll::Ready(done) => done.unwrap(),
            Poll::Pending => work.await.unwrap(),
        }
    }

    #[test]
    fn what_gives_or_takes_space_does_not_hold_up_the_thread() {
        let dir = tempfile::tempdir().unwrap();
        let mut pending = [false; 5];
        tokio_uring::start(async {
            let disk = UringDisk::new(dir.path(), false);
            // Now and then another thread is quick enough.
            for _ in 0..100 {
                let [create, punch, set_len, rename, remove] = &mut pending;
                let file = note(create, disk.create("a", 1 << 20)).await;
                note(punch, file.punch(0, 1 << 19)).await;
                note(set_len, file.set_len(1 << 19)).await;
                assert_eq!(file.size().await.unwrap(), 1 << 19);
                note(rename, disk.rename("a", "b")).await;
                note(remove, disk.remove("b")).await;
                assert!(disk.list("").await.unwrap().is_empty());
            }
        });
        assert_eq!(pending, [true; 5], "create, punch, set_len, rename, remove");
    }
}
