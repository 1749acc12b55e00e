//! `keylane group`: consumer groups of any broker, listed, described with their lag, set to other offsets, deleted.
//!
//! Promise: offsets of a group that has members are never changed, and none without `--execute`.
use clap::{Args, Subcommand};

use super::connect::Common;
use super::failure::Failure;

mod committed;
mod delete;
mod describe;
mod list;
mod members;
mod reset;

/// Options of `keylane group`.
#[derive(Debug, Args)]
pub struct GroupArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List the groups
    List(list::ListArgs),
    /// Show members, committed offsets and lag of groups
    Describe(describe::DescribeArgs),
    /// Set the committed offsets of a group without members; shows what would change, changes it with --execute
    Reset(reset::ResetArgs),
    /// Delete groups without members, with their committed offsets
    Delete(delete::DeleteArgs),
}

/// Runs the command.
pub fn run(args: &GroupArgs) -> Result<(), Failure> {
    let common = &args.common;
    match &args.command {
        GroupCommand::List(args) => list::run(common, args),
        GroupCommand::Describe(args) => describe::run(common, args),
        GroupCommand::Reset(args) => reset::run(common, args),
        GroupCommand::Delete(args) => delete::run(common, args),
    }
}
