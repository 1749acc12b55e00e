//! The `keylane` command: `serve` runs the server until SIGTERM or SIGINT, `check` looks at a data directory; the others are
//! a tool that speaks Kafka's protocol to any broker.
//!
//! Promises: one message on stderr when a command fails, with its causes and what to do. Exit codes: 0 after a clean
//! end, 1 for an error, 2 for wrong usage; `check` has codes of its own.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

mod bench;
pub mod check;
mod connect;
mod consume;
mod failure;
mod format;
mod group;
mod offsets;
pub mod options;
mod outcome;
mod place;
mod produce;
mod record;
mod say;
pub mod serve;
mod shell;
mod time;
mod topic;

use check::CheckOptions;
use failure::Failure;
use options::Options;

/// A durable partitioned log that speaks the Kafka protocol, and a tool for any broker that does.
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
    /// Topics of any broker: create, list, describe, alter, delete
    Topic(topic::TopicArgs),
    /// Groups of any broker: list, describe, reset, delete
    Group(group::GroupArgs),
    /// Write records to a topic of any broker
    Produce(produce::ProduceArgs),
    /// Read records of a topic of any broker
    Consume(consume::ConsumeArgs),
    /// Load any broker and check what it gives back: runs keylane-loadgen
    Bench(bench::BenchArgs),
    /// Print completions for a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write those of all commands to a directory
    Man(shell::ManArgs),
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
        Command::Topic(args) => ended(topic::run(&args)),
        Command::Produce(args) => ended(produce::run(&args)),
        Command::Group(args) => ended(group::run(&args)),
        Command::Consume(args) => ended(consume::run(&args)),
        Command::Bench(args) => ended(Err(bench::run(&args))),
        Command::Completions(args) => ended(shell::completions(&args, &mut Cli::command())),
        Command::Man(args) => ended(shell::man(&args, Cli::command())),
    }
}

/// How a command of the tool ends. Who does not read the output to its end, as `head`, has seen enough.
fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(failure) => {
            say::tell_error(&failure.line());
            ExitCode::FAILURE
        }
    }
}
