//! Compact types and tagged fields in records (KIP-482).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::parts::RecordError;

/// Writes a number, seven bits a byte.
pub fn put_number(out: &mut BytesMut, mut number: u32) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Reads a number, seven bits a byte.
pub fn number(rest: &mut &[u8]) -> Result<u32, RecordError> {
    let mut number = 0u32;
    for shift in (0..32).step_by(7) {
        let byte = rest.try_get_u8()?;
        number |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(RecordError::Number)
}

fn put_length(out: &mut BytesMut, len: usize) {
    put_number(out, u32::try_from(len + 1).unwrap_or(u32::MAX));
}

/// A length; `None` for null.
fn length(rest: &mut &[u8]) -> Result<Option<usize>, RecordError> {
    Ok(number(rest)?.checked_sub(1).map(|len| len as usize))
}

/// Writes bytes.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

/// Writes a text, or null.
pub fn put_nullable_text(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_bytes(out, text.as_bytes()),
        None => put_number(out, 0),
    }
}

/// Reads bytes, or null.
fn nullable_bytes<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let Some(len) = length(rest)? else { return Ok(None) };
    rest.split_off(..len).map(Some).ok_or(RecordError::Length)
}

/// Reads bytes.
pub fn bytes(rest: &mut &[u8]) -> Result<Bytes, RecordError> {
    Ok(Bytes::copy_from_slice(nullable_bytes(rest)?.ok_or(RecordError::Length)?))
}

/// Reads a text, or null.
pub fn nullable_text<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a str>, RecordError> {
    let bytes = nullable_bytes(rest)?;
    bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| RecordError::Text)).transpose()
}

/// Reads a text.
pub fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, RecordError> {
    nullable_text(rest)?.ok_or(RecordError::Text)
}

/// Writes an array.
pub fn put_list<T>(
    out: &mut BytesMut,
    all: impl ExactSizeIterator<Item = T>,
    put: impl Fn(&mut BytesMut, T),
) {
    put_length(out, all.len());
    all.for_each(|one| put(out, one));
}

/// Reads an array. Each element takes a byte at least, so that no more are reserved than can be there.
pub fn list<'a, T>(
    rest: &mut &'a [u8],
    read: impl Fn(&mut &'a [u8]) -> Result<T, RecordError>,
) -> Result<Vec<T>, RecordError> {
    let len = length(rest)?.ok_or(RecordError::Length)?;
    if len > rest.len() {
        return Err(RecordError::Length);
    }
    (0..len).map(|_| read(rest)).collect()
}

/// Reads an id.
pub fn id(rest: &mut &[u8]) -> Result<Uuid, RecordError> {
    Ok(Uuid::from_u128(rest.try_get_u128()?))
}

/// Writes that there are no tagged fields.
pub fn put_no_tags(out: &mut BytesMut) {
    put_number(out, 0);
}

/// Reads tagged fields, and skips those that `take` does not know.
pub fn tags<'a>(
    rest: &mut &'a [u8],
    mut take: impl FnMut(u32, &mut &'a [u8]) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    for _ in 0..number(rest)? {
        let (tag, len) = (number(rest)?, number(rest)?);
        let mut field = rest.split_off(..len as usize).ok_or(RecordError::Length)?;
        take(tag, &mut field)?;
    }
    Ok(())
}

/// Skips tagged fields.
pub fn skip_tags(rest: &mut &[u8]) -> Result<(), RecordError> {
    tags(rest, |_, _| Ok(()))
}
