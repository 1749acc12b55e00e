//! The walk over the records of a batch: from one size to the next, without a copy and without allocation.
//!
//! The walk checks every length, and reads numbers as Java's client does: sizes and offsets are varints of 32 bits in at most
//! five bytes, timestamps of 64 bits in at most ten. That client can read every record that the walk accepts. Keys and values
//! are skipped. One rule is stricter than in that client: only a length of -1 stands for null, because other readers refuse
//! lengths below -1.
//!
//! The records may lie in memory ([`Plain`]) or come out of a codec as a stream ([`Decoder`]); the walk is the same.

use super::decode::Decoder;
use super::error::{DecodeError, RecordsError};

/// Where encoded records come from.
pub trait Source {
    /// The next byte; `None` at the end.
    fn byte(&mut self) -> Result<Option<u8>, DecodeError>;
    /// Skips `count` bytes; false if there are fewer.
    fn skip(&mut self, count: u64) -> Result<bool, DecodeError>;
}

/// Records that are not compressed.
#[derive(Debug, Clone)]
pub struct Plain<'a>(pub &'a [u8]);

impl Source for Plain<'_> {
    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, DecodeError> {
        let Some((&byte, rest)) = self.0.split_first() else { return Ok(None) };
        self.0 = rest;
        Ok(Some(byte))
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<bool, DecodeError> {
        let rest = usize::try_from(count).ok().and_then(|count| self.0.get(count..));
        self.0 = rest.unwrap_or_default();
        Ok(rest.is_some())
    }
}

impl Source for Decoder<'_> {
    #[inline]
    fn byte(&mut self) -> Result<Option<u8>, DecodeError> {
        Decoder::byte(self)
    }

    #[inline]
    fn skip(&mut self, count: u64) -> Result<bool, DecodeError> {
        Decoder::skip(self, count)
    }
}

/// Timestamp and offset of a record, which stand at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Timestamp relative to the base timestamp of the batch, in milliseconds; the sum wraps, as in Java's client.
    pub timestamp_delta: i64,
    /// Offset relative to the base offset of the batch.
    pub offset_delta: i32,
}

/// Walks through records: [`head`](Self::head), then [`body`](Self::body) or [`skip_body`](Self::skip_body), for each;
/// then [`end`](Self::end). After an error the walk cannot go on.
#[derive(Debug)]
pub struct Walk<S> {
    bytes: S,
    /// The record that comes next, or whose body does.
    index: u32,
    /// Bytes of the record that were not read yet.
    left: u32,
}

const NO_END: &str = "it ends beyond the records";
const BELOW_NULL: &str = "it has a key, value or header whose length is below -1";

impl<S: Source> Walk<S> {
    /// A walk from the first record.
    pub fn new(bytes: S) -> Self {
        Self { bytes, index: 0, left: 0 }
    }

    /// The index of the record that comes next, or whose body does.
    pub fn index(&self) -> u32 {
        self.index
    }

    #[cold]
    fn bad(&self, what: &'static str) -> RecordsError {
        RecordsError::Record { index: self.index, what }
    }

    /// The next byte of the record; `malformed` is the error text if the record has ended.
    #[inline]
    fn take(&mut self, malformed: &'static str) -> Result<u8, RecordsError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| self.bad(malformed))?;
        self.bytes.byte()?.ok_or_else(|| self.bad(NO_END))
    }

    #[inline]
    fn varint(&mut self, bytes_max: u32, malformed: &'static str) -> Result<u64, RecordsError> {
        let mut value = 0u64;
        for at in 0..bytes_max {
            let byte = self.take(malformed)?;
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad(malformed))
    }

    /// A varint of 32 bits, zigzag encoded.
    #[inline]
    fn int(&mut self, malformed: &'static str) -> Result<i32, RecordsError> {
        let value = u32::try_from(self.varint(5, malformed)?).map_err(|_| self.bad(malformed))?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// A varint of 64 bits, zigzag encoded.
    #[inline]
    fn long(&mut self, malformed: &'static str) -> Result<i64, RecordsError> {
        let value = self.varint(10, malformed)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Skips a field: its length and that many bytes. False: the field is null (length -1).
    #[inline]
    fn field(&mut self, no_length: &'static str, too_long: &'static str) -> Result<bool, RecordsError> {
        let len = self.int(no_length)?;
        let Ok(len) = u32::try_from(len) else {
            return if len == -1 { Ok(false) } else { Err(self.bad(BELOW_NULL)) };
        };
        self.left = self.left.checked_sub(len).ok_or_else(|| self.bad(too_long))?;
        if self.bytes.skip(u64::from(len))? { Ok(true) } else { Err(self.bad(NO_END)) }
    }

    /// Goes to the next record and reads its length, timestamp and offset.
    #[inline]
    pub fn head(&mut self) -> Result<Head, RecordsError> {
        self.left = u32::MAX;
        let len = self.int("its length is no varint")?;
        self.left = u32::try_from(len).map_err(|_| self.bad("its length is negative"))?;
        // Attributes: no bit has a meaning.
        self.take("it is empty")?;
        let timestamp_delta = self.long("its timestamp is no varint")?;
        let offset_delta = self.int("its offset is no varint")?;
        Ok(Head { timestamp_delta, offset_delta })
    }

    /// Checks the rest of the record to its last byte. Returns whether it has a key.
    #[inline]
    pub fn body(&mut self) -> Result<bool, RecordsError> {
        let has_key = self.field("its key has no length", "its key ends beyond it")?;
        self.field("its value has no length", "its value ends beyond it")?;
        let headers = self.int("it has no number of headers")?;
        if headers != 0 {
            self.headers(headers)?;
        }
        if self.left > 0 {
            return Err(self.bad("bytes follow its headers"));
        }
        self.index += 1;
        Ok(has_key)
    }

    fn headers(&mut self, count: i32) -> Result<(), RecordsError> {
        if count < 0 {
            return Err(self.bad("it has a negative number of headers"));
        }
        for _ in 0..count {
            if !self.field("a header has no key length", "the key of a header ends beyond it")? {
                return Err(self.bad("the key of a header is null"));
            }
            self.field("a header has no value length", "the value of a header ends beyond it")?;
        }
        Ok(())
    }

    /// Skips the rest of the record without a check.
    pub fn skip_body(&mut self) -> Result<(), RecordsError> {
        if !self.bytes.skip(u64::from(self.left))? {
            return Err(self.bad(NO_END));
        }
        self.index += 1;
        Ok(())
    }

    /// Checks that no byte follows; for compressed records also that the codec comes to its end.
    pub fn end(&mut self) -> Result<(), RecordsError> {
        match self.bytes.byte()? {
            None => Ok(()),
            Some(_) => Err(self.bad("bytes follow the last one")),
        }
    }
}
