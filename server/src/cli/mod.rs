//! The `keylane` command: `serve` runs the server until SIGTERM or SIGINT, `check` looks at a data directory.
//!
//! Promises: one message on stderr when a command fails, with its causes and what to do. Exit codes: 0 after a clean
//! end, 1 for an error, 2 for wrong usage; `check` has codes of its own.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::options::Options;

pub mod check;
pub mod serve;

use check::CheckOptions;

/// A durable partitioned log that speaks the Kafka protocol.
#[derive(Parser)]
#[command(name = "keylane", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<Options>),
    /// Check a data directory that no server has open: read everything, say what is wrong and what to do
    Check(CheckOptions),
}

/// Runs the command that the arguments of the process name, to its end.
pub fn run() -> ExitCode {
    // Wrong usage ends here, with a message and exit code 2.
    match Cli::parse().command {
        Command::Serve(options) => serve::run(*options),
        Command::Check(options) => check::run(&options).unwrap_or_else(|error| {
            eprintln!("keylane: {error}");
            ExitCode::from(2)
        }),
    }
}
