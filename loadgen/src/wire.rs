//! Kafka's field types as bytes.
//!
//! Promises: every read is bounds-checked against the bytes that are left, and no length or count
//! from the network is used for an allocation.

use std::fmt;

/// An answer that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It ends before its last field.
    Truncated,
    /// A length or count is negative or too large.
    BadLength,
    /// Text that is not UTF-8.
    BadText,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the answer ends too early",
            Self::BadLength => "a length in the answer is out of range",
            Self::BadText => "a text in the answer is not UTF-8",
        })
    }
}

impl std::error::Error for DecodeError {}

pub type Decoded<T> = Result<T, DecodeError>;

/// Reads big-endian fields from a slice and never past its end.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn take(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn i16(&mut self) -> Decoded<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub fn i32(&mut self) -> Decoded<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Decoded<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// An unsigned LEB128 number of at most 64 bits.
    pub fn uvarint(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::BadLength)
    }

    /// A zigzag number.
    pub fn varint(&mut self) -> Decoded<i64> {
        let raw = self.uvarint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// An array's count; -1 and compact 0 (null) count as empty. Each element has at least one
    /// byte, so a count above the bytes that are left is refused.
    pub fn count(&mut self, compact: bool) -> Decoded<usize> {
        let count = if compact {
            usize::try_from(self.uvarint()?).map_err(|_| DecodeError::BadLength)?.saturating_sub(1)
        } else {
            usize::try_from(self.i32()?.max(0)).map_err(|_| DecodeError::BadLength)?
        };
        if count > self.remaining() { Err(DecodeError::BadLength) } else { Ok(count) }
    }

    /// A string's bytes; null reads as empty.
    pub fn string(&mut self, compact: bool) -> Decoded<&'a [u8]> {
        let len = if compact {
            usize::try_from(self.uvarint()?).map_err(|_| DecodeError::BadLength)?.saturating_sub(1)
        } else {
            usize::try_from(self.i16()?.max(0)).map_err(|_| DecodeError::BadLength)?
        };
        self.take(len)
    }

    pub fn text(&mut self, compact: bool) -> Decoded<String> {
        let bytes = self.string(compact)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::BadText)
    }

    /// A byte field with a 32-bit or compact length; null reads as empty.
    pub fn bytes(&mut self, compact: bool) -> Decoded<&'a [u8]> {
        let len = self.count(compact)?;
        self.take(len)
    }

    pub fn skip_tags(&mut self) -> Decoded<()> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let len = usize::try_from(self.uvarint()?).map_err(|_| DecodeError::BadLength)?;
            self.take(len)?;
        }
        Ok(())
    }
}

/// Appends big-endian fields to a buffer.
pub trait Put {
    fn i8(&mut self, value: i8);
    fn i16(&mut self, value: i16);
    fn i32(&mut self, value: i32);
    fn i64(&mut self, value: i64);
    fn uvarint(&mut self, value: u64);
    fn string(&mut self, text: &str, compact: bool);
    fn count(&mut self, count: usize, compact: bool);
}

impl Put for Vec<u8> {
    fn i8(&mut self, value: i8) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn string(&mut self, text: &str, compact: bool) {
        if compact {
            self.uvarint(text.len() as u64 + 1);
        } else {
            self.i16(text.len() as i16);
        }
        self.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize, compact: bool) {
        if compact {
            self.uvarint(count as u64 + 1);
        } else {
            self.i32(count as i32);
        }
    }
}

#[cfg(test)]
mod tests {
    use keylane_engine::bytes_at::put_varint;

    use super::*;

    #[test]
    fn varints_round_trip() {
        for value in [0i64, 1, -1, 63, 64, -64, -65, 8191, 8192, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out).varint(), Ok(value));
        }
    }

    #[test]
    fn huge_counts_are_refused_without_allocating() {
        let bytes = [0x7f, 0xff, 0xff, 0xff, 0, 0];
        assert_eq!(Reader::new(&bytes).count(false), Err(DecodeError::BadLength));
        assert_eq!(Reader::new(&bytes[..3]).i32(), Err(DecodeError::Truncated));
    }
}
