//! Following a partition: records as they become durable.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;

use crate::ids::Offset;
use crate::shard::Batches;

use super::block_on::block_on;
use super::error::{Error, Result};
use super::record::{StoredRecord, decode};
use super::shared::Shared;
use super::threads::Route;

/// Bytes that a tail reads at once.
const BYTES_MAX: usize = 256 << 10;
/// Longest single wait on the shard's thread: after a tail is dropped, its wait ends within this time.
const WAIT_MAX: Duration = Duration::from_secs(1);

type Reading = Pin<Box<dyn Future<Output = Result<Batches>> + Send>>;

/// Follows a partition from an offset on, in order, across its end: see [`Partition::tail`](crate::Partition::tail).
///
/// Records are taken with [`recv`](Self::recv), which has a time-out, or by iterating, which blocks until a record is durable, and
/// ends when the engine is closed or after an error; async code has [`recv_async`](Self::recv_async) and
/// [`into_stream`](Self::into_stream). A tail that does not read costs the engine nothing.
pub struct Tail {
    shared: Arc<Shared>,
    route: Route,
    next: Offset,
    ahead: VecDeque<StoredRecord>,
    ended: bool,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>, route: Route, from: Offset) -> Self {
        Self { shared, route, next: from, ahead: VecDeque::new(), ended: false }
    }

    /// Offset of the next record.
    pub fn position(&self) -> Offset {
        self.ahead.front().map_or(self.next, |record| record.offset)
    }

    /// Blocks until the next record is durable; `None` if no record is durable within `patience`.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`] if the records at the position were deleted meanwhile, or the tail began beyond the end;
    /// [`Error::Deleted`], [`Error::Closed`], [`Error::Read`], [`Error::Unreadable`].
    pub fn recv(&mut self, patience: Duration) -> Result<Option<StoredRecord>> {
        block_on(self.recv_async(patience))
    }

    /// As [`recv`](Self::recv), for any async runtime. The future may be dropped at any time without losing a record.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_async(&mut self, patience: Duration) -> Result<Option<StoredRecord>> {
        let until = Instant::now().checked_add(patience);
        let mut first = true;
        while self.ahead.is_empty() {
            let left = until.map_or(WAIT_MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() && !first {
                return Ok(None);
            }
            first = false;
            let batches = self.shared.read(&self.route, self.next, BYTES_MAX, left.min(WAIT_MAX)).await?;
            self.take(&batches)?;
        }
        Ok(self.ahead.pop_front())
    }

    /// A stream of the records from here on.
    pub fn into_stream(self) -> TailStream {
        TailStream { tail: self, reading: None }
    }

    fn take(&mut self, batches: &Batches) -> Result<()> {
        self.ahead = decode(&batches.slices, self.next)?.into();
        self.next = batches.next_offset;
        Ok(())
    }

    /// What an iterator or a stream makes of a result; `None`: the wait goes on.
    fn item(&mut self, result: Result<Option<StoredRecord>>) -> Option<Option<Result<StoredRecord>>> {
        match result {
            Ok(record) => record.map(|record| Some(Ok(record))),
            Err(error) => {
                self.ended = true;
                Some(if matches!(error, Error::Closed) { None } else { Some(Err(error)) })
            }
        }
    }
}

impl Iterator for Tail {
    type Item = Result<StoredRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let result = self.recv(WAIT_MAX);
            if let Some(item) = self.item(result) {
                return item;
            }
        }
        None
    }
}

/// A [`Tail`] as a [`Stream`] for any async runtime: each item is the next record, once that is durable. It ends when the engine is
/// closed or after an error.
#[must_use = "a stream does nothing unless it is polled"]
pub struct TailStream {
    tail: Tail,
    /// The read that is under way.
    reading: Option<Reading>,
}

impl TailStream {
    /// Offset of the next record.
    pub fn position(&self) -> Offset {
        self.tail.position()
    }

    /// The next record, or `None` after a wait of [`WAIT_MAX`].
    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<StoredRecord>>> {
        let tail = &mut self.tail;
        if tail.ahead.is_empty() {
            let reading = self.reading.get_or_insert_with(|| {
                let (shared, route, next) = (Arc::clone(&tail.shared), tail.route, tail.next);
                Box::pin(async move { shared.read(&route, next, BYTES_MAX, WAIT_MAX).await })
            });
            let batches = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            tail.take(&batches?)?;
        }
        Poll::Ready(Ok(tail.ahead.pop_front()))
    }
}

impl Stream for TailStream {
    type Item = Result<StoredRecord>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.tail.ended {
            let result = ready!(self.poll_once(cx));
            if let Some(item) = self.tail.item(result) {
                return Poll::Ready(item);
            }
        }
        Poll::Ready(None)
    }
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (partition, position) = (self.route.partition, self.position());
        f.debug_struct("Tail")
            .field("partition", &partition)
            .field("position", &position)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TailStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TailStream").field(&self.tail).finish()
    }
}
