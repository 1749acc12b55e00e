//! `keylane topic alter`
use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::create_partitions::{CreatePartitionsRequest, PartitionsTopic};
use keylane_kafka::messages::describe_configs::TOPIC;
use keylane_kafka::messages::incremental_alter_configs::{
    ConfigChange, IncrementalAlterConfigsRequest, IncrementalResource, Operation,
};

use super::setting::Given;
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::outcome::{self, Outcome};

/// Options of `keylane topic alter`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub struct AlterArgs {
    /// Name of the topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// A setting to change, as retention.ms=3600000; may be given several times
    #[arg(short, long = "config", value_name = "NAME=VALUE", group = "change")]
    configs: Vec<Given>,
    /// A setting to give its default again; may be given several times
    #[arg(short, long = "unset", value_name = "NAME", group = "change")]
    unset: Vec<String>,
    /// Partitions that the topic is to have in the end; keys go to other partitions then
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..), group = "change")]
    partitions: Option<i32>,
    /// Check only, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub fn run(common: &Common, args: &AlterArgs) -> Result<(), Failure> {
    let mut cluster = common.connect()?;
    let mut outcomes = Vec::new();
    if !args.configs.is_empty() || !args.unset.is_empty() {
        let done = change_settings(&mut cluster, args);
        outcomes.push(Outcome::of(&args.topic, done.map(|()| told(args, "settings", "changed"))));
    }
    if let Some(count) = args.partitions {
        let done = add_partitions(&mut cluster, common, args, count);
        outcomes
            .push(Outcome::of(&args.topic, done.map(|()| told(args, &format!("{count} partitions"), "now"))));
    }
    outcome::print(&outcomes, common.json)
}

fn told(args: &AlterArgs, what: &str, verb: &str) -> String {
    if args.dry_run { format!("{what}: checked, nothing was changed") } else { format!("{what} {verb}") }
}

fn change_settings(cluster: &mut Cluster, args: &AlterArgs) -> Result<(), Failure> {
    let set = (args.configs.iter()).map(|set| ConfigChange {
        name: &set.name,
        operation: Operation::Set as i8,
        value: Some(&set.value),
    });
    let unset = (args.unset.iter()).map(|name| ConfigChange {
        name,
        operation: Operation::Delete as i8,
        value: None,
    });
    let resource =
        IncrementalResource { kind: TOPIC, name: &args.topic, configs: set.chain(unset).collect() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: args.dry_run };
    let answer = cluster.controller()?.ask(&request)?;
    for told in &answer.resources {
        let doing = format!("changing settings of topic {}", args.topic);
        Failure::unless_none(doing, told.error, told.error_message.as_deref())?;
    }
    Ok(())
}

fn add_partitions(
    cluster: &mut Cluster,
    common: &Common,
    args: &AlterArgs,
    count: i32,
) -> Result<(), Failure> {
    let topics = vec![PartitionsTopic { name: &args.topic, count, assignments: None }];
    let request =
        CreatePartitionsRequest { topics, timeout_ms: common.timeout_ms(), validate_only: args.dry_run };
    let answer = cluster.controller()?.ask(&request)?;
    for told in &answer.topics {
        let doing = format!("giving topic {} {count} partitions", args.topic);
        Failure::unless_none(doing, told.error, told.error_message.as_deref())?;
    }
    Ok(())
}
