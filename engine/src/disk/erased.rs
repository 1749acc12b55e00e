//! One type for any disk: [`DynDisk`] and [`DynFile`] hide which backend is behind them.
//!
//! The engine is written against these two types, so it is compiled once, whatever disk a program or a test uses. An operation
//! costs one boxed future and one indirect call more, which is nothing beside a read, a write or a flush. All rules of
//! [`Disk`] and [`DiskFile`] hold.

use std::any::Any;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

use crate::aligned::AlignedBuf;

use super::seam::{Disk, DiskFile};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A data directory on any backend. Cloning gives another handle of the same directory.
#[derive(Clone)]
pub struct DynDisk(Rc<dyn ObjectDisk>);

/// An open file on any backend. Cloning gives another handle of the same file.
#[derive(Clone)]
pub struct DynFile(Rc<dyn ObjectFile>);

impl DynDisk {
    /// Hides the backend of `disk`. A disk whose backend is hidden already stays as it is.
    pub fn new(disk: impl Disk) -> Self {
        match (&disk as &dyn Any).downcast_ref::<Self>() {
            Some(hidden) => hidden.clone(),
            None => Self(Rc::new(disk)),
        }
    }
}

/// The methods of [`Disk`] in a form that a trait object can have.
trait ObjectDisk {
    fn open<'a>(&'a self, path: &'a str) -> Boxed<'a, io::Result<DynFile>>;
    fn create<'a>(&'a self, path: &'a str, len: u64) -> Boxed<'a, io::Result<DynFile>>;
    fn list<'a>(&'a self, dir: &'a str) -> Boxed<'a, io::Result<Vec<String>>>;
    fn create_dir<'a>(&'a self, dir: &'a str) -> Boxed<'a, io::Result<()>>;
    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Boxed<'a, io::Result<()>>;
    fn remove<'a>(&'a self, path: &'a str) -> Boxed<'a, io::Result<()>>;
    fn sync_dir<'a>(&'a self, dir: &'a str) -> Boxed<'a, io::Result<()>>;
    fn open_cached<'a>(&'a self, path: &'a str) -> Boxed<'a, io::Result<DynFile>>;
}

/// The methods of [`DiskFile`] in a form that a trait object can have.
trait ObjectFile {
    fn size(&self) -> Boxed<'_, io::Result<u64>>;
    fn read_at(&self, buf: AlignedBuf, pos: u64) -> Boxed<'_, (io::Result<usize>, AlignedBuf)>;
    fn read_cached(&self, buf: AlignedBuf, pos: u64) -> (usize, AlignedBuf);
    fn will_need(&self, ranges: Vec<Range<u64>>) -> Boxed<'_, ()>;
    fn drop_cached(&self) -> Boxed<'_, ()>;
    fn write_at(&self, bytes: Bytes, pos: u64) -> Boxed<'_, io::Result<usize>>;
    fn sync(&self) -> Boxed<'_, io::Result<()>>;
    fn punch(&self, pos: u64, len: u64) -> Boxed<'_, io::Result<()>>;
    fn set_len(&self, len: u64) -> Boxed<'_, io::Result<()>>;
}

impl<D: Disk> ObjectDisk for D {
    fn open<'a>(&'a self, path: &'a str) -> Boxed<'a, io::Result<DynFile>> {
        Box::pin(async move { Ok(DynFile(Rc::new(Disk::open(self, path).await?))) })
    }

    fn create<'a>(&'a self, path: &'a str, len: u64) -> Boxed<'a, io::Result<DynFile>> {
        Box::pin(async move { Ok(DynFile(Rc::new(Disk::create(self, path, len).await?))) })
    }

    fn list<'a>(&'a self, dir: &'a str) -> Boxed<'a, io::Result<Vec<String>>> {
        Box::pin(Disk::list(self, dir))
    }

    fn create_dir<'a>(&'a self, dir: &'a str) -> Boxed<'a, io::Result<()>> {
        Box::pin(Disk::create_dir(self, dir))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str) -> Boxed<'a, io::Result<()>> {
        Box::pin(Disk::rename(self, from, to))
    }

    fn remove<'a>(&'a self, path: &'a str) -> Boxed<'a, io::Result<()>> {
        Box::pin(Disk::remove(self, path))
    }

    fn sync_dir<'a>(&'a self, dir: &'a str) -> Boxed<'a, io::Result<()>> {
        Box::pin(Disk::sync_dir(self, dir))
    }

    fn open_cached<'a>(&'a self, path: &'a str) -> Boxed<'a, io::Result<DynFile>> {
        Box::pin(async move { Ok(DynFile(Rc::new(Disk::open_cached(self, path).await?))) })
    }
}

impl<F: DiskFile> ObjectFile for F {
    fn size(&self) -> Boxed<'_, io::Result<u64>> {
        Box::pin(DiskFile::size(self))
    }

    fn read_at(&self, buf: AlignedBuf, pos: u64) -> Boxed<'_, (io::Result<usize>, AlignedBuf)> {
        Box::pin(DiskFile::read_at(self, buf, pos))
    }

    fn read_cached(&self, buf: AlignedBuf, pos: u64) -> (usize, AlignedBuf) {
        DiskFile::read_cached(self, buf, pos)
    }

    fn will_need(&self, ranges: Vec<Range<u64>>) -> Boxed<'_, ()> {
        Box::pin(DiskFile::will_need(self, ranges))
    }

    fn drop_cached(&self) -> Boxed<'_, ()> {
        Box::pin(DiskFile::drop_cached(self))
    }

    fn write_at(&self, bytes: Bytes, pos: u64) -> Boxed<'_, io::Result<usize>> {
        Box::pin(DiskFile::write_at(self, bytes, pos))
    }

    fn sync(&self) -> Boxed<'_, io::Result<()>> {
        Box::pin(DiskFile::sync(self))
    }

    fn punch(&self, pos: u64, len: u64) -> Boxed<'_, io::Result<()>> {
        Box::pin(DiskFile::punch(self, pos, len))
    }

    fn set_len(&self, len: u64) -> Boxed<'_, io::Result<()>> {
        Box::pin(DiskFile::set_len(self, len))
    }
}

impl Disk for DynDisk {
    type File = DynFile;

    async fn open(&self, path: &str) -> io::Result<DynFile> {
        self.0.open(path).await
    }

    async fn create(&self, path: &str, len: u64) -> io::Result<DynFile> {
        self.0.create(path, len).await
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir).await
    }

    async fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.0.create_dir(dir).await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path).await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.0.sync_dir(dir).await
    }

    async fn open_cached(&self, path: &str) -> io::Result<DynFile> {
        self.0.open_cached(path).await
    }
}

impl DiskFile for DynFile {
    async fn size(&self) -> io::Result<u64> {
        self.0.size().await
    }

    async fn read_at(&self, buf: AlignedBuf, pos: u64) -> (io::Result<usize>, AlignedBuf) {
        self.0.read_at(buf, pos).await
    }

    fn read_cached(&self, buf: AlignedBuf, pos: u64) -> (usize, AlignedBuf) {
        self.0.read_cached(buf, pos)
    }

    async fn will_need(&self, ranges: Vec<Range<u64>>) {
        self.0.will_need(ranges).await;
    }

    async fn drop_cached(&self) {
        self.0.drop_cached().await;
    }

    async fn write_at(&self, bytes: Bytes, pos: u64) -> io::Result<usize> {
        self.0.write_at(bytes, pos).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.0.sync().await
    }

    async fn punch(&self, pos: u64, len: u64) -> io::Result<()> {
        self.0.punch(pos, len).await
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len).await
    }
}

impl std::fmt::Debug for DynDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DynDisk")
    }
}

impl std::fmt::Debug for DynFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DynFile")
    }
}
