//! A disk on top of another one, which asks a test before each read and each flush. Unit tests of the engine include this
//! file, too.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use keylane_engine::aligned::AlignedBuf;
use keylane_engine::disk::{Disk, DiskFile};

/// What a test wants to know, to delay or to fail. All by default: nothing.
pub trait Hooks: 'static {
    /// Before a read of up to `bytes`.
    async fn before_read(&self, _bytes: usize) {}
    /// After a read of up to `bytes`.
    fn after_read(&self, _bytes: usize) {}
    /// Before a flush, which an error makes fail.
    async fn before_sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk (`T`) or a file of one, with hooks.
pub struct Hooked<T, H> {
    below: T,
    hooks: Rc<H>,
}

impl<T, H> Hooked<T, H> {
    /// `below` with these hooks.
    pub fn new(below: T, hooks: &Rc<H>) -> Self {
        Self { below, hooks: Rc::clone(hooks) }
    }
}

impl<T: Clone, H> Clone for Hooked<T, H> {
    fn clone(&self) -> Self {
        Self::new(self.below.clone(), &self.hooks)
    }
}

impl<D: Disk, H: Hooks> Disk for Hooked<D, H> {
    type File = Hooked<D::File, H>;

    async fn open(&self, path: &str) -> io::Result<Self::File> {
        Ok(Hooked::new(self.below.open(path).await?, &self.hooks))
    }
    async fn create(&self, path: &str, len: u64) -> io::Result<Self::File> {
        Ok(Hooked::new(self.below.create(path, len).await?, &self.hooks))
    }
    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.below.list(dir).await
    }
    async fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.below.create_dir(dir).await
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below.rename(from, to).await
    }
    async fn remove(&self, path: &str) -> io::Result<()> {
        self.below.remove(path).await
    }
    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.below.sync_dir(dir).await
    }
}

impl<F: DiskFile, H: Hooks> DiskFile for Hooked<F, H> {
    async fn size(&self) -> io::Result<u64> {
        self.below.size().await
    }
    async fn read_at(&self, buf: AlignedBuf, pos: u64) -> (io::Result<usize>, AlignedBuf) {
        let bytes = buf.capacity();
        self.hooks.before_read(bytes).await;
        let read = self.below.read_at(buf, pos).await;
        self.hooks.after_read(bytes);
        read
    }
    async fn write_at(&self, bytes: Bytes, pos: u64) -> io::Result<usize> {
        self.below.write_at(bytes, pos).await
    }
    async fn sync(&self) -> io::Result<()> {
        self.hooks.before_sync().await?;
        self.below.sync().await
    }
    async fn punch(&self, pos: u64, len: u64) -> io::Result<()> {
        self.below.punch(pos, len).await
    }
    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len).await
    }
}
