//! A server in this process, and scratch directories on the disk of the build.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use keylane::ServerConfig;
use tempfile::TempDir;

/// Smallest segment that holds four batches of the default size.
pub const SMALL_SEGMENT_BYTES: u64 = 4_231_168;

/// A directory below `parent` (`CARGO_TARGET_TMPDIR`: a temporary directory of the system may lie in
/// memory), removed when it is dropped.
pub fn scratch(parent: &str, prefix: &str) -> Result<TempDir> {
    std::fs::create_dir_all(parent).with_context(|| format!("creating {parent}"))?;
    let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
    dir.with_context(|| format!("a scratch directory in {parent}"))
}

/// Settings of a small server on a port of its own: one core, two shards.
pub fn config(data: &Path) -> ServerConfig {
    ServerConfig {
        data: data.to_owned(),
        kafka: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: Some(vec![0]),
        shards: Some(2),
        segment_bytes: SMALL_SEGMENT_BYTES,
        ..ServerConfig::default()
    }
}

/// Cores 0 and 1, or 0 alone where there is no other.
pub fn two_cores() -> Vec<usize> {
    if available_parallelism().is_ok_and(|n| n.get() > 1) { vec![0, 1] } else { vec![0] }
}

/// An error with all its causes, as a person reads it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
