//! A small data directory that has every kind of file: what the checks of damage work on.

use std::collections::BTreeMap;

use keylane_engine::LogId;
use keylane_engine::disk::Disk;
use keylane_engine::disk::sim::{CrashStyle, SimDisk, SimOptions};

use crate::held::{Author, Held, inside, runtime};

/// A directory that was not closed, and what was acknowledged of it.
pub struct Small {
    /// Its disk: two sealed segments and an unsealed tail of several commits.
    pub disk: SimDisk,
    /// Every batch in it.
    pub held: Held,
    /// The unsealed segment.
    pub tail: String,
    /// Batches of the logs that end earlier without the last commit.
    pub without_last: BTreeMap<u32, usize>,
}

/// Writes it: one shard, two topics, three partitions.
pub fn small_directory() -> Small {
    let options = SimOptions { latency_turns: (0, 0), ..SimOptions::default() };
    let disk = SimDisk::new(1, options.clone());
    let (disk, held, tail, log) = inside(&runtime(), async {
        let mut held = Held::default();
        for session in 0..2 {
            let mut author = Author::open(&disk, 1, held, session).await?;
            if session == 0 {
                author.create("orders", 2).await?;
                author.create("events", 1).await?;
            }
            for round in 0..3 {
                author.append(&[0, 1, 2, round]).await?;
            }
            held = author.close().await?;
        }
        let mut author = Author::open(&disk, 1, held, 2).await?;
        for logs in [&[0, 1][..], &[2], &[1, 1, 0], &[2, 0], &[1]] {
            author.append(logs).await?;
        }
        // As after kill -9: what the system was told, it keeps.
        let image = disk.crash_image(0, CrashStyle::AllKept);
        let segments: Vec<String> = image.paths().into_iter().filter(|p| p.ends_with(".log")).collect();
        let is_written = |path: &&String| {
            image.content(path).is_ok_and(|content| content[4096..].starts_with(b"KLcommit"))
        };
        let tail = segments.iter().filter(is_written).max().ok_or("a segment")?.clone();
        // The segment prepared for later has nothing in it: without it, fewer bytes are to be tried.
        for unused in segments.iter().filter(|path| **path > tail) {
            image.remove(unused).await.map_err(|e| e.to_string())?;
            image.sync_dir("shard-00000").await.map_err(|e| e.to_string())?;
        }
        Ok::<_, String>((image, author.held.clone(), tail, LogId(1)))
    })
    .expect("a disk without faults takes it");
    let without_last = [(log.0, held.logs[&log.0].len() - 1)].into();
    Small { disk, held, tail, without_last }
}
