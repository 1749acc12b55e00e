//! `keylane topic delete`
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::delete_topics::{DeletableTopic, DeleteTopicsRequest};
use uuid::Uuid;

use crate::cli::connect::Common;
use crate::cli::failure::Failure;
use crate::cli::outcome::{self, Outcome};

/// Options of `keylane topic delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Names of the topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// A topic that does not exist is no error
    #[arg(long)]
    if_exists: bool,
}

/// Runs the command.
pub fn run(common: &Common, args: &DeleteArgs) -> Result<(), Failure> {
    let mut cluster = common.connect()?;
    let request = DeleteTopicsRequest {
        topics: args
            .topics
            .iter()
            .map(|name| DeletableTopic { name: Some(name), topic_id: Uuid::nil() })
            .collect(),
        // The same for brokers that know names only.
        topic_names: args.topics.iter().map(String::as_str).collect(),
        timeout_ms: common.timeout_ms(),
    };
    let answer = cluster.controller()?.ask(&request)?;
    let outcomes: Vec<_> = (answer.topics.iter())
        .map(|told| {
            let name = told.name.as_deref().unwrap_or_default();
            if told.error == ErrorCode::UnknownTopicOrPartition && args.if_exists {
                return Outcome::done(name, "does not exist");
            }
            let doing = format!("deleting topic {name}");
            let done = Failure::unless_none(doing, told.error, told.error_message.as_deref());
            Outcome::of(name, done.map(|()| "deleted".to_owned()))
        })
        .collect();
    outcome::print(&outcomes, common.json)
}
