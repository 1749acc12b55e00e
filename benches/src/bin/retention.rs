//! Whether a log under full load keeps to the disk space that it was given, and what deleting costs.
//!
//! Two runs: one without retention, short, because nothing comes back; one with it. Beside each the space that the
//! data directory takes (allocated blocks, as `du` counts) is looked at four times a second. The highest value of the
//! second run must be within the bound: `retention.bytes` of all partitions and one segment of the shard. The exit
//! code is 1 if it is not.
//!
//! `retention --data-parent DIR --seconds 600`. Build `keylane` and `keylane-loadgen` in release mode first.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use keylane_benches::share::{Guard, free_address, tail_of, wait_until_listening};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
const LOOK: Duration = Duration::from_millis(250);

/// Loads a server with retention at full speed, and watches the space it takes.
#[derive(Parser)]
struct Args {
    /// Existing directory on a real disk, below which the data lies while it runs.
    #[arg(long, default_value = ".")]
    data_parent: PathBuf,
    /// Seconds of load with retention.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Seconds of load without.
    #[arg(long, default_value_t = 5)]
    without_seconds: u64,
    /// Partitions.
    #[arg(long, default_value_t = 100)]
    partitions: u32,
    /// Keys. With few, some partitions fill much more slowly than others, and keep segments for longer.
    #[arg(long, default_value_t = 100_000)]
    keys: u32,
    /// MiB that all partitions together may keep.
    #[arg(long, default_value_t = 1024)]
    keep_mib: u64,
    /// MiB of a segment.
    #[arg(long, default_value_t = 128)]
    segment_mib: u64,
    /// Bytes of a batch.
    #[arg(long, default_value = "64KiB")]
    batch_bytes: String,
    /// CPU of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// CPUs of the load.
    #[arg(long, default_value = "1")]
    load_cores: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One run.
struct Run {
    report: Value,
    highest: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let without = run(&args, None)?;
    let with = run(&args, Some(args.keep_mib * MIB / u64::from(args.partitions)))?;
    let bound = (args.keep_mib + args.segment_mib) * MIB;
    let figure = |run: &Run, path: &str| run.report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let line = |name: &str, run: &Run| {
        let ms = |q| figure(run, &format!("/produced/latency/{q}")) / 1e3;
        println!(
            "{name:<18} {:>8.0} MB/s  ack p50 {:>6.2} p99 {:>6.2} p99.9 {:>6.2} ms  {:>7.1} GB written  at most {:>6} MiB on disk",
            figure(run, "/produced/batch_bytes_per_s") / 1e6,
            ms("p50_us"),
            ms("p99_us"),
            ms("p999_us"),
            figure(run, "/cpu/server_process/write_bytes") / 1e9,
            run.highest / MIB,
        );
    };
    let kept = with.highest <= bound;
    if args.json {
        let side = |run: &Run| json!({ "highest_bytes": run.highest, "report": run.report });
        println!(
            "{:#}",
            json!({ "bound_bytes": bound, "kept": kept, "with": side(&with), "without": side(&without) })
        );
    } else {
        line("without retention", &without);
        line("with retention", &with);
        println!("bound {} MiB: {}", bound / MIB, if kept { "kept" } else { "EXCEEDED" });
    }
    ensure!(kept, "the data directory took {} MiB, {} are its bound", with.highest / MIB, bound / MIB);
    Ok(())
}

/// Starts a server, loads it, and looks at its directory meanwhile.
fn run(args: &Args, retention_bytes: Option<u64>) -> anyhow::Result<Run> {
    let folder = tempfile::Builder::new().prefix("retention-").tempdir_in(&args.data_parent)?;
    let programs = std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned();
    let data = folder.path().join("data");
    let address = free_address()?;
    let mut command = Command::new(programs.join("keylane"));
    command.arg("serve").arg("--data").arg(&data).args(["--kafka", &address.to_string()]);
    command.args(["--cores", &args.server_core.to_string()]);
    command.args(["--segment-bytes", &format!("{}MiB", args.segment_mib)]);
    if let Some(bytes) = retention_bytes {
        command.args(["--retention-bytes", &bytes.to_string()]);
    }
    let log = folder.path().join("server.log");
    let output = File::create(&log)?;
    let mut server = Guard::spawn(&mut command, output.try_clone()?, output)
        .with_context(|| format!("cannot start {command:?}; build it in release mode"))?;
    wait_until_listening(&mut server, address, Duration::from_secs(60)).with_context(|| tail_of(&log, 5))?;
    let seconds = if retention_bytes.is_some() { args.seconds } else { args.without_seconds };
    let (report, highest) = load(args, &programs, address, server.pid(), seconds, folder.path(), &data)?;
    let status = server.terminate(Duration::from_secs(30))?;
    ensure!(status.is_some_and(|s| s.success()), "the server ended with {status:?}: {}", tail_of(&log, 5));
    Ok(Run { report, highest })
}

/// Loads the server; returns the load generator's report, and the most space that the data took meanwhile.
fn load(
    args: &Args,
    programs: &Path,
    address: SocketAddr,
    server_pid: u32,
    seconds: u64,
    folder: &Path,
    data: &Path,
) -> anyhow::Result<(Value, u64)> {
    let (out, err) = (folder.join("load.json"), folder.join("load.log"));
    let mut command = Command::new(programs.join("keylane-loadgen"));
    command
        .args(["run", "--bootstrap", &address.to_string(), "--cores", &args.load_cores])
        .args(["--record-bytes", "1024", "--json", "--no-progress", "--consumers", "0"])
        .args(["--keys", &args.keys.to_string()])
        .args(["--batch-bytes", &args.batch_bytes, "--connections", "8", "--window", "5"])
        .args(["--partitions", &args.partitions.to_string(), "--server-pid", &server_pid.to_string()])
        .args(["--duration", &format!("{seconds}s"), "--warmup", "1s"]);
    let mut load = Guard::spawn(&mut command, File::create(&out)?, File::create(&err)?)
        .with_context(|| format!("cannot start {command:?}; build it in release mode"))?;
    let begun = Instant::now();
    let (mut highest, mut said) = (0, 0);
    let status = loop {
        if let Some(status) = load.wait(LOOK)? {
            break status;
        }
        highest = highest.max(space(data));
        if begun.elapsed().as_secs() / 30 > said {
            said = begun.elapsed().as_secs() / 30;
            eprintln!("{:>4} s: at most {} MiB so far", begun.elapsed().as_secs(), highest / MIB);
        }
        ensure!(begun.elapsed() < Duration::from_secs(seconds + 60), "the load does not end");
    };
    ensure!(status.success(), "{command:?}: {status}: {}", tail_of(&err, 5));
    Ok((serde_json::from_str(&std::fs::read_to_string(&out)?)?, highest))
}

/// Bytes allocated to the files below a folder. What vanishes meanwhile counts nothing.
fn space(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => space(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(of).sum()
}
