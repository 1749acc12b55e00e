//! Whether every record of a batch has a key, which compaction needs.
//!
//! Compressed records are decoded as a stream, with the bounds and promises of [`record_time`]. What is wrong
//! with a batch apart from its keys is said by the append that follows.

use keylane_engine::bytes_at::{i16_be, u32_be};
use keylane_engine::record_batch::HEADER_BYTES;
use keylane_engine::records::{CODEC_BITS, Decoder, MAX_UNCOMPRESSED};

use super::record_time::RecordTimeError;

/// Whether a record of this batch has no key. An error: the records cannot be read.
pub fn any_missing(batch: &[u8]) -> Result<bool, RecordTimeError> {
    let short = RecordTimeError::Length { have: batch.len(), want: HEADER_BYTES };
    let (Some(attributes), Some(count), Some(records)) =
        (i16_be(batch, 21), u32_be(batch, 57), batch.get(HEADER_BYTES..))
    else {
        return Err(short);
    };
    let mut bytes = Decoder::new(attributes & CODEC_BITS, records, MAX_UNCOMPRESSED)?;
    for index in 0..count {
        let bad = |what| RecordTimeError::Record { index, what };
        let (len, _) = varint(&mut bytes)?.ok_or(bad("its length is no varint"))?;
        let mut left = u64::try_from(len).map_err(|_| bad("its length is negative"))?;
        left = left.checked_sub(1).ok_or(bad("it is empty"))?;
        bytes.byte()?.ok_or(bad("it ends beyond the records"))?;
        let mut key_len = 0;
        for what in ["its timestamp is no varint", "its offset is no varint", "its key has no length"] {
            let (value, took) = varint(&mut bytes)?.ok_or(bad(what))?;
            left = left.checked_sub(took).ok_or(bad(what))?;
            key_len = value;
        }
        if key_len < 0 {
            return Ok(true);
        }
        if !bytes.skip(left)? {
            return Err(bad("it ends beyond the records"));
        }
    }
    if bytes.byte()?.is_some() {
        return Err(RecordTimeError::Record { index: count, what: "bytes follow the last one" });
    }
    Ok(false)
}

/// A varint (zigzag encoded) and the bytes it took; `None` if there is none.
fn varint(bytes: &mut Decoder<'_>) -> Result<Option<(i64, u64)>, RecordTimeError> {
    let mut value = 0u64;
    for took in 0..10 {
        let Some(byte) = bytes.byte()? else { return Ok(None) };
        value |= u64::from(byte & 0x7f) << (7 * took);
        if byte & 0x80 == 0 {
            return Ok(Some(((value >> 1) as i64 ^ -((value & 1) as i64), took + 1)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use keylane_engine::record_batch::build;

    use super::*;

    /// Records with keys of these lengths; -1: no key.
    fn batch(keys: &[i64], codec: i16) -> Vec<u8> {
        let mut records = Vec::new();
        for (delta, key) in keys.iter().enumerate() {
            let mut body = vec![0, 0, (delta * 2) as u8, ((key << 1) ^ (key >> 63)) as u8];
            body.extend(vec![b'k'; usize::try_from(*key).unwrap_or(0)]);
            body.extend([2, b'v', 0]);
            records.push((body.len() * 2) as u8);
            records.extend(body);
        }
        let mut out = build(&[(b"k", b"v")], 1)[..HEADER_BYTES].to_vec();
        out[21..23].copy_from_slice(&codec.to_be_bytes());
        out[57..61].copy_from_slice(&(keys.len() as u32).to_be_bytes());
        match codec {
            0 => out.extend(records),
            1 => {
                let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                to.write_all(&records).unwrap();
                out.extend(to.finish().unwrap());
            }
            2 => out.extend(snap::raw::Encoder::new().compress_vec(&records).unwrap()),
            3 => {
                let mut to = lz4_flex::frame::FrameEncoder::new(Vec::new());
                to.write_all(&records).unwrap();
                out.extend(to.finish().unwrap());
            }
            _ => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                out.extend(ruzstd::encoding::compress_to_vec(records.as_slice(), level));
            }
        }
        out
    }

    #[test]
    fn one_record_without_a_key_is_found_in_every_codec() {
        for codec in 0..=4 {
            for (keys, missing) in
                [(vec![1, 0, 9], false), (vec![-1], true), (vec![3, 0, -1], true), (vec![0], false)]
            {
                assert_eq!(any_missing(&batch(&keys, codec)), Ok(missing), "codec {codec}, keys {keys:?}");
            }
        }
        assert_eq!(any_missing(&build(&[(b"", b"v"), (b"k", b"")], 1)), Ok(false));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for codec in 0..=4 {
            let good = batch(&[2, 2, 2], codec);
            for len in 0..good.len() {
                // What a codec has behind the last byte of its content may be missing.
                let found = any_missing(&good[..len]);
                let content = codec == 0 || len <= HEADER_BYTES + 8;
                assert!(found.is_err() || (!content && found == Ok(false)), "codec {codec}, {len} bytes");
            }
        }
        let mut more = batch(&[2], 0);
        more.push(0);
        assert!(any_missing(&more).is_err());
        let mut long = batch(&[2], 0);
        long[HEADER_BYTES] = 0x7f;
        assert!(any_missing(&long).is_err());
        assert!(matches!(any_missing(&batch(&[2], 7)), Err(RecordTimeError::Decode(_))));
    }
}
