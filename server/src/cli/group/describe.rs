//! `keylane group describe`
use std::collections::BTreeMap;
use std::fmt::Write as _;

use keylane_kafka::ErrorCode;
use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::list_offsets::LATEST;
use serde::Serialize;

use super::committed::{Committed, committed};
use super::members::{Member, group};
use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::offsets::offsets;
use crate::cli::say::{self, Table};

/// Options of `keylane group describe`.
#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// Names of the groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Described {
    group: String,
    state: String,
    protocol: String,
    coordinator: i32,
    /// `null` where the broker does not tell them.
    members: Option<Vec<Member>>,
    /// Records that were not read yet, in all partitions for which that is known.
    lag: i64,
    partitions: Vec<Lag>,
}

#[derive(Serialize)]
struct Lag {
    topic: String,
    partition: i32,
    /// The offset to read next; `null` if none was committed.
    committed: Option<i64>,
    /// The offset of the record that comes next; `null` if the partition is gone.
    end_offset: Option<i64>,
    lag: Option<i64>,
    /// Id of the member that reads it.
    member: Option<String>,
}

/// Runs the command.
pub fn run(common: &Common, args: &DescribeArgs) -> Result<(), Failure> {
    let mut cluster = common.connect()?;
    let mut described = Vec::new();
    for name in &args.groups {
        described.push(describe(&mut cluster, name)?);
    }
    if common.json {
        return say::print_json(&described);
    }
    let texts: Vec<_> = described.iter().map(text).collect();
    say::print(&texts.join("\n"))
}

fn describe(cluster: &mut Cluster, name: &str) -> Result<Described, Failure> {
    let found = group(cluster, name)?;
    if !found.exists() {
        Failure::unless_none(format!("group {name}"), ErrorCode::GroupIdNotFound, None)?;
    }
    let coordinator = cluster.coordinator(name)?;
    let members = found.members.as_deref().unwrap_or_default();
    let committed = committed(cluster, name)?;
    let partitions = lags(cluster, &committed, members)?;
    Ok(Described {
        group: name.to_owned(),
        state: found.state,
        protocol: found.protocol,
        coordinator,
        lag: partitions.iter().filter_map(|partition| partition.lag).sum(),
        members: found.members,
        partitions,
    })
}

/// A line for each partition that has a committed offset or is assigned.
fn lags(cluster: &mut Cluster, committed: &Committed, members: &[Member]) -> Result<Vec<Lag>, Failure> {
    let mut owners: BTreeMap<&str, BTreeMap<i32, Option<&str>>> = BTreeMap::new();
    for (topic, partitions) in committed {
        owners.entry(topic).or_default().extend(partitions.keys().map(|index| (*index, None)));
    }
    for member in members {
        for (topic, partitions) in &member.assigned {
            let owned = partitions.iter().map(|index| (*index, Some(member.id.as_str())));
            owners.entry(topic).or_default().extend(owned);
        }
    }
    let mut lags = Vec::new();
    for (name, partitions) in owners {
        let topic = cluster.topic(name)?;
        let there = |index: &i32| topic.partitions.iter().any(|partition| partition.index == *index);
        let wanted: Vec<i32> = partitions.keys().copied().filter(there).collect();
        let ends = match wanted.is_empty() {
            true => BTreeMap::new(),
            false => offsets(cluster, &topic, &wanted, LATEST, false)?,
        };
        for (partition, member) in partitions {
            let committed = committed.get(name).and_then(|offsets| offsets.get(&partition)).copied();
            let end_offset = ends.get(&partition).copied();
            lags.push(Lag {
                topic: name.to_owned(),
                partition,
                committed,
                end_offset,
                lag: committed.zip(end_offset).map(|(committed, end)| (end - committed).max(0)),
                member: member.map(str::to_owned),
            });
        }
    }
    Ok(lags)
}

fn text(group: &Described) -> String {
    let mut text = say::heading(&group.group);
    let members = group.members.as_deref().unwrap_or_default();
    let count = match &group.members {
        Some(members) => members.len().to_string(),
        None => "not told".to_owned(),
    };
    let protocol = if group.protocol.is_empty() { "-" } else { &group.protocol };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  state        {}", group.state);
    let _ = writeln!(text, "  protocol     {protocol}");
    let _ = writeln!(text, "  coordinator  {}", group.coordinator);
    let _ = writeln!(text, "  members      {count}");
    let _ = writeln!(text, "  lag          {}\n", group.lag);
    let mut table =
        Table::new(&["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "CLIENT", "HOST"]);
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for row in &group.partitions {
        let member = members.iter().find(|member| Some(&member.id) == row.member.as_ref());
        let [id, client, host] = who(member);
        let (committed, end, lag) = (number(row.committed), number(row.end_offset), number(row.lag));
        table.row(vec![row.topic.clone(), row.partition.to_string(), committed, end, lag, id, client, host]);
    }
    for idle in members.iter().filter(|member| member.assigned.is_empty()) {
        let dash = || "-".to_owned();
        let [id, client, host] = who(Some(idle));
        table.row(vec![dash(), dash(), dash(), dash(), dash(), id, client, host]);
    }
    text.push_str(&table.text("  "));
    text
}

fn who(member: Option<&Member>) -> [String; 3] {
    match member {
        Some(member) => [member.id.clone(), member.client_id.clone(), member.host.clone()],
        None => std::array::from_fn(|_| "-".to_owned()),
    }
}
