//! The command line.

use clap::{Parser, Subcommand};

use crate::args::{RunArgs, SinkArgs, VerifyArgs};
use crate::find_max::FindMaxArgs;
use crate::lab::LabArgs;
use crate::sweep::args::SweepArgs;
use crate::sweep::compare::CompareArgs;

/// Load generator and checker for Keylane and other Kafka brokers.
#[derive(Debug, Parser)]
#[command(name = "keylane-loadgen", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load a broker (an embedded Keylane if none is named), check what it gives back, report.
    Run(Box<RunArgs>),
    /// Read a topic from its beginning and check it against a state file.
    Verify(VerifyArgs),
    /// The same load at many points on one or more brokers, interleaved: a table, and a report with plots.
    Sweep(Box<SweepArgs>),
    /// Two results of `sweep` side by side, as ratios with their spread.
    Compare(CompareArgs),
    /// The highest rate at which a latency is kept.
    FindMax(Box<FindMaxArgs>),
    /// Answer Produce requests without keeping anything: measures the load generator itself.
    #[command(hide = true)]
    Sink(SinkArgs),
    /// Experiments about partitions and order, with a story.
    #[command(subcommand)]
    Lab(LabArgs),
}
