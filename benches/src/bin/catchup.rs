//! Catch-up reads: how fast what was stored is read again, against a plain sequential reader.
//!
//! Writes batches to partitions in turn, closes the shard, opens it again and reads every partition from
//! its start with several readers at once; then a plain loop reads the same files with O_DIRECT from
//! front to back. The page cache plays no part in either. Prints both rates and their ratio, in turn, so
//! that both meet the same disk.
//!
//! `catchup --data-parent DIR --gib 20 --partitions 1,16,1000`

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use keylane_benches::rig;
use keylane_engine::aligned::AlignedBuf;
use keylane_engine::shard::ShardOptions;
use tokio::sync::Semaphore;

/// Reads what was stored, against a plain O_DIRECT reader.
#[derive(Parser)]
struct Args {
    /// Where the directory is made; it is removed at the end.
    #[arg(long)]
    data_parent: PathBuf,
    /// GiB to write and read, per partition count.
    #[arg(long, default_value_t = 4)]
    gib: u64,
    /// Partition counts.
    #[arg(long, value_delimiter = ',', default_value = "1,16,1000")]
    partitions: Vec<u32>,
    /// Bytes of a batch.
    #[arg(long, default_value_t = 65_536)]
    batch_bytes: usize,
    /// Partitions read at once.
    #[arg(long, default_value_t = 8)]
    readers: usize,
    /// Bytes asked for at once, as a consumer's fetch does.
    #[arg(long, default_value_t = 1 << 20)]
    fetch_bytes: usize,
    /// Seconds that the engine may have to regroup segments before it is read.
    #[arg(long, default_value_t = 0)]
    settle_s: u64,
    /// Times that each reads.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut points = Vec::new();
    for &partitions in &args.partitions {
        let dir = tempfile::tempdir_in(&args.data_parent)?;
        points.push(point(&args, dir.path(), partitions)?);
    }
    match args.json {
        true => println!("{}", serde_json::Value::Array(points)),
        false => println!("rates in MB/s; medians of {} rounds in turn", args.rounds),
    }
    Ok(())
}

fn point(args: &Args, root: &Path, partitions: u32) -> Result<serde_json::Value> {
    let runtime = rig::runtime()?;
    let batch = rig::batch(args.batch_bytes);
    let count = (args.gib << 30) / batch.len() as u64;
    let written = runtime.block_on(async {
        let (shard, all) = rig::open(root, partitions, ShardOptions::default()).await?;
        let started = Instant::now();
        rig::append(&shard, &all, &batch, count).await.map_err(|e| anyhow::anyhow!("{e}"))?;
        let took = started.elapsed();
        shard.close().await.map_err(|e| anyhow::anyhow!("{e}"))?;
        anyhow::Ok(took)
    })?;
    let bytes = count * batch.len() as u64;
    let rate = |took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
    let (mut engine, mut plain, mut regrouped) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.rounds {
        let (took, sorted) = runtime.block_on(read_all(args, root, partitions, bytes))?;
        engine.push(rate(took));
        regrouped = sorted;
        let (took, read) = read_plain(root)?;
        plain.push(read as f64 / 1e6 / took.as_secs_f64());
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (engine, plain) = (median(&mut engine), median(&mut plain));
    if !args.json {
        println!(
            "{partitions:>6} partitions  written {:>6.0}  read {engine:>6.0}  plain {plain:>6.0}  ratio {:.2}  ({regrouped} segments regrouped since)",
            rate(written),
            engine / plain
        );
    }
    Ok(serde_json::json!({
        "partitions": partitions, "bytes": bytes, "write_mb_s": rate(written), "read_mb_s": engine,
        "plain_mb_s": plain, "ratio": engine / plain, "regrouped": regrouped,
    }))
}

/// Reads every partition from its start; returns the time it took.
async fn read_all(args: &Args, root: &Path, partitions: u32, bytes: u64) -> Result<(Duration, u64)> {
    let (shard, all) = rig::open(root, partitions, ShardOptions::default()).await?;
    tokio::time::sleep(Duration::from_secs(args.settle_s)).await;
    let permits = Rc::new(Semaphore::new(args.readers));
    let started = Instant::now();
    let mut tasks = Vec::new();
    for at in all {
        let (shard, permits, fetch) = (shard.clone(), Rc::clone(&permits), args.fetch_bytes);
        tasks.push(tokio::task::spawn_local(async move {
            let (mut offset, mut read) = (0, 0u64);
            loop {
                // Consumers of many partitions take turns among them.
                let permit = permits.acquire().await?;
                let part = shard.read(at, offset, fetch).await?;
                drop(permit);
                if part.slices.is_empty() {
                    return anyhow::Ok(read);
                }
                (offset, read) = (part.next_offset, read + part.bytes as u64);
            }
        }));
    }
    let mut read = 0;
    for task in tasks {
        read += task.await??;
    }
    let took = started.elapsed();
    ensure!(read == bytes, "{read} bytes were read, {bytes} were written");
    let regrouped = shard.counters().regrouped.load(std::sync::atomic::Ordering::Relaxed);
    shard.close().await.map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok((took, regrouped))
}

/// Reads the segments from front to back, 2 MiB at a time. One without an index holds nothing: its space was
/// only reserved, and reads as zeros without the disk.
fn read_plain(root: &Path) -> Result<(Duration, u64)> {
    let mut buf = AlignedBuf::zeroed(2 << 20);
    let (started, mut bytes) = (Instant::now(), 0);
    let mut paths: Vec<_> = std::fs::read_dir(root.join("shard-00000"))?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|x| x == "log" || x == "sorted"))
        .filter(|p| p.with_extension("idx").exists() || p.with_extension("sorted.idx").exists())
        .collect();
    paths.sort();
    for path in paths {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        let mut at = 0;
        loop {
            let n = std::os::unix::fs::FileExt::read_at(&file, buf.as_mut_slice(), at)?;
            if n == 0 {
                break;
            }
            at += n as u64;
        }
        bytes += at;
    }
    Ok((started.elapsed(), bytes))
}
