//! Kafka's primitive types: a reader that is bounded by the bytes it was given, and a writer.
//!
//! Promises: reading never panics, never reads past the frame and never allocates; a length that the
//! remaining bytes cannot hold is an error before anything is reserved for it. Strings and bytes are handed
//! out as slices of the frame. Every error names the field and its position, counted from the first byte of
//! the frame after the length prefix.
//!
//! Types: <https://kafka.apache.org/protocol#protocol_types>; compact types and tagged fields are KIP-482.
use std::ops::Range;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

/// Longest string the protocol knows; compact strings obey it too.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A frame that cannot be decoded: what, in which field, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` at byte {position}: {kind}")]
pub struct WireError {
    /// Name of the field in the declaration of its message.
    pub field: &'static str,
    /// Where the field starts, from the first byte after the length prefix.
    pub position: usize,
    /// What is wrong.
    pub kind: WireErrorKind,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireErrorKind {
    /// The frame ends before the field does.
    #[error("needs {needed} bytes, {left} are left")]
    Truncated {
        /// Bytes the field takes.
        needed: usize,
        /// Bytes the frame still holds.
        left: usize,
    },
    /// An array whose elements cannot fit into what is left.
    #[error("an array of {len} elements does not fit into the {left} bytes that are left")]
    ArrayTooLong {
        /// Elements the array claims.
        len: usize,
        /// Bytes the frame still holds.
        left: usize,
    },
    /// A length below the one that stands for null.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the protocol has no null.
    #[error("null is not allowed")]
    Null,
    /// A string that is not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// A string longer than the protocol allows.
    #[error("a string of {0} bytes is longer than 32767")]
    StringTooLong(usize),
    /// An unsigned varint of more than 32 bits.
    #[error("a varint of more than 32 bits")]
    Varint,
    /// Bytes follow the end of the request.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// A version of the API that is not served.
    #[error("version {0} is not served")]
    Version(i16),
}

/// Reads primitive types from a frame, without copying.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of a frame (without its length prefix).
    #[inline]
    pub fn new(frame: &'a [u8]) -> Self {
        Self { frame, position: 0 }
    }

    /// A reader at a position of a frame, at which another reader of the same frame has stopped.
    #[inline]
    pub fn at(frame: &'a [u8], position: usize) -> Self {
        Self { frame, position }
    }

    /// Where the next field starts.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The whole frame, read or not.
    #[inline]
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// Bytes left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.frame.len().saturating_sub(self.position)
    }

    /// The error that `field`, starting at the present position, is wrong.
    #[cold]
    pub fn error(&self, field: &'static str, kind: WireErrorKind) -> WireError {
        WireError { field, position: self.position, kind }
    }

    #[cold]
    fn truncated(&self, field: &'static str, needed: usize) -> WireError {
        self.error(field, WireErrorKind::Truncated { needed, left: self.remaining() })
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], WireError> {
        let taken = self.frame.get(self.position..).and_then(|rest| rest.get(..len));
        let taken = taken.ok_or_else(|| self.truncated(field, len))?;
        self.position += len;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        let taken = self.frame.get(self.position..).and_then(|rest| rest.first_chunk::<N>());
        let taken = *taken.ok_or_else(|| self.truncated(field, N))?;
        self.position += N;
        Ok(taken)
    }

    /// INT8.
    #[inline]
    pub fn i8(&mut self, field: &'static str) -> Result<i8, WireError> {
        Ok(i8::from_be_bytes(self.fixed(field)?))
    }

    /// BOOLEAN: anything but 0 is true.
    #[inline]
    pub fn bool(&mut self, field: &'static str) -> Result<bool, WireError> {
        Ok(self.i8(field)? != 0)
    }

    /// INT16.
    #[inline]
    pub fn i16(&mut self, field: &'static str) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes(self.fixed(field)?))
    }

    /// INT32.
    #[inline]
    pub fn i32(&mut self, field: &'static str) -> Result<i32, WireError> {
        Ok(i32::from_be_bytes(self.fixed(field)?))
    }

    /// INT64.
    #[inline]
    pub fn i64(&mut self, field: &'static str) -> Result<i64, WireError> {
        Ok(i64::from_be_bytes(self.fixed(field)?))
    }

    /// UUID.
    #[inline]
    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid, WireError> {
        Ok(Uuid::from_bytes(self.fixed(field)?))
    }

    /// UNSIGNED_VARINT of at most 32 bits.
    #[inline]
    pub fn uvarint(&mut self, field: &'static str) -> Result<u32, WireError> {
        // Nearly all are of one byte.
        if let Some(&byte) = self.frame.get(self.position)
            && byte < 0x80
        {
            self.position += 1;
            return Ok(byte.into());
        }
        self.long_uvarint(field)
    }

    fn long_uvarint(&mut self, field: &'static str) -> Result<u32, WireError> {
        let rest = self.frame.get(self.position..).unwrap_or_default();
        let mut value = 0u32;
        for (i, &byte) in rest.iter().take(5).enumerate() {
            if i == 4 && byte > 0x0f {
                return Err(self.error(field, WireErrorKind::Varint));
            }
            value |= u32::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.position += i + 1;
                return Ok(value);
            }
        }
        Err(self.truncated(field, rest.len() + 1))
    }

    /// A length: compact (uvarint of length + 1) if `flexible`, else of the given fixed width. `None`: null.
    #[inline]
    fn length(
        &mut self,
        flexible: bool,
        short: bool,
        field: &'static str,
    ) -> Result<Option<usize>, WireError> {
        let start = self.position;
        let signed = match (flexible, short) {
            (true, _) => return Ok(self.uvarint(field)?.checked_sub(1).map(|len| len as usize)),
            (false, true) => i32::from(self.i16(field)?),
            (false, false) => self.i32(field)?,
        };
        match signed {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| WireError {
                field,
                position: start,
                kind: WireErrorKind::NegativeLength(len),
            }),
        }
    }

    /// NULLABLE_STRING or COMPACT_NULLABLE_STRING.
    #[inline]
    pub fn nullable_string(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<&'a str>, WireError> {
        let start = self.position;
        let Some(len) = self.length(flexible, true, field)? else { return Ok(None) };
        let wrong = |kind| WireError { field, position: start, kind };
        if len > STRING_BYTES_MAX {
            return Err(wrong(WireErrorKind::StringTooLong(len)));
        }
        let bytes = self.take(len, field)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| wrong(WireErrorKind::NotUtf8))
    }

    /// STRING or COMPACT_STRING.
    #[inline]
    pub fn string(&mut self, flexible: bool, field: &'static str) -> Result<&'a str, WireError> {
        let start = self.position;
        self.nullable_string(flexible, field)?.ok_or(WireError {
            field,
            position: start,
            kind: WireErrorKind::Null,
        })
    }

    /// NULLABLE_BYTES, RECORDS and their compact forms, as the range they take in the frame.
    #[inline]
    pub fn nullable_bytes(
        &mut self,
        flexible: bool,
        field: &'static str,
    ) -> Result<Option<Range<usize>>, WireError> {
        let Some(len) = self.length(flexible, false, field)? else { return Ok(None) };
        let start = self.position;
        self.take(len, field)?;
        Ok(Some(start..self.position))
    }

    /// The bytes of a range that this reader handed out.
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> &'a [u8] {
        self.frame.get(range).unwrap_or_default()
    }

    /// Length of an array of which each element takes at least `element_bytes_min` bytes. `None`: null.
    ///
    /// What it returns is safe to reserve memory for: so many elements can really follow.
    #[inline]
    pub fn nullable_array(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<Option<usize>, WireError> {
        let start = self.position;
        let Some(len) = self.length(flexible, false, field)? else { return Ok(None) };
        let left = self.remaining();
        if len.checked_mul(element_bytes_min.max(1)).is_none_or(|needed| needed > left) {
            let kind = WireErrorKind::ArrayTooLong { len, left };
            return Err(WireError { field, position: start, kind });
        }
        Ok(Some(len))
    }

    /// Length of an array that cannot be null; see [`Self::nullable_array`].
    #[inline]
    pub fn array(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
    ) -> Result<usize, WireError> {
        let start = self.position;
        self.nullable_array(flexible, element_bytes_min, field)?.ok_or(WireError {
            field,
            position: start,
            kind: WireErrorKind::Null,
        })
    }

    /// An array that cannot be null, each element read by `element`.
    #[inline]
    pub fn vec<T>(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        field: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let len = self.array(flexible, element_bytes_min, field)?;
        let mut elements = Vec::with_capacity(len);
        for _ in 0..len {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// An array of INT32 that cannot be null.
    #[inline]
    pub fn i32s(&mut self, flexible: bool, field: &'static str) -> Result<Vec<i32>, WireError> {
        self.vec(flexible, 4, field, |r| r.i32(field))
    }

    /// Skips the tagged fields, if the version is flexible.
    #[inline]
    pub fn skip_tags(&mut self, flexible: bool) -> Result<(), WireError> {
        self.tags(flexible, |_, _| Ok(()))
    }

    /// Hands out the tagged fields, if the version is flexible: each with a reader that ends where it ends
    /// and counts positions from the start of the frame.
    #[inline]
    pub fn tags(
        &mut self,
        flexible: bool,
        mut known: impl FnMut(u32, &mut Reader<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        if flexible { self.each_tag(&mut known) } else { Ok(()) }
    }

    fn each_tag(
        &mut self,
        known: &mut dyn FnMut(u32, &mut Reader<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        const FIELD: &str = "tagged_fields";
        let count = self.uvarint(FIELD)?;
        for _ in 0..count {
            let tag = self.uvarint(FIELD)?;
            let size = self.uvarint(FIELD)? as usize;
            let start = self.position;
            self.take(size, FIELD)?;
            let frame = self.frame.get(..self.position).unwrap_or_default();
            known(tag, &mut Reader { frame, position: start })?;
        }
        Ok(())
    }

    /// All that is left, without reading it.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.frame.get(self.position..).unwrap_or_default()
    }

    /// Nothing may be left: for tagged fields, whose length is stated.
    #[inline]
    pub fn finish(&self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error("end", WireErrorKind::Trailing(left))),
        }
    }
}

/// Appends an UNSIGNED_VARINT.
#[inline]
pub fn put_uvarint(out: &mut impl BufMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends the length of an array, or of bytes.
#[inline]
pub fn put_length(out: &mut impl BufMut, flexible: bool, len: usize) {
    // Frames are smaller than i32::MAX bytes; a longer length cannot be written and is refused by the
    // check of the frame's own length.
    let len = u32::try_from(len).unwrap_or(u32::MAX).min(i32::MAX as u32);
    if flexible { put_uvarint(out, len + 1) } else { out.put_u32(len) }
}

/// Writes primitive types at the end of a buffer.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut BytesMut,
}

impl<'b> Writer<'b> {
    /// A writer that appends to `out`.
    #[inline]
    pub fn new(out: &'b mut BytesMut) -> Self {
        Self { out }
    }

    /// Length of the buffer: where the next byte goes.
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// The whole buffer, for patching what is written already.
    #[inline]
    pub fn buffer(&mut self) -> &mut BytesMut {
        self.out
    }

    /// INT8.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.out.put_i8(value);
    }

    /// BOOLEAN.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.out.put_i8(i8::from(value));
    }

    /// INT16.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.out.put_i16(value);
    }

    /// INT32.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.out.put_i32(value);
    }

    /// INT64.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.out.put_i64(value);
    }

    /// UUID.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.out.put_slice(value.as_bytes());
    }

    /// UNSIGNED_VARINT.
    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        put_uvarint(self.out, value);
    }

    /// Length of an array, or of bytes.
    #[inline]
    pub fn length(&mut self, flexible: bool, len: usize) {
        put_length(self.out, flexible, len);
    }

    /// Length of an array or of bytes that may be null.
    #[inline]
    pub fn nullable_length(&mut self, flexible: bool, len: Option<usize>) {
        match len {
            Some(len) => self.length(flexible, len),
            None if flexible => self.uvarint(0),
            None => self.i32(-1),
        }
    }

    /// STRING or COMPACT_STRING. More than 32767 bytes (only an error message can be so long) are cut.
    #[inline]
    pub fn string(&mut self, flexible: bool, value: &str) {
        let value = value.get(..value.floor_char_boundary(STRING_BYTES_MAX)).unwrap_or_default();
        if flexible {
            self.uvarint(value.len() as u32 + 1);
        } else {
            self.out.put_i16(value.len() as i16);
        }
        self.out.put_slice(value.as_bytes());
    }

    /// NULLABLE_STRING or COMPACT_NULLABLE_STRING.
    #[inline]
    pub fn nullable_string(&mut self, flexible: bool, value: Option<&str>) {
        match value {
            Some(value) => self.string(flexible, value),
            None if flexible => self.uvarint(0),
            None => self.i16(-1),
        }
    }

    /// Bytes as they are, without a length.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// An array of INT32.
    #[inline]
    pub fn i32s(&mut self, flexible: bool, values: &[i32]) {
        self.length(flexible, values.len());
        for &value in values {
            self.i32(value);
        }
    }

    /// No tagged fields, if the version is flexible.
    #[inline]
    pub fn no_tags(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_stop_at_32_bits() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let mut out = BytesMut::new();
            Writer::new(&mut out).uvarint(value);
            let mut r = Reader::new(&out);
            assert_eq!(r.uvarint("x"), Ok(value));
            assert_eq!(r.finish(), Ok(()));
        }
        let too_long = [0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(Reader::new(&too_long).uvarint("x").unwrap_err().kind, WireErrorKind::Varint);
        let endless = [0xff; 9];
        assert_eq!(Reader::new(&endless).uvarint("x").unwrap_err().kind, WireErrorKind::Varint);
        assert!(matches!(
            Reader::new(&[0x80]).uvarint("x").unwrap_err().kind,
            WireErrorKind::Truncated { needed: 2, left: 1 }
        ));
    }

    #[test]
    fn an_array_length_is_believed_only_if_its_elements_fit() {
        let claims_max = [0x7f, 0xff, 0xff, 0xff, 0, 0];
        let error = Reader::new(&claims_max).array(false, 1, "topics").unwrap_err();
        assert_eq!(error.kind, WireErrorKind::ArrayTooLong { len: 0x7fff_ffff, left: 2 });
        assert_eq!((error.field, error.position), ("topics", 0));
        assert_eq!(Reader::new(&[0, 0, 0, 2, 1, 1, 1, 1]).array(false, 2, "a"), Ok(2));
        assert!(Reader::new(&[0, 0, 0, 2, 1, 1, 1]).array(false, 2, "a").is_err());
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff]).nullable_array(false, 9, "a"), Ok(None));
        assert_eq!(Reader::new(&[0]).array(true, 1, "a").unwrap_err().kind, WireErrorKind::Null);
        let negative = Reader::new(&[0xff, 0xff, 0xff, 0xfe]).array(false, 1, "a").unwrap_err();
        assert_eq!(negative.kind, WireErrorKind::NegativeLength(-2));
    }

    #[test]
    fn strings_are_checked_and_errors_say_where() {
        let mut r = Reader::new(&[0, 1, b'a', 0, 2, 0xc3, 0x28]);
        assert_eq!(r.string(false, "name"), Ok("a"));
        let error = r.string(false, "name").unwrap_err();
        assert_eq!(error.to_string(), "field `name` at byte 3: not valid UTF-8");
        assert_eq!(Reader::new(&[0xff, 0xff]).nullable_string(false, "n"), Ok(None));
        let mut long = BytesMut::new();
        Writer::new(&mut long).uvarint(40_001);
        long.resize(50_000, b'x');
        let error = Reader::new(&long).string(true, "n").unwrap_err();
        assert_eq!(error.kind, WireErrorKind::StringTooLong(40_000));
    }

    #[test]
    fn a_tagged_field_cannot_read_beyond_its_end() {
        // One tag 7 of two bytes, then two bytes that are not its own.
        let bytes = [1, 7, 2, 0, 1, 9, 9];
        let mut r = Reader::new(&bytes);
        let mut seen = 0;
        r.tags(true, |tag, field| {
            assert_eq!((tag, field.position()), (7, 3));
            assert!(field.clone().i32("x").is_err());
            seen += field.i16("x")?;
            field.finish()
        })
        .unwrap();
        assert_eq!((seen, r.remaining()), (1, 2));
        assert_eq!(r.finish().unwrap_err().kind, WireErrorKind::Trailing(2));
    }

    #[test]
    fn a_string_too_long_for_the_protocol_is_cut_between_characters() {
        let long = "ä".repeat(20_000);
        let mut out = BytesMut::new();
        Writer::new(&mut out).string(false, &long);
        assert_eq!(Reader::new(&out).string(false, "m").unwrap().len(), 32_766);
    }
}
