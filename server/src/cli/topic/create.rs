//! `keylane topic create`
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::alter_configs::ConfigEntry;
use keylane_kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};

use super::setting::Given;
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::outcome::{self, Outcome};

/// Options of `keylane topic create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Partitions [default: the broker's]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition [default: the broker's]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// A setting, as cleanup.policy=compact; may be given several times
    #[arg(short, long = "config", value_name = "NAME=VALUE")]
    configs: Vec<Given>,
    /// Leave a topic of that name as it is
    #[arg(long)]
    if_not_exists: bool,
    /// Check only, create nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub fn run(common: &Common, args: &CreateArgs) -> Result<(), Failure> {
    let mut cluster = common.connect()?;
    let configs = || args.configs.iter().map(|set| ConfigEntry { name: &set.name, value: Some(&set.value) });
    let topic = |name| CreatableTopic {
        name,
        num_partitions: args.partitions.unwrap_or(-1),
        replication_factor: args.replicas.unwrap_or(-1),
        assignments: Vec::new(),
        configs: configs().collect(),
    };
    let request = CreateTopicsRequest {
        topics: args.topics.iter().map(|name| topic(name)).collect(),
        timeout_ms: common.timeout_ms(),
        validate_only: args.dry_run,
    };
    let answer = cluster.controller()?.ask(&request)?;
    let outcomes: Vec<_> = (answer.topics.iter())
        .map(|told| {
            if told.error == ErrorCode::TopicAlreadyExists && args.if_not_exists {
                return Outcome::done(&told.name, "exists");
            }
            let doing = format!("creating topic {}", told.name);
            let done = Failure::unless_none(doing, told.error, told.error_message.as_deref());
            let verb = if args.dry_run { "would be created" } else { "created" };
            Outcome::of(
                &told.name,
                done.map(|()| verb.to_owned() + &shape(told.num_partitions, told.replication_factor)),
            )
        })
        .collect();
    outcome::print(&outcomes, common.json)
}

/// How large a topic is, where the broker says so.
fn shape(partitions: i32, replicas: i16) -> String {
    let some = |n: i64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (partitions, replicas) {
        (1.., 1..) => {
            format!(" with {}, {}", some(partitions.into(), "partition"), some(replicas.into(), "replica"))
        }
        _ => String::new(),
    }
}
