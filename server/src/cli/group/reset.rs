//! `keylane group reset`
use std::collections::BTreeMap;
use std::str::FromStr;

use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::list_offsets::{EARLIEST, LATEST};
use keylane_kafka::messages::offset_commit::{OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic};
use serde::Serialize;

use super::committed::{Committed, committed};
use super::members::group;
use crate::cli::connect::{Common, existing};
use crate::cli::failure::Failure;
use crate::cli::offsets::offsets;
use crate::cli::place::Place;
use crate::cli::say::{self, Table};

/// Options of `keylane group reset`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub struct ResetArgs {
    /// Name of the group; one that does not exist is made, if topics are given
    #[arg(value_name = "GROUP")]
    group: String,
    /// Topics, or partitions as TOPIC:0,2; may be given several times [default: all that have a committed offset]
    #[arg(short, long = "topic", value_name = "TOPIC[:N,N]")]
    topics: Vec<Chosen>,
    /// New place: start, end, an offset, -N (the last N), or @TIME as @2026-11-29T10:00:00Z or @10m
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true, group = "where")]
    to: Option<Place>,
    /// New place: so many records on, or back if below 0
    #[arg(long, value_name = "N", allow_negative_numbers = true, group = "where")]
    by: Option<i64>,
    /// Change the offsets; without this they are only shown
    #[arg(long)]
    execute: bool,
}

/// A topic and perhaps partitions of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chosen {
    topic: String,
    /// Empty: all.
    partitions: Vec<i32>,
}

impl FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((topic, list)) = text.split_once(':') else {
            return Ok(Self { topic: text.to_owned(), partitions: Vec::new() });
        };
        let partitions = list.split(',').map(str::parse).collect::<Result<_, _>>();
        let partitions = partitions.map_err(|_| "write TOPIC or TOPIC:N,N")?;
        Ok(Self { topic: topic.to_owned(), partitions })
    }
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Reset<'a> {
    group: &'a str,
    /// False: nothing was changed.
    executed: bool,
    partitions: Vec<Change>,
}

#[derive(Serialize)]
struct Change {
    topic: String,
    partition: i32,
    /// `null` if nothing was committed.
    committed: Option<i64>,
    new: i64,
}

/// Runs the command.
pub fn run(common: &Common, args: &ResetArgs) -> Result<(), Failure> {
    let mut cluster = common.connect()?;
    let found = group(&mut cluster, &args.group)?;
    if !found.is_idle() {
        let (name, state) = (&args.group, &found.state);
        return Err(Failure::Unfit(format!(
            "group {name} is {state}: offsets of a group with members are not changed; stop them first \
             (`keylane group describe {name}` shows them), and wait until their sessions have ended"
        )));
    }
    let committed = committed(&mut cluster, &args.group)?;
    let changes = plan(&mut cluster, args, &committed)?;
    if args.execute {
        commit(&mut cluster, &args.group, &changes)?;
    }
    if common.json {
        say::print_json(&Reset { group: &args.group, executed: args.execute, partitions: changes })?;
    } else {
        let mut table = Table::new(&["TOPIC", "PARTITION", "COMMITTED", "NEW"]);
        for change in changes {
            let committed = change.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
            table.row(vec![change.topic, change.partition.to_string(), committed, change.new.to_string()]);
        }
        say::print(&table.text(""))?;
    }
    if !args.execute {
        say::tell("nothing was changed; add --execute to do it");
    }
    Ok(())
}

/// What would be committed.
fn plan(cluster: &mut Cluster, args: &ResetArgs, committed: &Committed) -> Result<Vec<Change>, Failure> {
    let all = committed.iter().map(|(topic, offsets)| Chosen {
        topic: topic.clone(),
        partitions: offsets.keys().copied().collect(),
    });
    let chosen = if args.topics.is_empty() { all.collect() } else { args.topics.clone() };
    if chosen.is_empty() {
        let name = &args.group;
        return Err(Failure::Unfit(format!(
            "group {name} has no committed offsets; name topics with --topic"
        )));
    }
    let mut changes = Vec::new();
    for Chosen { topic: name, partitions } in chosen {
        let topic = existing(cluster, &name)?;
        let there = || topic.partitions.iter().map(|partition| partition.index);
        if let Some(unknown) = partitions.iter().find(|index| !there().any(|there| there == **index)) {
            return Err(Failure::Unfit(format!("topic {name} has no partition {unknown}")));
        }
        let wanted = if partitions.is_empty() { there().collect() } else { partitions };
        let starts = offsets(cluster, &topic, &wanted, EARLIEST, false)?;
        let ends = offsets(cluster, &topic, &wanted, LATEST, false)?;
        let places = match args.to {
            Some(place) => place.find(cluster, &topic, &wanted, false)?,
            None => BTreeMap::new(),
        };
        for partition in wanted {
            let at = |offsets: &BTreeMap<i32, i64>| offsets.get(&partition).copied().unwrap_or(0);
            let committed = committed.get(&name).and_then(|offsets| offsets.get(&partition)).copied();
            let wanted = match args.by {
                // Who has committed nothing begins at the start.
                Some(by) => committed.unwrap_or(at(&starts)).saturating_add(by),
                None => at(&places),
            };
            // Only what is there can be read.
            let new = wanted.max(at(&starts)).min(at(&ends));
            changes.push(Change { topic: name.clone(), partition, committed, new });
        }
    }
    Ok(changes)
}

fn commit(cluster: &mut Cluster, group: &str, changes: &[Change]) -> Result<(), Failure> {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitPartition<'_>>> = BTreeMap::new();
    for change in changes {
        let partition = OffsetCommitPartition {
            index: change.partition,
            offset: change.new,
            metadata: Some(""),
            ..Default::default()
        };
        topics.entry(&change.topic).or_default().push(partition);
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| OffsetCommitTopic { name, partitions, ..Default::default() })
        .collect();
    let request = OffsetCommitRequest { group, topics, ..Default::default() };
    let coordinator = cluster.coordinator(group)?;
    let answer = cluster.broker(coordinator)?.ask(&request)?;
    for topic in &answer.topics {
        for told in &topic.partitions {
            let doing = format!("resetting group {group}, topic {}, partition {}", topic.name, told.index);
            Failure::unless_none(doing, told.error, None)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_can_be_chosen() {
        let chosen =
            |topic: &str, partitions: &[i32]| Chosen { topic: topic.into(), partitions: partitions.into() };
        assert_eq!("t".parse(), Ok(chosen("t", &[])));
        assert_eq!("t:0,2".parse(), Ok(chosen("t", &[0, 2])));
        assert!("t:".parse::<Chosen>().is_err() && "t:a".parse::<Chosen>().is_err());
    }
}
