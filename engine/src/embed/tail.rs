//! Following a partition: records as they become durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ids::Offset;

use super::block_on::block_on;
use super::core::Route;
use super::error::EmbedError;
use super::record::{StoredRecord, decode};
use super::shared::Shared;

/// Bytes that a tail reads at once.
const BYTES_MAX: usize = 256 << 10;
/// Longest single wait on the shard's thread: after a tail is dropped, its wait ends within this time.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Follows a partition from an offset on, in order, across its end: see [`Keylane::tail`](super::Keylane::tail).
///
/// As an iterator, a tail blocks until a record is durable, and ends when the engine is closed or after an error. A tail
/// that does not read costs the engine nothing.
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
    pub fn recv(&mut self, patience: Duration) -> Result<Option<StoredRecord>, EmbedError> {
        block_on(self.recv_async(patience))
    }

    /// As [`recv`](Self::recv), for any async runtime. The future may be dropped at any time without losing a record.
    pub async fn recv_async(&mut self, patience: Duration) -> Result<Option<StoredRecord>, EmbedError> {
        let until = Instant::now().checked_add(patience);
        let mut first = true;
        while self.ahead.is_empty() {
            let left = until.map_or(WAIT_MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() && !first {
                return Ok(None);
            }
            first = false;
            let batches = self.shared.read(&self.route, self.next, BYTES_MAX, left.min(WAIT_MAX)).await?;
            self.ahead = decode(&batches.slices, self.next)?.into();
            self.next = batches.next_offset;
        }
        Ok(self.ahead.pop_front())
    }
}

impl Iterator for Tail {
    type Item = Result<StoredRecord, EmbedError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.recv(WAIT_MAX) {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(EmbedError::Closed) => self.ended = true,
                Err(e) => {
                    self.ended = true;
                    return Some(Err(e));
                }
            }
        }
        None
    }
}
