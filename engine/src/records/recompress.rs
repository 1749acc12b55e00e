//! Compressing a batch with another codec, as `compression.type` of its topic asks.
//!
//! The uncompressed records stay the same byte for byte, and so do all header fields but length, codec and CRC. A batch that
//! has the codec already stays as it is, whatever level it was compressed at, as in Kafka.

use crate::record_batch::{HEADER_BYTES, seal};

use super::attributes::CODEC_BITS;
use super::decode::decompress;
use super::encode::compress_with;
use super::error::RecompressError;
use super::rules::Compression;

/// Most bytes of uncompressed records of a batch that is compressed again. Up to twice as many are in memory meanwhile.
pub const RECOMPRESSED_MAX: usize = 64 << 20;

/// A batch, which has passed all checks, with the codec that `how` asks for; `None`: the batch stays as it is. The caller
/// bounds the size of the new batch. More than [`RECOMPRESSED_MAX`] bytes of uncompressed records are an error.
pub fn recompress(batch: &[u8], how: Compression) -> Result<Option<Vec<u8>>, RecompressError> {
    let (header, records) =
        batch.split_first_chunk::<HEADER_BYTES>().ok_or(RecompressError::Length(batch.len()))?;
    let attributes = i16::from_be_bytes([header[21], header[22]]);
    let codec = match how.codec() {
        Some(codec) if codec != attributes & CODEC_BITS => codec,
        _ => return Ok(None),
    };
    let plain = decompress(attributes & CODEC_BITS, records, RECOMPRESSED_MAX)?;
    let mut out = Vec::with_capacity(HEADER_BYTES + plain.len());
    out.extend_from_slice(header);
    compress_with(how, &plain, &mut out)?;
    i32::try_from(out.len()).map_err(|_| RecompressError::Length(out.len()))?;
    out[21..23].copy_from_slice(&(attributes & !CODEC_BITS | codec).to_be_bytes());
    seal(&mut out);
    Ok(Some(out))
}
