//! Finds records by timestamp inside one stored record batch: what ListOffsets asks for.
//!
//! The index of a partition leads to the batch; this module opens it. It promises:
//!
//! - Answers come from the records themselves. The maximum timestamp in the header, which in old directories a
//!   producer may have set to anything, counts only when the batch has the time of its append (attribute bit 3): then
//!   it is the timestamp of every record.
//! - Compressed records are decoded as a stream, up to [`MAX_UNCOMPRESSED`] bytes and no further than the
//!   answer; what is held for that is bounded ([`Decoder`]).
//! - A malformed batch gives an error that says what is wrong with it, and never a panic. What lies after
//!   the answer is not looked at, nor are keys, values, headers, and the CRC (checked at append).
//! - An offset that is returned lies within the offsets the header claims.

use keylane_engine::record_batch::{self, HEADER_BYTES, RecordBatch};
use keylane_engine::records::{
    APPEND_TIME, CODEC_BITS, DecodeError, Decoder, MAX_UNCOMPRESSED, RecordsError, Walk,
};

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
    /// The records could not be uncompressed, or one of them is malformed.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl From<DecodeError> for RecordTimeError {
    fn from(error: DecodeError) -> Self {
        Self::Records(error.into())
    }
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
        // The index leads to no such batch, unless an older version stored it, when clients could set the bit: then what
        // led here are the times of its records.
        records.append_time = None;
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
    /// The offset delta of the record before, or -1.
    delta: i64,
    walk: Walk<Decoder<'a>>,
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
            delta: -1,
            walk: Walk::new(Decoder::new(view.attributes & CODEC_BITS, records, MAX_UNCOMPRESSED)?),
        })
    }

    /// Offset and timestamp of the next record; `None` after the last one.
    fn next(&mut self) -> Result<Option<(u64, i64)>, RecordTimeError> {
        let index = self.walk.index();
        if index == self.count {
            self.walk.end()?;
            return Ok(None);
        }
        let head = self.walk.head()?;
        let delta = i64::from(head.offset_delta);
        let bad = |what| RecordsError::Record { index, what };
        if delta <= self.delta {
            return Err(bad("its offset is not above that of the record before").into());
        }
        if delta > self.last_delta {
            return Err(bad("its offset is beyond the last one of the batch").into());
        }
        let offset = u64::try_from(delta).ok().and_then(|d| self.base_offset.checked_add(d));
        let offset = offset.ok_or(bad("its offset overflows"))?;
        // As Java's client adds them.
        let time = self.append_time.unwrap_or(self.base_time.wrapping_add(head.timestamp_delta));
        self.walk.skip_body()?;
        self.delta = delta;
        Ok(Some((offset, time)))
    }
}

#[cfg(test)]
mod tests;
