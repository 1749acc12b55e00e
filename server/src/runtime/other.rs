//! A connection over anything that reads and writes: what does not come through io_uring.
//!
//! Promise: it behaves as a socket does: ending it wakes who reads or writes, and after that reads say that the peer is done
//! and writes fail.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What reads and writes.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

/// See the module's header. It has one reader and one writer.
pub struct Other {
    io: RefCell<Box<dyn Duplex>>,
    read_ended: Cell<bool>,
    write_ended: Cell<bool>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

impl Other {
    /// A connection that has begun.
    pub fn new(io: impl Duplex + 'static) -> Self {
        Self {
            io: RefCell::new(Box::new(io)),
            read_ended: Cell::new(false),
            write_ended: Cell::new(false),
            reader: Cell::default(),
            writer: Cell::default(),
        }
    }

    /// Reads into the free capacity behind what `buf` holds.
    pub async fn read(&self, buf: &mut BytesMut) -> io::Result<usize> {
        let len = buf.len();
        // Only memory that was written to can be lent without `unsafe`.
        buf.resize(buf.capacity(), 0);
        let read = poll_fn(|cx| self.poll_read(cx, &mut buf[len..])).await;
        buf.truncate(len + read.as_ref().map_or(0, |n| *n));
        read
    }

    fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.read_ended.get() {
            return Poll::Ready(Ok(0));
        }
        self.reader.set(Some(cx.waker().clone()));
        let mut into = ReadBuf::new(into);
        let mut io = self.io.borrow_mut();
        Pin::new(&mut **io).poll_read(cx, &mut into).map_ok(|()| into.filled().len())
    }

    /// Writes all slices, in order, at most `at_once` bytes in one write.
    pub async fn write_all(&self, slices: &[Bytes], at_once: usize) -> io::Result<()> {
        for chunk in slices.iter().flat_map(|slice| slice.chunks(at_once)) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let written = poll_fn(|cx| self.poll_write(cx, rest)).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                rest = &rest[written..];
            }
        }
        poll_fn(|cx| Pin::new(&mut **self.io.borrow_mut()).poll_flush(cx)).await
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_ended.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.writer.set(Some(cx.waker().clone()));
        Pin::new(&mut **self.io.borrow_mut()).poll_write(cx, bytes)
    }

    /// Ends the receiving direction, or both.
    pub fn end(&self, both: bool) {
        self.read_ended.set(true);
        self.write_ended.set(self.write_ended.get() || both);
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}
