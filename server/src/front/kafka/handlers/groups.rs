//! OffsetCommit, OffsetFetch, OffsetDelete, ListGroups, DescribeGroups, DeleteGroups: what groups have committed, and what
//! can be seen of them.

use std::collections::HashSet;
use std::rc::Rc;

use futures_util::future::join_all;
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse, DeletedGroup};
use keylane_kafka::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, GroupMember,
};
use keylane_kafka::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use keylane_kafka::messages::metadata::OPERATIONS_OMITTED;
use keylane_kafka::messages::offset_commit::{
    CommittedPartition, CommittedTopic, OffsetCommitRequest, OffsetCommitResponse,
};
use keylane_kafka::messages::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteTopic};
use keylane_kafka::messages::offset_fetch::{
    FetchedGroup, FetchedOffset, FetchedTopic, OffsetFetchGroup, OffsetFetchRequest, OffsetFetchResponse,
};
use uuid::Uuid;

use crate::coordinator::groups::{
    self, Committer, Described, DescribedMember, Fetcher, GroupError, Listed, Wanted,
};
use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{code_of_commit, code_of_group};
use crate::front::kafka::handlers::Handle;
use crate::service::topics::TopicKey;

/// Longest metadata of an offset, in UTF-16 units as Kafka counts (`offset.metadata.max.bytes`).
pub const METADATA_MAX: usize = 4096;

/// Groups that are deleted at the same time.
const DELETED_AT_ONCE: usize = 128;
const DEAD: &str = "Dead";
/// Operations on a group, one bit each (KIP-430): without authorization everybody may do all of them. READ 3,
/// DELETE 6, DESCRIBE 8, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11.
pub const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

/// First version of OffsetCommit in which a member of a consumer group says its epoch.
const EPOCHS: i16 = 9;
/// First version of OffsetCommit and OffsetFetch in which topics have their ids.
const IDS: i16 = 10;

/// Names of topics, whichever way a request says which it means.
struct Names<'a> {
    core: &'a Core,
    by_id: bool,
}

impl Names<'_> {
    /// A topic's name, and its id if the request says it. No topic has the empty name, which stands for an id that is not known.
    fn of(&self, name: &str, id: Uuid) -> (String, Option<Uuid>) {
        if !self.by_id {
            return (name.to_owned(), None);
        }
        let topics = self.core.topics.borrow();
        (topics.get(TopicKey::Id(id)).map(|t| t.topic.name.clone()).unwrap_or_default(), Some(id))
    }

    /// The id of a topic that an answer names.
    fn id_of(&self, name: &str) -> Uuid {
        let topics = self.core.topics.borrow();
        topics.get(TopicKey::Name(name)).map(|t| t.topic.id).unwrap_or_default()
    }

    /// What is wrong with a partition that is not there.
    fn error_of_unknown(&self, id: Uuid) -> ErrorCode {
        let known = !self.by_id || self.core.topics.borrow().get(TopicKey::Id(id)).is_some();
        if known { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId }
    }
}

impl<'q> Handle<'q> for OffsetCommitRequest<'q> {
    async fn handle(self, context: &Context) -> OffsetCommitResponse<'static> {
        let (core, request, version) = (context.core(), &self, context.version());
        let names = Names { core, by_id: version >= IDS };
        let too_large = |metadata: Option<&str>| {
            metadata.is_some_and(|m| m.len() > METADATA_MAX && m.encode_utf16().count() > METADATA_MAX)
        };
        let mut wanted = Vec::new();
        for topic in &request.topics {
            let (name, topic_id) = names.of(topic.name, topic.topic_id);
            for partition in topic.partitions.iter().filter(|p| !too_large(p.metadata)) {
                wanted.push(Wanted {
                    topic: name.clone(),
                    topic_id,
                    partition: partition.index,
                    offset: partition.offset,
                    leader_epoch: partition.leader_epoch,
                    metadata: partition.metadata.unwrap_or_default().to_owned(),
                });
            }
        }
        let who = Committer {
            generation: request.generation,
            member_id: request.member_id.to_owned(),
            instance: request.group_instance_id.map(str::to_owned),
            says_epoch: version >= EPOCHS,
        };
        let committed = groups::commit(core, request.group, who, wanted).await;
        let mut outcomes = committed.map(Vec::into_iter);
        let mut outcome = |unknown, metadata| match &mut outcomes {
            Err(error) => code_of_commit(error, version),
            Ok(_) if too_large(metadata) => ErrorCode::OffsetMetadataTooLarge,
            Ok(known) => match known.next() {
                Some(true) => ErrorCode::None,
                Some(false) => unknown,
                None => ErrorCode::UnknownServerError,
            },
        };
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let unknown = names.error_of_unknown(topic.topic_id);
            let partitions = topic.partitions.iter();
            let partitions = partitions
                .map(|p| CommittedPartition { index: p.index, error: outcome(unknown, p.metadata) });
            let (partitions, name) = (partitions.collect(), topic.name.to_owned().into());
            topics.push(CommittedTopic { name, topic_id: topic.topic_id, partitions });
        }
        // Topics without partitions are not answered, as in Kafka.
        topics.retain(|topic| !topic.partitions.is_empty());
        OffsetCommitResponse { topics, ..Default::default() }
    }
}

impl<'q> Handle<'q> for OffsetFetchRequest<'q> {
    async fn handle(self, context: &Context) -> OffsetFetchResponse<'static> {
        let (core, request, version) = (context.core(), self, context.version());
        let names = Names { core, by_id: version >= IDS };
        let asked = request.into_groups(version);
        let mut groups = Vec::with_capacity(asked.len());
        for group in &asked {
            groups.push(fetch_one(core, &names, group).await);
        }
        OffsetFetchResponse::new(version, groups)
    }
}

async fn fetch_one(
    core: &Rc<Core>,
    names: &Names<'_>,
    wanted: &OffsetFetchGroup<'_>,
) -> FetchedGroup<'static> {
    let asked: Option<Vec<(String, Vec<i32>)>> = wanted.topics.as_ref().map(|topics| {
        topics.iter().map(|t| (names.of(t.name, t.topic_id).0, t.partitions.clone())).collect()
    });
    let who = Fetcher { member_id: wanted.member_id.map(str::to_owned), epoch: wanted.member_epoch };
    let (error, found) = match groups::fetch(core, wanted.group, who, asked.clone()).await {
        Ok(found) => (ErrorCode::None, found),
        Err(error @ GroupError::Consumer(_)) => (code_of_group(&error), Vec::new()),
        Err(error) => {
            let nothing = |list: Vec<i32>| list.into_iter().map(|p| (p, None)).collect();
            let topics = asked.unwrap_or_default().into_iter();
            (code_of_group(&error), topics.map(|(topic, list)| (topic, nothing(list))).collect())
        }
    };
    let offset = |(index, committed): (i32, Option<groups::Committed>)| match committed {
        None => FetchedOffset::nothing(index),
        Some(c) => FetchedOffset {
            index,
            offset: c.offset,
            leader_epoch: c.leader_epoch,
            metadata: Some(String::from(c.metadata).into()),
            error: ErrorCode::None,
        },
    };
    // Topics asked for are answered in their order, so that one whose id is not known has it back.
    let mut ids = wanted.topics.iter().flatten().map(|t| t.topic_id);
    let topic = |(name, list): (String, Vec<_>)| {
        let partitions: Vec<FetchedOffset<'_>> = list.into_iter().map(offset).collect();
        let topic_id = ids.next().unwrap_or_else(|| names.id_of(&name));
        FetchedTopic { name: name.into(), topic_id, partitions }
    };
    let mut topics: Vec<FetchedTopic<'_>> = found.into_iter().map(topic).collect();
    for topic in topics.iter_mut().filter(|topic| names.by_id && topic.name.is_empty()) {
        topic.partitions.iter_mut().for_each(|p| p.error = ErrorCode::UnknownTopicId);
    }
    FetchedGroup { group: wanted.group.to_owned().into(), error, topics }
}

impl<'q> Handle<'q> for OffsetDeleteRequest<'q> {
    async fn handle(self, context: &Context) -> OffsetDeleteResponse<'static> {
        let (core, request) = (context.core(), &self);
        if request.group.is_empty() {
            return OffsetDeleteResponse { error: ErrorCode::InvalidGroupId, ..Default::default() };
        }
        let list = |topic: &OffsetDeleteTopic<'_>| topic.partitions.iter().map(|p| p.index).collect();
        let which = request.topics.iter().map(|topic| (topic.name.to_owned(), list(topic))).collect();
        let stay = match groups::delete_offsets(core, request.group, which).await {
            Ok(stay) => stay,
            Err(error) => return OffsetDeleteResponse { error: code_of_group(&error), ..Default::default() },
        };
        let topics = core.topics.borrow();
        let known = |topic: &str, partition: i32| {
            let topic = topics.get(TopicKey::Name(topic));
            topic.is_some_and(|t| t.route(partition).is_ok())
        };
        let outcome = |topic: &str, index| {
            let error = match known(topic, index) {
                false => ErrorCode::UnknownTopicOrPartition,
                true if stay.iter().any(|stays| stays == topic) => ErrorCode::GroupSubscribedToTopic,
                true => ErrorCode::None,
            };
            CommittedPartition { index, error }
        };
        let answer = |topic: &OffsetDeleteTopic<'_>| CommittedTopic {
            name: topic.name.to_owned().into(),
            topic_id: Uuid::nil(),
            partitions: topic.partitions.iter().map(|p| outcome(topic.name, p.index)).collect(),
        };
        let asked = request.topics.iter().filter(|topic| !topic.partitions.is_empty());
        OffsetDeleteResponse { topics: asked.map(answer).collect(), ..Default::default() }
    }
}

impl<'q> Handle<'q> for ListGroupsRequest<'q> {
    async fn handle(self, context: &Context) -> ListGroupsResponse<'static> {
        let (core, request) = (context.core(), &self);
        let picks = |filter: &[&str], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let listed = groups::list(core).await.map(|mut groups| {
            groups.retain(|group| {
                picks(&request.states, group.state) && picks(&request.types, group.kind.name())
            });
            groups
        });
        let group = |group: Listed| ListedGroup {
            group: group.name.into(),
            protocol_type: group.protocol_type.into(),
            state: group.state.into(),
            group_type: group.kind.name().into(),
        };
        match listed {
            Ok(groups) => {
                ListGroupsResponse { groups: groups.into_iter().map(group).collect(), ..Default::default() }
            }
            Err(error) => ListGroupsResponse { error: code_of_group(&error), ..Default::default() },
        }
    }
}

/// Answers DescribeGroups. A group that does not exist is Dead; from version 6 on that is an error.
impl<'q> Handle<'q> for DescribeGroupsRequest<'q> {
    async fn handle(self, context: &Context) -> DescribeGroupsResponse<'static> {
        let (core, request, version) = (context.core(), &self, context.version());
        let wants = request.include_authorized_operations;
        let mut described = Vec::with_capacity(request.groups.len());
        for group in &request.groups {
            let without = |state| Described { state, ..Described::empty() };
            let (error, found) = match groups::describe(core, group).await {
                Ok(Some(found)) => (ErrorCode::None, found),
                Ok(None) if version >= 6 => (ErrorCode::GroupIdNotFound, without(DEAD)),
                Ok(None) => (ErrorCode::None, without(DEAD)),
                Err(error) => (code_of_group(&error), without("")),
            };
            let missing = error == ErrorCode::GroupIdNotFound;
            described.push(DescribedGroup {
                error,
                error_message: missing.then(|| format!("there is no group {group}").into()),
                group: (*group).to_owned().into(),
                state: found.state.into(),
                protocol_type: found.protocol_type.into(),
                protocol_data: found.protocol.into(),
                members: found.members.into_iter().map(described_member).collect(),
                authorized_operations: if wants && error.is_none() {
                    GROUP_OPERATIONS
                } else {
                    OPERATIONS_OMITTED
                },
            });
        }
        DescribeGroupsResponse { groups: described, ..Default::default() }
    }
}

fn described_member(member: DescribedMember) -> GroupMember<'static> {
    GroupMember {
        member_id: member.id.to_string().into(),
        group_instance_id: member.instance.map(|instance| instance.to_string().into()),
        client_id: member.client_id.to_string().into(),
        client_host: member.client_host.to_string().into(),
        member_metadata: Vec::from(member.metadata).into(),
        member_assignment: Vec::from(member.assignment).into(),
    }
}

impl<'q> Handle<'q> for DeleteGroupsRequest<'q> {
    async fn handle(self, context: &Context) -> DeleteGroupsResponse<'static> {
        let (core, request) = (context.core(), &self);
        let mut done = HashSet::new();
        let named: Vec<&str> = request.groups.iter().copied().filter(|group| done.insert(*group)).collect();
        let mut results = Vec::with_capacity(named.len());
        // Side by side, so that one flush makes many of them durable.
        for some in named.chunks(DELETED_AT_ONCE) {
            let deleted = join_all(some.iter().map(|group| groups::delete(core, group))).await;
            results.extend(some.iter().zip(deleted).map(|(group, deleted)| {
                let error = deleted.err().map_or(ErrorCode::None, |e| code_of_group(&e));
                DeletedGroup { group: (*group).to_owned().into(), error }
            }));
        }
        DeleteGroupsResponse { results, ..Default::default() }
    }
}
