//! Decoding snappy, in both forms that clients send. One block is in memory at a time: at most [`MAX_HELD`] bytes, and at most as
//! many as its compressed bytes can stand for.

use std::cell::Cell;
use std::io;

use super::codec::{KEPT_BYTES, MAX_HELD, malformed};

/// Start of the framing of the Java clients. A version and the oldest version that can read the data follow (four bytes
/// each), then blocks, each behind its length (u32, big endian).
pub const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;
/// Snappy's highest ratio: three bytes stand for 64.
const SNAPPY_RATIO: usize = 22;

thread_local! {
    /// The block of the last decoder on this thread.
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Snappy, either as one raw block or as blocks in the framing of the Java clients.
pub struct Snappy<'a> {
    rest: &'a [u8],
    framed: Option<bool>,
    /// Memory for a block, as long as the longest block so far.
    block: Vec<u8>,
    end: usize,
}

impl<'a> Snappy<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest, framed: None, block: KEPT.take(), end: 0 }
    }

    pub fn piece(&self) -> &[u8] {
        &self.block[..self.end]
    }

    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Decodes the next block; returns its length, 0 at the end.
    pub fn advance(&mut self) -> io::Result<usize> {
        self.end = 0;
        while self.end == 0 {
            match self.next_block()? {
                Some(block) => self.decode(block)?,
                None => break,
            }
        }
        Ok(self.end)
    }

    /// The compressed bytes of the next block; `None` at the end.
    fn next_block(&mut self) -> io::Result<Option<&'a [u8]>> {
        let framed = match self.framed {
            Some(framed) => framed,
            None if self.rest.starts_with(XERIAL_MAGIC) => {
                self.rest = (self.rest.get(XERIAL_HEADER..))
                    .ok_or_else(|| malformed("the stream header is cut off"))?;
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
        let (len, rest) =
            (self.rest.split_first_chunk()).ok_or_else(|| malformed("the length of a block is cut off"))?;
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
        if self.block.len() < claims {
            self.block.resize(claims, 0);
        }
        self.end = snap::raw::Decoder::new().decompress(compressed, &mut self.block[..claims])?;
        Ok(())
    }
}

impl Drop for Snappy<'_> {
    fn drop(&mut self) {
        if self.block.capacity() <= KEPT_BYTES {
            KEPT.set(std::mem::take(&mut self.block));
        }
    }
}
