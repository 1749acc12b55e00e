//! Experiments about partitions and order, each a command that tells what it does and what came of it.
//!
//! [`keys`]: what the key of an event decides. [`offsets`]: what a consumer that crashes does twice, or not at all.
//! [`groups`]: what a group does while members come and go.
//! [`hot`]: what one key that is used more than all others does to the load. [`plan`]: how many partitions, [`shards`]: how many
//! shards.
//!
//! Promises: an experiment runs for less than a minute; with the same options it tells the same but for measured
//! times; it checks what it claims, and its exit code is that of the check. [`world`] is the broker it runs on,
//! [`client`] the few requests that it takes.

pub mod client;
pub mod groups;
pub mod hot;
pub mod keys;
pub mod offsets;
pub mod plan;
pub mod shards;
pub mod world;

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;

/// Which experiment.
#[derive(Debug, Clone, Subcommand)]
pub enum LabArgs {
    /// User key against random key: where events land, and what order a reader sees.
    Keys(keys::KeysArgs),
    /// A consumer crashes between processing and commit: what is done twice, and what is lost.
    Offsets(offsets::OffsetsArgs),
    /// Members of a group come and go: who reads what, how long a rebalance takes, eager beside cooperative.
    Groups(groups::GroupsArgs),
    /// A hot key: who gets the load, and what splitting the key does to load and order.
    Hot(hot::HotArgs),
    /// How many partitions a topic needs, measured on this machine.
    Plan(plan::PlanArgs),
}

/// What all of them can be told.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Broker to use; without it a Keylane server is started for the experiment.
    #[arg(long, value_name = "HOST:PORT")]
    pub bootstrap: Option<String>,
    /// Directory below which the data of that server lies while it runs.
    #[arg(long, value_name = "DIR", conflicts_with = "bootstrap")]
    pub data_parent: Option<PathBuf>,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One JSON object on stdout instead of the story.
    #[arg(long)]
    pub json: bool,
}

/// Runs an experiment and prints what came of it; the exit code: 0 as it should be, 1 not so.
pub fn run_and_print(args: &LabArgs) -> Result<u8> {
    match args {
        LabArgs::Keys(args) => print(&keys::run(args)?, args.common.json),
        LabArgs::Offsets(args) => print(&offsets::run(args)?, args.common.json),
        LabArgs::Groups(args) => print(&groups::run(args)?, args.common.json),
        LabArgs::Hot(args) => print(&hot::run(args)?, args.common.json),
        LabArgs::Plan(args) if args.kinesis => {
            print(&shards::run(&plan::of_shards(args)?)?, args.common.json)
        }
        LabArgs::Plan(args) => print(&plan::run(args)?, args.common.json),
    }
}

/// What an experiment came to.
pub trait Finding: Display + Serialize {
    /// What should not be so; empty if all is as it should be.
    fn wrong(&self) -> &[String];
}

fn print(finding: &impl Finding, json: bool) -> Result<u8> {
    if json {
        println!("{}", serde_json::to_string(finding).context("the finding as JSON")?);
    } else {
        print!("{finding}");
    }
    Ok(u8::from(!finding.wrong().is_empty()))
}

/// Notes each claim that does not hold.
#[derive(Debug, Clone, Default)]
pub struct Claims(Vec<String>);

impl Claims {
    /// `claim` should hold.
    pub fn check(&mut self, holds: bool, claim: impl Into<String>) {
        if !holds {
            self.0.push(claim.into());
        }
    }

    pub fn into_wrong(self) -> Vec<String> {
        self.0
    }
}

/// The last lines of a story.
fn verdict(f: &mut std::fmt::Formatter<'_>, wrong: &[String], lesson: &str) -> std::fmt::Result {
    if wrong.is_empty() {
        return writeln!(f, "verdict: as it should be. {lesson}");
    }
    writeln!(f, "verdict: NOT as it should be")?;
    wrong.iter().try_for_each(|claim| writeln!(f, "  this does not hold: {claim}"))
}

/// A bar for a part of something, `width` characters for all of it.
fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let text = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    let blanks = width.saturating_sub(text.chars().count());
    text + &" ".repeat(blanks)
}

/// `12345` as `12,345`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_as_they_should_be() {
        for part in [0.0, 0.01, 0.5, 0.99, 1.0, 2.0] {
            assert_eq!(bar(part, 10).chars().count(), 10, "{part}");
        }
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(1.0, 2), "██");
    }

    #[test]
    fn thousands_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        cases.iter().for_each(|(number, text)| assert_eq!(thousands(*number), *text));
    }
}
