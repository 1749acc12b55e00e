//! ConsumerGroupHeartbeat, ConsumerGroupDescribe: the members of consumer groups (KIP-848).

use std::sync::Arc;

use keylane_kafka::ErrorCode;
use keylane_kafka::field::Nullable;
use keylane_kafka::messages::consumer_group_describe::{
    CLASSIC_MEMBER, CONSUMER_MEMBER, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    DescribedAssignment, DescribedGroup, DescribedMember, DescribedPartitions,
};
use keylane_kafka::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, JOINS, TopicPartitions,
};
use keylane_kafka::messages::metadata::OPERATIONS_OMITTED;
use uuid::Uuid;

use crate::coordinator::groups::consumer::{self, Heartbeat, Partitions};
use crate::coordinator::groups::{self, GroupError};
use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::code_of_group;
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::handlers::groups::GROUP_OPERATIONS;
use crate::service::topics::TopicKey;

/// First version of ConsumerGroupHeartbeat in which members choose their ids (KIP-1082).
const OWN_IDS: i16 = 1;

fn shared(text: Option<&str>) -> Option<Arc<str>> {
    text.map(Into::into)
}

/// What a member says.
fn asked(context: &Context, request: &ConsumerGroupHeartbeatRequest<'_>) -> Heartbeat {
    let joins_without_id =
        context.version() < OWN_IDS && request.member_epoch == JOINS && request.member_id.is_empty();
    let topics = request.subscribed_topic_names.as_ref();
    let owned = request.topic_partitions.as_ref().map(|topics| {
        let list = |topic: &TopicPartitions| {
            let id = topic.topic_id;
            topic.partitions.clone().into_iter().map(move |partition| (id, partition))
        };
        topics.iter().flat_map(list).collect()
    });
    Heartbeat {
        member_id: match joins_without_id {
            true => Uuid::new_v4().to_string().into(),
            false => request.member_id.into(),
        },
        epoch: request.member_epoch,
        instance: shared(request.instance_id),
        rack: shared(request.rack_id),
        rebalance_ms: request.rebalance_timeout_ms,
        topics: topics.map(|names| names.iter().map(|name| (*name).into()).collect()),
        regex: shared(request.subscribed_topic_regex),
        assignor: shared(request.server_assignor),
        owned,
        client_id: context.client_id.as_deref().unwrap_or_default().into(),
        client_host: format!("/{}", context.connection.peer.ip()).into(),
        classic: None,
    }
}

fn assignment(partitions: &Partitions) -> Assignment {
    let topic = |(id, list): (&Uuid, &std::collections::BTreeSet<i32>)| TopicPartitions {
        topic_id: *id,
        partitions: list.iter().copied().collect(),
    };
    Assignment { topic_partitions: partitions.topics().map(topic).collect() }
}

impl<'q> Handle<'q> for ConsumerGroupHeartbeatRequest<'q> {
    async fn handle(self, context: &Context) -> ConsumerGroupHeartbeatResponse<'static> {
        let heartbeat = asked(context, &self);
        match groups::consumer_heartbeat(context.core(), self.group, heartbeat).await {
            Ok(beat) => ConsumerGroupHeartbeatResponse {
                member_id: Some(beat.member_id.to_string().into()),
                member_epoch: beat.epoch,
                heartbeat_interval_ms: i32::try_from(beat.interval).unwrap_or(i32::MAX),
                assignment: Nullable(beat.assignment.as_ref().map(assignment)),
                ..Default::default()
            },
            Err(error) => {
                let code = match &error {
                    // What clients expect of a group without a name.
                    GroupError::Name { .. } => ErrorCode::InvalidRequest,
                    error => code_of_group(error),
                };
                ConsumerGroupHeartbeatResponse {
                    error: code,
                    error_message: Some(error.to_string().into()),
                    ..Default::default()
                }
            }
        }
    }
}

impl<'q> Handle<'q> for ConsumerGroupDescribeRequest<'q> {
    async fn handle(self, context: &Context) -> ConsumerGroupDescribeResponse<'static> {
        let (core, request) = (context.core(), &self);
        let mut described = Vec::with_capacity(request.groups.len());
        for group in &request.groups {
            let refused = |error, error_message: Option<String>| DescribedGroup {
                error,
                error_message: error_message.map(Into::into),
                group: (*group).to_owned().into(),
                ..Default::default()
            };
            described.push(match groups::describe_consumer(core, group).await {
                _ if group.is_empty() => refused(ErrorCode::InvalidGroupId, None),
                Ok(Some(found)) => {
                    let operations = match request.include_authorized_operations {
                        true => GROUP_OPERATIONS,
                        false => OPERATIONS_OMITTED,
                    };
                    described_group(core, group, found, operations)
                }
                Ok(None) => {
                    let text = format!("there is no consumer group {group}");
                    refused(ErrorCode::GroupIdNotFound, Some(text))
                }
                Err(error) => refused(code_of_group(&error), Some(error.to_string())),
            });
        }
        ConsumerGroupDescribeResponse { groups: described, ..Default::default() }
    }
}

fn described_group(
    core: &Core,
    group: &str,
    found: consumer::Described,
    authorized_operations: i32,
) -> DescribedGroup<'static> {
    DescribedGroup {
        group: group.to_owned().into(),
        state: found.state.name().into(),
        group_epoch: found.epoch,
        assignment_epoch: found.target_epoch,
        assignor: found.assignor.into(),
        members: found.members.into_iter().map(|member| described_member(core, member)).collect(),
        authorized_operations,
        ..Default::default()
    }
}

fn described_member(core: &Core, member: consumer::DescribedMember) -> DescribedMember<'static> {
    let text = |text: Arc<str>| text.to_string().into();
    let said = member.said;
    DescribedMember {
        member_id: text(member.id),
        instance_id: said.instance.map(text),
        rack_id: said.rack.map(text),
        member_epoch: member.epoch,
        client_id: text(said.client_id),
        client_host: text(said.client_host),
        subscribed_topic_names: said.topics.into_iter().map(text).collect(),
        subscribed_topic_regex: Some(said.regex.map(text).unwrap_or_default()),
        assignment: described_assignment(core, &member.assigned),
        target_assignment: described_assignment(core, &member.target),
        member_type: if said.classic.is_some() { CLASSIC_MEMBER } else { CONSUMER_MEMBER },
    }
}

/// With the names of topics; one that is deleted is left out.
fn described_assignment(core: &Core, partitions: &Partitions) -> DescribedAssignment<'static> {
    let topics = core.topics.borrow();
    let topic_partitions = partitions.topics().filter_map(|(id, list)| {
        let name = topics.get(TopicKey::Id(*id))?.topic.name.clone();
        let partitions = list.iter().copied().collect();
        Some(DescribedPartitions { topic_id: *id, topic_name: name.into(), partitions })
    });
    DescribedAssignment { topic_partitions: topic_partitions.collect() }
}
