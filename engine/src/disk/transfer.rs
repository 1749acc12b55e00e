//! Whole transfers: short writes and reads are continued.

use std::io;

use bytes::Bytes;

use crate::aligned::{AlignedBuf, BLOCK};
use crate::planted::{self, Bug};

use super::seam::DiskFile;

/// Writes all of `bytes` at `pos`. A short write that ended on a block boundary is continued; any other short write is an
/// error.
pub async fn write_all_at<F: DiskFile>(file: &F, mut bytes: Bytes, mut pos: u64) -> io::Result<()> {
    assert!(pos.is_multiple_of(BLOCK as u64) && bytes.len().is_multiple_of(BLOCK), "unaligned write");
    while !bytes.is_empty() {
        let n = file.write_at(bytes.clone(), pos).await?;
        if planted::is(Bug::ShortWriteTaken) {
            return Ok(());
        }
        if n == 0 || n % BLOCK != 0 || n > bytes.len() {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("short write: {n} of {} bytes at {pos}", bytes.len()),
            ));
        }
        bytes = bytes.split_off(n);
        pos += n as u64;
    }
    Ok(())
}

/// Reads exactly `len` bytes (whole blocks) at `pos`.
pub async fn read_exact_at<F: DiskFile>(file: &F, pos: u64, len: usize) -> io::Result<Bytes> {
    read_exact_into(file, pos, AlignedBuf::uninit(len)).await
}

/// Reads exactly as many bytes (whole blocks) at `pos` as `buf` has room for.
pub async fn read_exact_into<F: DiskFile>(file: &F, pos: u64, buf: AlignedBuf) -> io::Result<Bytes> {
    let len = buf.capacity();
    assert!(pos.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK), "unaligned read");
    let (result, buf) = file.read_at(buf, pos).await;
    let n = result?;
    if n >= len {
        return Ok(buf.into_bytes().slice(..len));
    }
    // Rare: a short read. Read the rest block by block and join.
    let mut joined = AlignedBuf::uninit(len);
    joined.put(0, &buf.as_slice()[..n - n % BLOCK]);
    while joined.init_len() < len {
        let at = joined.init_len();
        let (result, part) = file.read_at(AlignedBuf::uninit(len - at), pos + at as u64).await;
        let n = result?;
        let whole = n.min(len - at) / BLOCK * BLOCK;
        if whole == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("file ends at {} of the {len} bytes wanted at {pos}", at + n),
            ));
        }
        joined.put(at, &part.as_slice()[..whole]);
    }
    Ok(joined.into_bytes())
}
