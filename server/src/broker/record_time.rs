//! Finds records by timestamp inside one stored record batch: what ListOffsets asks for.
//!
//! The index of a partition leads to the batch; this module opens it. It promises:
//!
//! - Answers come from the records themselves. The maximum timestamp in the header, which a producer may
//!   have set to anything, counts only when the batch has the time of its append (attribute bit 3): then
//!   it is the timestamp of every record.
//! - Compressed records are decoded as a stream, up to [`MAX_UNCOMPRESSED`] bytes and no further than the
//!   answer; what is held for that is bounded ([`Decoder`]).
//! - A malformed batch gives an error that says what is wrong with it, and never a panic. What lies after
//!   the answer is not looked at, nor are keys, values, headers, and the CRC (checked at append).
//! - An offset that is returned lies within the offsets the header claims.

use keylane_engine::record_batch::{self, HEADER_BYTES, RecordBatch};
use keylane_engine::records::{APPEND_TIME, CODEC_BITS, DecodeError, Decoder, MAX_UNCOMPRESSED};

/// Why a batch could not be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordTimeError {
    /// Fewer bytes than a header, or not as many as the length field says.
    #[error("record batch of {have} bytes where its length field asks for {want}")]
    Length {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be.
        want: usize,
    },
    /// An old message format.
    #[error("record batch has magic {0}; only version 2 is stored")]
    Magic(i8),
    /// Header fields that no stored batch has.
    #[error("record batch header is malformed: {0}")]
    Header(&'static str),
    /// The records could not be uncompressed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A record is malformed.
    #[error("record {index} of the batch is malformed: {what}")]
    Record {
        /// Which one, from 0.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// The first record, in offset order, at or after the offset `from` whose timestamp is `timestamp_ms` or later:
/// its offset and its timestamp.
pub fn first_at_or_after(
    batch: &[u8],
    timestamp_ms: i64,
    from: u64,
) -> Result<Option<(u64, i64)>, RecordTimeError> {
    let mut records = Records::of(batch)?;
    if records.append_time.is_some_and(|time| time < timestamp_ms) {
        return Ok(None);
    }
    while let Some((offset, time)) = records.next()? {
        if offset >= from && time >= timestamp_ms {
            return Ok(Some((offset, time)));
        }
    }
    Ok(None)
}

/// The first of the records at or after the offset `from` with the largest timestamp: its offset and its
/// timestamp. `None` for a batch without such records.
pub fn latest(batch: &[u8], from: u64) -> Result<Option<(u64, i64)>, RecordTimeError> {
    let mut records = Records::of(batch)?;
    let mut best: Option<(u64, i64)> = None;
    while let Some((offset, time)) = records.next()? {
        if offset < from {
            continue;
        }
        if records.append_time.is_some() {
            return Ok(Some((offset, time)));
        }
        if best.is_none_or(|(_, most)| time > most) {
            best = Some((offset, time));
        }
    }
    Ok(best)
}

/// The records of a batch, one after another.
struct Records<'a> {
    base_offset: u64,
    /// Largest offset delta a record may have.
    last_delta: i64,
    base_time: i64,
    /// The timestamp of all records, if it is that of the append.
    append_time: Option<i64>,
    count: u32,
    /// The record that comes next.
    index: u32,
    /// The offset delta of the record before, or -1.
    delta: i64,
    bytes: Decoder<'a>,
}

impl<'a> Records<'a> {
    fn of(batch: &'a [u8]) -> Result<Self, RecordTimeError> {
        let have = batch.len();
        let short = RecordTimeError::Length { have, want: HEADER_BYTES };
        let (Some((header, records)), Some(view)) =
            (batch.split_first_chunk::<HEADER_BYTES>(), RecordBatch::peek(batch))
        else {
            return Err(short);
        };
        if header[16] != 2 {
            return Err(RecordTimeError::Magic(header[16] as i8));
        }
        match record_batch::total_len(batch) {
            Some(want) if want == have => {}
            Some(want) => return Err(RecordTimeError::Length { have, want }),
            None => return Err(RecordTimeError::Header("its length is negative")),
        }
        let base_offset =
            record_batch::base_offset(batch).ok_or(RecordTimeError::Header("its base offset is negative"))?;
        let [.., d0, d1, d2, d3] = *header.first_chunk::<27>().ok_or(short.clone())?;
        let last_delta = i64::from(i32::from_be_bytes([d0, d1, d2, d3]));
        let [.., t0, t1, t2, t3, t4, t5, t6, t7] = *header.first_chunk::<35>().ok_or(short)?;
        if i32::try_from(view.count).is_err() {
            return Err(RecordTimeError::Header("its record count is negative"));
        }
        Ok(Self {
            base_offset,
            last_delta,
            base_time: i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            append_time: (view.attributes & APPEND_TIME != 0).then_some(view.max_timestamp),
            count: view.count,
            index: 0,
            delta: -1,
            bytes: Decoder::new(view.attributes & CODEC_BITS, records, MAX_UNCOMPRESSED)?,
        })
    }

    /// Offset and timestamp of the next record; `None` after the last one.
    fn next(&mut self) -> Result<Option<(u64, i64)>, RecordTimeError> {
        let index = self.index;
        let bad = |what| RecordTimeError::Record { index, what };
        if index == self.count {
            return match self.bytes.byte()? {
                None => Ok(None),
                Some(_) => Err(bad("bytes follow the last one")),
            };
        }
        let no_end = "it ends beyond the records";
        let (len, _) = self.varint(u64::MAX, "its length is no varint", no_end)?;
        let mut left = u64::try_from(len).map_err(|_| bad("its length is negative"))?;
        left = left.checked_sub(1).ok_or(bad("it is empty"))?;
        self.bytes.byte()?.ok_or(bad(no_end))?;
        let (time_delta, took) = self.varint(left, "its timestamp is no varint", no_end)?;
        left -= took;
        let (delta, took) = self.varint(left, "its offset is no varint", no_end)?;
        left -= took;
        if delta <= self.delta {
            return Err(bad("its offset is not above that of the record before"));
        }
        if delta > self.last_delta {
            return Err(bad("its offset is beyond the last one of the batch"));
        }
        let offset = u64::try_from(delta).ok().and_then(|d| self.base_offset.checked_add(d));
        let offset = offset.ok_or(bad("its offset overflows"))?;
        let time = match self.append_time {
            Some(time) => time,
            None => self.base_time.checked_add(time_delta).ok_or(bad("its timestamp overflows"))?,
        };
        if !self.bytes.skip(left)? {
            return Err(bad(no_end));
        }
        self.delta = delta;
        self.index += 1;
        Ok(Some((offset, time)))
    }

    /// Reads a varint (zigzag encoded) of at most `left` bytes; returns it and the bytes it took.
    fn varint(
        &mut self,
        left: u64,
        malformed: &'static str,
        no_end: &'static str,
    ) -> Result<(i64, u64), RecordTimeError> {
        let index = self.index;
        let bad = |what| RecordTimeError::Record { index, what };
        let mut value = 0u64;
        for took in 0..left.min(10) {
            let byte = self.bytes.byte()?.ok_or(bad(no_end))?;
            value |= u64::from(byte & 0x7f) << (7 * took);
            if byte & 0x80 == 0 {
                return Ok(((value >> 1) as i64 ^ -((value & 1) as i64), took + 1));
            }
        }
        Err(bad(malformed))
    }
}

#[cfg(test)]
mod tests;
