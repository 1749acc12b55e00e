//! How long a start takes after `kill -9`: from the start of the process to the first Metadata, Produce and Fetch
//! that it answers, with much and with little stored.
//!
//! Each case fills a fresh directory with the load generator, kills the server under load, empties the page cache
//! and starts it again; then it is loaded for a while and killed again, as often as there are rounds. The Fetch
//! reads the oldest record of a partition, and the one that was just produced.
//! Build `keylane` and `keylane-loadgen` in release mode first.
//!
//! `restart --data-parent DIR --gib 2,20 --partitions 1,1000`

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use keylane_benches::server::{Server, Setup, drop_caches, sealed_bytes};
use keylane_benches::share::{Guard, Summary, tail_of};
use keylane_tests::e2e::batch;
use keylane_tests::e2e::client::Client;
use serde_json::{Value, json};

/// Times a start after kill -9.
#[derive(Parser)]
struct Args {
    /// Where the directories are made; they are removed at the end.
    #[arg(long, default_value = ".")]
    data_parent: PathBuf,
    /// GiB stored.
    #[arg(long, value_delimiter = ',', default_value = "2,20")]
    gib: Vec<u64>,
    /// Partition counts: batches are of 64 KiB with one partition, of 16 KiB with more.
    #[arg(long, value_delimiter = ',', default_value = "1,1000")]
    partitions: Vec<u32>,
    /// Bytes of a batch, instead.
    #[arg(long)]
    batch_bytes: Option<usize>,
    /// Starts of each case.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of load before each kill but the first.
    #[arg(long, default_value_t = 2)]
    reload_s: u64,
    /// CPUs of the server.
    #[arg(long, default_value = "0")]
    server_cores: String,
    /// CPUs of the load.
    #[arg(long, default_value = "1")]
    load_cores: String,
    /// Further options of the server, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    server_args: String,
    /// Further options of the load generator, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    load_args: String,
    /// Folder of the programs; default: the one of this program.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const TOPIC: &str = "restart";
/// Longer than this, a start is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// Milliseconds from the start of the process to each answer.
#[derive(Debug, Clone, Copy)]
struct Times {
    metadata: f64,
    produce: f64,
    fetch: f64,
    resident: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut points = Vec::new();
    if !args.json {
        println!(
            "milliseconds from exec to the answer; medians of {} starts (lowest to highest)",
            args.rounds
        );
    }
    for &partitions in &args.partitions {
        for &gib in &args.gib {
            points.push(case(&args, gib, partitions)?);
        }
    }
    if args.json {
        println!("{}", Value::Array(points));
    }
    Ok(())
}

fn case(args: &Args, gib: u64, partitions: u32) -> Result<Value> {
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned(),
    };
    let folder = tempfile::Builder::new().prefix("restart-").tempdir_in(&args.data_parent)?;
    let setup = Setup {
        programs: programs.clone(),
        data: folder.path().join("data"),
        log: folder.path().join("server.log"),
        cores: args.server_cores.clone(),
        options: args.server_args.split_ascii_whitespace().map(str::to_owned).collect(),
    };
    let mut server = setup.start()?;
    server.connect(PATIENCE).with_context(|| setup.last_words())?;
    let mut load = start_load(args, &setup, &server, partitions)?;
    let filling = Instant::now();
    while sealed_bytes(&setup.data)? < gib << 30 {
        ensure!(load.ended()?.is_none(), "the load ended: {}", tail_of(&folder.path().join("load.log"), 5));
        ensure!(filling.elapsed() < Duration::from_secs(60 + 60 * gib), "filling takes too long");
        std::thread::sleep(Duration::from_millis(100));
    }
    server.kill();
    drop(load);
    let mut all = Vec::new();
    for round in 0..args.rounds {
        let stored = sealed_bytes(&setup.data)?;
        drop_caches(&programs)?;
        let mut server = setup.start()?;
        let times = first_answers(&mut server, partitions).with_context(|| setup.last_words())?;
        if !args.json {
            eprintln!("  {:.1} GiB sealed: {times:?}", stored as f64 / f64::from(1 << 30));
        }
        all.push(times);
        if round + 1 < args.rounds {
            let load = start_load(args, &setup, &server, partitions)?;
            std::thread::sleep(Duration::from_secs(args.reload_s));
            server.kill();
            drop(load);
        }
    }
    let of = |pick: fn(&Times) -> f64| Summary::of(&all.iter().map(pick).collect::<Vec<_>>());
    let (metadata, produce, fetch) = (of(|t| t.metadata), of(|t| t.produce), of(|t| t.fetch));
    let resident = of(|t| t.resident as f64 / f64::from(1 << 20));
    if !args.json {
        println!(
            "{gib:>4} GiB {partitions:>7} partitions  metadata {:>7.0}  produce {:>7.0}  fetch {:>7.0} ({:.0} to {:.0})  RSS {:.0} MiB",
            metadata.median, produce.median, fetch.median, fetch.lowest, fetch.highest, resident.median
        );
    }
    Ok(json!({ "gib": gib, "partitions": partitions, "metadata_ms": metadata, "produce_ms": produce,
        "fetch_ms": fetch, "resident_mib": resident }))
}

/// The first answers of a server that is starting.
fn first_answers(server: &mut Server, partitions: u32) -> Result<Times> {
    let since = server.since;
    let ms = || since.elapsed().as_secs_f64() * 1e3;
    drop(server.connect(PATIENCE)?);
    let mut client = Client::connect(server.address)?;
    ensure!(client.topics()?.iter().any(|topic| topic == TOPIC), "the topic is gone");
    let metadata = ms();
    let partition = i32::try_from(partitions / 2)?;
    let offset = client.append(TOPIC, partition, batch::single("first"))?;
    let produce = ms();
    for at in [0, offset] {
        let found = client.fetch(TOPIC, partition, at)?;
        ensure!(found.error_code == 0, "Fetch at {at}: error {}", found.error_code);
        ensure!(!found.records.unwrap_or_default().is_empty(), "nothing at {at}");
    }
    Ok(Times { metadata, produce, fetch: ms(), resident: server.resident_bytes()? })
}

fn start_load(args: &Args, setup: &Setup, server: &Server, partitions: u32) -> Result<Guard> {
    let folder = setup.log.parent().context("the log lies in no folder")?;
    let bytes = args.batch_bytes.unwrap_or(if partitions == 1 { 64 << 10 } else { 16 << 10 });
    let mut command = Command::new(setup.programs.join("keylane-loadgen"));
    command
        .args(["run", "--bootstrap", &server.address.to_string(), "--topic", TOPIC])
        .args(["--partitions", &partitions.to_string(), "--batch-bytes", &bytes.to_string()])
        .args(["--connections", "8", "--window", "5", "--duration", "3600s", "--warmup", "0s"])
        .args(["--consumers", "0", "--allow-disconnect", "--no-progress", "--cores", &args.load_cores])
        .args(args.load_args.split_ascii_whitespace());
    let log = File::create(folder.join("load.log"))?;
    let mut load = Guard::spawn(&mut command, log.try_clone()?, log)?;
    if let Some(status) = load.wait(Duration::from_millis(50))? {
        bail!("{command:?} ended: {status}: {}", tail_of(&folder.join("load.log"), 5));
    }
    Ok(load)
}
