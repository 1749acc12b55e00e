//! Uncompressing the records of a batch, with foreign decoders that are not trusted.
//!
//! - Records are decoded as a stream, up to a limit and no further than the caller asks. At most
//!   [`MAX_HELD`] decoded bytes (a zstd window, a snappy block) are held for that, whatever the batch claims;
//!   a buffer that grows to hold them takes up to three times that.
//! - Malformed bytes give an error that says what is wrong with them, and never a panic: one of a decoder
//!   is caught. A program that aborts on panics asks [`panic_is_caught`] first.

use std::cell::Cell;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder as Lz4Decoder;

use super::snappy::Snappy;
use super::zstd::Zstd;

thread_local! {
    /// A panic on this thread is about the data that a foreign codec works on now, and is caught here.
    static PANIC_IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread would be caught as a codec's complaint about its data.
pub fn panic_is_caught() -> bool {
    PANIC_IS_CAUGHT.get()
}

/// Runs a foreign codec; a panic of it becomes an error.
pub(super) fn guarded<T>(codec: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = PANIC_IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(codec));
    PANIC_IS_CAUGHT.set(before);
    result.unwrap_or_else(|_| Err(io::Error::other("the codec panicked")))
}

/// Most bytes of uncompressed records that should be read from one batch.
pub const MAX_UNCOMPRESSED: usize = 256 << 20;
/// Most decoded bytes a decoder may need to hold at a time.
pub const MAX_HELD: usize = 32 << 20;
/// Decoded bytes that are asked for at a time.
const CHUNK: usize = 16 << 10;

/// Why the records of a batch could not be uncompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// An unknown codec in the attributes.
    #[error("unknown compression codec {0}")]
    Codec(i16),
    /// The compressed records could not be decoded.
    #[error("the {codec} compressed records of the batch are malformed: {what}")]
    Compressed {
        /// The codec the attributes name.
        codec: &'static str,
        /// What the decoder said.
        what: String,
    },
    /// More uncompressed bytes than the caller allows.
    #[error("the records of the batch take more than {limit} bytes uncompressed")]
    TooLarge {
        /// Bytes that are read at most.
        limit: usize,
    },
    /// There is no memory for the uncompressed bytes.
    #[error("no memory for {0} bytes of uncompressed records; free some and repeat")]
    Memory(usize),
}

/// All uncompressed bytes of the records behind a batch's header. At most `limit` bytes are allocated for
/// them, and half of that more for a moment while the buffer grows.
pub fn decompress(codec: i16, records: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(codec, records, limit)?;
    let mut out: Vec<u8> = Vec::new();
    while decoder.refill()? {
        let chunk = decoder.unread();
        let want = out.len() + chunk.len();
        if want > out.capacity() {
            let room = want.max(out.capacity() * 2).max(records.len() * 2).min(limit);
            out.try_reserve_exact(room - out.len()).map_err(|_| DecodeError::Memory(room))?;
        }
        out.extend_from_slice(chunk);
    }
    Ok(out)
}
/// Whether compressed records are these, uncompressed.
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
    from: Box<dyn Read + 'a>,
    chunk: Box<[u8]>,
    /// Unread bytes of the chunk.
    at: usize,
    end: usize,
    /// Bytes that may still be read from the codec, of all that may.
    room: usize,
    limit: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder of at most `limit` uncompressed bytes: more are an error. `codec` is that of the batch's
    /// attributes, `records` what follows its header.
    pub fn new(codec: i16, records: &'a [u8], limit: usize) -> Result<Self, DecodeError> {
        let (codec, from): (_, Box<dyn Read + 'a>) = match codec {
            0 => ("not", Box::new(records)),
            1 => ("gzip", Box::new(MultiGzDecoder::new(records))),
            2 => ("snappy", Box::new(Snappy::new(records))),
            3 => ("lz4", Box::new(Lz4::new(records))),
            4 => ("zstd", Box::new(Zstd::new(records))),
            other => return Err(DecodeError::Codec(other)),
        };
        let chunk = vec![0; CHUNK].into_boxed_slice();
        Ok(Self { codec, from, chunk, at: 0, end: 0, room: limit, limit })
    }

    /// The next byte; `None` at the end.
    pub fn byte(&mut self) -> Result<Option<u8>, DecodeError> {
        if self.at == self.end && !self.refill()? {
            return Ok(None);
        }
        let byte = self.chunk[self.at];
        self.at += 1;
        Ok(Some(byte))
    }

    /// Skips `count` bytes; false if there are fewer.
    pub fn skip(&mut self, mut count: u64) -> Result<bool, DecodeError> {
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

    fn unread(&self) -> &[u8] {
        &self.chunk[self.at..self.end]
    }

    /// Replaces the chunk, all of which has been read; false at the end.
    fn refill(&mut self) -> Result<bool, DecodeError> {
        // One byte more than there may be, to tell an end at the limit from more than that.
        let want = self.chunk.len().min(self.room.saturating_add(1));
        let target = &mut self.chunk[..want];
        // The decoders are not this project's code, and assert things about what they decode.
        let got = guarded(|| self.from.read(target))
            .map_err(|error| DecodeError::Compressed { codec: self.codec, what: error.to_string() })?;
        self.room = self.room.checked_sub(got).ok_or(DecodeError::TooLarge { limit: self.limit })?;
        (self.at, self.end) = (0, got);
        Ok(got > 0)
    }
}

pub(super) fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// One LZ4 frame. The frame format bounds a block, and what must be held of those before, to 4 MiB.
struct Lz4<'a> {
    decoder: Lz4Decoder<&'a [u8]>,
    started: bool,
}

impl<'a> Lz4<'a> {
    const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();

    fn new(records: &'a [u8]) -> Self {
        Self { decoder: Lz4Decoder::new(records), started: false }
    }
}

impl Read for Lz4<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        // The decoder would also take the legacy format, which no client writes.
        if !self.started && !self.decoder.get_ref().starts_with(&Self::MAGIC) {
            return Err(malformed("no LZ4 frame".into()));
        }
        self.started = true;
        self.decoder.read(target)
    }
}
