//! Finds records by timestamp inside one stored record batch: what ListOffsets asks for.
//!
//! The index of a partition leads to the batch; this module opens it. It promises:
//!
//! - Answers come from the records themselves. The maximum timestamp in the header, which a producer may
//!   have set to anything, counts only when the batch has the time of its append (attribute bit 3): then
//!   it is the timestamp of every record.
//! - Compressed records are decoded as a stream, up to [`MAX_UNCOMPRESSED`] bytes and no further than the
//!   answer. At most [`MAX_HELD`] decoded bytes (a zstd window, a snappy block) are held at a time,
//!   whatever the batch claims; a buffer that grows to hold them takes up to three times that.
//! - A malformed batch gives an error that says what is wrong with it, and never a panic. What lies after
//!   the answer is not looked at, nor are keys, values, headers, and the CRC (checked at append).
//! - An offset that is returned lies within the offsets the header claims.

use std::cell::Cell;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::bufread::MultiGzDecoder;
use keylane_engine::record_batch::{self, HEADER_BYTES, RecordBatch};
use lz4_flex::frame::FrameDecoder as Lz4Decoder;
use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

thread_local! {
    /// A panic on this thread is about the data that a foreign decoder reads now, and is caught here.
    static PANIC_IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread would be caught as a decoder's complaint about its data.
pub fn panic_is_caught() -> bool {
    PANIC_IS_CAUGHT.get()
}

/// Most bytes of uncompressed records that are read from one batch.
pub const MAX_UNCOMPRESSED: u64 = 256 << 20;
/// Most decoded bytes a decoder may need to hold at a time.
pub const MAX_HELD: usize = 32 << 20;
/// Decoded bytes that are asked for at a time.
const CHUNK: usize = 16 << 10;

/// Why a batch could not be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordTimeError {
    /// Fewer bytes than a header, or not as many as the length field says.
    #[error("record batch of {have} bytes where its length field asks for {want}")]
    Length {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        want: usize,
    },
    /// An old message format.
    #[error("record batch has magic {0}; only version 2 is stored")]
    Magic(i8),
    /// Header fields that no stored batch has.
    #[error("record batch header is malformed: {0}")]
    Header(&'static str),
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
    /// More uncompressed bytes than [`MAX_UNCOMPRESSED`].
    #[error("the records of the batch take more than {limit} bytes uncompressed")]
    TooLarge {
        /// Bytes that are read at most.
        limit: u64,
    },
    /// A record is malformed.
    #[error("record {index} of the batch is malformed: {what}")]
    Record {
        /// Which one, from 0.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The first record, in offset order, whose timestamp is `timestamp_ms` or later: its offset and its
/// timestamp.
pub fn first_at_or_after(batch: &[u8], timestamp_ms: i64) -> Result<Option<(u64, i64)>, RecordTimeError> {
    let mut records = Records::of(batch)?;
    if records.append_time.is_some_and(|time| time < timestamp_ms) {
        return Ok(None);
    }
    while let Some((offset, time)) = records.next()? {
        if time >= timestamp_ms {
            return Ok(Some((offset, time)));
        }
    }
    Ok(None)
}

/// The first of the records with the largest timestamp: its offset and its timestamp. `None` for a batch
/// without records.
pub fn latest(batch: &[u8]) -> Result<Option<(u64, i64)>, RecordTimeError> {
    let mut records = Records::of(batch)?;
    let mut best: Option<(u64, i64)> = records.next()?;
    if records.append_time.is_some() {
        return Ok(best);
    }
    while let Some((offset, time)) = records.next()? {
        if best.is_none_or(|(_, most)| time > most) {
            best = Some((offset, time));
        }
    }
    Ok(best)
}

/// The records of a batch, one after another.
struct Records<'a> {
    base_offset: u64,
    /// Largest offset delta a record may have.
    last_delta: i64,
    base_time: i64,
    /// The timestamp of all records, if it is that of the append.
    append_time: Option<i64>,
    count: u32,
    /// The record that comes next.
    index: u32,
    /// The offset delta of the record before, or -1.
    delta: i64,
    bytes: Uncompressed<'a>,
}

impl<'a> Records<'a> {
    fn of(batch: &'a [u8]) -> Result<Self, RecordTimeError> {
        let have = batch.len();
        let short = RecordTimeError::Length { have, want: HEADER_BYTES };
        let (Some((header, records)), Some(view)) =
            (batch.split_first_chunk::<HEADER_BYTES>(), RecordBatch::peek(batch))
        else {
            return Err(short);
        };
        if header[16] != 2 {
            return Err(RecordTimeError::Magic(header[16] as i8));
        }
        match record_batch::total_len(batch) {
            Some(want) if want == have => {}
            Some(want) => return Err(RecordTimeError::Length { have, want }),
            None => return Err(RecordTimeError::Header("its length is negative")),
        }
        let base_offset =
            record_batch::base_offset(batch).ok_or(RecordTimeError::Header("its base offset is negative"))?;
        let [.., d0, d1, d2, d3] = *header.first_chunk::<27>().ok_or(short.clone())?;
        let last_delta = i64::from(i32::from_be_bytes([d0, d1, d2, d3]));
        let [.., t0, t1, t2, t3, t4, t5, t6, t7] = *header.first_chunk::<35>().ok_or(short)?;
        if i32::try_from(view.count).is_err() {
            return Err(RecordTimeError::Header("its record count is negative"));
        }
        Ok(Self {
            base_offset,
            last_delta,
            base_time: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            append_time: (view.attributes & 8 != 0).then_some(view.max_timestamp),
            count: view.count,
            index: 0,
            delta: -1,
            bytes: Uncompressed::of(records, view.attributes & 7)?,
        })
    }

    /// Offset and timestamp of the next record; `None` after the last one.
    fn next(&mut self) -> Result<Option<(u64, i64)>, RecordTimeError> {
        let index = self.index;
        let bad = |what| RecordTimeError::Record { index, what };
        if index == self.count {
            return match self.bytes.byte()? {
                None => Ok(None),
                Some(_) => Err(bad("bytes follow the last one")),
            };
        }
        let no_end = "it ends beyond the records";
        let (len, _) = self.varint(u64::MAX, "its length is no varint", no_end)?;
        let mut left = u64::try_from(len).map_err(|_| bad("its length is negative"))?;
        left = left.checked_sub(1).ok_or(bad("it is empty"))?;
        self.bytes.byte()?.ok_or(bad(no_end))?;
        let (time_delta, took) = self.varint(left, "its timestamp is no varint", no_end)?;
        left -= took;
        let (delta, took) = self.varint(left, "its offset is no varint", no_end)?;
        left -= took;
        if delta <= self.delta {
            return Err(bad("its offset is not above that of the record before"));
        }
        if delta > self.last_delta {
            return Err(bad("its offset is beyond the last one of the batch"));
        }
        let offset = u64::try_from(delta).ok().and_then(|d| self.base_offset.checked_add(d));
        let offset = offset.ok_or(bad("its offset overflows"))?;
        let time = match self.append_time {
            Some(time) => time,
            None => self.base_time.checked_add(time_delta).ok_or(bad("its timestamp overflows"))?,
        };
        if !self.bytes.skip(left)? {
            return Err(bad(no_end));
        }
        self.delta = delta;
        self.index += 1;
        Ok(Some((offset, time)))
    }

    /// Reads a varint (zigzag encoded) of at most `left` bytes; returns it and the bytes it took.
    fn varint(
        &mut self,
        left: u64,
        malformed: &'static str,
        no_end: &'static str,
    ) -> Result<(i64, u64), RecordTimeError> {
        let index = self.index;
        let bad = |what| RecordTimeError::Record { index, what };
        let mut value = 0u64;
        for took in 0..left.min(10) {
            let byte = self.bytes.byte()?.ok_or(bad(no_end))?;
            value |= u64::from(byte & 0x7f) << (7 * took);
            if byte & 0x80 == 0 {
                return Ok(((value >> 1) as i64 ^ -((value & 1) as i64), took + 1));
            }
        }
        Err(bad(malformed))
    }
}

/// The uncompressed bytes of the records, in chunks.
struct Uncompressed<'a> {
    codec: &'static str,
    from: Box<dyn Read + 'a>,
    chunk: Box<[u8]>,
    /// Unread bytes of the chunk.
    at: usize,
    end: usize,
    /// Bytes that may still be read from the codec.
    room: u64,
}

impl<'a> Uncompressed<'a> {
    fn of(records: &'a [u8], codec: i16) -> Result<Self, RecordTimeError> {
        let (codec, from): (_, Box<dyn Read + 'a>) = match codec {
            0 => ("not", Box::new(records)),
            1 => ("gzip", Box::new(MultiGzDecoder::new(records))),
            2 => ("snappy", Box::new(Snappy::new(records))),
            3 => ("lz4", Box::new(Lz4::new(records))),
            4 => ("zstd", Box::new(Zstd { rest: records, frame: None })),
            other => return Err(RecordTimeError::Codec(other)),
        };
        let chunk = vec![0; CHUNK].into_boxed_slice();
        Ok(Self { codec, from, chunk, at: 0, end: 0, room: MAX_UNCOMPRESSED })
    }

    /// The next byte; `None` at the end.
    fn byte(&mut self) -> Result<Option<u8>, RecordTimeError> {
        if self.at == self.end && !self.refill()? {
            return Ok(None);
        }
        let byte = self.chunk[self.at];
        self.at += 1;
        Ok(Some(byte))
    }

    /// Skips `count` bytes; false if there are fewer.
    fn skip(&mut self, mut count: u64) -> Result<bool, RecordTimeError> {
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

    /// Replaces the chunk, all of which has been read; false at the end.
    fn refill(&mut self) -> Result<bool, RecordTimeError> {
        // One byte more than there may be, to tell an end at the limit from more than that.
        let want = self.chunk.len().min(usize::try_from(self.room).unwrap_or(usize::MAX).saturating_add(1));
        let target = &mut self.chunk[..want];
        // The decoders are not this project's code, and assert things about what they decode.
        let before = PANIC_IS_CAUGHT.replace(true);
        let read = catch_unwind(AssertUnwindSafe(|| self.from.read(target)))
            .unwrap_or_else(|_| Err(io::Error::other("the decoder panicked")));
        PANIC_IS_CAUGHT.set(before);
        let got =
            read.map_err(|error| RecordTimeError::Compressed { codec: self.codec, what: error.to_string() })?;
        self.room = (self.room.checked_sub(got as u64))
            .ok_or(RecordTimeError::TooLarge { limit: MAX_UNCOMPRESSED })?;
        (self.at, self.end) = (0, got);
        Ok(got > 0)
    }
}

fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What the framing of the Java clients starts with: this, a version and the oldest version that can
/// read it (four bytes each). Blocks follow, each behind its length (u32, big endian).
const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;
/// The best that snappy can do: three bytes stand for 64.
const SNAPPY_RATIO: usize = 22;

/// Snappy, either as one raw block or as blocks in the framing of the Java clients.
struct Snappy<'a> {
    rest: &'a [u8],
    framed: Option<bool>,
    block: Vec<u8>,
    at: usize,
}

impl<'a> Snappy<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, framed: None, block: Vec::new(), at: 0 }
    }

    /// The compressed bytes of the next block; `None` at the end.
    fn next_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        let framed = match self.framed {
            Some(framed) => framed,
            None if self.rest.starts_with(XERIAL_MAGIC) => {
                self.rest = (self.rest.get(XERIAL_HEADER..))
                    .ok_or_else(|| malformed("the stream header is cut off".into()))?;
                true
            }
            None => false,
        };
        self.framed = Some(framed);
        if self.rest.is_empty() {
            return Ok(None);
        }
        if !framed {
            return Ok(Some(std::mem::take(&mut self.rest)));
        }
        let (len, rest) = (self.rest.split_first_chunk())
            .ok_or_else(|| malformed("the length of a block is cut off".into()))?;
        let len = u32::from_be_bytes(*len) as usize;
        let (block, rest) = rest
            .split_at_checked(len)
            .ok_or_else(|| malformed(format!("a block of {len} bytes where {} follow", rest.len())))?;
        self.rest = rest;
        Ok(Some(block))
    }

    fn decode(&mut self, compressed: &[u8]) -> io::Result<()> {
        let claims = snap::raw::decompress_len(compressed)?;
        if claims > compressed.len().saturating_mul(SNAPPY_RATIO) {
            let have = compressed.len();
            return Err(malformed(format!("{have} bytes claim to stand for {claims}, more than they can")));
        }
        if claims > MAX_HELD {
            return Err(malformed(format!("a block of {claims} bytes uncompressed; {MAX_HELD} are allowed")));
        }
        self.block.resize(claims, 0);
        self.at = 0;
        snap::raw::Decoder::new().decompress(compressed, &mut self.block)?;
        Ok(())
    }
}

impl Read for Snappy<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            match self.next_block()? {
                Some(block) => self.decode(block)?,
                None => return Ok(0),
            }
        }
        let got = (&self.block[self.at..]).read(target)?;
        self.at += got;
        Ok(got)
    }
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

/// The start of a zstd frame, of which the window may have been changed, and the rest as it came.
type ZstdInput<'a> = io::Chain<io::Cursor<[u8; ZSTD_START]>, &'a [u8]>;
const ZSTD_START: usize = 6;
const ZSTD_SINGLE_SEGMENT: u8 = 0x20;
/// The window descriptor that stands for [`MAX_HELD`]: the logarithm less 10, above three bits.
const ZSTD_WINDOW: u8 = ((MAX_HELD.ilog2() - 10) << 3) as u8;

/// Zstd frames, one after another.
struct Zstd<'a> {
    rest: &'a [u8],
    frame: Option<StreamingDecoder<ZstdInput<'a>, ruzstd::decoding::FrameDecoder>>,
}

impl Zstd<'_> {
    /// Opens the frame that begins here, or skips it.
    fn open(&mut self) -> io::Result<()> {
        let Some((start, rest)) = self.rest.split_first_chunk::<ZSTD_START>() else {
            return Err(malformed(format!("{} bytes are no frame", self.rest.len())));
        };
        let mut start = *start;
        // Encoders at high levels announce a window that no batch fills. It is enough to hold as much as
        // a batch of a reasonable size takes; a reference to older bytes is an error of the decoder.
        if start[4] & ZSTD_SINGLE_SEGMENT == 0 {
            start[5] = start[5].min(ZSTD_WINDOW);
        }
        let input = io::Cursor::new(start).chain(rest);
        match StreamingDecoder::new_with_max_window_size(input, MAX_HELD as u64) {
            Ok(frame) => self.frame = Some(frame),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let next = 8usize.saturating_add(length as usize);
                self.rest = (self.rest.get(next..))
                    .ok_or_else(|| malformed("a skippable frame is cut off".into()))?;
            }
            Err(error) => return Err(malformed(error.to_string())),
        }
        Ok(())
    }
}

impl Read for Zstd<'_> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.frame else {
                if self.rest.is_empty() {
                    return Ok(0);
                }
                self.open()?;
                continue;
            };
            let got = frame.read(target)?;
            if got > 0 {
                return Ok(got);
            }
            let stated = frame.decoder.get_checksum_from_data();
            if stated.is_some() && stated != frame.decoder.get_calculated_checksum() {
                return Err(malformed("the checksum of a frame does not match".into()));
            }
            self.rest = frame.get_ref().get_ref().1;
            self.frame = None;
        }
    }
}

#[cfg(test)]
mod tests;
