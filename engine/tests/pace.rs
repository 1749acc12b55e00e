//! Reads of old data beside commits are small and few; without commits they are as large as they can be.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::aligned::AlignedBuf;
use keylane_engine::disk::{Disk, DiskFile};
use keylane_engine::record_batch::build;
use keylane_engine::shard::{PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, ShardId};
use keylane_sim_disk::{SimDisk, SimFile, SimOptions};

/// What was read, and what is being read.
#[derive(Default)]
struct Seen {
    largest: Cell<usize>,
    now: Cell<usize>,
    most: Cell<usize>,
}

/// A simulated disk on which reads take a moment and are watched.
#[derive(Clone)]
struct Watched<T> {
    below: T,
    seen: Rc<Seen>,
}

impl<T> Watched<T> {
    fn with<U>(&self, below: U) -> Watched<U> {
        Watched { below, seen: Rc::clone(&self.seen) }
    }
}

impl Disk for Watched<SimDisk> {
    type File = Watched<SimFile>;

    async fn open(&self, path: &str) -> io::Result<Self::File> {
        Ok(self.with(self.below.open(path).await?))
    }
    async fn create(&self, path: &str, len: u64) -> io::Result<Self::File> {
        Ok(self.with(self.below.create(path, len).await?))
    }
    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.below.list(dir).await
    }
    async fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.below.create_dir(dir).await
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.below.rename(from, to).await
    }
    async fn remove(&self, path: &str) -> io::Result<()> {
        self.below.remove(path).await
    }
    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.below.sync_dir(dir).await
    }
}

impl DiskFile for Watched<SimFile> {
    async fn size(&self) -> io::Result<u64> {
        self.below.size().await
    }
    async fn read_at(&self, buf: AlignedBuf, pos: u64) -> (io::Result<usize>, AlignedBuf) {
        let (bytes, seen) = (buf.capacity(), &self.seen);
        seen.largest.set(seen.largest.get().max(bytes));
        seen.now.set(seen.now.get() + bytes);
        seen.most.set(seen.most.get().max(seen.now.get()));
        tokio::time::sleep(Duration::from_micros(500)).await;
        let read = self.below.read_at(buf, pos).await;
        seen.now.set(seen.now.get() - bytes);
        read
    }
    async fn write_at(&self, bytes: Bytes, pos: u64) -> io::Result<usize> {
        self.below.write_at(bytes, pos).await
    }
    async fn sync(&self) -> io::Result<()> {
        tokio::time::sleep(Duration::from_micros(500)).await;
        self.below.sync().await
    }
    async fn punch(&self, pos: u64, len: u64) -> io::Result<()> {
        self.below.punch(pos, len).await
    }
    async fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len).await
    }
}

type WatchedShard = Shard;

async fn append(shard: &WatchedShard, at: PartitionRef, batch: &[u8]) {
    while let Err(e) = shard.check_and_append(at, batch) {
        assert!(matches!(e, AppendError::Busy), "{e}");
        shard.space().await;
    }
}

/// Four readers read the first 8 MiB of a log each, beside commits or without.
/// Returns the largest read, and the most that was being read at once.
async fn read_old(shard: &WatchedShard, seen: &Seen, batch: &[u8], commits: bool) -> (usize, usize) {
    let at = shard.attach(LogId(1));
    let going = Cell::new(true);
    let produce = async {
        while commits && going.get() {
            append(shard, at, batch).await;
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    };
    let read = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen.largest.set(0);
        seen.most.set(seen.now.get());
        let reader = || async {
            let (mut offset, mut bytes) = (0, 0);
            while bytes < 8 << 20 {
                let part = shard.read(at, offset, 4 << 20).await.unwrap();
                assert!(part.next_offset > offset);
                (offset, bytes) = (part.next_offset, bytes + part.bytes);
            }
        };
        tokio::join!(reader(), reader(), reader(), reader());
        going.set(false);
        (seen.largest.get(), seen.most.get())
    };
    tokio::join!(produce, read).1
}

#[test]
fn reads_beside_commits_are_small_and_few() {
    let options = ShardOptions {
        segment_bytes: 16 << 20,
        tail_cache_bytes: 64 << 10,
        zero_fill: false,
        ..ShardOptions::default()
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let sim = SimDisk::new(1, SimOptions { latency_turns: (0, 0), ..SimOptions::default() });
        let seen = Rc::new(Seen::default());
        let disk = Watched { below: sim, seen: Rc::clone(&seen) };
        disk.create_dir("").await.unwrap();
        let live = HashSet::from([LogId(1)]);
        let shard = Shard::open(disk, [1; 16], ShardId(0), &live, options).await.unwrap();
        let at = shard.attach(LogId(1));
        let batch = build(&[(b"key", &vec![7; 512 << 10])], 1);
        for _ in 0..40 {
            append(&shard, at, &batch).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (largest, most) = read_old(&shard, &seen, &batch, true).await;
        assert!(largest <= 256 << 10, "{largest}");
        assert!((1..=256 << 10).contains(&most), "{most}");
        // Without commits the same readers read more at once.
        let (largest, most) = read_old(&shard, &seen, &batch, false).await;
        assert!(largest > 1 << 20, "{largest}");
        assert!(most > 2 << 20, "{most}");
    }));
}
