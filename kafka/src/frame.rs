//! Frames: a message with its length (INT32) before it.
//!
//! Promises: a length is checked against the limit before anything is reserved for it; a response's length is
//! that of the bytes that were written, or the response is refused.
use bytes::BytesMut;

use crate::header::{RequestHeader, ResponseHeader};
use crate::wire::Writer;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;
/// Bytes of the shortest request: API, version and correlation id.
pub const REQUEST_BYTES_MIN: usize = 8;

/// A frame that cannot be accepted or written; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A negative length: not Kafka's protocol, or out of step.
    #[error("frame of negative length {0}; is the client speaking TLS or another protocol?")]
    Negative(i32),
    /// Too short for a request header.
    #[error("frame of {0} bytes is too short for a request header")]
    TooShort(usize),
    /// Above the limit.
    #[error("frame of {length} bytes is larger than max-request-bytes ({limit})")]
    TooLong {
        /// Length in the prefix.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A message longer than a length prefix can say.
    #[error("message of {0} bytes is too long for a frame")]
    MessageTooLong(usize),
}

/// What the bytes received so far hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A whole frame: its length without the prefix.
    Complete(usize),
    /// Not yet: bytes needed in all (prefix included), as far as is known.
    Incomplete(usize),
}

/// Length of a request frame, from its prefix.
#[inline]
pub fn request_length(prefix: [u8; PREFIX_BYTES], request_bytes_max: usize) -> Result<usize, FrameError> {
    let signed = i32::from_be_bytes(prefix);
    let length = usize::try_from(signed).map_err(|_| FrameError::Negative(signed))?;
    if length > request_bytes_max {
        return Err(FrameError::TooLong { length, limit: request_bytes_max });
    }
    if length < REQUEST_BYTES_MIN {
        return Err(FrameError::TooShort(length));
    }
    Ok(length)
}

/// Looks at the start of what was received.
#[inline]
pub fn peek(received: &[u8], request_bytes_max: usize) -> Result<Frame, FrameError> {
    let Some(&prefix) = received.first_chunk::<PREFIX_BYTES>() else {
        return Ok(Frame::Incomplete(PREFIX_BYTES));
    };
    let length = request_length(prefix, request_bytes_max)?;
    let whole = length + PREFIX_BYTES;
    Ok(if received.len() < whole { Frame::Incomplete(whole) } else { Frame::Complete(length) })
}

/// A message that is being written at the end of a buffer.
#[derive(Debug)]
#[must_use = "the length is written by `end`"]
pub struct OpenFrame {
    start: usize,
}

impl OpenFrame {
    /// Writes room for the length.
    #[inline]
    pub fn begin(w: &mut Writer<'_>) -> Self {
        let start = w.position();
        w.i32(0);
        Self { start }
    }

    /// Writes room for the length, and the header of a response.
    #[inline]
    pub fn response(w: &mut Writer<'_>, header: ResponseHeader) -> Self {
        let frame = Self::begin(w);
        header.encode(w);
        frame
    }

    /// Where the frame starts in the buffer.
    #[inline]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Writes the length of what is in the buffer, plus `elsewhere` bytes that are sent from other buffers.
    /// A message that is too long is taken out of the buffer.
    #[inline]
    pub fn end(self, w: &mut Writer<'_>, elsewhere: usize) -> Result<(), FrameError> {
        let body = w.position().saturating_sub(self.start + PREFIX_BYTES);
        let length = body.saturating_add(elsewhere);
        let Ok(prefix) = i32::try_from(length) else {
            w.buffer().truncate(self.start);
            return Err(FrameError::MessageTooLong(length));
        };
        if let Some(bytes) = w.buffer().get_mut(self.start..self.start + PREFIX_BYTES) {
            bytes.copy_from_slice(&prefix.to_be_bytes());
        }
        Ok(())
    }
}

/// Appends one whole request to `out`: length, header and the body that `body` writes.
///
/// # Errors
/// It is too long for a frame; nothing is appended then.
pub fn write_request(
    out: &mut BytesMut,
    header: &RequestHeader<'_>,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<(), FrameError> {
    let mut w = Writer::new(out);
    let frame = OpenFrame::begin(&mut w);
    header.encode(&mut w);
    body(&mut w);
    frame.end(&mut w, 0)
}

/// Appends one whole response to `out`: length, header and the body that `body` writes.
pub fn write_response(
    out: &mut BytesMut,
    header: ResponseHeader,
    body: impl FnOnce(&mut Writer<'_>),
) -> Result<(), FrameError> {
    let mut w = Writer::new(out);
    let frame = OpenFrame::response(&mut w, header);
    body(&mut w);
    frame.end(&mut w, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_before_anything_is_read() {
        assert_eq!(peek(&[0, 0], 100), Ok(Frame::Incomplete(4)));
        assert_eq!(peek(&[0, 0, 0, 8], 100), Ok(Frame::Incomplete(12)));
        assert_eq!(peek(&[0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9], 100), Ok(Frame::Complete(8)));
        assert_eq!(peek(&[0, 0, 0, 101], 100), Err(FrameError::TooLong { length: 101, limit: 100 }));
        assert_eq!(peek(&[0, 0, 0, 7], 100), Err(FrameError::TooShort(7)));
        assert_eq!(peek(&[0xff, 0xff, 0xff, 0xff], 100), Err(FrameError::Negative(-1)));
        assert!(matches!(peek(&[0x7f, 0xff, 0xff, 0xff], 100), Err(FrameError::TooLong { .. })));
    }
}
