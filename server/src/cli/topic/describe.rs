//! `keylane topic describe`
use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keylane_kafka::cluster::{Cluster, Topic};
use keylane_kafka::messages::list_offsets::{EARLIEST, LATEST};
use serde::Serialize;

use super::list::replicas;
use super::setting::{Setting, settings};
use crate::cli::connect::{Common, existing};
use crate::cli::failure::Failure;
use crate::cli::offsets::offsets;
use crate::cli::say::{self, Table};

/// Options of `keylane topic describe`.
#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Show all settings, not only those that were set on the topic
    #[arg(short, long)]
    all: bool,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Described {
    topic: String,
    /// `null` where the broker has none.
    id: Option<String>,
    internal: bool,
    replicas: usize,
    partitions: Vec<DescribedPartition>,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: i32,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    /// The first offset that can be read.
    start_offset: i64,
    /// The offset of the record that comes next.
    end_offset: i64,
}

/// Runs the command.
pub fn run(common: &Common, args: &DescribeArgs) -> Result<(), Failure> {
    let mut cluster = common.connect()?;
    let mut described = Vec::new();
    for name in &args.topics {
        let topic = existing(&mut cluster, name)?;
        described.push(describe(&mut cluster, topic, args.all)?);
    }
    if common.json {
        return say::print_json(&described);
    }
    let texts: Vec<_> = described.iter().map(text).collect();
    say::print(&texts.join("\n"))
}

fn describe(cluster: &mut Cluster, topic: Topic, all: bool) -> Result<Described, Failure> {
    let indexes: Vec<_> = topic.partitions.iter().map(|partition| partition.index).collect();
    let starts = offsets(cluster, &topic, &indexes, EARLIEST, false)?;
    let ends = offsets(cluster, &topic, &indexes, LATEST, false)?;
    let at = |offsets: &BTreeMap<i32, i64>, index| offsets.get(&index).copied().unwrap_or(-1);
    let replicas = replicas(&topic);
    let partitions = (topic.partitions.into_iter())
        .map(|partition| DescribedPartition {
            partition: partition.index,
            leader: partition.leader,
            replicas: partition.replicas,
            in_sync: partition.in_sync,
            start_offset: at(&starts, partition.index),
            end_offset: at(&ends, partition.index),
        })
        .collect();
    let mut settings = settings(cluster, std::slice::from_ref(&topic.name))?.pop().unwrap_or_default();
    settings.retain(|setting| all || setting.source == "topic");
    Ok(Described {
        topic: topic.name,
        id: (!topic.id.is_nil()).then(|| URL_SAFE_NO_PAD.encode(topic.id)),
        internal: topic.is_internal,
        replicas,
        partitions,
        settings,
    })
}

fn text(topic: &Described) -> String {
    let mut text = say::heading(&topic.topic);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  id          {}", topic.id.as_deref().unwrap_or("-"));
    let _ = writeln!(text, "  partitions  {}", topic.partitions.len());
    let _ = writeln!(text, "  replicas    {}", topic.replicas);
    if !topic.settings.is_empty() {
        text.push('\n');
        let mut table = Table::new(&["SETTING", "VALUE", "SOURCE"]);
        for setting in &topic.settings {
            let value = setting.value.clone().unwrap_or_else(|| "(secret)".to_owned());
            table.row(vec![setting.name.clone(), value, setting.source.to_owned()]);
        }
        text.push_str(&table.text("  "));
    }
    text.push('\n');
    let mut table = Table::new(&["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "START", "END"]);
    let list = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    for partition in &topic.partitions {
        table.row(vec![
            partition.partition.to_string(),
            partition.leader.to_string(),
            list(&partition.replicas),
            list(&partition.in_sync),
            partition.start_offset.to_string(),
            partition.end_offset.to_string(),
        ]);
    }
    text.push_str(&table.text("  "));
    text
}
