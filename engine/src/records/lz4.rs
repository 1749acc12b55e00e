//! Decoding one LZ4 frame: blocks that do not depend on each other, each of at most 4 MiB. Linked blocks, and bytes behind the
//! frame, are refused: consumers with a Java client could not read them.
//!
//! Source of the layout: the LZ4 frame format, version 1.6.4.

use std::cell::Cell;
use std::hash::Hasher;
use std::io;

use twox_hash::XxHash32;

use super::codec::{KEPT_BYTES, malformed};

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
/// Flags of the frame descriptor.
const VERSION: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 8;
const CONTENT_CHECKSUM: u8 = 4;
const RESERVED: u8 = 2;
const DICTIONARY: u8 = 1;
/// Bit of a block's length: the block is not compressed.
const AS_IT_IS: u32 = 1 << 31;

thread_local! {
    /// The block of the last decoder on this thread.
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What the frame's descriptor says.
struct Frame {
    flags: u8,
    block_max: usize,
    content_size: Option<u64>,
    content: XxHash32,
    len: u64,
}

enum Piece<'a> {
    /// The first bytes of the block buffer, this many.
    Block(usize),
    /// A block that is not compressed.
    AsItIs(&'a [u8]),
}

/// One LZ4 frame.
pub struct Lz4<'a> {
    rest: &'a [u8],
    frame: Option<Frame>,
    ended: bool,
    block: Vec<u8>,
    piece: Piece<'a>,
}

impl<'a> Lz4<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest, frame: None, ended: false, block: KEPT.take(), piece: Piece::Block(0) }
    }

    pub fn piece(&self) -> &[u8] {
        match self.piece {
            Piece::Block(len) => &self.block[..len],
            Piece::AsItIs(bytes) => bytes,
        }
    }

    /// Decodes the next block; returns its length, 0 at the end.
    pub fn advance(&mut self) -> io::Result<usize> {
        self.piece = Piece::Block(0);
        while !self.ended {
            if self.frame.is_none() {
                self.frame = Some(self.descriptor()?);
            }
            if self.block()? {
                return Ok(self.piece().len());
            }
        }
        Ok(0)
    }

    /// Takes `len` bytes from the front of the rest.
    fn take(&mut self, len: usize, what: &str) -> io::Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(len).ok_or_else(|| malformed(format!("{what} is cut off")))?;
        self.rest = rest;
        Ok(taken)
    }

    fn word(&mut self, what: &str) -> io::Result<u32> {
        let bytes = self.take(4, what)?;
        bytes.try_into().map(u32::from_le_bytes).map_err(|_| malformed(format!("{what} is cut off")))
    }

    fn descriptor(&mut self) -> io::Result<Frame> {
        if !self.rest.starts_with(&MAGIC) {
            return Err(malformed("no LZ4 frame"));
        }
        let what = "the descriptor of the frame";
        self.take(MAGIC.len(), what)?;
        let all = self.rest;
        let [flags, sizes] = *self.take(2, what)? else { return Err(malformed("no LZ4 frame")) };
        if flags & VERSION != VERSION_1 || flags & RESERVED != 0 || sizes & 0x8f != 0 {
            return Err(malformed("a frame of an unknown version"));
        }
        if flags & DICTIONARY != 0 {
            return Err(malformed("the frame needs a dictionary"));
        }
        if flags & INDEPENDENT == 0 {
            return Err(malformed("the frame has linked blocks, which the Java clients cannot read"));
        }
        let block_max = match sizes >> 4 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            size => return Err(malformed(format!("blocks of the unknown size {size}"))),
        };
        let content_size = if flags & CONTENT_SIZE == 0 {
            None
        } else {
            let bytes = self.take(8, what)?;
            Some(u64::from_le_bytes(
                bytes.try_into().map_err(|_| malformed("the size of the frame is cut off"))?,
            ))
        };
        let hashed = &all[..all.len() - self.rest.len()];
        let stated = self.take(1, what)?[0];
        if stated != (XxHash32::oneshot(0, hashed) >> 8) as u8 {
            return Err(malformed("the checksum of the frame's descriptor does not match"));
        }
        Ok(Frame { flags, block_max, content_size, content: XxHash32::with_seed(0), len: 0 })
    }

    /// Decodes a block, which may be empty, into `piece`; false at the end mark.
    fn block(&mut self) -> io::Result<bool> {
        let word = self.word("the length of a block")?;
        let (flags, block_max) = self.frame.as_ref().map_or((0, 0), |f| (f.flags, f.block_max));
        if word == 0 {
            self.finish(flags)?;
            return Ok(false);
        }
        let len = (word & !AS_IT_IS) as usize;
        if len > block_max {
            return Err(malformed(format!("a block of {len} bytes; the frame allows {block_max}")));
        }
        let stored = self.take(len, "a block")?;
        if flags & BLOCK_CHECKSUM != 0
            && self.word("the checksum of a block")? != XxHash32::oneshot(0, stored)
        {
            return Err(malformed("the checksum of a block does not match"));
        }
        self.piece = if word & AS_IT_IS != 0 {
            Piece::AsItIs(stored)
        } else {
            if self.block.len() < block_max {
                self.block.resize(block_max, 0);
            }
            let got = lz4_flex::block::decompress_into(stored, &mut self.block[..block_max])
                .map_err(|e| malformed(e.to_string()))?;
            Piece::Block(got)
        };
        let piece = match self.piece {
            Piece::Block(len) => &self.block[..len],
            Piece::AsItIs(bytes) => bytes,
        };
        if let Some(frame) = &mut self.frame {
            frame.len += piece.len() as u64;
            if flags & CONTENT_CHECKSUM != 0 {
                frame.content.write(piece);
            }
        }
        Ok(!piece.is_empty())
    }

    /// Checks the checksum behind the end mark, and that nothing follows.
    fn finish(&mut self, flags: u8) -> io::Result<()> {
        let stated =
            if flags & CONTENT_CHECKSUM == 0 { None } else { Some(self.word("the checksum of the frame")?) };
        self.ended = true;
        let Some(frame) = self.frame.take() else { return Ok(()) };
        if stated.is_some_and(|stated| u64::from(stated) != frame.content.finish()) {
            return Err(malformed("the checksum of the frame does not match"));
        }
        if frame.content_size.is_some_and(|size| size != frame.len) {
            return Err(malformed("the frame has another size than its descriptor says"));
        }
        if !self.rest.is_empty() {
            return Err(malformed("bytes follow the frame"));
        }
        Ok(())
    }
}

impl Drop for Lz4<'_> {
    fn drop(&mut self) {
        if self.block.capacity() <= KEPT_BYTES {
            KEPT.set(std::mem::take(&mut self.block));
        }
    }
}
