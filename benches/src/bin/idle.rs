//! What partitions cost that hold nothing: memory, the time to create them and to start with them; and whether
//! a server with very many of them stands still when a segment is sealed.
//!
//! Starts a server, creates topics of 10,000 partitions each, kills it, starts it again, and then loads it at a
//! fixed low rate with small segments, so that one is sealed several times a second. Figures of the load are those
//! of the load generator. Build `keylane` and `keylane-loadgen` in release mode first.
//!
//! `idle --data-parent DIR --partitions 100000`

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use keylane_benches::server::{Setup, drop_caches};
use keylane_tests::e2e::client::Client;
use serde_json::json;

/// Measures partitions that hold nothing.
#[derive(Parser)]
struct Args {
    /// Where the directory is made; it is removed at the end.
    #[arg(long, default_value = ".")]
    data_parent: PathBuf,
    /// Partitions.
    #[arg(long, default_value_t = 100_000)]
    partitions: u32,
    /// Partitions of a topic.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    topic_partitions: u32,
    /// Seconds of load afterwards; 0: none.
    #[arg(long, default_value_t = 10)]
    load_s: u64,
    /// Records of 1 KiB a second, in batches of 15.
    #[arg(long, default_value_t = 32_000)]
    rate: u32,
    /// Bytes of a segment.
    #[arg(long, default_value_t = 8 << 20)]
    segment_bytes: u64,
    /// CPUs of the server.
    #[arg(long, default_value = "0")]
    server_cores: String,
    /// CPUs of the load.
    #[arg(long, default_value = "1")]
    load_cores: String,
    /// Folder of the programs; default: the one of this program.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Longer than this, a server is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// After this time, what was freed has been given back.
const SETTLE: Duration = Duration::from_millis(500);

fn main() -> Result<()> {
    let args = Args::parse();
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned(),
    };
    let folder = tempfile::Builder::new().prefix("idle-").tempdir_in(&args.data_parent)?;
    let setup = Setup {
        programs: programs.clone(),
        data: folder.path().join("data"),
        log: folder.path().join("server.log"),
        cores: args.server_cores.clone(),
        options: vec!["--segment-bytes".to_owned(), args.segment_bytes.to_string()],
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut server = setup.start()?;
    drop(server.connect(PATIENCE)?);
    let mut client = Client::connect(server.address)?;
    client.topics().with_context(|| setup.last_words())?;
    std::thread::sleep(SETTLE);
    let before = server.resident_bytes()?;
    let began = Instant::now();
    let mut left = args.partitions;
    for number in 0.. {
        let count = left.min(args.topic_partitions);
        if count == 0 {
            break;
        }
        let code = client.create_topic(&format!("idle-{number}"), i32::try_from(count)?)?;
        ensure!(code == 0, "creating topic {number}: error {code}");
        left -= count;
    }
    let create_ms = began.elapsed().as_millis() as u64;
    std::thread::sleep(SETTLE);
    let after = server.resident_bytes()?;
    server.kill();

    drop_caches(&programs)?;
    let mut server = setup.start()?;
    drop(server.connect(PATIENCE)?);
    Client::connect(server.address)?.topics().with_context(|| setup.last_words())?;
    let restart_ms = server.since.elapsed().as_millis() as u64;
    std::thread::sleep(SETTLE);
    let restarted = server.resident_bytes()?;
    let each = after.saturating_sub(before) / u64::from(args.partitions.max(1));
    if !args.json {
        println!("nothing stored     RSS {:.1} MiB", mib(before));
        println!(
            "{} partitions  RSS {:.1} MiB: {each} bytes each; created in {create_ms} ms; started again in {restart_ms} ms, \
             RSS {:.1} MiB",
            args.partitions,
            mib(after),
            mib(restarted)
        );
    }
    let load = if args.load_s > 0 { Some(load(&args, &setup, &server)?) } else { None };
    if let (Some(text), false) = (&load, args.json) {
        println!("{text}");
    }
    server.stop(PATIENCE)?;
    if args.json {
        let result = json!({ "partitions": args.partitions, "rss_before": before, "rss_after": after,
            "bytes_each": each, "create_ms": create_ms, "restart_ms": restart_ms, "rss_restarted": restarted,
            "load": load });
        println!("{result}");
    }
    Ok(())
}

/// Loads a topic of all partitions at a fixed rate; what the load generator says about it.
fn load(args: &Args, setup: &Setup, server: &keylane_benches::server::Server) -> Result<String> {
    let rate = args.rate.to_string();
    let mut command = Command::new(setup.programs.join("keylane-loadgen"));
    command
        .args(["run", "--bootstrap", &server.address.to_string(), "--topic", "loaded"])
        .args(["--partitions", &args.partitions.to_string(), "--rate", &rate, "--consumers", "0"])
        .args(["--batch-bytes", "16KiB", "--record-bytes", "1024", "--warmup", "2s", "--no-progress"])
        .args(["--duration", &format!("{}s", args.load_s), "--cores", &args.load_cores])
        .args(["--server-pid", &server.pid().to_string()]);
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let wanted =
        |line: &&str| ["records", "ack (", "server memory"].iter().any(|w| line.trim().starts_with(w));
    Ok(text.lines().filter(wanted).collect::<Vec<_>>().join("\n"))
}
