//! Compressing records again, so that every Kafka client can read them.
//!
//! The framings are those of the Java clients: gzip; snappy in blocks behind the xerial header; one LZ4 frame
//! of independent blocks; one zstd frame. zstd is written by the one encoder that needs no C compiler,
//! which compresses about as much as level 1 of the reference implementation; batches that a producer
//! compressed harder grow when they are written again.

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::decode::guarded;
use super::snappy::XERIAL_MAGIC;

/// Bytes of a snappy block, as the Java clients choose it.
const SNAPPY_BLOCK: usize = 32 << 10;

/// Why records could not be compressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// An unknown codec.
    #[error("unknown compression codec {0}")]
    Codec(i16),
    /// The encoder failed.
    #[error("compressing records with codec {codec} failed; they can be stored uncompressed")]
    Failed {
        /// The codec, as in the attributes.
        codec: i16,
        /// What the encoder said.
        source: io::Error,
    },
}

/// Appends `records` to `out`, compressed with the codec of a batch's attributes (0: as they are). After an
/// error, what was appended is of no use.
pub fn compress(codec: i16, records: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let done = match codec {
        0 => {
            out.extend_from_slice(records);
            return Ok(());
        }
        1 => guarded(|| {
            let mut to = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            to.write_all(records)?;
            to.finish().map(|_| ())
        }),
        2 => guarded(|| snappy(records, out)),
        3 => guarded(|| {
            let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
            let mut to = FrameEncoder::with_frame_info(info, out);
            to.write_all(records)?;
            to.finish().map(|_| ()).map_err(io::Error::other)
        }),
        4 => guarded(|| {
            ruzstd::encoding::compress(records, out, ruzstd::encoding::CompressionLevel::Fastest);
            Ok(())
        }),
        other => return Err(EncodeError::Codec(other)),
    };
    done.map_err(|source| EncodeError::Failed { codec, source })
}

fn snappy(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(XERIAL_MAGIC);
    // Version, and the oldest version that can read it.
    for version in [1u32, 1] {
        out.extend_from_slice(&version.to_be_bytes());
    }
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(SNAPPY_BLOCK) {
        let block = encoder.compress_vec(block)?;
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(())
}
