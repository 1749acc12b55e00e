//! Whether the load generator is as fast as a plain sender of the same bytes.
//!
//! The plain sender writes one encoded request again and again and counts the bytes of the answers: no clock, no
//! histogram, no keys, no checksum, nothing remembered. It and the generator load the same server in turns, from the
//! same core: the bare pipeline without a disk, started here on another core.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use keylane_benches::share::{Guard, Summary, free_address, tail_of, wait_until_listening};
use keylane_loadgen::args::RunArgs;
use keylane_loadgen::batch::{Template, TemplateSpec, records_within};
use keylane_loadgen::client::Admin;
use keylane_loadgen::keys::KeyNames;
use keylane_loadgen::{cpu, run};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Compares the load generator with a plain sender of the same bytes, interleaved")]
struct Args {
    /// Rounds; each runs every sender once.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each run.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Bytes of a batch, at most.
    #[arg(long, default_value_t = 65_536)]
    batch_bytes: usize,
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 5)]
    window: usize,
    /// CPU of the server.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// CPU of the senders.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// The server computes no checksums: then it is further from being the bottleneck.
    #[arg(long)]
    no_crc: bool,
    /// File for the result as JSON.
    #[arg(long)]
    out: Option<PathBuf>,
}

const RECORD_BYTES: usize = 1024;
const KEYS: u32 = 1000;

/// A connection that only counts.
struct Plain {
    stream: TcpStream,
    sent_bytes: u64,
    answer_bytes: u64,
}

/// What one run came to: bytes of batches a second, and CPU microseconds for each request.
struct Outcome {
    bytes_per_s: f64,
    cpu_us: f64,
}

/// Sends as much as the window allows, for `seconds`.
fn plain(args: &Args, address: SocketAddr) -> anyhow::Result<Outcome> {
    let names = KeyNames::new(KEYS);
    let value_bytes = RECORD_BYTES - names.key_bytes();
    let mut admin = Admin::connect(address)?;
    admin.create_topic("plain", 1, &[])?;
    let template = Template::new(&TemplateSpec {
        produce_version: admin.versions.produce,
        topic: "plain",
        acks: -1,
        key_bytes: names.key_bytes(),
        value_bytes,
        records: records_within(args.batch_bytes, names.key_bytes(), value_bytes),
        run: 1,
        connection: 0,
        seed: 1,
        payload: keylane_loadgen::payload::Payload::Noise,
        compressibility: 0.0,
    });
    let mut frame = template.frame().to_vec();
    template.fill(&mut frame, 0, 0, 0, &names, || (0, 1));
    let answer = one_answer(address, &frame)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut connections = Vec::new();
    for index in 0..args.connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&epoll, stream.as_fd(), EventData::new_u64(index as u64), flags)?;
        connections.push(Plain { stream, sent_bytes: 0, answer_bytes: 0 });
    }
    // As much as a window may hold lies there ready to be written.
    let ring = frame.repeat(args.window + 1);
    let mut buffer = vec![0u8; 64 << 10];
    let mut events = Vec::with_capacity(64);
    let (begin, cpu_before) = (Instant::now(), cpu::thread_cpu());
    while begin.elapsed() < Duration::from_secs(args.seconds) {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let connection = &mut connections[event.data.u64() as usize];
            connection.step(&ring, frame.len(), answer, args.window, &mut buffer)?;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_us = (cpu::thread_cpu() - cpu_before).as_secs_f64() * 1e6;
    let requests: u64 = connections.iter().map(|connection| connection.answer_bytes / answer).sum();
    ensure!(requests > 0, "nothing was answered");
    let bytes_per_s = requests as f64 * template.batch_bytes() as f64 / seconds;
    Ok(Outcome { bytes_per_s, cpu_us: cpu_us / requests as f64 })
}

/// Bytes of the answer to a request; all of them are equally long.
fn one_answer(address: SocketAddr, frame: &[u8]) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(frame)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    Ok(u64::try_from(i32::from_be_bytes(head))? + 4)
}

impl Plain {
    fn step(
        &mut self,
        ring: &[u8],
        frame: usize,
        answer: u64,
        window: usize,
        buffer: &mut [u8],
    ) -> anyhow::Result<()> {
        loop {
            match (&self.stream).read(buffer) {
                Ok(0) => anyhow::bail!("the server hung up"),
                Ok(bytes) => self.answer_bytes += bytes as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        loop {
            let may = (self.answer_bytes / answer + window as u64) * frame as u64;
            let from = (self.sent_bytes % frame as u64) as usize;
            let length = (may - self.sent_bytes) as usize;
            if length == 0 {
                return Ok(());
            }
            match (&self.stream).write(&ring[from..from + length]) {
                Ok(bytes) => self.sent_bytes += bytes as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The generator, as it is used.
fn generator(args: &Args, address: SocketAddr, more: &str) -> anyhow::Result<Outcome> {
    let text = format!(
        "--bootstrap {address} --topic generator --partitions 1 --record-bytes {RECORD_BYTES} --keys {KEYS} \
         --batch-bytes {} --connections {} --window {} --duration {}s --warmup 0s --cores {} --no-progress {more}",
        args.batch_bytes, args.connections, args.window, args.seconds, args.core
    );
    let report = run::run(&RunArgs::from_text(&text)?)?;
    ensure!(report.exit_code == 0, "{report}");
    Ok(Outcome { bytes_per_s: report.produced.batch_bytes_per_s, cpu_us: report.cpu.load_cpu_us_per_request })
}

const SENDERS: [(&str, &str); 3] = [
    ("plain sender", ""),
    ("keylane-loadgen", "--consumers 0"),
    ("keylane-loadgen --static-payload", "--static-payload"),
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let program = std::env::current_exe()?.with_file_name("ceiling");
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("ceiling.log");
    let address = free_address()?;
    let output = File::create(&log)?;
    let mut command = Command::new(&program);
    command
        .args(["--listen", &address.to_string(), "--core", &args.server_core.to_string(), "--no-disk"])
        .args(["--seconds", &(u64::from(args.rounds) * (args.seconds + 2) * 3 + 60).to_string()]);
    if args.no_crc {
        command.arg("--no-crc");
    }
    let mut server = Guard::spawn(&mut command, output.try_clone()?, output)
        .with_context(|| format!("cannot start {command:?}; build it in release mode"))?;
    wait_until_listening(&mut server, address, Duration::from_secs(30)).with_context(|| tail_of(&log, 5))?;
    ensure!(cpu::pin(args.core), "cannot run on CPU {}", args.core);
    let mut outcomes: [Vec<Outcome>; 3] = Default::default();
    for round in 0..args.rounds as usize {
        for turn in 0..SENDERS.len() {
            let which = (turn + round) % SENDERS.len();
            let (name, more) = SENDERS[which];
            let outcome = if which == 0 { plain(&args, address) } else { generator(&args, address, more) };
            let outcome = outcome.with_context(|| format!("{name}: {}", tail_of(&log, 5)))?;
            eprintln!(
                "round {} {name:<34} {:>8.1} MB/s  {:.2} us/request",
                round + 1,
                outcome.bytes_per_s / 1e6,
                outcome.cpu_us
            );
            outcomes[which].push(outcome);
        }
    }
    server.terminate(Duration::from_secs(10))?;
    print(&args, &outcomes)
}

fn print(args: &Args, outcomes: &[Vec<Outcome>; 3]) -> anyhow::Result<()> {
    println!(
        "{:<34} {:>10} {:>17} {:>10} {:>14}",
        "sender", "MB/s", "(lowest-highest)", "to plain", "us/request"
    );
    let summary = |which: usize, of: fn(&Outcome) -> f64| {
        Summary::of(&outcomes[which].iter().map(of).collect::<Vec<_>>())
    };
    let reference = summary(0, |outcome| outcome.bytes_per_s).median;
    let mut rows = Vec::new();
    for (which, (name, _)) in SENDERS.into_iter().enumerate() {
        let (bytes, cpu) = (summary(which, |o| o.bytes_per_s), summary(which, |o| o.cpu_us));
        println!(
            "{name:<34} {:>10.1} {:>17} {:>9.0}% {:>14.2}",
            bytes.median / 1e6,
            format!("({:.0}-{:.0})", bytes.lowest / 1e6, bytes.highest / 1e6),
            bytes.median / reference * 100.0,
            cpu.median
        );
        rows.push(json!({ "sender": name, "bytes_per_s": bytes, "cpu_us_per_request": cpu }));
    }
    if let Some(path) = &args.out {
        let result = json!({ "batch_bytes": args.batch_bytes, "connections": args.connections, "window": args.window,
            "rounds": args.rounds, "seconds": args.seconds, "senders": rows });
        std::fs::write(path, format!("{result:#}\n"))?;
    }
    Ok(())
}
