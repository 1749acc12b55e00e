//! Decoding gzip (RFC 1952): members, one after another, each with its checksum and length.
//!
//! A stream of one member that claims to be small is decoded at once by libdeflate, which cannot decode in parts and is up to
//! twice as fast. Everything else, and whatever libdeflate fails at, is decoded as a stream.

use std::cell::Cell;
use std::io;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::codec::{KEPT_BYTES, PIECE_BYTES, malformed};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

thread_local! {
    /// The state of the last decoder on this thread: a piece and about 60 KiB.
    static KEPT: Cell<Option<Box<State>>> = const { Cell::new(None) };
}

struct State {
    at_once: libdeflater::Decompressor,
    inflate: Decompress,
    piece: Vec<u8>,
}

/// Gzip members, one after another.
pub struct Gzip<'a> {
    rest: &'a [u8],
    /// Nothing has been decoded yet.
    whole: bool,
    /// `None` after an error or a panic, because the state may be broken then.
    state: Option<Box<State>>,
    /// Checksum and length so far of the member that is being decoded.
    member: Option<Crc>,
    end: usize,
}

impl<'a> Gzip<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        let state = KEPT.take().unwrap_or_else(|| {
            Box::new(State {
                at_once: libdeflater::Decompressor::new(),
                inflate: Decompress::new(false),
                piece: vec![0; PIECE_BYTES],
            })
        });
        Self { rest, whole: true, state: Some(state), member: None, end: 0 }
    }

    pub fn piece(&self) -> &[u8] {
        self.state.as_ref().map_or(&[], |state| &state.piece[..self.end])
    }

    pub fn is_done(&self) -> bool {
        self.rest.is_empty() && self.member.is_none()
    }

    /// Decodes the next piece, of at most `room + 1` bytes; returns its length, 0 at the end.
    pub fn advance(&mut self, room: usize) -> io::Result<usize> {
        self.end = 0;
        let mut state = self.state.take().ok_or_else(|| malformed("it could not be decoded before"))?;
        let at_once =
            if std::mem::take(&mut self.whole) { self.decode_at_once(&mut state, room) } else { None };
        self.end = match at_once {
            Some(len) => len,
            None => self.decode(&mut state, room)?,
        };
        self.state = Some(state);
        Ok(self.end)
    }

    /// Decodes a stream of one member whose trailer says that it is small. `None`: the stream is something else, or cannot be
    /// decoded this way; nothing was consumed.
    fn decode_at_once(&mut self, state: &mut State, room: usize) -> Option<usize> {
        let len = u32::from_le_bytes(*self.rest.last_chunk()?) as usize;
        // libdeflate ignores whatever follows the first member, so no second member may begin anywhere.
        let another = memchr::memmem::find(self.rest.get(MAGIC.len()..)?, &MAGIC).is_some();
        if len == 0 || len > KEPT_BYTES.min(room) || another {
            return None;
        }
        if state.piece.len() < len {
            state.piece.resize(len, 0);
        }
        let got = state.at_once.gzip_decompress(self.rest, &mut state.piece[..len]).ok()?;
        if got != len {
            return None;
        }
        self.rest = &[];
        Some(len)
    }

    fn decode(&mut self, state: &mut State, room: usize) -> io::Result<usize> {
        loop {
            let Some(crc) = &mut self.member else {
                if self.rest.is_empty() {
                    return Ok(0);
                }
                self.rest = after_header(self.rest)?;
                state.inflate.reset(false);
                self.member = Some(Crc::new());
                continue;
            };
            let want = state.piece.len().min(room.saturating_add(1));
            let before = (state.inflate.total_in(), state.inflate.total_out());
            let status = state
                .inflate
                .decompress(self.rest, &mut state.piece[..want], FlushDecompress::None)
                .map_err(|e| malformed(e.to_string()))?;
            let took = (state.inflate.total_in() - before.0) as usize;
            let got = (state.inflate.total_out() - before.1) as usize;
            self.rest = &self.rest[took..];
            crc.update(&state.piece[..got]);
            if status == Status::StreamEnd {
                let (trailer, rest) = self
                    .rest
                    .split_first_chunk::<TRAILER_BYTES>()
                    .ok_or_else(|| malformed("the checksum of a member is cut off"))?;
                let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
                if u32::from_le_bytes([c0, c1, c2, c3]) != crc.sum()
                    || u32::from_le_bytes([l0, l1, l2, l3]) != state.inflate.total_out() as u32
                {
                    return Err(malformed("the checksum or the length of a member does not match"));
                }
                self.rest = rest;
                self.member = None;
            } else if got == 0 && (took == 0 || self.rest.is_empty()) {
                return Err(malformed("a member is cut off"));
            }
            if got > 0 {
                return Ok(got);
            }
        }
    }
}

impl Drop for Gzip<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            KEPT.set(Some(state));
        }
    }
}

/// The bytes behind the header of a member.
fn after_header(member: &[u8]) -> io::Result<&[u8]> {
    let cut_off = || malformed("the header of a member is cut off");
    let (header, mut rest) = member.split_first_chunk::<HEADER_BYTES>().ok_or_else(cut_off)?;
    if !header.starts_with(&MAGIC) {
        return Err(malformed("no gzip member"));
    }
    let flags = header[3];
    if flags & 0xe0 != 0 {
        return Err(malformed("a member has flags that nobody knows"));
    }
    if flags & 4 != 0 {
        let (len, after) = rest.split_first_chunk::<2>().ok_or_else(cut_off)?;
        rest = after.get(usize::from(u16::from_le_bytes(*len))..).ok_or_else(cut_off)?;
    }
    // A name and a comment, each up to a zero.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let zero = rest.iter().position(|b| *b == 0).ok_or_else(cut_off)?;
            rest = &rest[zero + 1..];
        }
    }
    if flags & 2 != 0 {
        let before = &member[..member.len() - rest.len()];
        let (stated, after) = rest.split_first_chunk::<2>().ok_or_else(cut_off)?;
        let mut crc = Crc::new();
        crc.update(before);
        if u16::from_le_bytes(*stated) != crc.sum() as u16 {
            return Err(malformed("the checksum of a header does not match"));
        }
        rest = after;
    }
    Ok(rest)
}
