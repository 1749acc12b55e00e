//! Names of the files of a shard, and how a small file is replaced as a whole.

use std::io;

use bytes::Bytes;

use crate::aligned::AlignedBuf;
use crate::disk::{Disk, DiskFile, write_all_at};
use crate::ids::{Generation, ShardId};

/// Folder of a shard.
pub fn shard_dir(shard: ShardId) -> String {
    format!("shard-{:05}", shard.0)
}

/// File of a segment: `*.log` for a commit segment, `*.sorted` for a sorted one.
pub fn segment(dir: &str, generation: Generation) -> String {
    let kind = if generation.is_sorted() { "sorted" } else { "log" };
    format!("{dir}/{:016}.{kind}", generation.number())
}

/// File of the index of a sealed segment.
pub fn index(dir: &str, generation: Generation) -> String {
    let kind = if generation.is_sorted() { "sorted.idx" } else { "idx" };
    format!("{dir}/{:016}.{kind}", generation.number())
}

/// File of the checkpoint of a shard.
pub fn checkpoint(dir: &str) -> String {
    format!("{dir}/checkpoint")
}

/// The generation that a segment's file name states; `None` if this is no name of a segment.
pub fn generation_of(name: &str) -> Option<Generation> {
    let (digits, kind) = name.split_once('.')?;
    let number: u64 = (digits.len() == 16).then(|| digits.parse().ok())??;
    match kind {
        "log" => Some(Generation(number)),
        // Checkpoints state these numbers in four bytes.
        "sorted" if number < 1 << 31 => Some(Generation::sorted(number)),
        _ => None,
    }
}

/// Pads with zeros to whole blocks, for a write.
pub fn padded(content: &[u8]) -> Bytes {
    let mut buf = AlignedBuf::uninit(content.len());
    buf.put(0, content);
    buf.fill_zero(content.len(), buf.capacity());
    buf.into_bytes()
}

/// Durably replaces a file. After a crash the file has either the old content or the new one.
pub async fn replace(disk: &impl Disk, dir: &str, path: &str, content: Bytes) -> io::Result<()> {
    let scratch = format!("{path}.new");
    match disk.remove(&scratch).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = disk.create(&scratch, content.len() as u64).await?;
    write_all_at(&file, content, 0).await?;
    file.sync().await?;
    disk.rename(&scratch, path).await?;
    disk.sync_dir(dir).await
}
