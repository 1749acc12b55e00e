//! The `keylane` binary as a process of its own, which can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};

/// A clean stop takes no longer.
const STOP: Duration = Duration::from_secs(30);

/// The binary of this build, built if it is missing or older than its sources.
pub fn binary() -> Result<PathBuf> {
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().context("the path of this test")?;
    let profile = test.ancestors().nth(2).context("the test lies in target/<profile>/deps")?;
    let path = profile.join("keylane");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
    let mut newest = SystemTime::UNIX_EPOCH;
    for part in
        ["server/src", "engine/src", "kafka/src", "server/Cargo.toml", "engine/Cargo.toml", "Cargo.lock"]
    {
        newest = newest.max(newest_change(&root.join(part))?);
    }
    let built = std::fs::metadata(&path).and_then(|m| m.modified());
    if built.is_ok_and(|built| built > newest) {
        return Ok(path);
    }
    let profile_name = profile.file_name().and_then(|n| n.to_str()).context("the profile")?;
    let profile_name = if profile_name == "debug" { "dev" } else { profile_name };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = profile.parent().context("the target directory")?;
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "-p", "keylane", "--bin", "keylane", "--profile", profile_name])
        .arg("--target-dir")
        .arg(target)
        .status()
        .context("running cargo")?;
    ensure!(built.success(), "cargo build -p keylane: {built}");
    Ok(path)
}

fn newest_change(path: &Path) -> Result<SystemTime> {
    let shown = || format!("looking at {}", path.display());
    let meta = std::fs::metadata(path).with_context(shown)?;
    if !meta.is_dir() {
        return meta.modified().with_context(shown);
    }
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(path).with_context(shown)? {
        newest = newest.max(newest_change(&entry?.path())?);
    }
    Ok(newest)
}

/// A running server. Killed when it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Where it listens for Kinesis' clients, if it was told to.
    pub kinesis: Option<SocketAddr>,
}

impl Server {
    /// Starts `keylane serve` with these arguments on a free port; returns when it listens. Its log is
    /// appended to the file `log`.
    pub fn start(binary: &Path, data: &Path, args: &[&str], log: &Path) -> Result<Self> {
        let log_file = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYLANE_")) {
            command.env_remove(name);
        }
        let child = command
            .args(["serve", "--kafka", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), kinesis: None };
        let stdout = server.child.stdout.as_mut().context("its stdout")?;
        let mut line = String::new();
        // A byte at a time: what follows the line stays in the pipe.
        BufReader::with_capacity(1, stdout).read_line(&mut line)?;
        let address = line.strip_prefix("keylane: listening on ").and_then(|rest| rest.split(' ').next());
        let Some(address) = address else {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let last = said.lines().last().unwrap_or("nothing").to_owned();
            bail!("the server did not start: {line}{last}");
        };
        server.address = address.parse().with_context(|| format!("an address in {line:?}"))?;
        let kinesis = line.trim_end().trim_end_matches(')').rsplit_once("Kinesis on http://");
        server.kinesis = kinesis.and_then(|(_, address)| address.parse().ok());
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: the process gets no chance to do anything more.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("killing the server")?;
        let status = self.child.wait().context("waiting for the server")?;
        ensure!(status.code().is_none(), "the server had ended by itself before: {status}");
        Ok(())
    }

    /// SIGTERM: a clean stop.
    pub fn stop(mut self) -> Result<()> {
        let pid = libc::pid_t::try_from(self.pid()).context("a process id")?;
        // SAFETY: kill() touches no memory; the process is our child and was not waited for yet.
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        ensure!(sent == 0, "SIGTERM: {}", std::io::Error::last_os_error());
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server stopped with {status}");
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server did not stop within {} s", STOP.as_secs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
