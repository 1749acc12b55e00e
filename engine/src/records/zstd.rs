//! Zstd, with the reference implementation. Frames are decoded with a window of at most [`MAX_HELD`] bytes.

use std::cell::Cell;
use std::io;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, ErrorCode, InBuffer, OutBuffer, ResetDirective, compress_bound,
    get_error_name,
};

use super::codec::{KEPT_BYTES, MAX_HELD, PIECE_BYTES, malformed};

/// Bytes of a frame up to the descriptor of its window.
const START_BYTES: usize = 6;
const MAGIC: [u8; 4] = 0xfd2f_b528u32.to_le_bytes();
const SINGLE_SEGMENT: u8 = 0x20;
/// The window descriptor that stands for [`MAX_HELD`]: the logarithm less 10, above three bits.
const WINDOW: u8 = ((MAX_HELD.ilog2() - 10) << 3) as u8;
/// Memory of an encoder that is kept for the next batch: what level 3 takes for a batch of 1 MiB.
const KEPT_ENCODER_BYTES: usize = 8 << 20;

thread_local! {
    /// The state of the last decoder and encoder on this thread.
    static KEPT: Cell<Option<Box<State>>> = const { Cell::new(None) };
    static KEPT_ENCODER: Cell<Option<CCtx<'static>>> = const { Cell::new(None) };
}

struct State {
    context: DCtx<'static>,
    piece: Vec<u8>,
}

impl State {
    fn new() -> io::Result<Box<Self>> {
        let mut context = DCtx::try_create().ok_or_else(no_memory)?;
        context.set_parameter(DParameter::WindowLogMax(MAX_HELD.ilog2())).map_err(failed)?;
        Ok(Box::new(Self { context, piece: vec![0; PIECE_BYTES] }))
    }
}

/// Zstd frames, one after another.
pub struct Zstd<'a> {
    rest: &'a [u8],
    /// The rewritten start of a frame that announced too large a window, and how much of it was decoded.
    start: Option<([u8; START_BYTES], usize)>,
    /// Whether a frame has begun and not ended.
    inside: bool,
    state: Option<Box<State>>,
    end: usize,
}

impl<'a> Zstd<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest, start: None, inside: false, state: KEPT.take(), end: 0 }
    }

    pub fn piece(&self) -> &[u8] {
        self.state.as_ref().map_or(&[], |state| &state.piece[..self.end])
    }

    pub fn is_done(&self) -> bool {
        self.rest.is_empty() && self.start.is_none() && !self.inside
    }

    /// Decodes the next piece, of at most `room + 1` bytes; returns its length, 0 at the end.
    pub fn advance(&mut self, room: usize) -> io::Result<usize> {
        self.end = 0;
        loop {
            if !self.inside {
                if self.rest.is_empty() {
                    return Ok(0);
                }
                self.begin()?;
            }
            let state = self.state.as_mut().ok_or_else(no_memory)?;
            let want = state.piece.len().min(room.saturating_add(1));
            let mut out = OutBuffer::around(&mut state.piece[..want]);
            let (left, took) = match &mut self.start {
                Some((start, at)) => {
                    let mut input = InBuffer::around(&start[*at..]);
                    let left = state.context.decompress_stream(&mut out, &mut input).map_err(failed)?;
                    let took = input.pos();
                    *at += took;
                    if *at == START_BYTES {
                        self.start = None;
                    }
                    (left, took)
                }
                None => {
                    let mut input = InBuffer::around(self.rest);
                    let left = state.context.decompress_stream(&mut out, &mut input).map_err(failed)?;
                    self.rest = &self.rest[input.pos()..];
                    (left, input.pos())
                }
            };
            let got = out.pos();
            self.inside = left != 0;
            if self.inside && got == 0 && took == 0 {
                return Err(malformed("a frame is cut off"));
            }
            if got > 0 {
                self.end = got;
                return Ok(got);
            }
        }
    }

    /// Prepares the decoder for the frame that begins here.
    fn begin(&mut self) -> io::Result<()> {
        if self.state.is_none() {
            self.state = Some(State::new()?);
        }
        let state = self.state.as_mut().ok_or_else(no_memory)?;
        state.context.reset(ResetDirective::SessionOnly).map_err(failed)?;
        // Encoders at high levels announce a window that no batch fills. A window of `MAX_HELD` is enough for batches of a
        // reasonable size; the decoder reports an error at a reference to older bytes.
        if let Some((start, rest)) = self.rest.split_first_chunk::<START_BYTES>()
            && start.starts_with(&MAGIC)
            && start[4] & SINGLE_SEGMENT == 0
            && start[5] > WINDOW
        {
            let mut start = *start;
            start[5] = WINDOW;
            self.start = Some((start, 0));
            self.rest = rest;
        }
        self.inside = true;
        Ok(())
    }
}

impl Drop for Zstd<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take()
            && state.context.sizeof() <= KEPT_BYTES
        {
            KEPT.set(Some(state));
        }
    }
}

/// Appends `records` as one frame. Levels are those of the reference implementation, -131,072 to 22.
pub fn compress(records: &[u8], level: i32, out: &mut Vec<u8>) -> io::Result<()> {
    let mut context = match KEPT_ENCODER.take() {
        Some(context) => context,
        None => CCtx::try_create().ok_or_else(no_memory)?,
    };
    context.reset(ResetDirective::SessionOnly).map_err(failed)?;
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(failed)?;
    context.set_pledged_src_size(Some(records.len() as u64)).map_err(failed)?;
    out.try_reserve(compress_bound(records.len())).map_err(io::Error::other)?;
    let from = out.len();
    let mut to = OutBuffer::around_pos(out, from);
    let mut input = InBuffer::around(records);
    let left =
        context.compress_stream2(&mut to, &mut input, ZSTD_EndDirective::ZSTD_e_end).map_err(failed)?;
    if left != 0 {
        return Err(io::Error::other("the frame did not fit into its bound"));
    }
    if context.sizeof() <= KEPT_ENCODER_BYTES {
        KEPT_ENCODER.set(Some(context));
    }
    Ok(())
}

fn failed(code: ErrorCode) -> io::Error {
    malformed(get_error_name(code))
}

fn no_memory() -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, "no memory for a zstd context")
}
