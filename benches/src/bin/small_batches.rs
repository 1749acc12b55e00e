//! What very many small batches cost in memory: batches of one record are appended to a shard inside this process,
//! and its resident memory is looked at on the way. What a partition keeps of sealed batches must be one entry of
//! 48 bytes for each segment that it has data in (`docs/architecture.md`, bounds), whatever the number of batches.
//!
//! `small_batches --data-parent DIR --batches 100000000 --partitions 1` needs some tens of GB of disk.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use keylane_benches::rig;
use keylane_engine::record_batch::build;
use keylane_engine::shard::ShardOptions;
use keylane_loadgen::cpu::process_use;

/// Appends batches of one record and watches the memory.
#[derive(Parser)]
struct Args {
    /// Where the directory is made; it is removed at the end.
    #[arg(long, default_value = ".")]
    data_parent: PathBuf,
    /// Batches of one record.
    #[arg(long, default_value_t = 100_000_000)]
    batches: u64,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 100)]
    record_bytes: usize,
    /// Partitions, written to in turn.
    #[arg(long, default_value_t = 1)]
    partitions: u32,
    /// MiB of a segment.
    #[arg(long, default_value_t = 128)]
    segment_mib: u64,
    /// Memory is looked at so often.
    #[arg(long, default_value_t = 10)]
    looks: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::Builder::new().prefix("small-batches-").tempdir_in(&args.data_parent)?;
    let batch = build(&[(b"key", &vec![b'x'; args.record_bytes])], 1_700_000_000_000);
    let options = ShardOptions { segment_bytes: args.segment_mib << 20, ..ShardOptions::default() };
    rig::runtime()?.block_on(async {
        let (shard, to) = rig::open(folder.path(), args.partitions, options).await?;
        let counters = shard.counters();
        let resident_bytes = || process_use(std::process::id()).map(|used| used.rss_bytes);
        let (begun, before) = (Instant::now(), resident_bytes()?);
        println!("{} bytes a batch, {} partitions", batch.len(), args.partitions);
        println!(
            "    batches  seconds  stored GiB  sealed  RSS MiB  of it chunks MiB  entries of runs, bytes"
        );
        let line = |batches: u64| -> Result<()> {
            let sealed = counters.sealed.load(Relaxed);
            println!(
                "{batches:>11} {:>8.1} {:>11.2} {sealed:>7} {:>8.1} {:>17.1} {:>23}",
                begun.elapsed().as_secs_f64(),
                counters.commit_bytes.load(Relaxed) as f64 / f64::from(1 << 30),
                resident_bytes()?.saturating_sub(before) as f64 / f64::from(1 << 20),
                shard.memory_bytes() as f64 / f64::from(1 << 20),
                sealed * u64::from(args.partitions) * 48,
            );
            Ok(())
        };
        let step = (args.batches / args.looks.max(1)).max(1);
        let mut done = 0;
        while done < args.batches {
            let count = step.min(args.batches - done);
            rig::append(&shard, &to, &batch, count).await.map_err(|e| anyhow!("{e}"))?;
            done += count;
            line(done)?;
        }
        let mut ends = 0;
        for &at in &to {
            let offsets = shard.offsets(at)?;
            ends += offsets.high_watermark;
            // One in the middle, which is found through the index on the disk.
            let middle = offsets.high_watermark / 2;
            ensure!(shard.read(at, middle, 1).await?.next_offset == middle + 1, "another batch at {middle}");
        }
        ensure!(ends == args.batches, "{ends} batches are there");
        shard.close().await.map_err(|e| anyhow!("{e}"))
    })
}
