//! Proves what happens when the disk is full: producers are told KAFKA_STORAGE_ERROR and nothing of what
//! they sent is stored, consumers go on reading, and once there is space again producing goes on without
//! a restart. Nothing acked is lost, neither then nor over a restart or a kill.
//!
//! Needs a small file system to fill: ext4 in a file (a loop device), and tmpfs. Without the right to
//! mount, a test prints that it was skipped and why.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use keylane::{ServerConfig, ServerHandle};
use keylane_tests::e2e::batch::{numbered, single};
use keylane_tests::e2e::client::Client;
use keylane_tests::e2e::server::{chain, config, scratch};
use tempfile::TempDir;

const KAFKA_STORAGE_ERROR: i16 = 56;
const DISK_BYTES: u64 = 64 << 20;
const VALUE_BYTES: usize = 100_000;
const T: &str = "t";
/// Writing goes on within this after space was freed: the engine looks four times a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// A small file system of its own; unmounted when it is dropped.
struct Mount {
    path: PathBuf,
    _dir: TempDir,
}

impl Mount {
    fn ext4() -> Result<Self> {
        let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "full-ext4-")?;
        let (image, path) = (dir.path().join("image"), dir.path().join("mnt"));
        File::create(&image)?.set_len(DISK_BYTES)?;
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &image])?;
        std::fs::create_dir(&path)?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), &image, &path])?;
        Ok(Self { path, _dir: dir })
    }

    fn tmpfs() -> Result<Self> {
        let dir = scratch(env!("CARGO_TARGET_TMPDIR"), "full-tmpfs-")?;
        let path = dir.path().join("mnt");
        std::fs::create_dir(&path)?;
        let size = PathBuf::from(format!("size={DISK_BYTES}"));
        let args: [&Path; 6] =
            ["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), &size, "none".as_ref(), &path];
        run("mount", &args)?;
        Ok(Self { path, _dir: dir })
    }

    fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Fills what is left.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.path.join("filler"))?;
        for bytes in [1 << 20, 4096] {
            let block = vec![7; bytes];
            while file.write_all(&block).and_then(|()| file.sync_data()).is_ok() {}
        }
        // The last write failed, as it should: a disk that is not full would prove nothing.
        if file.write_all(&[7; 8192]).and_then(|()| file.sync_data()).is_ok() {
            bail!("{} is not full", self.path.display());
        }
        Ok(())
    }

    fn free(&self) -> Result<()> {
        std::fs::remove_file(self.path.join("filler")).context("removing the filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // After a failed test a server may still hold files: then it goes when they are closed.
        let gone = run("umount", &[&self.path]).or_else(|_| run("umount", &["-l".as_ref(), &self.path]));
        if let Err(error) = gone {
            eprintln!("{} stays mounted: {error:#}", self.path.display());
        }
    }
}

fn run(program: &str, args: &[&Path]) -> Result<()> {
    let done = Command::new(program).args(args).output().with_context(|| format!("running {program}"))?;
    if !done.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// Whether files of this file system can be opened with O_DIRECT.
fn takes_direct_io(dir: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    let path = dir.join("probe");
    let opened =
        File::options().write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT).open(&path);
    let _ = std::fs::remove_file(&path);
    opened.is_ok()
}

/// A server on the small disk, and what it acked.
struct Bench {
    config: ServerConfig,
    acked: Vec<Bytes>,
}

impl Bench {
    fn new(mount: &Mount) -> Self {
        let direct_io = takes_direct_io(&mount.path);
        let data = mount.data();
        let config = ServerConfig { shards: Some(1), direct_io, tail_cache_bytes: 2 << 20, ..config(&data) };
        println!("{}: direct_io {direct_io}", mount.path.display());
        Self { config, acked: Vec::new() }
    }

    fn start(&self) -> (ServerHandle, Client) {
        let server = keylane::start(self.config.clone()).expect("the server starts");
        let client = Client::connect(server.kafka_addr()).expect("it listens");
        (server, client)
    }

    /// Sends one record; the error code.
    fn produce(&mut self, client: &mut Client) -> i16 {
        let value = numbered(self.acked.len() as u64, VALUE_BYTES);
        let done = client.produce(T, 0, single(value.clone())).expect("an answer");
        if done.error_code == 0 {
            assert_eq!(done.base_offset, self.acked.len() as i64);
            self.acked.push(value);
        }
        done.error_code
    }

    fn produce_some(&mut self, client: &mut Client, count: usize) {
        for _ in 0..count {
            assert_eq!(self.produce(client), 0, "after {} records", self.acked.len());
        }
    }

    /// Sends until it is refused, which must be by the right name.
    fn produce_until_full(&mut self, client: &mut Client) {
        let before = self.acked.len();
        let refused = loop {
            match self.produce(client) {
                0 => assert!(self.acked.len() < before + 1000, "the disk does not get full"),
                code => break code,
            }
        };
        assert_eq!(refused, KAFKA_STORAGE_ERROR);
    }

    /// Sends until it is taken again; the number of refusals.
    fn produce_until_taken(&mut self, client: &mut Client) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut refused = 0;
        loop {
            match self.produce(client) {
                0 => return refused,
                code => assert_eq!(code, KAFKA_STORAGE_ERROR),
            }
            refused += 1;
            assert!(
                Instant::now() < deadline,
                "still refused {} s after space was freed",
                PATIENCE.as_secs()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn everything_is_read(&self, client: &mut Client) {
        let read = client.read_all(T, 0).expect("records");
        assert!(read == self.acked, "{} records read, {} acked", read.len(), self.acked.len());
    }
}

fn stop_in_time(server: ServerHandle) {
    let (done, stopped) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(server.stop().map_err(|e| e.to_string())));
    stopped.recv_timeout(Duration::from_secs(20)).expect("the server stops in time").expect("a clean stop");
}

fn filling_up_and_going_on(mount: &Mount) -> Result<()> {
    let mut bench = Bench::new(mount);
    let (server, mut client) = bench.start();
    assert_eq!(client.create_topic(T, 1)?, 0);
    bench.produce_some(&mut client, 60);
    for round in 0..3 {
        mount.fill()?;
        bench.produce_until_full(&mut client);
        for _ in 0..20 {
            assert_eq!(bench.produce(&mut client), KAFKA_STORAGE_ERROR);
        }
        let topic = format!("new-{round}");
        // A topic fits nowhere; or it does, in what file systems keep back.
        let created = client.create_topic(&topic, 1)?;
        assert!([0, KAFKA_STORAGE_ERROR].contains(&created), "error {created}");
        bench.everything_is_read(&mut client);
        mount.free()?;
        let refused = bench.produce_until_taken(&mut client);
        println!("round {round}: {} acked; refused {refused} times after space was freed", bench.acked.len());
        bench.produce_some(&mut client, 20);
        bench.everything_is_read(&mut client);
        if created != 0 {
            assert_eq!(client.create_topic(&topic, 1)?, 0, "the catalog stays read-only");
        }
        assert_eq!(client.append(&topic, 0, single("first"))?, 0);
    }
    drop(client);
    stop_in_time(server);
    let (server, mut client) = bench.start();
    assert_eq!(server.stats().scanned_bytes, 0);
    bench.everything_is_read(&mut client);
    bench.produce_some(&mut client, 10);
    drop(client);
    stop_in_time(server);
    Ok(())
}

/// A stop cannot seal the last segment: it must end all the same (it once waited for space for ever), and
/// the next start must find all.
fn stopping_while_full(mount: &Mount) -> Result<()> {
    let mut bench = Bench::new(mount);
    let (server, mut client) = bench.start();
    assert_eq!(client.create_topic(T, 1)?, 0);
    bench.produce_some(&mut client, 60);
    mount.fill()?;
    bench.produce_until_full(&mut client);
    drop(client);
    stop_in_time(server);
    let refused = chain(&keylane::start(bench.config.clone()).err().expect("a start without space"));
    assert!(refused.contains(&mount.data().display().to_string()), "{refused}");
    assert!(refused.contains("No space left on device"), "{refused}");
    mount.free()?;
    let (server, mut client) = bench.start();
    bench.everything_is_read(&mut client);
    bench.produce_some(&mut client, 20);
    bench.everything_is_read(&mut client);
    drop(client);
    stop_in_time(server);
    Ok(())
}

fn on(mount: Result<Mount>, test: fn(&Mount) -> Result<()>) -> Result<()> {
    match mount {
        Ok(mount) => test(&mount),
        Err(reason) => {
            println!("SKIPPED: no file system to fill: {reason:#}");
            Ok(())
        }
    }
}

#[test]
fn a_full_ext4_is_survived() {
    on(Mount::ext4(), filling_up_and_going_on).unwrap();
}

#[test]
fn a_full_tmpfs_is_survived() {
    on(Mount::tmpfs(), filling_up_and_going_on).unwrap();
}

#[test]
fn a_server_on_a_full_ext4_can_be_stopped() {
    on(Mount::ext4(), stopping_while_full).unwrap();
}

#[test]
fn a_server_on_a_full_tmpfs_can_be_stopped() {
    on(Mount::tmpfs(), stopping_while_full).unwrap();
}
