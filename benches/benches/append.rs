//! Durable appends to one shard: sizes of batches, numbers of partitions. Every measurement ends when
//! the last batch is on the disk.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use keylane_benches::rig;
use keylane_engine::shard::ShardOptions;

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let runtime = rig::runtime().expect("io_uring is available");
    for kib in [1usize, 16, 64] {
        for partitions in [1u32, 100, 1000] {
            let batch = rig::batch(kib << 10);
            let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let opened = runtime.block_on(rig::open(root.path(), partitions, ShardOptions::default()));
            let (shard, to) = opened.expect("the shard opens");
            group.throughput(Throughput::Bytes(batch.len() as u64));
            group.bench_function(
                BenchmarkId::new(format!("{kib}KiB"), format!("{partitions} partitions")),
                |b| {
                    b.iter_custom(|count| {
                        let start = Instant::now();
                        let done = runtime.block_on(rig::append(&shard, &to, &batch, count));
                        done.expect("appends are accepted");
                        start.elapsed()
                    });
                },
            );
            runtime.block_on(shard.close()).expect("the shard closes");
        }
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
