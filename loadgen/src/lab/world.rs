//! The broker of an experiment: one that was named, a Keylane in this process, or a Keylane of its own that can be
//! killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use keylane::{ServerConfig, ServerHandle};

use crate::client::resolve;
use crate::kinesis::http::{Connection, Endpoint};

use super::Common;
use super::client::Client;

/// Small, because the experiments are.
const SEGMENT_BYTES: u64 = 32 << 20;

enum Server {
    Named,
    Embedded(Option<ServerHandle>),
    Own { binary: PathBuf, child: Child },
}

/// See the module's header. What was started is ended with it.
pub struct World {
    server: Server,
    address: SocketAddr,
    /// Where it speaks Kinesis, if it is asked to.
    streams: Option<Endpoint>,
    data: Option<tempfile::TempDir>,
}

impl World {
    /// The broker that was named, or a Keylane in this process.
    pub fn open(common: &Common) -> Result<Self> {
        if let Some(bootstrap) = &common.bootstrap {
            let address = resolve(bootstrap)?;
            return Ok(Self { server: Server::Named, address, streams: None, data: None });
        }
        Self::embedded(common, None)
    }

    /// The same for Kinesis' protocol: the server of a URL, or a Keylane in this process if it is empty.
    pub fn open_streams(common: &Common, url: &str) -> Result<Self> {
        if url.is_empty() {
            return Self::embedded(common, Some(Endpoint::of(SocketAddr::from(([127, 0, 0, 1], 0)))));
        }
        let endpoint = Endpoint::parse(url)?;
        Ok(Self { server: Server::Named, address: endpoint.address, streams: Some(endpoint), data: None })
    }

    fn embedded(common: &Common, streams: Option<Endpoint>) -> Result<Self> {
        let data = data_dir(common)?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut world = Self { server: Server::Embedded(None), address, streams, data: Some(data) };
        world.start_embedded()?;
        Ok(world)
    }

    /// A Keylane in a process of its own, from this binary.
    pub fn spawn(common: &Common, binary: &Path) -> Result<Self> {
        let data = data_dir(common)?;
        let (child, address) = spawn(binary, data.path())?;
        let server = Server::Own { binary: binary.to_owned(), child };
        Ok(Self { server, address, streams: None, data: Some(data) })
    }

    fn start_embedded(&mut self) -> Result<()> {
        let data = self.data.as_ref().context("a data directory")?;
        let config = ServerConfig {
            data: data.path().to_owned(),
            kafka: SocketAddr::from(([127, 0, 0, 1], 0)),
            kinesis: self.streams.as_ref().map(|_| SocketAddr::from(([127, 0, 0, 1], 0))),
            segment_bytes: SEGMENT_BYTES,
            // Groups of an experiment are small, and nobody wants to wait for them.
            group_initial_rebalance_delay_ms: 100,
            group_min_session_timeout_ms: 500,
            ..ServerConfig::default()
        };
        let server = keylane::start(config).context("starting the embedded server")?;
        self.address = server.kafka_addr();
        self.streams = server.kinesis_addr().map(Endpoint::of);
        self.server = Server::Embedded(Some(server));
        Ok(())
    }

    /// What it is, in words.
    pub fn what(&self) -> String {
        match &self.server {
            Server::Named => format!("the broker at {}", self.address),
            Server::Embedded(_) => "a Keylane in this process".to_owned(),
            Server::Own { .. } => "a Keylane in a process of its own".to_owned(),
        }
    }

    /// Whether it runs in this process, so that its threads can be looked at.
    pub fn is_embedded(&self) -> bool {
        matches!(self.server, Server::Embedded(_))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection over Kinesis' protocol.
    pub fn streams(&self) -> Result<Connection> {
        Connection::open(self.streams.as_ref().context("a server that speaks Kinesis")?)
    }

    pub fn client(&self) -> Result<Client> {
        Client::connect(self.address)
    }

    /// Ends the broker as hard as can be, and starts it on what it left. Returns what was done; `None`: it is not
    /// ours to end.
    pub fn restart(&mut self) -> Result<Option<&'static str>> {
        match &mut self.server {
            Server::Named => Ok(None),
            Server::Embedded(server) => {
                let server = server.take().context("a server that runs")?;
                server.stop().context("stopping the embedded server")?;
                self.start_embedded()?;
                Ok(Some("stopped and started"))
            }
            Server::Own { binary, child } => {
                child.kill().context("killing the server")?;
                child.wait().context("waiting for the server")?;
                let data = self.data.as_ref().context("a data directory")?;
                let (again, address) = spawn(binary, data.path())?;
                (*child, self.address) = (again, address);
                Ok(Some("killed with kill -9 and started"))
            }
        }
    }

    /// Ends what was started, and removes its data.
    pub fn close(mut self) -> Result<()> {
        if let Server::Embedded(server) = &mut self.server
            && let Some(server) = server.take()
        {
            server.stop().context("stopping the embedded server")?;
        }
        self.end_own();
        match self.data.take() {
            Some(data) => data.close().context("removing the data directory"),
            None => Ok(()),
        }
    }

    fn end_own(&mut self) {
        if let Server::Own { child, .. } = &mut self.server {
            // It may be gone already.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_own();
    }
}

/// The `keylane` beside this program, if there is one.
pub fn server_binary() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let beside = own.with_file_name("keylane");
    beside.is_file().then_some(beside)
}

fn data_dir(common: &Common) -> Result<tempfile::TempDir> {
    let target = PathBuf::from("target");
    let parent = common.data_parent.clone();
    let parent = parent.unwrap_or(if target.is_dir() { target } else { PathBuf::from(".") });
    let data = tempfile::Builder::new().prefix("keylane-lab-").tempdir_in(&parent);
    data.with_context(|| format!("a data directory in {}", parent.display()))
}

fn spawn(binary: &Path, data: &Path) -> Result<(Child, SocketAddr)> {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYLANE_")) {
        command.env_remove(name);
    }
    let segment = SEGMENT_BYTES.to_string();
    let mut child = command
        .args(["serve", "--kafka", "127.0.0.1:0", "--log", "error", "--segment-bytes", &segment, "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", binary.display()))?;
    let stdout = child.stdout.as_mut().context("its stdout")?;
    let mut line = String::new();
    // A byte at a time: what follows the line stays in the pipe.
    BufReader::with_capacity(1, stdout).read_line(&mut line)?;
    let address = line.strip_prefix("keylane: listening on ").and_then(|rest| rest.split(' ').next());
    let Some(address) = address else {
        let _ended = child.kill();
        let _ended = child.wait();
        bail!("{} did not start", binary.display());
    };
    let address = address.parse().with_context(|| format!("an address in {line:?}"))?;
    Ok((child, address))
}
