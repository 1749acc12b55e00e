//! A view of a record batch, and the checks of a stored one.

use crate::bytes_at::{i16_be, i32_be, i64_be, u32_be};
use crate::checksum;
use crate::ids::Offset;
use crate::records::{DecodeError, Reason, RecompressError, RecordsError, Refused};

use super::layout::{CRC_START, HEADER_BYTES, LENGTH_END};

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The number of bytes is not what the length field says, or less than a header.
    #[error("the record batch has {have} bytes, but its length field says {want}")]
    Length {
        /// Bytes of the batch.
        have: usize,
        /// Bytes that the length field asks for.
        want: usize,
    },
    /// An old message format.
    #[error("record batch has magic {0}; only version 2 is stored (clients since Kafka 0.11 send it)")]
    Magic(i8),
    /// The checksum does not match the bytes.
    #[error("the record batch has the CRC-32C {found:#010x}, but its header says {stated:#010x}")]
    Crc {
        /// Computed from the bytes.
        found: u32,
        /// Read from the header.
        stated: u32,
    },
    /// The record count and the last offset delta do not agree, or the batch is empty.
    #[error("record batch claims {count} records and a last offset delta of {last_delta}")]
    Count {
        /// The count field.
        count: i32,
        /// The last offset delta field.
        last_delta: i32,
    },
    /// A base offset other than 0: offsets are given by the log.
    #[error("record batch with base offset {0}; a producer sends 0")]
    BaseOffset(i64),
    /// The records cannot be uncompressed, or one of them is malformed.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The records are well-formed, but the topic refuses some of them.
    #[error("the topic does not take {} of the batch's records, the first of them because {}", .0.total,
        .0.records.first().map(|r| r.reason.to_string()).unwrap_or_default())]
    Refused(Box<Refused>),
    /// The topic refuses the timestamps that the header claims; the records were not looked at.
    #[error("the maximum timestamp in the batch's header is refused: {0}")]
    Claim(Reason),
    /// The records could not be compressed again as the topic asks.
    #[error("compressing the batch again failed: {0}")]
    Recompress(String),
    /// The batch belongs to a transaction, and transactions are not supported.
    #[error("record batch of a transaction; transactions are not supported, send it without one")]
    Transactional,
    /// Control batches are written by the log itself only.
    #[error("a producer may not write control batches")]
    Control,
    /// A producer id without epoch or sequence.
    #[error(
        "producer id {producer_id} needs an epoch and a base sequence of 0 or more, not {epoch} and {base_sequence}"
    )]
    Producer {
        /// The producer id field.
        producer_id: i64,
        /// The producer epoch field.
        epoch: i16,
        /// The base sequence field.
        base_sequence: i32,
    },
}

impl From<RecompressError> for BatchError {
    fn from(error: RecompressError) -> Self {
        match error {
            RecompressError::Decode(error) => error.into(),
            other => Self::Recompress(other.to_string()),
        }
    }
}

impl From<DecodeError> for BatchError {
    fn from(error: DecodeError) -> Self {
        Self::Records(error.into())
    }
}

/// A view of a batch's bytes, and the header fields the log needs.
#[derive(Debug, Clone, Copy)]
pub struct RecordBatch<'a> {
    pub(crate) bytes: &'a [u8],
    /// Records in the batch; at least 1.
    pub count: u32,
    /// Offsets that the batch spans: last offset delta + 1. Equals `count` unless the batch was compacted.
    pub span: u32,
    /// Attribute bits.
    pub attributes: i16,
    /// Largest record timestamp, in milliseconds.
    pub max_timestamp: i64,
    /// Producer id, or -1.
    pub producer_id: i64,
    /// Producer epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence of the first record, or -1.
    pub base_sequence: i32,
}

impl<'a> RecordBatch<'a> {
    /// Checks a batch that was read back from the log: header and checksum. The records are not walked through, because the
    /// CRC covers them.
    pub fn check_stored(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let have = bytes.len();
        let short = || BatchError::Length { have, want: HEADER_BYTES };
        if have < HEADER_BYTES {
            return Err(short());
        }
        let magic = bytes[16] as i8;
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let want = (i32_be(bytes, 8).ok_or_else(short)?).max(0) as usize + LENGTH_END;
        if want != have {
            return Err(BatchError::Length { have, want });
        }
        let stated = u32_be(bytes, 17).ok_or_else(short)?;
        let found = checksum::crc32c(&bytes[CRC_START..]);
        if stated != found {
            return Err(BatchError::Crc { found, stated });
        }
        let last_delta = i32_be(bytes, 23).ok_or_else(short)?;
        let count = i32_be(bytes, 57).ok_or_else(short)?;
        if count < 1 || last_delta < count - 1 || last_delta == i32::MAX {
            return Err(BatchError::Count { count, last_delta });
        }
        Self::peek(bytes).ok_or_else(short)
    }

    /// The header fields of a batch that has been checked before.
    pub fn peek(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            bytes,
            count: u32_be(bytes, 57)?,
            span: u32_be(bytes, 23)?.wrapping_add(1),
            attributes: i16_be(bytes, 21)?,
            max_timestamp: i64_be(bytes, 35)?,
            producer_id: i64_be(bytes, 43)?,
            producer_epoch: i16_be(bytes, 51)?,
            base_sequence: i32_be(bytes, 53)?,
        })
    }

    /// The bytes of the batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Base offset of a stored batch.
pub fn base_offset(bytes: &[u8]) -> Option<Offset> {
    i64_be(bytes, 0).and_then(|o| u64::try_from(o).ok())
}

/// Total length of the batch that begins here, from its length field.
pub fn total_len(bytes: &[u8]) -> Option<usize> {
    Some(usize::try_from(i32_be(bytes, 8)?).ok()? + LENGTH_END)
}

/// Offset after the last one that a stored batch spans.
pub fn end_offset(bytes: &[u8]) -> Option<Offset> {
    Some(base_offset(bytes)? + u64::from(u32_be(bytes, 23)?) + 1)
}

/// Leader epoch of a stored batch.
pub fn leader_epoch(bytes: &[u8]) -> Option<i32> {
    i32_be(bytes, 12)
}

/// Writes base offset and leader epoch into the header bytes of a batch.
pub fn patch(header: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    header[0..8].copy_from_slice(&base_offset.to_be_bytes());
    header[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::{build, seal};

    #[test]
    fn patching_keeps_the_checksum() {
        let mut bytes = build(&[(b"k", b"v"), (b"", b"w")], 17);
        patch(&mut bytes, 42, 0);
        let batch = RecordBatch::check_stored(&bytes).unwrap();
        assert_eq!((batch.count, batch.max_timestamp, base_offset(&bytes)), (2, 17, Some(42)));
    }

    #[test]
    fn every_flipped_bit_inside_the_checksum_is_found() {
        let good = build(&[(b"key", b"value")], 1);
        for at in (8..12).chain(16..good.len()) {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(RecordBatch::check_stored(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_stored_batch_may_span_more_offsets_than_it_has_records_but_not_fewer() {
        let mut gaps = build(&[(b"a", b"1"), (b"b", b"2")], 1);
        gaps[23..27].copy_from_slice(&6i32.to_be_bytes());
        seal(&mut gaps);
        let batch = RecordBatch::check_stored(&gaps).unwrap();
        assert_eq!((batch.count, batch.span), (2, 7));
        for last_delta in [0, -1, i32::MIN, i32::MAX] {
            let mut bad = gaps.clone();
            bad[23..27].copy_from_slice(&last_delta.to_be_bytes());
            seal(&mut bad);
            let error = RecordBatch::check_stored(&bad).unwrap_err();
            assert_eq!(error, BatchError::Count { count: 2, last_delta });
        }
    }

    #[test]
    fn truncated_extended_and_old_batches_are_refused() {
        let good = build(&[(b"a", b"1")], 1);
        for len in 0..good.len() {
            assert!(RecordBatch::check_stored(&good[..len]).is_err(), "length {len}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(RecordBatch::check_stored(&longer), Err(BatchError::Length { .. })));
        let mut old = good;
        old[16] = 1;
        assert_eq!(RecordBatch::check_stored(&old).unwrap_err(), BatchError::Magic(1));
    }
}
