//! Texts and versions in records.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};

/// Longest text that its length can state.
pub const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// Why a record is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It ends too early.
    #[error("the record is cut off: {0}")]
    Short(#[from] TryGetError),
    /// A text that is none.
    #[error("a text of the record has a negative length or is not UTF-8")]
    Text,
    /// A length or a time that makes no sense.
    #[error("a number of the record is negative")]
    Negative,
    /// A length that is null, or goes beyond the record.
    #[error("a length of the record is null or goes beyond its end")]
    Length,
    /// A number that stands for nothing.
    #[error("a number of the record is longer than five bytes, or stands for nothing")]
    Number,
    /// Another version than the one that is written here.
    #[error("the record has version {0}, which is not known")]
    Version(i16),
}

/// Writes a text with its length before it. What is longer than that can state is cut off.
pub fn put_text(out: &mut BytesMut, text: &str) {
    let text = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default();
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

/// The same, or null.
pub fn put_nullable_text(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put_i16(-1),
    }
}

/// Writes bytes with their length before them.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.put_slice(bytes);
}

/// Reads a text.
pub fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, RecordError> {
    nullable_text(rest)?.ok_or(RecordError::Text)
}

/// Reads a text, or null.
pub fn nullable_text<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a str>, RecordError> {
    let len = match rest.try_get_i16()? {
        -1 => return Ok(None),
        len => usize::try_from(len).map_err(|_| RecordError::Text)?,
    };
    std::str::from_utf8(take(rest, len)?).map(Some).map_err(|_| RecordError::Text)
}

/// Reads bytes.
pub fn bytes(rest: &mut &[u8]) -> Result<Bytes, RecordError> {
    let len = usize::try_from(rest.try_get_i32()?).map_err(|_| RecordError::Negative)?;
    take(rest, len).map(Bytes::copy_from_slice)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], RecordError> {
    let available = rest.len();
    Ok(rest.split_off(..len).ok_or(TryGetError { requested: len, available })?)
}

/// Reads a version, which has to be this one.
pub fn version(rest: &mut &[u8], known: i16) -> Result<(), RecordError> {
    match rest.try_get_i16()? {
        version if version == known => Ok(()),
        version => Err(RecordError::Version(version)),
    }
}
