//! `keylane topic list`
use keylane_kafka::cluster::Topic;
use serde::Serialize;

use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::say::{self, Table};

/// Options of `keylane topic list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List the topics that brokers made for their own use, too
    #[arg(short, long)]
    internal: bool,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Listed {
    topic: String,
    partitions: usize,
    replicas: usize,
    internal: bool,
}

/// Runs the command.
pub fn run(common: &Common, args: &ListArgs) -> Result<(), Failure> {
    let topics = common.connect()?.topics(None)?;
    let mut listed: Vec<_> = (topics.into_iter())
        .filter(|topic| args.internal || !topic.is_internal)
        .map(|topic| Listed {
            partitions: topic.partitions.len(),
            replicas: replicas(&topic),
            internal: topic.is_internal,
            topic: topic.name,
        })
        .collect();
    listed.sort_by(|a, b| a.topic.cmp(&b.topic));
    if common.json {
        return say::print_json(&listed);
    }
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS"]);
    for topic in listed {
        table.row(vec![topic.topic, topic.partitions.to_string(), topic.replicas.to_string()]);
    }
    say::print(&table.text(""))
}

/// Replicas of a topic: those of its first partition.
pub fn replicas(topic: &Topic) -> usize {
    topic.partitions.first().map_or(0, |partition| partition.replicas.len())
}
