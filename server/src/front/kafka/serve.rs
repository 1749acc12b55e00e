//! One client connection: reads requests, dispatches them in order, writes answers in order.
//!
//! Promises: many requests are in flight at once, and reading never waits for a commit; a connection's
//! memory is bounded (a large frame is paid for from the core's budget before it is received, and grows
//! only with the bytes that really come); bytes that make no sense close the connection, nothing else.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use keylane_kafka::frame::{self, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::core::{Core, MEMORY_UNIT};
use crate::runtime::net::Stream;

use super::close::{CloseReason, STALL};
use super::connection::Connection;
use super::dispatch::{self, Taken};
use super::out::Out;

/// Receive buffer of a quiet connection.
const QUIET_BYTES: usize = 4 << 10;
/// Receive buffer of a busy one, unless a single frame needs more.
const BUSY_BYTES: usize = 256 << 10;
/// What is moved to the front of the buffer without a second thought.
const MOVED_BYTES: usize = 4 << 10;
/// Small reads in a row after which a large buffer is given back.
const SMALL_READS: u32 = 16;
/// Bytes of one write to the socket: the system copies them at once, and nothing else is done on this core
/// meanwhile.
const WRITE_BYTES: usize = 1 << 20;
/// The same for what was read from the disk: whoever reads it is behind, and should not hold up who is not.
const UNHURRIED_WRITE_BYTES: usize = 256 << 10;
/// Serves a connection to its end.
pub async fn serve(core: Rc<Core>, stream: Stream, local: SocketAddr, peer: SocketAddr) {
    let connection = Rc::new(Connection::new(Rc::clone(&core), stream.clone(), local, peer));
    let id = core.connections.borrow_mut().insert(stream.clone());
    let writer = tokio::task::spawn_local(write(Rc::clone(&connection), stream.clone()));
    let end = Reader::new(Rc::clone(&connection), stream.clone()).run().await;
    match &end {
        Ok(()) | Err(CloseReason::Io(_)) => tracing::debug!(client = %connection, ?end, "connection ended"),
        Err(reason) => tracing::warn!(client = %connection, %reason, "closing the connection"),
    }
    connection.out.borrow_mut().close();
    // What was asked before is still answered.
    let _finished = tokio::time::timeout(STALL, writer).await;
    connection.out.borrow_mut().break_off();
    stream.shutdown();
    core.connections.borrow_mut().try_remove(id);
    core.drained.notify_waiters();
}

async fn write(connection: Rc<Connection>, stream: Stream) {
    loop {
        let ready = poll_fn(|cx| connection.out.borrow_mut().poll_ready(&connection.core, cx)).await;
        let Some(due) = ready else { return };
        let at_once = if due.unhurried { UNHURRIED_WRITE_BYTES } else { WRITE_BYTES };
        let written = tokio::time::timeout(STALL, stream.write_all(due.slices, at_once)).await;
        if !matches!(written, Ok(Ok(()))) {
            connection.out.borrow_mut().break_off();
            stream.shutdown();
            return;
        }
    }
}

struct Reader {
    connection: Rc<Connection>,
    stream: Stream,
    buf: BytesMut,
    /// Paid for the part of the buffer beyond [`QUIET_BYTES`].
    paid: Option<OwnedSemaphorePermit>,
    small_reads: u32,
}

impl Reader {
    fn new(connection: Rc<Connection>, stream: Stream) -> Self {
        Self { connection, stream, buf: BytesMut::with_capacity(QUIET_BYTES), paid: None, small_reads: 0 }
    }

    async fn run(&mut self) -> Result<(), CloseReason> {
        loop {
            let wanted = self.dispatch().await?;
            if self.connection.out.borrow().is_broken() {
                return Ok(());
            }
            self.make_room(wanted).await?;
            let (space, had) = (self.buf.capacity() - self.buf.len(), self.buf.len());
            let buf = std::mem::take(&mut self.buf);
            let reading = self.stream.read(buf);
            let (result, buf) = if had == 0 {
                reading.await
            } else {
                tokio::time::timeout(STALL, reading).await.map_err(|_| CloseReason::Stalled)?
            };
            self.buf = buf;
            self.connection.received.set(Instant::now());
            match result {
                Ok(0) => return Ok(()),
                Ok(n) if n == space => self.grow(),
                Ok(n) if n < self.buf.capacity() / 8 => self.small_reads += 1,
                Ok(_) => self.small_reads = 0,
                // The buffer was lent to the kernel with an operation that was cancelled.
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Handles the complete requests in the buffer. Returns the bytes needed for the next one.
    async fn dispatch(&mut self) -> Result<usize, CloseReason> {
        let limit = self.connection.core.config.max_request_bytes;
        loop {
            let length = match frame::peek(&self.buf, limit)? {
                Frame::Incomplete(wanted) => return Ok(wanted),
                Frame::Complete(length) => length,
            };
            let full = |out: &Out| !out.is_full();
            if self.connection.out.borrow().is_full() {
                poll_fn(|cx| self.connection.out.borrow_mut().poll_reader(cx, full)).await;
            }
            let whole = frame::PREFIX_BYTES + length;
            match dispatch::at_once(&self.connection, &self.buf[frame::PREFIX_BYTES..whole])? {
                Taken::Done => self.buf.advance(whole),
                Taken::Deferred(deferred) => {
                    let request: Bytes = self.buf.split_to(whole).freeze().slice(frame::PREFIX_BYTES..);
                    dispatch::in_turn(deferred, request).await?;
                }
            }
        }
    }

    /// Makes room to receive into; `wanted` bytes is what the next request is known to need.
    async fn make_room(&mut self, wanted: usize) -> Result<(), CloseReason> {
        if self.buf.is_empty() && self.small_reads >= SMALL_READS && self.paid.is_some() {
            self.buf = BytesMut::with_capacity(QUIET_BYTES);
            self.paid = None;
            self.small_reads = 0;
        }
        if wanted > QUIET_BYTES.max(self.paid_bytes()) && self.buf.len() >= QUIET_BYTES {
            // A large frame: pay for twice what has come so far, not for what its prefix claims; and for
            // nothing before its beginning has filled the buffer of a quiet connection. A client that
            // sends a length and then nothing must not take memory from the others.
            let target = wanted.min((self.buf.len() * 2).max(BUSY_BYTES));
            if target > self.paid_bytes() {
                let more = units(target) - units(self.paid_bytes());
                let paying = Arc::clone(&self.connection.core.memory).acquire_many_owned(more);
                let permit = tokio::time::timeout(STALL, paying).await.map_err(|_| CloseReason::Stalled)?;
                self.pay(permit.ok());
            }
        }
        let target = QUIET_BYTES.max(self.paid_bytes());
        let (len, capacity) = (self.buf.len(), self.buf.capacity());
        // What is left of a large frame stays where it is if the frame fits there; a little is moved to
        // the front, so that the next read is a large one.
        let room = capacity >= wanted && capacity > len && (len > MOVED_BYTES || capacity >= target);
        if !room && !self.buf.try_reclaim(target.saturating_sub(len).max(1)) {
            let mut fresh = BytesMut::with_capacity(target.max(len + 1));
            fresh.extend_from_slice(&self.buf);
            self.buf = fresh;
        }
        Ok(())
    }

    /// The buffer was filled to its end by one read: pay for a larger one, if there is memory to be had.
    fn grow(&mut self) {
        self.small_reads = 0;
        let paid = self.paid_bytes();
        if paid < BUSY_BYTES {
            let more = units(BUSY_BYTES) - units(paid);
            self.pay(Arc::clone(&self.connection.core.memory).try_acquire_many_owned(more).ok());
        }
    }

    fn paid_bytes(&self) -> usize {
        self.paid.as_ref().map_or(0, |p| p.num_permits() * MEMORY_UNIT)
    }

    fn pay(&mut self, more: Option<OwnedSemaphorePermit>) {
        let Some(more) = more else { return };
        match &mut self.paid {
            Some(paid) => paid.merge(more),
            None => self.paid = Some(more),
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
