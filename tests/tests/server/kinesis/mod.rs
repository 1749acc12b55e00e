//! Kinesis over plain HTTP, without an SDK: what is put is read, shards are split and merged, what is refused is refused by
//! the names and texts that clients know, nothing a client sends harms the server (also when it abuses HTTP), and what was acked survives `kill -9`.

mod abuse;
mod bad_input;
mod consumers;
mod kill;
mod records;
mod refused;
mod shards;
mod throttle;

use std::net::SocketAddr;

use keylane::{ServerConfig, ServerHandle};
use keylane_tests::e2e::kinesis::Kinesis;
use keylane_tests::e2e::server::{config, scratch, two_cores};
use tempfile::TempDir;

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// A server for Kinesis' clients in this process.
struct Bench {
    server: ServerHandle,
    _dir: TempDir,
}

impl Bench {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = scratch(TMP, "kinesis-").expect("a directory");
        let mut config = ServerConfig {
            cores: Some(two_cores()),
            kinesis: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            ..config(&dir.path().join("data"))
        };
        change(&mut config);
        Self { server: keylane::start(config).expect("the server starts"), _dir: dir }
    }

    fn address(&self) -> SocketAddr {
        self.server.kinesis_addr().expect("it listens for Kinesis' clients")
    }

    fn client(&self) -> Kinesis {
        Kinesis::connect(self.address()).expect("the server accepts")
    }

    fn finish(self) {
        self.server.stop().expect("a clean stop");
    }
}
