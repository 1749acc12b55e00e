//! Catching up: how fast a consumer reads what was stored, asking as clients in use ask, against a plain sequential
//! reader of the same files.
//!
//! For each number of partitions and each shape of requests a server is filled by the load generator and killed under
//! load (kill -9). It is started again and read at once (state `killed`), then stopped cleanly, started and read again
//! (state `cold`), and once more after it has regrouped the log by partition, as it does when nobody writes (state
//! `regrouped`). Before each start the page cache is emptied, where root can. The disk's speed changes from moment to
//! moment, so reader and plain loop take turns, a slice each; the plain loop begins in the middle of the files, so that
//! neither finds warm, below this machine, what the other has just read; before, everything is read once. Server on one
//! core, readers on the other. With `--over-socket` the plain loop runs on the server's core and sends what it reads to
//! the readers' core: where the disk is faster than a connection, that is what a server can be measured with. Build `keylane` and `keylane-loadgen` in release mode first.
//!
//! `catchup --data-parent DIR --mib 1024 --partitions 1,10,30,100,1000 --shapes librdkafka,one,java`

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Parser, ValueEnum};
use keylane_benches::plain::{self, Plain, Wire};
use keylane_benches::server::{Server, Setup, drop_caches, sealed_bytes};
use keylane_benches::share::{Guard, Slice, Summary, tail_of};
use keylane_benches::thin::Thin;
use keylane_loadgen::cpu;
use keylane_loadgen::fetch_shape::FetchShape;
use serde_json::{Value, json};

/// Reads what was stored as clients ask, against a plain O_DIRECT reader.
#[derive(Parser)]
struct Args {
    /// Where the directories are made; they are removed at the end.
    #[arg(long, default_value = ".")]
    data_parent: PathBuf,
    /// MiB written for each number of partitions, shape and round.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Partition counts.
    #[arg(long, value_delimiter = ',', default_value = "1,10,30,100,1000")]
    partitions: Vec<u32>,
    /// Clients whose requests are sent.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "librdkafka,one,java")]
    shapes: Vec<FetchShape>,
    /// When it is read.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "killed,cold")]
    states: Vec<State>,
    /// Times that everything is measured.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Bytes of a batch.
    #[arg(long, default_value_t = 65_536)]
    batch_bytes: usize,
    /// MiB that each reads before it is the other's turn.
    #[arg(long, default_value_t = 64)]
    slice_mib: u64,
    /// Seconds of reading after which a slow reader is not waited for.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The plain reader sends what it reads over a loopback connection, as a server does.
    #[arg(long)]
    over_socket: bool,
    /// End with code 1 if a ratio to the plain reader is lower.
    #[arg(long)]
    min_ratio: Option<f64>,
    /// CPUs of the server.
    #[arg(long, default_value = "0")]
    server_cores: String,
    /// CPU of the readers and of the load.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Further options of the server, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    server_args: String,
    /// Folder of the programs; default: the one of this program.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    /// Right after kill -9 under load.
    Killed,
    /// After a clean stop.
    Cold,
    /// After a clean stop of a server that had nothing to do before, and regrouped the log.
    Regrouped,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Killed => "right after kill -9",
            Self::Cold => "cold, clean restart",
            Self::Regrouped => "cold, regrouped",
        }
    }
}

const TOPIC: &str = "catchup";
/// Longer than this, a start or stop is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server is not regrouping if no segment was replaced for so long.
const REGROUPED_AFTER: Duration = Duration::from_secs(3);

/// The log, read once by both.
#[derive(Debug, Clone, Copy)]
struct Reading {
    thin: Slice,
    plain: Slice,
    requests: u64,
    /// Bytes that the server took from the disk for each one that was read, if that is known.
    from_disk: Option<f64>,
    complete: bool,
}

impl Reading {
    fn ratio(&self) -> f64 {
        self.thin.rate() / self.plain.rate()
    }
}

/// A state of one case and its readings.
struct Point {
    partitions: u32,
    shape: FetchShape,
    state: State,
    readings: Vec<Reading>,
}

impl Point {
    fn of(&self, pick: impl Fn(&Reading) -> f64) -> Summary {
        Summary::of(&self.readings.iter().map(pick).collect::<Vec<_>>())
    }

    fn json(&self) -> Value {
        json!({
            "partitions": self.partitions, "shape": self.shape.name(), "state": self.state.words(),
            "mb_s": self.of(|r| r.thin.rate()), "plain_mb_s": self.of(|r| r.plain.rate()),
            "ratio": self.of(Reading::ratio), "cpu_percent": self.of(|r| r.thin.cpu_percent()),
            "bytes": self.of(|r| r.thin.bytes as f64), "requests": self.of(|r| r.requests as f64),
            "disk_bytes_per_byte": self.of(|r| r.from_disk.unwrap_or(0.0)),
            "complete": self.readings.iter().all(|r| r.complete),
        })
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rate, plain, ratio) =
            (self.of(|r| r.thin.rate()), self.of(|r| r.plain.rate()), self.of(Reading::ratio));
        write!(
            f,
            "{:>10} {:<11} {:<20} {:>7.0} MB/s  plain {:>5.0}  ratio {:.2} ({:.2} to {:.2})  {:.0} % of its core, {:.1} MB an answer, {:.2} bytes from the disk for each{}",
            self.partitions,
            self.shape.name(),
            self.state.words(),
            rate.median,
            plain.median,
            ratio.median,
            ratio.lowest,
            ratio.highest,
            self.of(|r| r.thin.cpu_percent()).median,
            self.of(|r| r.thin.bytes as f64 / 1e6 / r.requests.max(1) as f64).median,
            self.of(|r| r.from_disk.unwrap_or(0.0)).median,
            if self.readings.iter().all(|r| r.complete) { "" } else { "  (not to the end)" },
        )
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.rounds > 0 && args.slice_mib > 0 && args.seconds > 0, "nothing is to be read");
    let mut points = Vec::new();
    for &partitions in &args.partitions {
        for &shape in &args.shapes {
            for point in case(&args, partitions, shape)? {
                if !args.json {
                    println!("{point}");
                }
                points.push(point);
            }
        }
    }
    if args.json {
        println!("{}", points.iter().map(Point::json).collect::<Value>());
    }
    let Some(least) = args.min_ratio else { return Ok(()) };
    let low: Vec<String> =
        points.iter().filter(|p| p.of(Reading::ratio).median < least).map(Point::to_string).collect();
    ensure!(low.is_empty(), "below {least} of a plain reader:\n{}", low.join("\n"));
    Ok(())
}

/// One number of partitions and shape, in all states.
fn case(args: &Args, partitions: u32, shape: FetchShape) -> Result<Vec<Point>> {
    let point = |&state: &State| Point { partitions, shape, state, readings: Vec::new() };
    let mut points: Vec<Point> = args.states.iter().map(point).collect();
    for _ in 0..args.rounds {
        let folder = tempfile::Builder::new().prefix("catchup-").tempdir_in(&args.data_parent)?;
        let setup = Setup {
            programs: match &args.programs {
                Some(folder) => folder.clone(),
                None => {
                    std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned()
                }
            },
            data: folder.path().join("data"),
            log: folder.path().join("server.log"),
            cores: args.server_cores.clone(),
            options: args.server_args.split_ascii_whitespace().map(str::to_owned).collect(),
        };
        fill(args, &setup, partitions).with_context(|| setup.last_words())?;
        plain::level(&setup.data)?;
        for state in [State::Killed, State::Cold, State::Regrouped] {
            if state == State::Regrouped && !args.states.contains(&state) {
                break;
            }
            let point = points.iter_mut().find(|point| point.state == state);
            // A start after a kill comes before a clean one in any case.
            let server = start(&setup)?;
            if let Some(point) = point {
                let reading = read(args, &setup, &server, shape).with_context(|| setup.last_words())?;
                point.readings.push(reading);
            }
            if state == State::Cold && args.states.contains(&State::Regrouped) {
                let_regroup(&setup.data)?;
            }
            server.stop(PATIENCE).with_context(|| setup.last_words())?;
        }
    }
    Ok(points)
}

/// Has the load generator write, and kills the server under it.
fn fill(args: &Args, setup: &Setup, partitions: u32) -> Result<()> {
    let mut server = setup.start()?;
    server.connect(PATIENCE)?;
    let log = setup.log.with_file_name("load.log");
    let mut command = Command::new(setup.programs.join("keylane-loadgen"));
    let keys = (partitions * 10).max(1_000);
    command
        .args(["run", "--bootstrap", &server.address.to_string(), "--topic", TOPIC, "--record-bytes", "1000"])
        .args(["--partitions", &partitions.to_string(), "--batch-bytes", &args.batch_bytes.to_string()])
        .args([
            "--connections",
            "8",
            "--window",
            "5",
            "--duration",
            "3600s",
            "--warmup",
            "0s",
            "--consumers",
            "0",
        ])
        .args(["--keys", &keys.to_string(), "--cores", &args.core.to_string()])
        .args(["--allow-disconnect", "--no-progress"]);
    let out = File::create(&log)?;
    let mut load = Guard::spawn(&mut command, out.try_clone()?, out)?;
    let limit = Duration::from_secs(60 + args.mib / 50);
    let filling = Instant::now();
    while sealed_bytes(&setup.data)? < args.mib << 20 {
        if load.ended()?.is_some() {
            bail!("the load ended: {}", tail_of(&log, 5));
        }
        ensure!(filling.elapsed() < limit, "filling takes longer than {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    drop(load);
    Ok(())
}

/// Waits until a server without work has regrouped its log: until no segment has been replaced for some seconds.
fn let_regroup(data: &Path) -> Result<()> {
    let (begun, mut changed) = (Instant::now(), Instant::now());
    let mut known = plain::segments(data)?;
    while changed.elapsed() < REGROUPED_AFTER {
        ensure!(begun.elapsed() < 4 * PATIENCE, "regrouping does not end");
        std::thread::sleep(Duration::from_millis(50));
        let now = plain::segments(data)?;
        if now != known {
            (known, changed) = (now, Instant::now());
        }
    }
    plain::level(data)
}

/// Starts the server on what it left, with nothing in the page cache.
fn start(setup: &Setup) -> Result<Server> {
    drop_caches(&setup.programs)?;
    let mut server = setup.start()?;
    server.connect(PATIENCE).with_context(|| setup.last_words())?;
    Ok(server)
}

fn first_core(list: &str) -> Result<usize> {
    cpu::parse_cores(list)?.first().copied().context("no core of the server")
}

/// Reads on the readers' core, in a thread of its own: a server that this one starts inherits its cores.
fn read(args: &Args, setup: &Setup, server: &Server, shape: FetchShape) -> Result<Reading> {
    let pinned = || {
        ensure!(cpu::pin(args.core), "core {} cannot be used", args.core);
        read_in_turn(args, setup, server, shape)
    };
    std::thread::scope(|scope| scope.spawn(pinned).join()).map_err(|_| anyhow!("a reader panicked"))?
}

/// Reader and plain loop in turn, until the reader is at the end or its time is over.
fn read_in_turn(args: &Args, setup: &Setup, server: &Server, shape: FetchShape) -> Result<Reading> {
    let mut thin = Thin::new(server.address, TOPIC, shape)?;
    ensure!(!thin.is_done(), "there is nothing to read");
    let wire = args.over_socket.then(|| Wire::new(args.core)).transpose()?;
    let mut plain = Plain::new(&setup.data)?.over(wire);
    let plain_core = if args.over_socket { first_core(&args.server_cores)? } else { args.core };
    let slice_bytes = args.slice_mib << 20;
    let mut reading = Reading {
        thin: Slice::default(),
        plain: Slice::default(),
        requests: 0,
        from_disk: None,
        complete: false,
    };
    let (disk_before, limit) = (server.disk_read_bytes().ok(), Duration::from_secs(args.seconds));
    while !thin.is_done() && reading.thin.took < limit {
        let deadline = Instant::now() + limit.saturating_sub(reading.thin.took);
        reading.thin.add(thin.slice(slice_bytes, deadline)?);
        if plain.is_done() {
            plain = plain.again(&setup.data)?;
        }
        ensure!(cpu::pin(plain_core), "core {plain_core} cannot be used");
        reading.plain.add(plain.slice(slice_bytes)?);
        ensure!(cpu::pin(args.core), "core {} cannot be used", args.core);
    }
    let disk = server.disk_read_bytes().ok().zip(disk_before).map(|(after, before)| after - before);
    reading.from_disk = disk.map(|disk| disk as f64 / thin.bytes.max(1) as f64);
    (reading.requests, reading.complete) = (thin.requests, thin.is_done());
    ensure!(reading.plain.bytes > 0, "the plain reader found nothing");
    Ok(reading)
}
