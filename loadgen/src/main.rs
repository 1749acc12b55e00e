//! The `keylane-loadgen` command. Exit code: 0 ok, 1 the verdict failed, 2 it could not run.

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use keylane_loadgen::args::SinkArgs;
use keylane_loadgen::cli::{Cli, Command};
use keylane_loadgen::sink::Keep;
use keylane_loadgen::sweep::{self, compare};
use keylane_loadgen::{cpu, find_max, run, sink, verify};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run_and_print(&args),
        Command::Verify(args) => verify::verify_and_print(&args),
        Command::Sweep(args) => sweep::sweep_and_print(&args),
        Command::Compare(args) => compare::compare_and_print(&args),
        Command::FindMax(args) => find_max::find_max_and_print(&args),
        Command::Sink(args) => serve_sink(&args),
        Command::Lab(args) => keylane_loadgen::lab::run_and_print(&args),
    };
    done.map_or_else(
        |error| {
            eprintln!("keylane-loadgen: {error:#}");
            ExitCode::from(2)
        },
        ExitCode::from,
    )
}

fn serve_sink(args: &SinkArgs) -> Result<u8> {
    if let Some(core) = args.core {
        cpu::pin(core);
    }
    let listener =
        TcpListener::bind(&args.listen).with_context(|| format!("listening on {}", args.listen))?;
    println!("{}", listener.local_addr()?);
    sink::serve_stalling(&listener, args.partitions, Keep::Nothing, args.duration, args.stall)?;
    Ok(0)
}
