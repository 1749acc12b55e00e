//! `keylane group list`
use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::list_groups::ListGroupsRequest;
use serde::Serialize;

use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::say::{self, Table};

/// Options of `keylane group list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// List only groups in this state, as Stable or Empty
    #[arg(short, long, value_name = "STATE")]
    state: Option<String>,
}

/// A group, as its coordinator lists it.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name.
    pub group: String,
    /// Its state; empty where the broker does not say.
    pub state: String,
    /// Its type; empty where the broker does not say.
    #[serde(rename = "type")]
    pub kind: String,
    /// What its members speak.
    pub protocol_type: String,
    /// The broker that keeps it.
    pub coordinator: i32,
}

/// All groups, by name.
pub fn groups(cluster: &mut Cluster) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    for coordinator in cluster.brokers() {
        let answer = cluster.broker(coordinator)?.ask(&ListGroupsRequest::default())?;
        Failure::unless_none(format!("listing the groups of broker {coordinator}"), answer.error, None)?;
        listed.extend(answer.groups.into_iter().map(|group| Listed {
            group: group.group.into_owned(),
            state: group.state.into_owned(),
            kind: group.group_type.into_owned(),
            protocol_type: group.protocol_type.into_owned(),
            coordinator,
        }));
    }
    listed.sort_by(|a, b| a.group.cmp(&b.group));
    Ok(listed)
}

/// Runs the command.
pub fn run(common: &Common, args: &ListArgs) -> Result<(), Failure> {
    let mut listed = groups(&mut common.connect()?)?;
    listed.retain(|group| args.state.as_ref().is_none_or(|state| state.eq_ignore_ascii_case(&group.state)));
    if common.json {
        return say::print_json(&listed);
    }
    let mut table = Table::new(&["GROUP", "STATE", "TYPE", "COORDINATOR"]);
    for group in listed {
        let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        table.row(vec![
            group.group,
            or_dash(group.state),
            or_dash(group.kind),
            group.coordinator.to_string(),
        ]);
    }
    say::print(&table.text(""))
}
