//! How much of the bare pipeline's throughput Keylane reaches, and how much CPU time it takes more.
//!
//! Rounds alternate between the two servers, so that a disk or machine whose speed drifts treats both
//! alike; the ratios are taken within each round, and the median of them is reported. Each server is a
//! process of its own on one core with a fresh directory; the load runs on another core.
//!
//! Both write to extents of the same kind, because the device is much slower on space that was never written:
//! `--extents written` overwrites (the bare pipeline a file of zeros used as a ring; Keylane segments that
//! retention has freed, as in a log that has run for a while), `--extents allocated` does not (a first fill).
//! Build `ceiling`, `keylane` and `keylane-loadgen` in release mode first: they are taken
//! from the folder of this program.
//!
//! With `--before PROGRAM` the `keylane` of an earlier commit takes the place of the bare pipeline: what a change
//! costs or saves, in one run.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use keylane_benches::share::{Guard, Summary, free_address, tail_of, wait_until_listening};
use serde_json::{Value, json};

#[derive(Parser)]
#[command(about = "Compares Keylane with the bare pipeline, interleaved")]
struct Args {
    /// Rounds; each runs both servers once per case.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds measured in each run.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Seconds of load before the measurement; with written extents they must suffice to fill some segments.
    #[arg(long, default_value_t = 2)]
    warmup: u64,
    /// What both servers write to.
    #[arg(long, value_enum, default_value = "written")]
    extents: Extents,
    /// Workloads: 64k, 16k, single.
    #[arg(long, value_delimiter = ',', default_value = "64k,16k,single")]
    workloads: Vec<String>,
    /// Numbers of partitions.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000")]
    partitions: Vec<u32>,
    /// Existing directory on a real disk, below which the servers' data lies while they run.
    #[arg(long, default_value = ".")]
    data_parent: PathBuf,
    /// CPU of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// CPUs of the load, such as `1` or `2-3`.
    #[arg(long, default_value = "1")]
    load_cores: String,
    /// Commits in flight of the bare pipeline.
    #[arg(long, default_value_t = 1)]
    commits_in_flight: u8,
    /// Further options of the load generator, separated by blanks.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    load_args: String,
    /// Folder of the programs; default: the one of this program.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// The `keylane` program of an earlier commit, to compare with it instead of the bare pipeline.
    #[arg(long)]
    before: Option<PathBuf>,
    /// File for the result as JSON; it goes to stdout after the table if there is none.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What a commit is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Extents {
    /// Space that was written before.
    Written,
    /// Space that was reserved and never written.
    Allocated,
}

/// For how long Keylane keeps records when it is to use its segments again: as long as it takes to fill a few.
const KEPT_MS: &str = "300";
/// How often it looks for those that are older.
const CHECKED_MS: &str = "50";

/// File of the bare pipeline when it must not wrap, in MiB.
const NO_WRAP_MIB: u64 = 4096;

/// One shape of load.
struct Workload {
    name: &'static str,
    options: &'static [&'static str],
    /// What a request is, for the heading.
    unit: &'static str,
}

const WORKLOADS: [Workload; 3] = [
    Workload {
        name: "64k",
        options: &["--batch-bytes", "64KiB", "--connections", "8", "--window", "5"],
        unit: "batch of 64 KiB",
    },
    Workload {
        name: "16k",
        options: &["--batch-bytes", "16KiB", "--connections", "8", "--window", "5"],
        unit: "batch of 16 KiB",
    },
    Workload {
        name: "single",
        options: &["--batch-records", "1", "--connections", "16", "--window", "64"],
        unit: "record of 1 KiB",
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// The bare pipeline.
    Ceiling,
    /// The Keylane of an earlier commit.
    Before,
    Keylane,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Ceiling => "ceiling",
            Self::Before => "before",
            Self::Keylane => "keylane",
        }
    }
}

/// What one run came to.
struct Run {
    requests_per_s: f64,
    bytes_per_s: f64,
    server_us_per_request: f64,
    report: Value,
}

/// All runs of one workload and number of partitions.
struct Case {
    workload: &'static Workload,
    partitions: u32,
    reference: Vec<Run>,
    keylane: Vec<Run>,
}

struct Bench {
    args: Args,
    programs: PathBuf,
    workspace: tempfile::TempDir,
}

impl Bench {
    fn server_command(&self, server: Server, address: SocketAddr, partitions: u32, data: &Path) -> Command {
        let mut command = Command::new(match (server, &self.args.before) {
            (Server::Before, Some(program)) => program.clone(),
            _ => self.programs.join(server.name()),
        });
        let core = self.args.server_core.to_string();
        let fresh = self.args.extents == Extents::Allocated;
        match server {
            Server::Ceiling if fresh => {
                let mib = NO_WRAP_MIB * (self.args.seconds + self.args.warmup + 1);
                command.args(["--allocated", "--file-mib", &mib.to_string()]);
            }
            Server::Before | Server::Keylane if !fresh => {
                command.args([
                    "serve",
                    "--retention-ms",
                    KEPT_MS,
                    "--retention-check-interval-ms",
                    CHECKED_MS,
                ]);
            }
            Server::Ceiling => {}
            Server::Before | Server::Keylane => {
                command.arg("serve");
            }
        }
        match server {
            Server::Ceiling => command
                .args(["--listen", &address.to_string(), "--core", &core])
                .args(["--partitions", &partitions.to_string()])
                .args(["--commits-in-flight", &self.args.commits_in_flight.to_string()])
                .args(["--seconds", &(self.args.seconds + self.args.warmup + 120).to_string()])
                .arg("--file")
                .arg(data.join("ceiling.dat")),
            Server::Before | Server::Keylane => command.arg("--data").arg(data.join("data")).args([
                "--kafka",
                &address.to_string(),
                "--cores",
                &core,
            ]),
        };
        command
    }

    /// Starts the server, loads it, stops it, and removes what it wrote.
    fn run(&self, server: Server, workload: &Workload, partitions: u32) -> anyhow::Result<Run> {
        let folder = tempfile::Builder::new().prefix(server.name()).tempdir_in(self.workspace.path())?;
        let log = folder.path().join("server.log");
        let address = free_address()?;
        let mut command = self.server_command(server, address, partitions, folder.path());
        let output = File::create(&log)?;
        let mut process = Guard::spawn(&mut command, output.try_clone()?, output)
            .with_context(|| format!("cannot start {command:?}; build it in release mode"))?;
        wait_until_listening(&mut process, address, Duration::from_secs(60))
            .with_context(|| format!("{}: {}", server.name(), tail_of(&log, 5)))?;

        let report = self.load(address, process.pid(), workload, partitions, folder.path())?;
        let status = process.terminate(Duration::from_secs(30))?;
        ensure!(
            status.is_some_and(|status| status.success()),
            "{} did not end as it should ({status:?}): {}",
            server.name(),
            tail_of(&log, 5)
        );
        Run::new(report)
    }

    fn load(
        &self,
        address: SocketAddr,
        server_pid: u32,
        workload: &Workload,
        partitions: u32,
        folder: &Path,
    ) -> anyhow::Result<Value> {
        let (out, err) = (folder.join("load.json"), folder.join("load.log"));
        let mut command = Command::new(self.programs.join("keylane-loadgen"));
        // Without consumers: what is read back would cost only one of the servers.
        command
            .args(["run", "--bootstrap", &address.to_string(), "--cores", &self.args.load_cores])
            .args(["--record-bytes", "1024", "--json", "--no-progress"])
            .args(["--partitions", &partitions.to_string(), "--server-pid", &server_pid.to_string()])
            .args(["--duration", &format!("{}s", self.args.seconds)])
            .args(["--warmup", &format!("{}s", self.args.warmup)])
            .args(workload.options)
            .args(self.args.load_args.split_ascii_whitespace());
        if !self.args.load_args.contains("--static-payload") {
            command.args(["--consumers", "0"]);
        }
        let mut load = Guard::spawn(&mut command, File::create(&out)?, File::create(&err)?)
            .with_context(|| format!("cannot start {command:?}; build it in release mode"))?;
        let limit = Duration::from_secs(self.args.seconds + self.args.warmup + 60);
        match load.wait(limit)? {
            Some(status) if status.success() => {}
            Some(status) => bail!("{command:?}: {status}: {}", tail_of(&err, 10)),
            None => bail!("{command:?} did not end within {limit:?}"),
        }
        let text = std::fs::read_to_string(&out)?;
        serde_json::from_str(&text).with_context(|| format!("report of {command:?}: {text}"))
    }
}

impl Run {
    fn new(report: Value) -> anyhow::Result<Self> {
        let figure = |path: &str| {
            report.pointer(path).and_then(Value::as_f64).with_context(|| format!("the report lacks {path}"))
        };
        let run = Self {
            requests_per_s: figure("/produced/requests_per_s")?,
            bytes_per_s: figure("/produced/batch_bytes_per_s")?,
            server_us_per_request: figure("/cpu/server_cpu_us_per_request")?,
            report: report.clone(),
        };
        let refused = report.pointer("/errors").and_then(Value::as_object).is_some_and(|e| !e.is_empty());
        ensure!(!refused, "requests were refused: {}", report["errors"]);
        ensure!(run.requests_per_s > 0.0, "nothing was acked");
        Ok(run)
    }
}

fn summary(runs: &[Run], of: impl Fn(&Run) -> f64) -> Summary {
    Summary::of(&runs.iter().map(of).collect::<Vec<_>>())
}

impl Case {
    fn server_json(runs: &[Run]) -> Value {
        let requests = summary(runs, |run| run.requests_per_s);
        json!({
            "requests_per_s": requests,
            "requests_per_s_spread": requests.spread(),
            "batch_bytes_per_s": summary(runs, |run| run.bytes_per_s),
            "server_cpu_us_per_request": summary(runs, |run| run.server_us_per_request),
            "reports": runs.iter().map(|run| &run.report).collect::<Vec<_>>(),
        })
    }

    /// Keylane as a part of what it is compared with, round by round.
    fn ratio(&self, of: impl Fn(&Run) -> f64) -> Summary {
        let rounds = self.keylane.iter().zip(&self.reference);
        Summary::of(&rounds.map(|(keylane, reference)| of(keylane) / of(reference)).collect::<Vec<_>>())
    }

    fn json(&self, reference: Server) -> Value {
        json!({
            "workload": self.workload.name,
            "partitions": self.partitions,
            reference.name(): Self::server_json(&self.reference),
            "keylane": Self::server_json(&self.keylane),
            "throughput_ratio": self.ratio(|run| run.requests_per_s),
            "server_cpu_ratio": self.ratio(|run| run.server_us_per_request),
        })
    }

    fn print(&self, reference: Server) {
        println!("\n{}, {} partitions", self.workload.unit, self.partitions);
        println!("  server        requests/s  spread      MB/s  server us/request");
        for (server, runs) in [(reference, &self.reference), (Server::Keylane, &self.keylane)] {
            let requests = summary(runs, |run| run.requests_per_s);
            let bytes = summary(runs, |run| run.bytes_per_s);
            let cpu = summary(runs, |run| run.server_us_per_request);
            println!(
                "  {:<10} {:>13.0} {:>6.0}% {:>9.1} {:>18.2}",
                server.name(),
                requests.median,
                requests.spread() * 100.0,
                bytes.median / 1e6,
                cpu.median
            );
        }
        let throughput = self.ratio(|run| run.requests_per_s);
        let cpu = self.ratio(|run| run.server_us_per_request);
        println!(
            "  keylane: {:.0}% of the throughput of {} (rounds: {:.0} to {:.0}%), {:.2} times its CPU time per request \
             ({:.2} to {:.2})",
            throughput.median * 100.0,
            reference.name(),
            throughput.lowest * 100.0,
            throughput.highest * 100.0,
            cpu.median,
            cpu.lowest,
            cpu.highest,
        );
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let programs = match &args.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().context("this program lies in no folder")?.to_owned(),
    };
    let mut cases = Vec::new();
    for name in &args.workloads {
        let known = WORKLOADS.iter().find(|workload| workload.name == name);
        let workload = known.with_context(|| format!("there is no workload {name}"))?;
        for &partitions in &args.partitions {
            cases.push(Case { workload, partitions, reference: Vec::new(), keylane: Vec::new() });
        }
    }
    let workspace = tempfile::Builder::new().prefix("share-").tempdir_in(&args.data_parent)?;
    let bench = Bench { args, programs, workspace };
    let reference = if bench.args.before.is_some() { Server::Before } else { Server::Ceiling };
    for round in 0..bench.args.rounds {
        for case in &mut cases {
            let mut order = [reference, Server::Keylane];
            if round % 2 == 1 {
                order.reverse();
            }
            for server in order {
                let run = bench.run(server, case.workload, case.partitions).with_context(|| {
                    format!("{} with {}, {} partitions", server.name(), case.workload.name, case.partitions)
                })?;
                eprintln!(
                    "round {} {:<6} {:>5} partitions {:<8} {:>9.0} requests/s {:>8.2} us",
                    round + 1,
                    case.workload.name,
                    case.partitions,
                    server.name(),
                    run.requests_per_s,
                    run.server_us_per_request
                );
                match server {
                    Server::Keylane => case.keylane.push(run),
                    _ => case.reference.push(run),
                }
            }
        }
    }
    cases.iter().for_each(|case| case.print(reference));
    let result = json!({
        "rounds": bench.args.rounds,
        "seconds": bench.args.seconds,
        "warmup_seconds": bench.args.warmup,
        "extents": format!("{:?}", bench.args.extents).to_lowercase(),
        "server_core": bench.args.server_core,
        "load_cores": bench.args.load_cores,
        "cases": cases.iter().map(|case| case.json(reference)).collect::<Vec<_>>(),
    });
    match &bench.args.out {
        Some(path) => std::fs::write(path, format!("{result:#}\n"))?,
        None => println!("\n{result}"),
    }
    Ok(())
}
