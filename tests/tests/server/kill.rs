//! Proves that what was acked survives `kill -9` under load, round after round on the same directory,
//! whatever cores it is opened with: every acked record is read, in the order of its key, none twice and
//! none that was not sent. What is read once must be there the next time, acked or not.
//!
//! The control takes the newest segments away after the last round: as they are named by the checkpoint
//! the start must refuse; without the checkpoint it cannot know, and then the checker must report loss.
//!
//! `KEYLANE_KILL_ROUNDS` sets the number of rounds, `KEYLANE_KILL_SEED` when and how they strike.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use keylane_loadgen::args::{RunArgs, VerifyArgs};
use keylane_loadgen::report::Report;
use keylane_loadgen::verdict::Status;
use keylane_loadgen::verify::{self, Verification};
use keylane_tests::e2e::process::{Server, binary};
use keylane_tests::e2e::server::{scratch, two_cores};

const ROUNDS: u64 = 4;
/// Loads of different shapes: deep queues of small requests, large batches that fill segments, and few
/// requests at a time.
const SHAPES: [&str; 3] = [
    "--connections 8 --window 16 --record-bytes 200 --batch-bytes 4k --rate 200000",
    "--connections 4 --window 4 --record-bytes 1024 --batch-bytes 128k --rate 30000",
    "--connections 8 --window 1 --record-bytes 500 --batch-records 1",
];

struct Lab {
    binary: PathBuf,
    dir: tempfile::TempDir,
}

impl Lab {
    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state.json")
    }

    fn start(&self, cores: &str) -> Result<Server> {
        let args = ["--cores", cores, "--shards", "2", "--segment-bytes", "4231168"];
        Server::start(&self.binary, &self.data(), &args, &self.dir.path().join("server.log"))
    }

    /// Loads the server and kills it while it is at work; what the load had until then.
    fn load_and_kill(&self, server: Server, round: u64, rng: &mut Rng) -> Result<Report> {
        let resume = if round == 0 { "--topic killed --partitions 8 --keys 500" } else { "--resume" };
        let shape = SHAPES[(round % 3) as usize];
        let text = format!(
            "--bootstrap {} --state {} {resume} {shape} --seed {} --allow-disconnect --duration 20s \
             --warmup 0s --no-progress",
            server.address,
            self.state().display(),
            rng.next()
        );
        let args = RunArgs::from_text(&text)?;
        let load = std::thread::spawn(move || keylane_loadgen::run::run(&args));
        std::thread::sleep(Duration::from_micros(500_000 + rng.next() % 1_000_000));
        server.kill()?;
        let report = load.join().map_err(|_| anyhow!("the load panicked"))??;
        ensure!(report.disconnects > 0, "the load ended before the kill: the test is not valid\n{report}");
        let acked = report.produced.records_acked_total;
        ensure!(acked > 500, "only {acked} records were acked: the test is not valid\n{report}");
        Ok(report)
    }

    /// Reads everything and checks it; then what was read must stay.
    fn verify(&self, server: &Server) -> Result<Verification> {
        verify::verify(&VerifyArgs {
            bootstrap: server.address.to_string(),
            topic: None,
            state: self.state(),
            consumers: 2,
            settle: true,
            no_verify_payload: false,
            fanout: 1,
            evidence: None,
            json: false,
        })
    }
}

/// A small generator of numbers (xorshift), so that a round can be repeated.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{name}={text}: {e}")))
}

fn failed_lines(found: &Verification) -> Vec<&'static str> {
    let failed = found.verdict.lines.iter().filter(|line| line.status == Status::Failed);
    failed.map(|line| line.name).collect()
}

fn segments(shard: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(shard)?.collect::<std::io::Result<Vec<_>>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "log"));
    paths.sort();
    Ok(paths)
}

/// Takes the newest segment of a shard away, with its index.
fn lose_newest_segment(shard: &Path) -> Result<()> {
    let newest = segments(shard)?.pop().context("a shard without segments")?;
    std::fs::remove_file(&newest)?;
    std::fs::remove_file(newest.with_extension("idx"))?;
    Ok(())
}

#[test]
fn what_was_acked_survives_kill_9() {
    let rounds = setting("KEYLANE_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("KEYLANE_KILL_SEED").unwrap_or(0x6b65_796c_616e_6531).max(1);
    println!("KEYLANE_KILL_ROUNDS={rounds} KEYLANE_KILL_SEED={seed}");
    let mut rng = Rng(seed);
    let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "kill-").unwrap();
    let lab = Lab { binary: binary().unwrap(), dir };
    let both = if two_cores().len() > 1 { "0-1" } else { "0" };
    let (mut acked, mut read, mut most_segments) = (0, 0, 0);
    for round in 0..rounds {
        let cores = if round % 2 == 0 { "0" } else { both };
        let server = lab.start(cores).unwrap_or_else(|e| panic!("round {round}: {e:#}"));
        let report = lab.load_and_kill(server, round, &mut rng);
        let report = report.unwrap_or_else(|e| panic!("round {round}: {e:#}"));
        acked += report.produced.records_acked_total;
        // The directory is opened with the other number of cores than it was written with.
        let cores = if round % 2 == 0 { both } else { "0" };
        let server = lab.start(cores).unwrap_or_else(|e| panic!("round {round}: {e:#}"));
        let found = lab.verify(&server).unwrap_or_else(|e| panic!("round {round}: {e:#}"));
        assert_eq!(found.exit_code, 0, "round {round}, cores {cores}\n{found}");
        assert_eq!(found.rounds, round + 1);
        let now = found.checked.records_read;
        assert!(now >= acked, "round {round}: {acked} acked, {now} read");
        assert!(now >= read, "round {round}: {read} were there, now {now}");
        read = now;
        for shard in ["shard-00000", "shard-00001"] {
            most_segments = most_segments.max(segments(&lab.data().join(shard)).unwrap().len());
        }
        // Every other recovery is itself cut short by a kill.
        if round % 2 == 0 { server.kill().unwrap() } else { server.stop().unwrap() }
    }
    assert!(most_segments > 3, "{most_segments} segments: no segment was filled, the test is not valid");

    // A last clean start and stop: everything is sealed and named by the checkpoint.
    let server = lab.start("0").unwrap();
    assert_eq!(lab.verify(&server).unwrap().checked.records_read, read);
    server.stop().unwrap();
    let shard = lab.data().join("shard-00000");
    lose_newest_segment(&shard).unwrap();
    let refused = lab.start("0").err().expect("a start without a durable segment").to_string();
    assert!(refused.contains(".log") && refused.contains("nothing was changed"), "{refused}");
    std::fs::remove_file(shard.join("checkpoint")).unwrap();
    let repair =
        std::process::Command::new(&lab.binary).arg("check").arg(lab.data()).arg("--repair").output();
    println!("{}", String::from_utf8_lossy(&repair.unwrap().stdout));
    let server = lab.start("0").unwrap();
    let found = lab.verify(&server).unwrap();
    // A regrouped segment is newer than its records: without it there may be a hole in the offsets as well.
    let failed = failed_lines(&found);
    assert!(
        failed.contains(&"loss") && failed.iter().all(|line| ["loss", "offsets"].contains(line)),
        "{found}"
    );
    assert_eq!(found.exit_code, 1);
    let lost = read - found.checked.records_read;
    assert!(lost > 0);
    server.stop().unwrap();
    println!(
        "kill -9: {rounds} rounds, {acked} records acked, {read} read, 0 lost, 0 twice, 0 out of order, \
         0 invented; control: {lost} taken away, reported as lost"
    );
}
