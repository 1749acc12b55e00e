//! Uncompressing the records of a batch, with decoders of other projects that are not trusted.
//!
//! - Records are decoded as a stream, piece by piece, up to a limit and no further than the caller asks. At most
//!   [`MAX_HELD`] decoded bytes (a zstd window, a snappy block) are in memory at a time, whatever the batch claims;
//!   a buffer takes up to three times that while it grows.
//! - A piece is read where the codec left it: records that are not compressed, and blocks of snappy and lz4, are
//!   not copied.
//! - Memory and state of a codec are used again by the next batch on the same thread, unless they grew large.
//! - Malformed bytes give an error that says what is wrong with them. A decoder that panics gives an error, too; a
//!   program that aborts on panics asks [`panic_is_caught`] first. Streams that are cut off, checksums that do not match,
//!   and frames that need a dictionary are malformed.

use std::io;

use super::codec::guarded;
use super::error::DecodeError;
use super::gzip::Gzip;
use super::lz4::Lz4;
use super::snappy::Snappy;
use super::zstd::Zstd;

/// Most bytes of uncompressed records that are read from one batch.
pub const MAX_UNCOMPRESSED: usize = 256 << 20;

/// All uncompressed bytes of the records behind a batch's header, at most `limit`. The buffer takes one and a half times
/// that for a moment while it grows.
pub fn decompress(codec: i16, records: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(codec, records, limit)?;
    let mut out: Vec<u8> = Vec::new();
    while decoder.refill()? {
        let piece = decoder.unread();
        let want = out.len() + piece.len();
        if want > out.capacity() {
            let room = want.max(out.capacity() * 2).max(records.len() * 2).min(limit);
            out.try_reserve_exact(room - out.len()).map_err(|_| DecodeError::Memory(room))?;
        }
        out.extend_from_slice(piece);
    }
    Ok(out)
}

/// Whether `compressed` uncompresses to `plain`.
pub fn decompresses_to(codec: i16, compressed: &[u8], plain: &[u8]) -> bool {
    let Ok(mut decoder) = Decoder::new(codec, compressed, plain.len()) else { return false };
    let mut rest = plain;
    loop {
        match decoder.refill() {
            Ok(true) => match rest.strip_prefix(decoder.unread()) {
                Some(after) => rest = after,
                None => return false,
            },
            Ok(false) => return rest.is_empty(),
            Err(_) => return false,
        }
    }
}

/// The uncompressed bytes of the records, as a stream.
pub struct Decoder<'a> {
    codec: &'static str,
    from: Source<'a>,
    /// Unread bytes of the piece.
    at: usize,
    end: usize,
    /// Bytes that may still be read from the codec.
    room: usize,
    limit: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder of at most `limit` uncompressed bytes; more are an error. `codec` comes from the batch's attributes,
    /// `records` are the bytes behind its header.
    pub fn new(codec: i16, records: &'a [u8], limit: usize) -> Result<Self, DecodeError> {
        let (codec, from) = match codec {
            0 => ("not", Source::Plain { piece: &[], rest: records }),
            1 => ("gzip", Source::Gzip(Gzip::new(records))),
            2 => ("snappy", Source::Snappy(Snappy::new(records))),
            3 => ("lz4", Source::Lz4(Lz4::new(records))),
            4 => ("zstd", Source::Zstd(Zstd::new(records))),
            other => return Err(DecodeError::Codec(other)),
        };
        Ok(Self { codec, from, at: 0, end: 0, room: limit, limit })
    }

    /// The next byte; `None` at the end.
    pub fn byte(&mut self) -> Result<Option<u8>, DecodeError> {
        if self.at == self.end && !self.refill()? {
            return Ok(None);
        }
        let byte = self.from.piece()[self.at];
        self.at += 1;
        Ok(Some(byte))
    }

    /// Skips `count` bytes; false if fewer follow. A count above the limit is an error before anything is decoded.
    pub fn skip(&mut self, mut count: u64) -> Result<bool, DecodeError> {
        if count > (self.end - self.at) as u64 + self.room as u64 {
            return Err(DecodeError::TooLarge { limit: self.limit });
        }
        loop {
            let step = count.min((self.end - self.at) as u64);
            self.at += step as usize;
            count -= step;
            if count == 0 {
                return Ok(true);
            }
            if !self.refill()? {
                return Ok(false);
            }
        }
    }

    /// Decodes the first piece and returns it if the codec ends with it. Records in one piece are walked through faster
    /// than a stream.
    pub fn whole(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        self.refill()?;
        Ok(self.from.is_done().then(|| self.unread()))
    }

    /// Bytes that were decoded and not read yet; may be empty before [`refill`](Self::refill).
    pub fn unread(&self) -> &[u8] {
        &self.from.piece()[self.at..self.end]
    }

    /// Marks `count` of the [`unread`](Self::unread) bytes as read, at most all of them.
    pub fn consume(&mut self, count: usize) {
        self.at = self.end.min(self.at.saturating_add(count));
    }

    /// Decodes the next piece and discards the unread bytes; false at the end.
    pub fn refill(&mut self) -> Result<bool, DecodeError> {
        (self.at, self.end) = (0, 0);
        // Decoders of other projects may panic on data that contradicts their assertions.
        let room = self.room;
        let got = guarded(|| self.from.advance(room))
            .map_err(|error| DecodeError::Compressed { codec: self.codec, what: error.to_string() })?;
        self.room = self.room.checked_sub(got).ok_or(DecodeError::TooLarge { limit: self.limit })?;
        self.end = got;
        Ok(got > 0)
    }
}

/// Where decoded bytes come from, a piece at a time.
enum Source<'a> {
    Plain { piece: &'a [u8], rest: &'a [u8] },
    Gzip(Gzip<'a>),
    Snappy(Snappy<'a>),
    Lz4(Lz4<'a>),
    Zstd(Zstd<'a>),
}

impl Source<'_> {
    /// Decodes the next piece; returns its length, 0 at the end. A piece need not have more than `room + 1` bytes; the one
    /// byte more shows that the limit is exceeded.
    fn advance(&mut self, room: usize) -> io::Result<usize> {
        match self {
            Self::Plain { piece, rest } => {
                *piece = std::mem::take(rest);
                Ok(piece.len())
            }
            Self::Gzip(gzip) => gzip.advance(room),
            Self::Snappy(snappy) => snappy.advance(),
            Self::Lz4(lz4) => lz4.advance(),
            Self::Zstd(zstd) => zstd.advance(room),
        }
    }

    /// Whether the codec is certain that nothing follows. Even after `false` nothing may be left.
    fn is_done(&self) -> bool {
        match self {
            Self::Plain { rest, .. } => rest.is_empty(),
            Self::Gzip(gzip) => gzip.is_done(),
            Self::Snappy(snappy) => snappy.is_done(),
            // The end mark and checksum behind the last block are checked when the next piece is requested.
            Self::Lz4(_) => false,
            Self::Zstd(zstd) => zstd.is_done(),
        }
    }

    /// The piece that was decoded last.
    #[inline]
    fn piece(&self) -> &[u8] {
        match self {
            Self::Plain { piece, .. } => piece,
            Self::Gzip(gzip) => gzip.piece(),
            Self::Snappy(snappy) => snappy.piece(),
            Self::Lz4(lz4) => lz4.piece(),
            Self::Zstd(zstd) => zstd.piece(),
        }
    }
}
