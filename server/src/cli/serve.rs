//! `keylane serve`: reads the settings, checks the system, runs the server until SIGTERM or SIGINT.
//!
//! Promises: one line on stdout when it listens, and one with the counters when it has stopped; the log goes to
//! stderr.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use keylane_engine::environment::{self, EnvironmentError};
use nix::sys::signal::{SigSet, Signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

use super::options::{Options, OptionsError};
use super::say;
use crate::config::{ConfigError, ServerConfig, allowed_cores, online_cores};
use crate::log_levels;
use crate::server::{self, StartError};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(
        "--log `{level}` is not a level; write error, warn, info, debug or trace, or directives by module"
    )]
    Log { level: String, source: tracing_subscriber::filter::ParseError },
    #[error("cannot block signals")]
    Signals(#[source] nix::Error),
    #[error("cannot start")]
    Start(#[source] StartError),
    #[error("cannot stop cleanly; the next start recovers what was not written")]
    Stop(#[source] StartError),
}

impl Failure {
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Environment(error) => Some(error.advice()),
            _ => None,
        }
    }
}

/// Runs the command to its end.
pub fn run(options: Options) -> ExitCode {
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> Result<(), Failure> {
    let (config, level) = options.resolve()?;
    let filter = level.parse::<Targets>().map_err(|source| Failure::Log { level: level.clone(), source })?;
    // Colours are for people; a file or a pipe gets plain lines.
    let colours = say::colours(&std::io::stderr());
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    tracing_subscriber::registry().with(filter).with(lines).init();
    log_levels::can_be_changed(level, move |changed| handle.reload(changed).is_ok());

    let allowed = allowed_cores()?;
    config.validate(online_cores().as_ref(), &allowed)?;
    let config = config.with_cores(&allowed);
    environment::check_uring()?;
    environment::check_data_directory(&config.data, config.direct_io)?;
    if environment::is_in_memory(&config.data) {
        tracing::warn!(
            data = %config.data.display(),
            "the data directory lies in memory (tmpfs or ramfs): nothing in it survives a power cut or a restart of \
             the machine; choose a directory on a disk with --data to keep what is acknowledged"
        );
    }
    raise_open_files(&config);

    // Before any thread exists: all inherit the mask, so that only `wait` below takes these signals.
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().map_err(Failure::Signals)?;

    let cores = config.cores.as_ref().map_or(0, Vec::len);
    let data = config.data.display().to_string();
    server::abort_on_panic();
    let handle = server::start(config).map_err(Failure::Start)?;
    let kinesis = handle.kinesis_addr().map(|addr| format!(", Kinesis on http://{addr}")).unwrap_or_default();
    say(format_args!(
        "keylane: listening on {} ({cores} cores, {} shards, data {data}{kinesis})",
        handle.kafka_addr(),
        handle.shards()
    ));

    let signal = signals.wait().map_err(Failure::Signals)?;
    tracing::info!(%signal, "stopping");
    let stats = handle.stats();
    handle.stop().map_err(Failure::Stop)?;
    let stats = serde_json::to_string(&stats).unwrap_or_else(|error| error.to_string());
    say(format_args!("keylane: stopped {stats}"));
    Ok(())
}

/// Each connection takes a file; one limit must not turn into a failure of the other.
fn raise_open_files(config: &ServerConfig) {
    match environment::raise_open_files() {
        Ok(Some(limit)) if limit < config.max_connections as u64 => tracing::warn!(
            limit,
            max_connections = config.max_connections,
            "fewer files may be open than connections are allowed; raise ulimit -n or lower --max-connections"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files; raise ulimit -n"),
    }
}

/// One line on stdout. Nobody may be reading it, and that is no reason to stop serving.
fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// One message on stderr: what failed, its causes, and what to do.
fn report(failure: &Failure) {
    let mut message = format!("keylane: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        message.push_str(": ");
        message.push_str(error.to_string().trim_end());
        cause = error.source();
    }
    if let Some(advice) = failure.advice() {
        message.push_str("; ");
        message.push_str(advice);
    }
    eprintln!("{message}");
}
