//! How fast a partition is compacted, what is left, what memory it takes, and what producers beside it notice.
//!
//! Writes keyed records of which one in ten is the latest of its key, in batches of 64 KiB, to a shard inside this
//! process, and closes it, so that all is sealed. Then appends single batches of 1 KiB to another partition at a
//! fixed rate: for some seconds alone, and until compaction has ended. Latencies count from when a batch was due.
//!
//! `compaction --data-parent DIR --gib 1`

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use keylane_benches::rig::{self, UringShard};
use keylane_engine::record_batch::build;
use keylane_engine::shard::{PartitionRef, ShardOptions};
use keylane_engine::{AppendError, LogConfig};
use keylane_loadgen::cpu::process_use;

const RECORDS: u64 = 63;
const TIME: i64 = 1_700_000_000_000;
/// Compaction has ended when nothing was read or written for so long.
const QUIET: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// Compacts a partition and measures.
#[derive(Parser)]
struct Args {
    /// Where the directory is made; it is removed at the end.
    #[arg(long, default_value = ".")]
    data_parent: PathBuf,
    /// GiB of records of 1 KiB.
    #[arg(long, default_value_t = 1.0)]
    gib: f64,
    /// Records for each key.
    #[arg(long, default_value_t = 10)]
    updates: u64,
    /// Microseconds from one batch beside to the next.
    #[arg(long, default_value_t = 1000)]
    every_us: u64,
    /// Seconds of batches without compaction.
    #[arg(long, default_value_t = 5)]
    alone_s: u64,
}

/// Batches of keys in no order; each key comes as often as any other, give or take.
async fn fill(shard: &UringShard, at: PartitionRef, batches: u64, keys: u64) -> Result<u64> {
    let (mut bytes, mut last) = (0, 0);
    for number in 0..batches {
        let records: Vec<_> = (0..RECORDS)
            .map(|i| {
                let drawn = (number * RECORDS + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                (format!("key-{:012}", drawn % keys), [drawn as u8; 1000])
            })
            .collect();
        let views: Vec<_> = records.iter().map(|(key, value)| (key.as_bytes(), &value[..])).collect();
        let batch = build(&views, TIME);
        bytes += batch.len() as u64;
        last = loop {
            match shard.check_and_append(at, &batch) {
                Err(AppendError::Busy) => shard.space().await,
                other => break other.map_err(|e| anyhow!("{e}"))?.seq,
            }
        };
        tokio::task::yield_now().await;
    }
    shard.committed(last).await;
    Ok(bytes)
}

/// Appends a batch at a time at a fixed rate until `over`; the latencies in microseconds, sorted.
async fn beside(
    shard: &UringShard,
    at: PartitionRef,
    every: Duration,
    over: impl Fn() -> bool,
) -> Result<Vec<u64>> {
    let batch = rig::batch(1000);
    let (mut due, mut latencies) = (Instant::now(), Vec::new());
    while !over() {
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            tokio::time::sleep(early).await;
        }
        let seq = shard.check_and_append(at, &batch).map_err(|e| anyhow!("{e}"))?.seq;
        shard.committed(seq).await;
        latencies.push(due.elapsed().as_micros() as u64);
        due += every;
    }
    latencies.sort_unstable();
    Ok(latencies)
}

fn say(what: &str, latencies: &[u64]) {
    let at = |share: f64| {
        let number = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
        latencies.get(number).map_or(f64::NAN, |us| *us as f64 / 1e3)
    };
    println!(
        "{what:<20} {:>6} batches  p50 {:.2} ms  p99 {:.2} ms  p99.9 {:.2} ms  max {:.2} ms",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

async fn bytes_left(shard: &UringShard, at: PartitionRef) -> Result<u64> {
    let offsets = shard.offsets(at)?;
    let (mut next, mut bytes) = (offsets.start, 0);
    while next < offsets.high_watermark {
        let part = shard.read(at, next, 1 << 20).await?;
        ensure!(part.next_offset > next, "nothing at {next}");
        bytes += part.bytes as u64;
        next = part.next_offset;
    }
    Ok(bytes)
}

fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::Builder::new().prefix("compaction-").tempdir_in(&args.data_parent)?;
    let batches = (args.gib * f64::from(1 << 30)) as u64 / (RECORDS * 1024);
    let keys = (batches * RECORDS / args.updates.max(1)).max(1);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    rig::runtime()?.block_on(async {
        let (shard, to) = rig::open(folder.path(), 2, ShardOptions::default()).await?;
        let written = fill(&shard, to[0], batches, keys).await?;
        shard.close().await.map_err(|e| anyhow!("{e}"))?;
        drop(shard);
        let (shard, to) = rig::open(folder.path(), 2, ShardOptions::default()).await?;
        println!("{} records of {keys} keys, {:.0} MiB of batches", batches * RECORDS, mib(written));
        let every = Duration::from_micros(args.every_us);
        let begun = Instant::now();
        let alone = beside(&shard, to[1], every, || begun.elapsed().as_secs() >= args.alone_s).await?;
        let before = process_use(std::process::id())?.rss_bytes;
        // From here on the high-water mark of the memory is compaction's.
        let _not_allowed = std::fs::write("/proc/self/clear_refs", "5");
        let config = LogConfig { compact: true, delete: false, ..LogConfig::keep_all() };
        shard.configure(to[0], Arc::new(config));
        let counters = shard.counters();
        let (begun, from) = (Instant::now(), counters.background_bytes.load(Relaxed));
        shard.tend(TIME + 1);
        let worked = Rc::new(std::cell::Cell::new((from, begun)));
        let over = || {
            let now = counters.background_bytes.load(Relaxed);
            if now != worked.get().0 {
                worked.set((now, Instant::now()));
            }
            let passed = counters.compacted.load(Relaxed) > 0;
            begun.elapsed() > PATIENCE || passed && worked.get().1.elapsed() > QUIET
        };
        let compacting = beside(&shard, to[1], every, over).await?;
        let passes = counters.compacted.load(Relaxed);
        ensure!(passes > 0, "no pass in {PATIENCE:?}");
        let seconds = (worked.get().1 - begun).as_secs_f64();
        let (peak, moved) = (process_use(std::process::id())?.rss_bytes_max, worked.get().0 - from);
        let left = bytes_left(&shard, to[0]).await?;
        println!(
            "compacted in {seconds:.2} s, {passes} passes: {:.0} MB/s of what there was, {:.0} MB/s read and written; {:.1} % left; \
             memory {:.0} MiB before, {:.0} at most",
            written as f64 / 1e6 / seconds,
            moved as f64 / 1e6 / seconds,
            left as f64 * 100.0 / written as f64,
            mib(before),
            mib(peak)
        );
        say("without compaction", &alone);
        say("beside compaction", &compacting);
        shard.close().await.map_err(|e| anyhow!("{e}"))
    })
}
