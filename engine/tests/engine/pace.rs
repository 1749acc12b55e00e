//! While commits flow, reads of old data are small and few; without commits they are as large as possible.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::hooked_disk::{Hooked, Hooks};
use keylane_engine::disk::Disk;
use keylane_engine::record_batch::build;
use keylane_engine::shard::{PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, ShardId};
use keylane_sim_disk::{SimDisk, SimOptions};

/// How long a read or a flush takes.
const MOMENT: Duration = Duration::from_micros(500);

/// Bytes of the largest read, of all reads in flight, and the maximum of the latter.
#[derive(Default)]
struct Seen {
    largest: Cell<usize>,
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Hooks for Seen {
    async fn before_read(&self, bytes: usize) {
        self.largest.set(self.largest.get().max(bytes));
        self.now.set(self.now.get() + bytes);
        self.most.set(self.most.get().max(self.now.get()));
        tokio::time::sleep(MOMENT).await;
    }
    fn after_read(&self, bytes: usize) {
        self.now.set(self.now.get() - bytes);
    }
    async fn before_sync(&self) -> io::Result<()> {
        tokio::time::sleep(MOMENT).await;
        Ok(())
    }
}

async fn append(shard: &Shard, at: PartitionRef, batch: &[u8]) {
    while let Err(e) = shard.check_and_append(at, batch) {
        assert!(matches!(e, AppendError::Busy), "{e}");
        shard.space().await;
    }
}

/// Four readers read the first 8 MiB of a log each, beside commits or without.
/// Returns the largest read, and the most that was being read at once.
async fn read_old(shard: &Shard, seen: &Seen, batch: &[u8], commits: bool) -> (usize, usize) {
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
        let seen = Rc::new(Seen::default());
        let disk = Hooked::new(SimDisk::new(1, SimOptions::immediate()), &seen);
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
