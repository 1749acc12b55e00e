//! Decoding zstd. A frame's window is at most [`MAX_HELD`] bytes.

use std::io::{self, Read};

use ruzstd::decoding::StreamingDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};

use super::decode::{MAX_HELD, malformed};

/// The start of a zstd frame, of which the window may have been changed, and the rest as it came.
type ZstdInput<'a> = io::Chain<io::Cursor<[u8; ZSTD_START]>, &'a [u8]>;
const ZSTD_START: usize = 6;
const ZSTD_SINGLE_SEGMENT: u8 = 0x20;
/// The window descriptor that stands for [`MAX_HELD`]: the logarithm less 10, above three bits.
const ZSTD_WINDOW: u8 = ((MAX_HELD.ilog2() - 10) << 3) as u8;

/// Zstd frames, one after another.
pub struct Zstd<'a> {
    rest: &'a [u8],
    frame: Option<StreamingDecoder<ZstdInput<'a>, ruzstd::decoding::FrameDecoder>>,
}

impl<'a> Zstd<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest, frame: None }
    }

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
