//! `keylane group delete`
use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::delete_groups::DeleteGroupsRequest;

use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::outcome::{self, Named, Outcome};

/// Options of `keylane group delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Names of the groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

/// Runs the command.
pub fn run(common: &Common, args: &DeleteArgs) -> Result<(), Failure> {
    let mut cluster = common.connect()?;
    let mut outcomes = Vec::new();
    for name in &args.groups {
        let deleted = delete(&mut cluster, name).map(|()| "deleted".to_owned());
        outcomes.push(Outcome::with(Named::Group(name.clone()), deleted));
    }
    outcome::print(&outcomes, common.json)
}

fn delete(cluster: &mut Cluster, name: &str) -> Result<(), Failure> {
    let coordinator = cluster.coordinator(name)?;
    let answer = cluster.broker(coordinator)?.ask(&DeleteGroupsRequest { groups: vec![name] })?;
    for told in &answer.results {
        Failure::unless_none(format!("deleting group {name}"), told.error, None)?;
    }
    Ok(())
}
