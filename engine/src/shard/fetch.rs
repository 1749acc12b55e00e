//! From places on the disk to batches: reads what lies there, checks it, joins neighbours.
//!
//! Extents near each other are read in one go; small ones share pieces that are kept for a while, so that
//! readers of several partitions scan a segment once. What comes from the disk is checked against its index
//! entry and its checksum before anybody sees it.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::aligned::{AlignedBuf, BLOCK, round_down};
use crate::disk::{Disk, DynFile};
use crate::error::ReadError;
use crate::ids::{Generation, Offset};
use crate::log::files;
use crate::log::format::{Entry, check_entry};

use super::cold::{PIECE_BYTES, Place};
use super::locate::Located;
use super::read::Batches;
use super::{Counters, Inner};

/// Largest single read, unless one batch is larger.
pub(super) const READ_BYTES_MAX: u64 = READ_BUFFER_BYTES as u64 - BLOCK as u64;
/// Memory that such a read uses, again and again.
pub(super) const READ_BUFFER_BYTES: usize = 2 << 20;
/// Reads of less than this take memory of their own, so that little data does not hold much.
const POOLED_BYTES_MIN: usize = 1 << 20;
/// Longer extents are read on their own, shorter ones through shared pieces.
const SHARED_BYTES_MAX: usize = 256 << 10;
/// Of those, ones of so many bytes are read on their own, too, when nobody else seems to want what lies around them.
const EXACT_BYTES_MIN: usize = PIECE_BYTES as usize / 2;
/// Batches further apart than this are not neighbours.
pub(super) const APART_BYTES: u64 = 16 << 10;

/// An error, and the segment that was read then, if it came to that.
pub(super) type Failed = (Option<Generation>, ReadError);

/// Batches, and the bytes that lie from a place on, which hold them.
pub(super) struct Brought<'a> {
    part: &'a [Located],
    from: u64,
    bytes: Bytes,
}

impl Inner {
    pub(super) fn damaged(&self, generation: Generation, position: u64, what: String) -> ReadError {
        ReadError::Damaged { shard: self.identity.shard, generation, position, what }
    }

    /// Reads batches that have been located, and checks them.
    pub(super) async fn fetch(
        self: &Rc<Self>,
        located: &[Located],
        offset: Offset,
    ) -> Result<Batches, Failed> {
        self.check(self.bring(located).await?, offset).await
    }

    /// Reads batches that have been located: neighbours in one go, what lies apart at the same time.
    pub(super) async fn bring<'a>(
        self: &Rc<Self>,
        located: &'a [Located],
    ) -> Result<Vec<Brought<'a>>, Failed> {
        let mut reads = Vec::new();
        let mut rest = located;
        while let Some(first) = rest.first() {
            let start = u64::from(first.entry.position);
            let from = round_down(start);
            let mut end = start + u64::from(first.entry.len);
            let (mut n, mut bytes) = (1, u64::from(first.entry.len));
            for next in &rest[1..] {
                let (at, len) = (u64::from(next.entry.position), u64::from(next.entry.len));
                let near = at >= end && at - end <= APART_BYTES;
                let span = (at + len).saturating_sub(from);
                // What lies between is not worth reading when it is much.
                let dense = span <= PIECE_BYTES || (bytes + len) * 4 >= span * 3;
                if next.generation != first.generation || !near || !dense || span > READ_BYTES_MAX {
                    break;
                }
                end = at + len;
                bytes += len;
                n += 1;
            }
            let len = ((end - from) as usize).next_multiple_of(BLOCK);
            let (part, generation) = (&rest[..n], first.generation);
            reads.push(async move {
                let read = self.read_range(generation, from, len, start..end).await;
                read.map(|bytes| Brought { part, from, bytes }).map_err(|e| (Some(generation), e))
            });
            rest = &rest[n..];
        }
        try_join_all(reads).await
    }

    /// Checks what was brought and joins it, while the disk works on what comes next.
    pub(super) async fn check(&self, brought: Vec<Brought<'_>>, offset: Offset) -> Result<Batches, Failed> {
        let mut out = Batches { next_offset: offset, ..Batches::default() };
        self.let_reads_begin().await;
        for Brought { part, from, bytes } in brought {
            let generation = part.first().map(|l| l.generation);
            self.slice_batches(part, from, &bytes, &mut out).map_err(|e| (generation, e))?;
        }
        Ok(out)
    }

    /// Checks batches in bytes that were read at `from`, and joins neighbours.
    fn slice_batches(
        &self,
        part: &[Located],
        from: u64,
        bytes: &Bytes,
        out: &mut Batches,
    ) -> Result<(), ReadError> {
        let mut stretch: Option<(usize, usize, Offset)> = None;
        for batch in part {
            let entry = &batch.entry;
            let at = (u64::from(entry.position) - from) as usize;
            let to = at + entry.len as usize;
            let expected = Entry {
                log: crate::ids::LogId(0),
                len: entry.len,
                at: 0,
                span: entry.span,
                base_offset: entry.base_offset,
                max_timestamp: entry.max_timestamp,
            };
            check_entry(&expected, &bytes[at..to]).map_err(|cause| {
                let what = cause.map_or("another batch than the index names".to_owned(), |c| c.to_string());
                self.damaged(batch.generation, u64::from(entry.position), what)
            })?;
            let next = entry.base_offset + u64::from(entry.span);
            match &mut stretch {
                Some((_, end, offset)) if *end == at => (*end, *offset) = (to, next),
                other => {
                    if let Some((a, b, offset)) = other.take() {
                        out.push(bytes.slice(a..b), offset);
                    }
                    *other = Some((at, to, next));
                }
            }
        }
        if let Some((a, b, offset)) = stretch {
            out.push(bytes.slice(a..b), offset);
        }
        Ok(())
    }

    /// Bytes of a segment: small ranges through pieces, so that neighbours find them.
    async fn read_range(
        self: &Rc<Self>,
        generation: Generation,
        from: u64,
        len: usize,
        wanted: Range<u64>,
    ) -> Result<Bytes, ReadError> {
        // A segment that is still written to holds more the next time: nothing of it is kept.
        let Some(data_end) = self.data_end(generation).filter(|_| len <= SHARED_BYTES_MAX) else {
            return self.read_file(generation, false, from, len).await;
        };
        let place = (generation, false, from - from % PIECE_BYTES);
        let alone = {
            let mut cold = self.cold.borrow_mut();
            cold.wanted(place);
            len >= EXACT_BYTES_MIN && !cold.is_shared() && cold.piece(&place).is_none()
        };
        if alone {
            return self.read_file(generation, false, from, len).await;
        }
        let read = self.shared_range(generation, false, from..from + len as u64, wanted, data_end);
        let ahead = self.cold.borrow_mut().begin_scan(place, data_end);
        if let Some(first) = ahead {
            self.scan(first);
        }
        match read.await {
            Ok(bytes) => Ok(bytes),
            // It need not be these bytes that could not be read.
            Err(_) => self.read_file(generation, false, from, len).await,
        }
    }

    /// Reads pieces ahead of readers who move together, in the background, as long as they go on.
    fn scan(self: &Rc<Self>, (place, pieces): (Place, u64)) {
        let inner = Rc::clone(self);
        tokio::task::spawn_local(async move {
            inner.cold.borrow_mut().enter();
            let coming = inner.coming(place, pieces);
            let data_end = inner.data_end(place.0).unwrap_or(0);
            // Who wants it meets the error again.
            let read = inner.read_stated(place, pieces, data_end).await.ok();
            let in_use = inner.kept(place, read.as_ref()).is_some();
            let next = inner.cold.borrow_mut().go_on_scanning(in_use);
            if let Some(next) = next {
                // The disk goes on before those who wait for this are woken.
                inner.scan(next);
                tokio::task::yield_now().await;
                inner.let_reads_begin().await;
            }
            coming.end(inner.kept(place, read.as_ref()));
            inner.cold.borrow_mut().leave();
        });
    }

    /// Bytes up to which a sealed segment holds something.
    fn data_end(&self, generation: Generation) -> Option<u64> {
        let state = self.state.borrow();
        state.segments.get(&generation).map(|s| s.sealed.data_end.next_multiple_of(BLOCK as u64))
    }

    /// A range of a file that ends at `file_end`, through pieces. `wanted`: what of it the reader takes, the rest belongs
    /// to others.
    pub(super) async fn shared_range(
        &self,
        generation: Generation,
        index: bool,
        range: Range<u64>,
        wanted: Range<u64>,
        file_end: u64,
    ) -> Result<Bytes, ReadError> {
        let Range { start: from, end } = range;
        let mut parts: Vec<Bytes> = Vec::new();
        let mut at = from;
        while at < end {
            let place = (generation, index, at - at % PIECE_BYTES);
            let here = self.cold.borrow().piece(&place);
            let bytes = match here {
                Some(Ok(bytes)) => bytes,
                Some(Err(coming)) => {
                    coming.notified().await;
                    continue;
                }
                None => {
                    let pieces = {
                        let mut cold = self.cold.borrow_mut();
                        let pieces = cold.pieces_at_once(place, (end - place.2).div_ceil(PIECE_BYTES));
                        cold.pieces_come(place, pieces);
                        pieces
                    };
                    self.read_pieces(place, pieces, file_end).await?
                }
            };
            let skip = (at - place.2) as usize;
            let take = bytes.len().saturating_sub(skip).min((end - at) as usize);
            if take == 0 {
                return Err(self.damaged(generation, at, "the file ends early".to_owned()));
            }
            parts.push(bytes.slice(skip..skip + take));
            let taken = wanted.start.max(at)..wanted.end.min(at + take as u64);
            if !index {
                self.cold.borrow_mut().took(generation, index, &taken);
            }
            at += take as u64;
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { parts.concat().into() })
    }

    /// Reads pieces that are stated to come, or what there is of them before the file ends.
    async fn read_pieces(&self, place: Place, pieces: u64, file_end: u64) -> Result<Bytes, ReadError> {
        let coming = self.coming(place, pieces);
        let bytes = self.read_stated(place, pieces, file_end).await?;
        coming.end(self.kept(place, Some(&bytes)));
        Ok(bytes)
    }

    async fn read_stated(&self, place: Place, pieces: u64, file_end: u64) -> Result<Bytes, ReadError> {
        let (generation, index, at) = place;
        match file_end.saturating_sub(at).min(pieces * PIECE_BYTES) as usize {
            0 => Ok(Bytes::new()),
            len => self.read_file(generation, index, at, len).await,
        }
    }

    /// Of what was replaced or freed meanwhile nothing is kept.
    fn kept<'a>(&self, place: Place, read: Option<&'a Bytes>) -> Option<&'a Bytes> {
        read.filter(|bytes| !bytes.is_empty() && self.data_end(place.0).is_some())
    }

    /// Pieces that are stated to come.
    fn coming(&self, place: Place, pieces: u64) -> Coming<impl FnMut(Option<&Bytes>)> {
        let cold = &self.cold;
        Coming(move |bytes: Option<&Bytes>| cold.borrow_mut().pieces_are_here(place, pieces, bytes))
    }

    async fn read_file(
        &self,
        generation: Generation,
        index: bool,
        at: u64,
        len: usize,
    ) -> Result<Bytes, ReadError> {
        let file = self.open_file(generation, index, at).await?;
        self.reads_asked.set(self.reads_asked.get() + 1);
        Counters::add(&self.counters.disk_reads, 1);
        Counters::add(&self.counters.disk_read_bytes, len as u64);
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let buf = self.read_buffer(len).await;
        self.read_paced(&file, at, buf).await.map_err(io)
    }

    /// The disk works on what comes next while what is here is checked.
    async fn let_reads_begin(&self) {
        let asked = self.reads_asked.get();
        if self.reads_begun.get() < asked {
            self.disk.begun().await;
            self.reads_begun.set(asked.max(self.reads_begun.get()));
        }
    }

    /// Memory for a read: of a huge page, which the device fills in one go. Small reads, which end up in pieces that
    /// come and go in order, share one. Beside commits it is of small pages. Where little memory may be kept, a read
    /// takes what it needs and no more.
    async fn read_buffer(&self, len: usize) -> AlignedBuf {
        let small = len < POOLED_BYTES_MIN;
        let paced = self.commits_flow();
        let little = self.options.cold_cache_bytes < READ_BUFFER_BYTES;
        if len > READ_BUFFER_BYTES || little || (paced && small) {
            return AlignedBuf::uninit(len);
        }
        if paced {
            return self.paced_read_pool.take().split_front(len);
        }
        if small && let Some(open) = self.small_reads.borrow_mut().as_mut().filter(|b| b.capacity() >= len) {
            return open.split_front(len);
        }
        let mut buf = match self.read_pool.take_free() {
            Some(free) => free,
            None => self.disk.ready(self.read_pool.take_new()).await,
        };
        let front = buf.split_front(len);
        if small {
            *self.small_reads.borrow_mut() = Some(buf);
        }
        front
    }

    pub(super) async fn open_file(
        &self,
        generation: Generation,
        index: bool,
        at: u64,
    ) -> Result<DynFile, ReadError> {
        if let Some(file) = self.cold.borrow().file(generation, index) {
            return Ok(file);
        }
        let name = if index { files::index } else { files::segment };
        let io = |cause| ReadError::Io { shard: self.identity.shard, generation, position: at, cause };
        let file = self.disk.open(&name(&self.dir, generation)).await.map_err(io)?;
        if self.state.borrow().exists(generation) {
            self.cold.borrow_mut().keep_file(generation, index, file.clone());
        }
        Ok(file)
    }
}

/// Says that pieces do not come any more: in vain unless told otherwise, for a reader may go away in the middle.
struct Coming<A: FnMut(Option<&Bytes>)>(A);

impl<A: FnMut(Option<&Bytes>)> Coming<A> {
    fn end(mut self, with: Option<&Bytes>) {
        (self.0)(with);
    }
}

impl<A: FnMut(Option<&Bytes>)> Drop for Coming<A> {
    fn drop(&mut self) {
        (self.0)(None);
    }
}
