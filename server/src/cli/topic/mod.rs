//! `keylane topic`: topics of any broker, created, listed, described, changed and deleted.
//!
//! Promise: each topic of a command has its own outcome; the command goes on after one that failed, and ends with an error
//! then.
use clap::{Args, Subcommand};

use super::connect::Common;
use super::failure::Failure;

mod alter;
mod create;
mod delete;
mod describe;
mod list;
mod setting;

/// Options of `keylane topic`.
#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create topics
    Create(create::CreateArgs),
    /// List the topics
    List(list::ListArgs),
    /// Show partitions, offsets and settings of topics
    Describe(describe::DescribeArgs),
    /// Change settings of a topic, or add partitions
    Alter(alter::AlterArgs),
    /// Delete topics with all their records
    Delete(delete::DeleteArgs),
}

/// Runs the command.
pub fn run(args: &TopicArgs) -> Result<(), Failure> {
    let common = &args.common;
    match &args.command {
        TopicCommand::Create(args) => create::run(common, args),
        TopicCommand::List(args) => list::run(common, args),
        TopicCommand::Describe(args) => describe::run(common, args),
        TopicCommand::Alter(args) => alter::run(common, args),
        TopicCommand::Delete(args) => delete::run(common, args),
    }
}
