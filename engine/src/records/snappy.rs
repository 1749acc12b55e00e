//! Decoding snappy, in both forms that clients send. A block is held in memory at a time, never more than
//! [`MAX_HELD`] bytes of it and never more than its compressed bytes can stand for.

use std::io::{self, Read};

use super::decode::{MAX_HELD, malformed};

/// What the framing of the Java clients starts with: this, a version and the oldest version that can
/// read it (four bytes each). Blocks follow, each behind its length (u32, big endian).
pub const XERIAL_MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const XERIAL_HEADER: usize = 16;
/// The best that snappy can do: three bytes stand for 64.
const SNAPPY_RATIO: usize = 22;

/// Snappy, either as one raw block or as blocks in the framing of the Java clients.
pub struct Snappy<'a> {
    rest: &'a [u8],
    framed: Option<bool>,
    block: Vec<u8>,
    at: usize,
}

impl<'a> Snappy<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
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
