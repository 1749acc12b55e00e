//! Reading a partition: its tail from memory, and all of it from the disk.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keylane_benches::rig::{self, UringShard};
use keylane_engine::shard::{PartitionRef, ShardOptions};

/// Bytes of one read, as a consumer asks for.
const READ_BYTES: usize = 1 << 20;
/// Bytes in all partitions together.
const TOTAL_BYTES: u64 = 64 << 20;

/// Reads `count` times; starts over at the end, takes turns among partitions.
async fn read(shard: &UringShard, from: &[PartitionRef], count: u64) -> u64 {
    let mut next = vec![0; from.len()];
    let mut bytes = 0;
    for i in 0..count {
        let p = (i % from.len() as u64) as usize;
        let got = shard.read(from[p], next[p], READ_BYTES).await.expect("the offset exists");
        bytes += got.bytes as u64;
        let end = shard.offsets(from[p]).expect("the partition exists").high_watermark;
        next[p] = if got.next_offset >= end { 0 } else { got.next_offset };
    }
    bytes
}

fn reads(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let runtime = rig::runtime().expect("io_uring is available");
    // Room for everything, or for nearly nothing.
    for (name, tail_cache_bytes) in [("tail", 2 * TOTAL_BYTES as usize), ("cold", 1 << 20)] {
        for partitions in [1u32, 100] {
            let batch = rig::batch(16 << 10);
            let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let options =
                ShardOptions { tail_cache_bytes, segment_bytes: 32 << 20, ..ShardOptions::default() };
            let (shard, all) =
                runtime.block_on(rig::open(root.path(), partitions, options)).expect("the shard opens");
            let count = TOTAL_BYTES / batch.len() as u64;
            runtime.block_on(rig::append(&shard, &all, &batch, count)).expect("appends are accepted");
            // What one read of a partition gives at most: criterion's throughput is per read.
            let per_partition = TOTAL_BYTES / u64::from(partitions);
            group.throughput(Throughput::Bytes(per_partition.min(READ_BYTES as u64)));
            group.bench_function(BenchmarkId::new(name, format!("{partitions} partitions")), |b| {
                b.iter_custom(|count| {
                    let start = Instant::now();
                    let bytes = runtime.block_on(read(&shard, &all, count));
                    assert!(bytes > 0, "nothing was read");
                    start.elapsed()
                });
            });
            let from_disk = shard.counters().disk_reads.load(std::sync::atomic::Ordering::Relaxed) > 0;
            assert_eq!(from_disk, name == "cold", "{name} does not measure what it says");
            runtime.block_on(shard.close()).expect("the shard closes");
        }
    }
    group.finish();
}

criterion_group!(benches, reads);
criterion_main!(benches);
