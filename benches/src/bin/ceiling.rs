//! Runs the bare pipeline on one core; see [`keylane_benches::ceiling`]. Prints what it did as JSON when
//! it ends, on SIGTERM, SIGINT or after `--seconds`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use keylane_benches::ceiling::Counters;
use keylane_benches::ceiling::admin::Admin;
use keylane_benches::ceiling::commit::{Log, prepare_file};
use keylane_benches::ceiling::connection::{Offsets, Shared, serve};
use tokio_uring::net::TcpListener;

#[derive(Parser)]
#[command(about = "The bare pipeline that Keylane is measured against")]
struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9292")]
    listen: SocketAddr,
    /// CPU to run on.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// File to write to; on a real disk. It is overwritten, and removed at the end.
    #[arg(long, default_value = "ceiling.dat")]
    file: PathBuf,
    /// Size of that file, in MiB.
    #[arg(long, default_value_t = 1024)]
    file_mib: u64,
    /// Only reserve the file's space instead of writing it: the first write of each block then makes an extent.
    #[arg(long)]
    allocated: bool,
    /// Answer at once, without writing.
    #[arg(long)]
    no_disk: bool,
    /// Do not verify checksums.
    #[arg(long)]
    no_crc: bool,
    /// Commits that may be on their way to the disk at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    commits_in_flight: u8,
    /// Partitions of a topic that nobody created.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: i32,
    /// Size of a receive buffer, in KiB.
    #[arg(long, default_value_t = 256)]
    recv_kib: usize,
    /// Size of a chunk, in KiB.
    #[arg(long, default_value_t = 2048)]
    chunk_kib: usize,
    /// Stop after this many seconds.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

fn catch_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let handler = on_signal as extern "C" fn(libc::c_int);
        // SAFETY: the handler only stores to an atomic, which is safe in a signal handler.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// CPU seconds (user, system) of this thread or of the whole process.
fn cpu_seconds(who: libc::c_int) -> (f64, f64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid for writes; all-zero bytes are a valid `rusage` even if the call fails.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    catch_signals();
    ensure!(
        core_affinity::set_for_current(core_affinity::CoreId { id: args.core }),
        "cannot run on CPU {}",
        args.core
    );
    let file_bytes = args.file_mib << 20;
    let file = if args.no_disk {
        None
    } else {
        Some(
            prepare_file(&args.file, file_bytes, args.allocated)
                .with_context(|| format!("file {}", args.file.display()))?,
        )
    };
    let counters = Rc::new(Counters::default());
    let mut ring = tokio_uring::uring_builder();
    ring.setup_coop_taskrun().setup_cqsize(4096);
    let mut builder = tokio_uring::builder();
    builder.entries(1024).uring_builder(&ring);
    let result = builder.start(run(&args, file, file_bytes, Rc::clone(&counters)));
    if !args.no_disk {
        std::fs::remove_file(&args.file)?;
    }
    result
}

async fn run(
    args: &Args,
    file: Option<std::fs::File>,
    file_bytes: u64,
    counters: Rc<Counters>,
) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(args.listen)?;
    let address = listener.local_addr()?;
    let log = Log::new(file, file_bytes, args.chunk_kib << 10, Rc::clone(&counters));
    let shared = Rc::new(Shared {
        log: Rc::clone(&log),
        admin: Admin::new(address, args.partitions),
        offsets: Offsets::default(),
        counters: Rc::clone(&counters),
        check_crc: !args.no_crc,
        recv_bytes: args.recv_kib << 10,
    });
    for _ in 0..args.commits_in_flight {
        tokio_uring::spawn(Rc::clone(&log).run());
    }
    tokio_uring::spawn(accept(TcpListener::from_std(listener), shared));
    eprintln!("listening on {address}");

    let start = Instant::now();
    let (user_before, system_before) = cpu_seconds(libc::RUSAGE_THREAD);
    let (process_user, process_system) = cpu_seconds(libc::RUSAGE_SELF);
    while !STOP.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(args.seconds) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (user, system) = cpu_seconds(libc::RUSAGE_THREAD);
    let (user_all, system_all) = cpu_seconds(libc::RUSAGE_SELF);
    let report = serde_json::json!({
        "requests": counters.requests.get(),
        "batches": counters.batches.get(),
        "bytes": counters.bytes.get(),
        "corrupt": counters.corrupt.get(),
        "commits": counters.commits.get(),
        "commit_bytes": counters.commit_bytes.get(),
        "seconds": start.elapsed().as_secs_f64(),
        "cpu_thread_user_s": user - user_before,
        "cpu_thread_system_s": system - system_before,
        "cpu_process_user_s": user_all - process_user,
        "cpu_process_system_s": system_all - process_system,
    });
    println!("{report}");
    Ok(())
}

async fn accept(listener: TcpListener, shared: Rc<Shared>) {
    loop {
        let Ok((stream, _peer)) = listener.accept().await else { continue };
        if stream.set_nodelay(true).is_ok() {
            tokio_uring::spawn(serve(stream, Rc::clone(&shared)));
        }
    }
}
