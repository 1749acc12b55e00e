//! A data directory: its identity, its number of shards, and the lock that keeps other processes out.
//!
//! The number of shards is fixed when the directory is formatted; how many cores serve them is decided
//! at each start.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::aligned::BLOCK;
use crate::bytes_at::u32_le;
use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::error::OpenError;
use crate::log::files;
use crate::log::format::FORMAT_VERSION;

const MAGIC: &[u8; 8] = b"KEYLANE\0";
const FORMAT_FILE: &str = "keylane.format";
const LOCK_FILE: &str = "keylane.lock";

/// What was decided when the directory was formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataDir {
    /// Random identity, which tells the files of this directory from those of another one.
    pub id: [u8; 16],
    /// Number of shards.
    pub shards: u16,
}

impl DataDir {
    /// Opens the directory; formats it with `shards` shards if it is empty.
    pub async fn open_or_format(disk: &impl Disk, shards: u16) -> Result<Self, OpenError> {
        let names = disk.list("").await.map_err(OpenError::io("listing the data directory"))?;
        if names.iter().any(|n| n == FORMAT_FILE) {
            return Self::open(disk).await;
        }
        let scratch = format!("{FORMAT_FILE}.new");
        let harmless = |n: &String| n == LOCK_FILE || *n == scratch || n == "lost+found";
        if let Some(other) = names.iter().find(|n| !harmless(n)) {
            return Err(OpenError::NotOurs(format!("the data directory (it holds {other:?})")));
        }
        if shards == 0 {
            return Err(OpenError::Options("a data directory has at least one shard".to_owned()));
        }
        let dir = Self { id: *uuid::Uuid::new_v4().as_bytes(), shards };
        files::replace(disk, "", FORMAT_FILE, files::padded(&dir.encode()))
            .await
            .map_err(OpenError::io("formatting the data directory"))?;
        Ok(dir)
    }

    async fn open(disk: &impl Disk) -> Result<Self, OpenError> {
        let (dir, version) = Self::read(disk).await?;
        if version != FORMAT_VERSION {
            // Before anything is written that an older program would misread.
            tracing::info!("raising the data directory to format version {FORMAT_VERSION}");
            files::replace(disk, "", FORMAT_FILE, files::padded(&dir.encode()))
                .await
                .map_err(OpenError::io(format!("raising the version in {FORMAT_FILE}")))?;
        }
        Ok(dir)
    }

    /// The content of the directory's `keylane.format`, and the version of that file. Changes nothing.
    pub async fn read(disk: &impl Disk) -> Result<(Self, u32), OpenError> {
        let file = disk.open(FORMAT_FILE).await.map_err(OpenError::io(format!("opening {FORMAT_FILE}")))?;
        let size = file.size().await.map_err(OpenError::io(format!("reading {FORMAT_FILE}")))?;
        if size != BLOCK as u64 {
            return Err(OpenError::damaged(
                FORMAT_FILE,
                0,
                format!("it has {size} bytes instead of {BLOCK}"),
            ));
        }
        let block =
            read_exact_at(&file, 0, BLOCK).await.map_err(OpenError::io(format!("reading {FORMAT_FILE}")))?;
        Ok((Self::decode(&block)?, u32_le(&block, 8).unwrap_or(0)))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&u32::from(self.shards).to_le_bytes());
        out.extend_from_slice(&self.id);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(block: &[u8]) -> Result<Self, OpenError> {
        let damaged = |what: &str| OpenError::damaged(FORMAT_FILE, 0, what);
        if block.get(..8) != Some(MAGIC.as_slice()) {
            return Err(damaged("it does not begin with KEYLANE"));
        }
        if block.get(..32).map(crc32c::crc32c) != u32_le(block, 32) {
            return Err(damaged("its checksum is wrong"));
        }
        let version = u32_le(block, 8).unwrap_or(0);
        if version > FORMAT_VERSION {
            return Err(OpenError::Newer {
                file: FORMAT_FILE.to_owned(),
                found: version,
                known: FORMAT_VERSION,
            });
        }
        let shards = u32_le(block, 12).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
        let id = block.get(16..32).and_then(|b| b.try_into().ok());
        match (shards, id) {
            (Some(shards), Some(id)) => Ok(Self { id, shards }),
            _ => Err(damaged("it names no shards")),
        }
    }
}

/// Holds the directory against other processes until it is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Creates the directory if need be and locks it.
    pub fn take(root: &Path) -> Result<Self, OpenError> {
        let shown = root.display().to_string();
        std::fs::create_dir_all(root).map_err(OpenError::io(format!("creating {shown}")))?;
        let path = root.join(LOCK_FILE);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(OpenError::io(format!("opening {}", path.display())))?;
        Self::lock(file, &path, shown)
    }

    /// Locks the directory without creating anything. `None`: no process ever had it, as with a copy that
    /// leaves the lock file out.
    pub fn take_existing(root: &Path) -> Result<Option<Self>, OpenError> {
        let path = root.join(LOCK_FILE);
        match File::open(&path) {
            Ok(file) => Self::lock(file, &path, root.display().to_string()).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(OpenError::io(format!("opening {}", path.display()))(e)),
        }
    }

    fn lock(file: File, path: &Path, shown: String) -> Result<Self, OpenError> {
        match rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse(shown)),
            Err(e) => Err(OpenError::io(format!("locking {}", path.display()))(io::Error::from(e))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(dir: DataDir) -> Vec<u8> {
        let mut block = dir.encode();
        block.resize(BLOCK, 0);
        block
    }

    #[test]
    fn it_reads_back_and_every_flipped_byte_is_found() {
        let dir = DataDir { id: [7; 16], shards: 3 };
        assert_eq!(DataDir::decode(&block(dir)).unwrap(), dir);
        for at in 0..36 {
            let mut bad = block(dir);
            bad[at] ^= 1;
            assert!(DataDir::decode(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let mut newer = DataDir { id: [7; 16], shards: 3 }.encode();
        newer[8] = FORMAT_VERSION as u8 + 1;
        let crc = crc32c::crc32c(&newer[..32]);
        newer[32..36].copy_from_slice(&crc.to_le_bytes());
        newer.resize(BLOCK, 0);
        assert!(
            matches!(DataDir::decode(&newer), Err(OpenError::Newer { found, .. }) if found == FORMAT_VERSION + 1)
        );
    }

    #[test]
    fn a_locked_directory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let held = DirLock::take(root.path()).unwrap();
        assert!(matches!(DirLock::take(root.path()), Err(OpenError::InUse(_))));
        drop(held);
        DirLock::take(root.path()).unwrap();
    }
}
