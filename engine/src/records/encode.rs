//! Compressing records so that every Kafka client can read them.
//!
//! The framings are those of the Java clients: gzip; snappy in blocks behind the xerial header; one LZ4 frame
//! of independent blocks; one zstd frame. Levels have Kafka's numbers (KIP-390): gzip's 1 to 9 are those of libdeflate, which
//! trade time for size as zlib's do; the others are those of the high compressor of LZ4 and of zstd's reference implementation.
//! LZ4's default level, 9, stands for its fast compressor, as in the Java clients.

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::codec::guarded;
use super::error::EncodeError;
use super::rules::Compression;
use super::snappy::XERIAL_MAGIC;
use super::zstd;

/// Bytes of a snappy block, as the Java clients choose it.
const SNAPPY_BLOCK: usize = 32 << 10;
/// The level of LZ4 at which the fast compressor is used.
const LZ4_FAST: i32 = 9;

impl Compression {
    /// The codec that a batch's attributes name, at its default level; 0 means not compressed.
    pub fn of_codec(codec: i16) -> Option<Self> {
        match codec {
            0 => Some(Self::Uncompressed),
            1 => Some(Self::Gzip { level: -1 }),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4 { level: LZ4_FAST }),
            4 => Some(Self::Zstd { level: 3 }),
            _ => None,
        }
    }

    /// The codec, as batch attributes name it; `None`: any codec will do.
    pub fn codec(self) -> Option<i16> {
        match self {
            Self::Producer => None,
            Self::Uncompressed => Some(0),
            Self::Gzip { .. } => Some(1),
            Self::Snappy => Some(2),
            Self::Lz4 { .. } => Some(3),
            Self::Zstd { .. } => Some(4),
        }
    }
}

/// Appends `records` to `out`, compressed with the codec of a batch's attributes (0: as they are) at its default
/// level. After an error the appended bytes are useless.
pub fn compress(codec: i16, records: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    compress_with(Compression::of_codec(codec).ok_or(EncodeError::Codec(codec))?, records, out)
}

/// Appends `records` to `out`, compressed as `how` says; [`Compression::Producer`] leaves them uncompressed. After an
/// error the appended bytes are useless.
pub fn compress_with(how: Compression, records: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let done = match how {
        Compression::Producer | Compression::Uncompressed => {
            out.extend_from_slice(records);
            return Ok(());
        }
        Compression::Gzip { level } => guarded(|| gzip(records, level, out)),
        Compression::Snappy => guarded(|| snappy(records, out)),
        Compression::Lz4 { level: LZ4_FAST } => guarded(|| lz4(records, out)),
        Compression::Lz4 { level } => guarded(|| lz4_high(records, level, out)),
        Compression::Zstd { level } => guarded(|| zstd::compress(records, level, out)),
    };
    done.map_err(|source| EncodeError::Failed { codec: how.codec().unwrap_or(0), source })
}

fn gzip(records: &[u8], level: i32, out: &mut Vec<u8>) -> io::Result<()> {
    // Kafka's levels end at 9, and -1 is the default.
    let level = CompressionLvl::new(level.min(9)).unwrap_or_default();
    let mut compressor = Compressor::new(level);
    let start = out.len();
    out.resize(start + compressor.gzip_compress_bound(records.len()), 0);
    let len = compressor.gzip_compress(records, &mut out[start..]).map_err(io::Error::other)?;
    out.truncate(start + len);
    Ok(())
}

fn snappy(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(XERIAL_MAGIC);
    // Version, and the oldest version that can read it.
    for version in [1u32, 1] {
        out.extend_from_slice(&version.to_be_bytes());
    }
    let mut encoder = snap::raw::Encoder::new();
    for block in records.chunks(SNAPPY_BLOCK) {
        let len_at = out.len();
        let at = len_at + 4;
        out.resize(at + snap::raw::max_compress_len(block.len()), 0);
        let len = encoder.compress(block, &mut out[at..])?;
        out.truncate(at + len);
        out[len_at..at].copy_from_slice(&(len as u32).to_be_bytes());
    }
    Ok(())
}

fn lz4(records: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut to = FrameEncoder::with_frame_info(info, out);
    to.write_all(records)?;
    to.finish().map(|_| ()).map_err(io::Error::other)
}

/// Compresses with the reference implementation's high compressor, whose levels end at 12.
fn lz4_high(records: &[u8], level: i32, out: &mut Vec<u8>) -> io::Result<()> {
    let level = u32::try_from(level).unwrap_or(1).max(1);
    let mut to = lz4::EncoderBuilder::new()
        .level(level.max(3))
        .block_mode(lz4::BlockMode::Independent)
        .block_size(lz4::BlockSize::Max64KB)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .build(out)?;
    to.write_all(records)?;
    to.finish().1
}
