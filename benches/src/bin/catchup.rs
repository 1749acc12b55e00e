//! Catch-up reads: how fast what was stored is read again, against a plain sequential reader.
//!
//! Writes batches to partitions in turn, closes the shard, opens it again and reads every partition from
//! its start with several readers at once; a plain loop reads the same files with O_DIRECT from front to
//! back. The page cache plays no part in either. The disk's speed changes from moment to moment, so the two take
//! turns within a round, a slice each, until both have read everything; the plain loop begins in the middle of
//! the files, so that neither finds warm, below this machine, what the other has just read. Before the first round
//! everything is read once, from both halves in turn: below, the half that was written last would be warmer. Prints
//! for each round both rates, and for the slices in turn their ratios: median, lowest and highest.
//!
//! `catchup --data-parent DIR --gib 20 --partitions 1,16,1000`

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use keylane_benches::rig::{self, UringShard};
use keylane_engine::aligned::AlignedBuf;
use keylane_engine::shard::{PartitionRef, ShardOptions};
use keylane_loadgen::cpu::thread_cpu;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

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
    /// Times that each reads everything.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// MiB that each reads before it is the other's turn.
    #[arg(long, default_value_t = 512)]
    slice_mib: u64,
    /// Buffers of 2 MiB that the plain reader fills in turn. With one it reads into memory that is in the processor's
    /// cache; whoever keeps what it reads for a moment cannot.
    #[arg(long, default_value_t = 1)]
    plain_buffers: usize,
    /// Keep what was written, in a folder of this name for each partition count, and use what is there.
    #[arg(long)]
    keep: bool,
    /// Only write, with `--keep`.
    #[arg(long, requires = "keep")]
    only_write: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut points = Vec::new();
    for &partitions in &args.partitions {
        let (kept, scratch);
        let root = if args.keep {
            kept = args.data_parent.join(format!("catchup-{partitions}"));
            std::fs::create_dir_all(&kept)?;
            kept.as_path()
        } else {
            scratch = tempfile::tempdir_in(&args.data_parent)?;
            scratch.path()
        };
        points.push(point(&args, root, partitions)?);
    }
    if args.json {
        println!("{}", Value::Array(points));
    }
    Ok(())
}

fn point(args: &Args, root: &Path, partitions: u32) -> Result<Value> {
    let runtime = rig::runtime()?;
    let batch = rig::batch(args.batch_bytes);
    let count = (args.gib << 30) / batch.len() as u64;
    let bytes = count * batch.len() as u64;
    let mut point = json!({ "partitions": partitions, "bytes": bytes });
    if !root.join("shard-00000").exists() {
        let rate = runtime.block_on(write(root, partitions, &batch, count))?;
        if !args.json {
            println!("{partitions:>6} partitions  written at {rate:.0} MB/s");
        }
        point["write_mb_s"] = json!(rate);
    }
    let rounds = if args.only_write { 0 } else { args.rounds };
    if rounds > 0 {
        level(root)?;
    }
    let rounds: Vec<Round> =
        (0..rounds).map(|_| runtime.block_on(round(args, root, partitions, bytes))).collect::<Result<_>>()?;
    let mut ratios: Vec<f64> = rounds.iter().flat_map(|r| r.ratios.iter().copied()).collect();
    ratios.sort_by(f64::total_cmp);
    if let [lowest, .., highest] = ratios[..] {
        let median = ratios[ratios.len() / 2];
        if !args.json {
            rounds.iter().for_each(|r| println!("{partitions:>6} partitions  {r}"));
            println!(
                "{partitions:>6} partitions  ratio {median:.2} (median of {} slices in turn, {lowest:.2} to {highest:.2})",
                ratios.len()
            );
        }
        point["ratio"] = json!(median);
        point["ratio_min"] = json!(lowest);
        point["ratio_max"] = json!(highest);
        point["rounds"] = rounds.iter().map(Round::json).collect();
    }
    Ok(point)
}

/// Fills the directory; MB/s.
async fn write(root: &Path, partitions: u32, batch: &[u8], count: u64) -> Result<f64> {
    let (shard, all) = rig::open(root, partitions, ShardOptions::default()).await?;
    let started = Instant::now();
    rig::append(&shard, &all, batch, count).await.map_err(|e| anyhow::anyhow!("{e}"))?;
    let took = started.elapsed();
    shard.close().await.map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(count as f64 * batch.len() as f64 / 1e6 / took.as_secs_f64())
}

/// What one of the two has read, in which time.
#[derive(Debug, Default, Clone, Copy)]
struct Read {
    bytes: u64,
    took: Duration,
    cpu: Duration,
}

impl Read {
    fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }

    fn cpu_percent(&self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.took.as_secs_f64()
    }

    fn add(&mut self, slice: Self) {
        self.bytes += slice.bytes;
        self.took += slice.took;
        self.cpu += slice.cpu;
    }
}

/// Everything, read once by both.
#[derive(Debug, Default)]
struct Round {
    engine: Read,
    plain: Read,
    /// Keylane's rate over that of the plain loop right before or after it.
    ratios: Vec<f64>,
    disk_reads: u64,
    disk_bytes: u64,
    regrouped: u64,
}

impl Round {
    fn json(&self) -> Value {
        json!({
            "read_mb_s": self.engine.rate(), "plain_mb_s": self.plain.rate(), "ratio": self.engine.rate() / self.plain.rate(),
            "slice_ratios": self.ratios, "cpu_percent": self.engine.cpu_percent(), "disk_reads": self.disk_reads,
            "disk_bytes": self.disk_bytes, "regrouped": self.regrouped,
        })
    }
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "read {:>5.0} MB/s ({:.0} % cpu)  plain {:>5.0} ({:.0} % cpu)  ratio {:.2}  {:.2} bytes from the disk for each, {:.0} KiB at once  ({} segments regrouped)",
            self.engine.rate(),
            self.engine.cpu_percent(),
            self.plain.rate(),
            self.plain.cpu_percent(),
            self.engine.rate() / self.plain.rate(),
            self.disk_bytes as f64 / self.engine.bytes as f64,
            self.disk_bytes as f64 / 1024.0 / self.disk_reads.max(1) as f64,
            self.regrouped
        )
    }
}

/// Keylane and the plain loop in turn, until both have read everything.
async fn round(args: &Args, root: &Path, partitions: u32, bytes: u64) -> Result<Round> {
    let mut plain = Plain::new(root, args.plain_buffers)?;
    let (shard, all) = rig::open(root, partitions, ShardOptions::default()).await?;
    tokio::time::sleep(Duration::from_secs(args.settle_s)).await;
    let counters = shard.counters();
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let slice_bytes = args.slice_mib << 20;
    let turns = Rc::new(Turns::new(all.len(), args.readers));
    let tasks: Vec<_> = all
        .into_iter()
        .map(|at| {
            let (shard, turns) = (shard.clone(), Rc::clone(&turns));
            tokio::task::spawn_local(read_partition(shard, turns, at, args.fetch_bytes))
        })
        .collect();
    let mut round = Round::default();
    let mut plain_first = false;
    while turns.readers.get() > 0 || !plain.done() {
        let mut slices = [Read::default(); 2];
        for n in [usize::from(plain_first), usize::from(!plain_first)] {
            slices[n] = match n {
                0 => turns.slice(slice_bytes).await,
                _ => plain.slice(slice_bytes)?,
            };
        }
        plain_first = !plain_first;
        let [engine, other] = slices;
        // The last ones are short.
        if engine.bytes.min(other.bytes) >= slice_bytes {
            round.ratios.push(engine.rate() / other.rate());
        }
        round.engine.add(engine);
        round.plain.add(other);
    }
    for task in tasks {
        task.await??;
    }
    let read = round.engine.bytes;
    ensure!(read == bytes, "{read} bytes were read, {bytes} were written");
    round.disk_reads = load(&counters.disk_reads);
    round.disk_bytes = load(&counters.disk_read_bytes);
    round.regrouped = load(&counters.regrouped);
    shard.close().await.map_err(|e| anyhow::anyhow!("{e}"))?;
    Ok(round)
}

/// Reads a partition from its start, when it is its turn. Consumers of many partitions take turns among them.
async fn read_partition(
    shard: UringShard,
    turns: Rc<Turns>,
    at: PartitionRef,
    fetch_bytes: usize,
) -> Result<()> {
    let _ends = Ends(Rc::clone(&turns));
    let mut offset = 0;
    loop {
        let permit = turns.permits.acquire().await?;
        turns.wait().await;
        let part = shard.read(at, offset, fetch_bytes).await?;
        turns.count(part.bytes as u64);
        drop(permit);
        if part.slices.is_empty() {
            return Ok(());
        }
        offset = part.next_offset;
    }
}

/// Lets the readers of Keylane read a slice at a time.
struct Turns {
    permits: Semaphore,
    /// Bytes that may still be read now.
    left: Cell<u64>,
    read: Cell<u64>,
    readers: Cell<usize>,
    go: Notify,
    over: Notify,
}

impl Turns {
    fn new(readers: usize, at_once: usize) -> Self {
        Self {
            permits: Semaphore::new(at_once),
            left: Cell::new(0),
            read: Cell::new(0),
            readers: Cell::new(readers),
            go: Notify::new(),
            over: Notify::new(),
        }
    }

    /// Has a slice read.
    async fn slice(&self, bytes: u64) -> Read {
        let (started, cpu) = (Instant::now(), thread_cpu());
        self.read.set(0);
        self.left.set(bytes);
        if self.readers.get() > 0 {
            self.go.notify_waiters();
            self.over.notified().await;
        }
        Read { bytes: self.read.get(), took: started.elapsed(), cpu: thread_cpu() - cpu }
    }

    /// Waits until something may be read.
    async fn wait(&self) {
        while self.left.get() == 0 {
            self.go.notified().await;
        }
    }

    /// So much was read.
    fn count(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
        let left = self.left.get();
        self.left.set(left.saturating_sub(bytes));
        if left > 0 && self.left.get() == 0 {
            self.over.notify_one();
        }
    }
}

/// Says that a reader has read everything.
struct Ends(Rc<Turns>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.readers.set(self.0.readers.get() - 1);
        if self.0.readers.get() == 0 {
            self.0.over.notify_one();
        }
    }
}

/// The segments, in the order in which they were written. One without an index holds nothing: its space was only
/// reserved, and reads as zeros without the disk.
fn segments(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<_> = std::fs::read_dir(root.join("shard-00000"))?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| {
            let is = |kind: &str| p.extension().is_some_and(|x| x == kind);
            is("log") && p.with_extension("idx").exists()
                || is("sorted") && p.with_extension("sorted.idx").exists()
        })
        .collect();
    paths.sort();
    Ok(paths)
}

/// Reads everything once, a segment of each half in turn.
fn level(root: &Path) -> Result<()> {
    let paths = segments(root)?;
    let (first, second) = paths.split_at(paths.len() / 2);
    let in_turn = (0..second.len()).flat_map(|n| first.get(n).into_iter().chain(second.get(n)));
    let mut plain = Plain::of(in_turn.cloned().collect(), 1);
    plain.slice(u64::MAX).map(|_| ())
}

/// Reads segments one after the other from front to back, 2 MiB at a time.
struct Plain {
    paths: Vec<PathBuf>,
    next: usize,
    file: Option<std::fs::File>,
    at: u64,
    bufs: VecDeque<AlignedBuf>,
}

impl Plain {
    /// All of them, beginning in the middle.
    fn new(root: &Path, buffers: usize) -> Result<Self> {
        let mut paths = segments(root)?;
        let middle = paths.len() / 2;
        paths.rotate_left(middle);
        Ok(Self::of(paths, buffers))
    }

    fn of(paths: Vec<PathBuf>, buffers: usize) -> Self {
        let bufs = (0..buffers.max(1)).map(|_| AlignedBuf::zeroed(2 << 20)).collect();
        Self { paths, next: 0, file: None, at: 0, bufs }
    }

    fn done(&self) -> bool {
        self.file.is_none() && self.next == self.paths.len()
    }

    fn slice(&mut self, bytes: u64) -> Result<Read> {
        let (started, cpu) = (Instant::now(), thread_cpu());
        let mut read = 0;
        while read < bytes && !self.done() {
            if self.file.is_none() {
                let path = &self.paths[self.next];
                let mut options = std::fs::OpenOptions::new();
                options.read(true).custom_flags(libc::O_DIRECT);
                let file = options.open(path).with_context(|| format!("opening {}", path.display()))?;
                (self.file, self.at) = (Some(file), 0);
                self.next += 1;
            }
            let Some(file) = &self.file else { break };
            self.bufs.rotate_left(1);
            let n = file.read_at(self.bufs[0].as_mut_slice(), self.at)?;
            read += n as u64;
            self.at += n as u64;
            if n == 0 {
                self.file = None;
            }
        }
        Ok(Read { bytes: read, took: started.elapsed(), cpu: thread_cpu() - cpu })
    }
}
