//! Who leads partitions and where they are: ElectLeaders, AlterPartitionReassignments, ListPartitionReassignments and AlterReplicaLogDirs.
//!
//! Promise: there is one node with one directory, and the answers say so: what asks for that is done already, what asks for anything
//! else is refused with the code that Kafka has for it.

use std::path::Path;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignPartition,
    ReassignedPartition, ReassignedTopic,
};
use keylane_kafka::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, MovedPartition, MovedTopicOutcome,
};
use keylane_kafka::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectedPartition, ElectedTopic, PREFERRED, UNCLEAN,
};
use keylane_kafka::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::Refusal;
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::node::NODE_ID;
use crate::service::sizes;
use crate::service::topics::TopicKey;

/// Refuses a partition that does not exist.
fn check_exists(core: &Core, topic: &str, index: i32) -> Result<(), Refusal> {
    let topics = core.topics.borrow();
    let unknown = |what: String| (ErrorCode::UnknownTopicOrPartition, what);
    let known = topics.get(TopicKey::Name(topic));
    let known = known.ok_or_else(|| unknown(format!("there is no topic {topic}")))?;
    known.route(index).map(drop).map_err(|_| unknown(format!("there is no partition {index} of {topic}")))
}

/// The code and the text of an outcome.
fn told(outcome: Result<(), Refusal>) -> (ErrorCode, Option<std::borrow::Cow<'static, str>>) {
    match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err((code, message)) => (code, Some(message.into())),
    }
}

/// Answers ElectLeaders: the only node leads every partition already.
impl<'q> Handle<'q> for ElectLeadersRequest<'q> {
    async fn handle(self, context: &Context) -> ElectLeadersResponse<'static> {
        let core = context.core();
        let known = [PREFERRED, UNCLEAN].contains(&self.election_type);
        let refuse = |topic: &str, index: i32| -> Refusal {
            if !known {
                let why = format!("there is no election of type {}", self.election_type);
                return (ErrorCode::InvalidRequest, why);
            }
            let led =
                || (ErrorCode::ElectionNotNeeded, "the only node leads the partition already".to_owned());
            check_exists(core, topic, index).err().unwrap_or_else(led)
        };
        let elect = |topic: &str, index: i32| {
            let (error, error_message) = told(Err(refuse(topic, index)));
            ElectedPartition { index, error, error_message }
        };
        // Of all partitions, those whose leader changes are named: there are none.
        let topics = self.topics.iter().flatten().map(|topic| ElectedTopic {
            name: topic.name.to_owned().into(),
            partitions: topic.partitions.iter().map(|index| elect(topic.name, *index)).collect(),
        });
        let error = if known { ErrorCode::None } else { ErrorCode::InvalidRequest };
        ElectLeadersResponse { error, topics: topics.collect(), ..Default::default() }
    }
}

/// Refuses what a partition cannot have: it is on the only node.
fn check_replicas(core: &Core, topic: &str, partition: &ReassignPartition) -> Result<(), Refusal> {
    check_exists(core, topic, partition.index)?;
    let Some(replicas) = &partition.replicas else {
        let why = "no move of the partition is under way".to_owned();
        return Err((ErrorCode::NoReassignmentInProgress, why));
    };
    if replicas[..] == [NODE_ID] {
        return Ok(());
    }
    let why = format!("a partition is on the only node, {NODE_ID}: name it once, and no other");
    Err((ErrorCode::InvalidReplicaAssignment, why))
}

/// Answers AlterPartitionReassignments: a partition can be on the only node, where it is.
impl<'q> Handle<'q> for AlterPartitionReassignmentsRequest<'q> {
    async fn handle(self, context: &Context) -> AlterPartitionReassignmentsResponse<'static> {
        let core = context.core();
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let (error, error_message) = told(check_replicas(core, topic.name, partition));
                ReassignedPartition { index: partition.index, error, error_message }
            });
            ReassignedTopic { name: topic.name.to_owned().into(), partitions: partitions.collect() }
        });
        AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: self.allow_replication_factor_change,
            topics: topics.collect(),
            ..Default::default()
        }
    }
}

/// Answers ListPartitionReassignments: no partition is on its way.
impl<'q> Handle<'q> for ListPartitionReassignmentsRequest<'q> {
    async fn handle(self, _: &Context) -> ListPartitionReassignmentsResponse<'static> {
        ListPartitionReassignmentsResponse::default()
    }
}

/// Answers AlterReplicaLogDirs: a partition can be in the only directory, where it is.
impl<'q> Handle<'q> for AlterReplicaLogDirsRequest<'q> {
    async fn handle(self, context: &Context) -> AlterReplicaLogDirsResponse<'static> {
        let core = context.core();
        let own = sizes::space(core).ok();
        let mut topics: Vec<MovedTopicOutcome<'static>> = Vec::new();
        for directory in &self.directories {
            let is_own = own.as_ref().is_some_and(|own| own.directory == Path::new(directory.path));
            for topic in &directory.topics {
                let partitions = topic.partitions.iter().map(|index| {
                    let error = match is_own {
                        false => ErrorCode::LogDirNotFound,
                        true => told(check_exists(core, topic.name, *index)).0,
                    };
                    MovedPartition { index: *index, error }
                });
                let partitions = partitions.collect();
                topics.push(MovedTopicOutcome { name: topic.name.to_owned().into(), partitions });
            }
        }
        AlterReplicaLogDirsResponse { topics, ..Default::default() }
    }
}
