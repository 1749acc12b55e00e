//! The device's own latency: one O_DIRECT write and one fdatasync after the other, over written and over
//! merely allocated extents. What any durable answer on this disk costs at least.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use keylane_engine::aligned::AlignedBuf;

#[derive(Parser)]
#[command(about = "Latency of a write and a flush on this disk")]
struct Args {
    /// File to write to; overwritten, and removed at the end.
    #[arg(long, default_value = "flush.dat")]
    file: PathBuf,
    /// Bytes of each write, a multiple of 4096.
    #[arg(long, default_value_t = 4096)]
    bytes: usize,
    /// How many writes.
    #[arg(long, default_value_t = 3000)]
    count: u32,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut buf = AlignedBuf::zeroed(args.bytes);
    buf.as_mut_slice().fill(7);
    for (name, written) in [("written extents", true), ("allocated extents", false)] {
        let mut options = OpenOptions::new();
        let file =
            options.create(true).truncate(true).write(true).custom_flags(libc::O_DIRECT).open(&args.file)?;
        let place = |i: u32| u64::from(i) * args.bytes as u64;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, place(args.count))?;
        if written {
            for i in 0..args.count {
                file.write_all_at(buf.as_slice(), place(i))?;
            }
        }
        file.sync_all()?;
        let mut took: Vec<Duration> = Vec::with_capacity(args.count as usize);
        for i in 0..args.count {
            let begun = Instant::now();
            file.write_all_at(buf.as_slice(), place(i))?;
            file.sync_data()?;
            took.push(begun.elapsed());
        }
        took.sort();
        let at = |q: f64| took.get((took.len() as f64 * q) as usize).map_or(0, Duration::as_micros);
        println!("{name}: {} bytes, p50 {} us, p90 {} us, p99 {} us", args.bytes, at(0.5), at(0.9), at(0.99));
        std::fs::remove_file(&args.file)?;
    }
    Ok(())
}
