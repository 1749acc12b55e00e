//! The times of records in batches whose header may lie about them.
//!
//! Until version 4 of the format a batch was stored with the maximum timestamp and the attribute bit for the
//! time of the append that its producer sent, whatever its records said. The timestamps of the records are the truth.

use std::borrow::Cow;

use crate::record_batch::{HEADER_BYTES, RecordBatch, seal};

use super::attributes::{APPEND_TIME, CODEC_BITS};
use super::decode::{Decoder, MAX_UNCOMPRESSED};
use super::walk::Walk;

/// The largest timestamp of the records of a batch, in milliseconds, whatever its header says. If the records cannot be
/// read: the larger one of the header's maximum and base timestamps.
pub(crate) fn largest_timestamp(batch: &[u8]) -> Option<i64> {
    let view = RecordBatch::peek(batch)?;
    Some(of_records(batch, &view).unwrap_or_else(|| view.max_timestamp.max(base_timestamp(batch))))
}

fn of_records(batch: &[u8], view: &RecordBatch<'_>) -> Option<i64> {
    let records = Decoder::new(view.attributes & CODEC_BITS, batch.get(HEADER_BYTES..)?, MAX_UNCOMPRESSED);
    let mut walk = Walk::new(records.ok()?);
    let mut most = None;
    for _ in 0..view.count {
        let delta = walk.head().ok()?.timestamp_delta;
        walk.skip_body().ok()?;
        // As Java's client adds them.
        most = most.max(Some(base_timestamp(batch).wrapping_add(delta)));
    }
    walk.end().ok()?;
    most
}

fn base_timestamp(batch: &[u8]) -> i64 {
    crate::bytes_at::i64_be(batch, 27).unwrap_or(-1)
}

/// The batch with this maximum timestamp in its header. A batch that states another one is copied, and the copy loses the
/// attribute bit for the time of the append, so that its records have their own timestamps.
pub(crate) fn with_largest_timestamp(batch: &[u8], largest: i64) -> Cow<'_, [u8]> {
    let stated = RecordBatch::peek(batch).filter(|_| batch.len() >= HEADER_BYTES);
    let Some(view) = stated.filter(|view| view.max_timestamp != largest) else { return Cow::Borrowed(batch) };
    let mut out = batch.to_vec();
    out[21..23].copy_from_slice(&(view.attributes & !APPEND_TIME).to_be_bytes());
    out[35..43].copy_from_slice(&largest.to_be_bytes());
    seal(&mut out);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record_batch::build;

    /// A batch with a header that says something else.
    fn lying(codec: i16, largest: i64, attributes: i16) -> Vec<u8> {
        let good = build(&[(b"k", b"v"), (b"k", b"w")], 5_000);
        let mut out = good[..HEADER_BYTES].to_vec();
        super::super::compress(codec, &good[HEADER_BYTES..], &mut out).unwrap();
        out[21..23].copy_from_slice(&(codec | attributes).to_be_bytes());
        out[35..43].copy_from_slice(&largest.to_be_bytes());
        seal(&mut out);
        out
    }

    #[test]
    fn the_records_say_what_time_it_was_and_the_header_is_made_to_agree() {
        for codec in 0..=4 {
            for (stated, attributes) in [(0, 0), (-1, 0), (i64::MAX, 0), (4_999, 0), (7, APPEND_TIME)] {
                let batch = lying(codec, stated, attributes);
                assert_eq!(RecordBatch::check_stored(&batch).unwrap().max_timestamp, stated);
                assert_eq!(largest_timestamp(&batch), Some(5_000), "codec {codec}, {stated}");
                let mended = with_largest_timestamp(&batch, 5_000);
                let view = RecordBatch::check_stored(&mended).unwrap();
                assert_eq!((view.max_timestamp, view.attributes, view.count), (5_000, codec, 2));
                assert_eq!(mended[HEADER_BYTES..], batch[HEADER_BYTES..]);
            }
            let honest = lying(codec, 5_000, 0);
            assert!(matches!(with_largest_timestamp(&honest, 5_000), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn of_records_that_cannot_be_read_the_later_of_two_times_is_believed() {
        for (stated, believed) in [(-1, 5_000), (9_000, 9_000)] {
            let mut batch = lying(4, stated, 0);
            batch[HEADER_BYTES] ^= 1;
            assert_eq!(largest_timestamp(&batch), Some(believed));
        }
        assert_eq!(largest_timestamp(&[0; 40]), None);
    }
}
