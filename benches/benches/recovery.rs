//! Opening a shard after a crash: the scan of what was committed since the last checkpoint.
//!
//! Every iteration opens a fresh copy of the same directory; making the copy is not measured.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use keylane_benches::rig;
use keylane_engine::shard::ShardOptions;

/// Bytes that have to be scanned, about.
const SCANNED_BYTES: u64 = 24 << 20;
const PARTITIONS: u32 = 100;

fn options() -> ShardOptions {
    ShardOptions { segment_bytes: 32 << 20, zero_fill: false, ..ShardOptions::default() }
}

/// Copies a directory and makes the copy durable.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            fs::File::open(&target)?.sync_all()?;
        }
    }
    Ok(())
}

fn recovery(c: &mut Criterion) {
    let mut group = c.benchmark_group("recovery");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
    let temporary = || tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    for kib in [1usize, 64] {
        let crashed = temporary();
        let batch = rig::batch(kib << 10);
        let count = SCANNED_BYTES / batch.len() as u64;
        let runtime = rig::runtime().expect("io_uring is available");
        runtime.block_on(async {
            let (shard, all) = rig::open(crashed.path(), PARTITIONS, options()).await.expect("it opens");
            rig::append(&shard, &all, &batch, count).await.expect("appends are accepted");
        });
        // Not closed: the next open finds what a crash leaves.
        drop(runtime);

        group.throughput(Throughput::Bytes(count * batch.len() as u64));
        group.bench_function(BenchmarkId::new("scan", format!("{kib}KiB")), |b| {
            b.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    let root = temporary();
                    copy(crashed.path(), root.path()).expect("the directory can be copied");
                    let runtime = rig::runtime().expect("io_uring is available");
                    runtime.block_on(async {
                        let start = Instant::now();
                        let (shard, all) =
                            rig::open(root.path(), PARTITIONS, options()).await.expect("it opens");
                        took += start.elapsed();
                        let ends = all.iter().map(|&at| shard.offsets(at).expect("it exists").high_watermark);
                        assert!(ends.sum::<u64>() >= count, "records were lost");
                    });
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group!(benches, recovery);
criterion_main!(benches);
