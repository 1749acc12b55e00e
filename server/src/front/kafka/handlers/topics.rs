//! CreateTopics, DeleteTopics, InitProducerId. A success is answered when it is durable and known to every
//! core.

use std::collections::HashSet;
use std::rc::Rc;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, EnlargedTopic, PartitionsTopic,
};
use keylane_kafka::messages::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic, CreatedTopicConfig,
};
use keylane_kafka::messages::delete_topics::{
    DeletableTopic, DeleteTopicsRequest, DeleteTopicsResponse, DeletedTopic,
};
use keylane_kafka::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use uuid::Uuid;

use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{Refusal, code_of_topic, refusal_of_topic};
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::node::NODE_ID;
use crate::front::kafka::repeated::repeated;
use crate::service::catalog;
use crate::service::error::{PARTITIONS_MAX, TopicError};
use crate::service::settings;
use crate::service::topics::{TopicKey, check_changeable, check_partitions};

use super::configs;

/// Kafka keeps its own metadata in a log of this name, so that no client can have a topic called so.
const METADATA_LOG: &str = "__cluster_metadata";

fn invalid(message: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, message.into())
}

impl<'q> Handle<'q> for CreateTopicsRequest<'q> {
    async fn handle(self, context: &Context) -> CreateTopicsResponse<'static> {
        let (core, request) = (context.core(), &self);
        let twice = repeated(request.topics.iter().map(|t| t.name));
        let mut topics = Vec::with_capacity(request.topics.len());
        let mut done = HashSet::new();
        for topic in request.topics.iter().filter(|t| done.insert(t.name)) {
            let created = if twice.contains(topic.name) {
                Err(invalid("the request names this topic more than once"))
            } else {
                create_one(core, topic, request.validate_only).await
            };
            let failed = |(code, message)| CreatedTopic::failed(topic.name.to_owned(), code, message);
            topics.push(created.unwrap_or_else(failed));
        }
        CreateTopicsResponse { topics, ..Default::default() }
    }
}

async fn create_one(
    core: &Rc<Core>,
    topic: &CreatableTopic<'_>,
    validate_only: bool,
) -> Result<CreatedTopic<'static>, Refusal> {
    let partitions = check(core, topic)?;
    let asked: Vec<_> = topic.configs.iter().map(|config| (config.name, config.value)).collect();
    let refused = |error: TopicError| refusal_of_topic(&error);
    let settings = settings::accept(&asked, &core.topic_base()).map_err(|e| refused(e.into()))?;
    let id = if validate_only {
        // As Kafka answers: the id that a topic could have, which none has.
        Uuid::new_v4()
    } else {
        let created = catalog::create(core, topic.name.to_owned(), partitions, settings.clone());
        created.await.map_err(refused)?.id
    };
    let described = configs::topic_configs(&settings, core);
    let configs = described.into_iter().map(|c| CreatedTopicConfig {
        name: c.name,
        value: c.value,
        read_only: c.read_only,
        source: c.source,
        is_sensitive: false,
    });
    Ok(CreatedTopic {
        name: topic.name.to_owned().into(),
        topic_id: id,
        error: ErrorCode::None,
        error_message: None,
        num_partitions: partitions as i32,
        replication_factor: 1,
        configs: Some(configs.collect()),
    })
}

fn check(core: &Core, topic: &CreatableTopic<'_>) -> Result<usize, Refusal> {
    let refuse = |code, message: String| Err((code, message));
    if topic.name == METADATA_LOG {
        return Err(invalid(format!("{METADATA_LOG} is the name of Kafka's own metadata log")));
    }
    core.topics.borrow().check_new(topic.name).map_err(|e| refusal_of_topic(&e))?;
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            return refuse(
                ErrorCode::InvalidRequest,
                "give either partition and replica numbers or an assignment, not both".to_owned(),
            );
        }
        let own = |a: &keylane_kafka::messages::create_topics::ReplicaAssignment| a.brokers == [NODE_ID];
        let mut indexes: Vec<_> = topic.assignments.iter().map(|a| a.index).collect();
        indexes.sort_unstable();
        let dense = indexes.iter().enumerate().all(|(i, index)| usize::try_from(*index) == Ok(i));
        if !topic.assignments.iter().all(own) || !dense {
            return refuse(
                ErrorCode::InvalidReplicaAssignment,
                format!("every partition from 0 on is assigned to the only node, {}", NODE_ID),
            );
        }
        return Ok(topic.assignments.len());
    }
    if topic.replication_factor != -1 && topic.replication_factor != 1 {
        return refuse(
            ErrorCode::InvalidReplicationFactor,
            format!("replication factor {}: there is one node, so it is 1", topic.replication_factor),
        );
    }
    let wanted =
        if topic.num_partitions == -1 { core.config.default_partitions } else { topic.num_partitions };
    check_partitions(wanted).map_err(|e| refusal_of_topic(&e))
}

impl<'q> Handle<'q> for DeleteTopicsRequest<'q> {
    async fn handle(self, context: &Context) -> DeleteTopicsResponse<'static> {
        let (core, request, version) = (context.core(), &self, context.version());
        let wanted: Vec<_> = request.topics().collect();
        let naming = Naming::of(&wanted);
        let mut done = HashSet::new();
        let mut topics = Vec::with_capacity(wanted.len());
        for topic in wanted.iter().filter(|t| done.insert((t.name, t.topic_id))) {
            let known = {
                let topics = core.topics.borrow();
                let by = topic.name.map_or(TopicKey::Id(topic.topic_id), TopicKey::Name);
                topics.get(by).map(|t| (t.topic.name.clone(), t.topic.id))
            };
            let known_by = known.as_ref().map(|(name, id)| (name.as_str(), *id));
            match naming.refusal(topic, known_by) {
                // Refused under its name.
                Some(_) if topic.name.is_none() && naming.both(known_by) => {}
                Some(why) => topics.push(DeletedTopic {
                    name: topic.name.map(|n| n.to_owned().into()),
                    topic_id: known_by.filter(|_| naming.both(known_by)).map_or(topic.topic_id, |(_, id)| id),
                    error: ErrorCode::InvalidRequest,
                    error_message: (version >= 5).then(|| why.into()),
                }),
                None => topics.push(delete_one(core, topic, known, version).await),
            }
        }
        DeleteTopicsResponse { topics, ..Default::default() }
    }
}

/// How a request names the topics to delete.
struct Naming<'a> {
    names: HashSet<&'a str>,
    names_twice: HashSet<&'a str>,
    ids: HashSet<Uuid>,
    ids_twice: HashSet<Uuid>,
}

impl<'a> Naming<'a> {
    fn of(topics: &[DeletableTopic<'a>]) -> Self {
        let names = || topics.iter().filter_map(|t| t.name);
        let ids = || topics.iter().map(|t| t.topic_id).filter(|id| !id.is_nil());
        Self {
            names: names().collect(),
            names_twice: repeated(names()),
            ids: ids().collect(),
            ids_twice: repeated(ids()),
        }
    }

    /// Whether the request has the name of this topic and its id.
    fn both(&self, known: Option<(&str, Uuid)>) -> bool {
        known.is_some_and(|(name, id)| self.names.contains(name) && self.ids.contains(&id))
    }

    /// Why a topic is not deleted, whether it is known or not.
    fn refusal(&self, topic: &DeletableTopic<'_>, known: Option<(&str, Uuid)>) -> Option<&'static str> {
        match topic.name {
            Some(_) if !topic.topic_id.is_nil() => Some("give the name of a topic or its id, not both"),
            None if topic.topic_id.is_nil() => Some("give the name of a topic or its id"),
            Some(name) if self.names_twice.contains(name) => {
                Some("the request names this topic more than once")
            }
            None if self.ids_twice.contains(&topic.topic_id) => {
                Some("the request has this topic id more than once")
            }
            _ if self.both(known) => Some("the request has the name of this topic and its id"),
            _ => None,
        }
    }
}

async fn delete_one(
    core: &Rc<Core>,
    wanted: &DeletableTopic<'_>,
    known: Option<(String, Uuid)>,
    version: i16,
) -> DeletedTopic<'static> {
    let Some((name, id)) = known else {
        let by_name = wanted.name.is_some();
        return DeletedTopic {
            name: wanted.name.map(|n| n.to_owned().into()),
            topic_id: wanted.topic_id,
            error: if by_name { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId },
            error_message: (version >= 5).then(|| "there is no such topic".into()),
        };
    };
    if let Err(refused) = check_changeable(&name) {
        let (error, message) = refusal_of_topic(&refused);
        let error_message = (version >= 5).then(|| message.into());
        return DeletedTopic { name: Some(name.into()), topic_id: id, error, error_message };
    }
    let (error, error_message) = match catalog::delete(core, name.clone()).await {
        Ok(_) => (ErrorCode::None, None),
        Err(e) => (code_of_topic(&e), Some(e.to_string().into())),
    };
    DeletedTopic { name: Some(name.into()), topic_id: id, error, error_message }
}

/// Answers CreatePartitions: a topic can only get more.
impl<'q> Handle<'q> for CreatePartitionsRequest<'q> {
    async fn handle(self, context: &Context) -> CreatePartitionsResponse<'static> {
        let (core, request) = (context.core(), &self);
        let twice = repeated(request.topics.iter().map(|t| t.name));
        let mut done = HashSet::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics.iter().filter(|t| done.insert(t.name)) {
            let grown = if twice.contains(topic.name) {
                Err(invalid("the request names this topic more than once"))
            } else {
                grow_one(core, topic, request.validate_only).await
            };
            let (error, error_message) = match grown {
                Ok(()) => (ErrorCode::None, None),
                Err((code, message)) => (code, Some(message.into())),
            };
            topics.push(EnlargedTopic { name: topic.name.to_owned().into(), error, error_message });
        }
        CreatePartitionsResponse { topics, ..Default::default() }
    }
}

async fn grow_one(core: &Rc<Core>, topic: &PartitionsTopic<'_>, validate_only: bool) -> Result<(), Refusal> {
    let refused = |error: TopicError| Err(refusal_of_topic(&error));
    let has = core.topics.borrow().get(TopicKey::Name(topic.name)).map(|t| t.routes.len());
    let Some(has) = has else { return refused(TopicError::Unknown) };
    check_changeable(topic.name).or_else(refused)?;
    let count = usize::try_from(topic.count).unwrap_or(0);
    if count <= has || count > PARTITIONS_MAX {
        return refused(TopicError::Shrinks { has });
    }
    if let Some(assignments) = &topic.assignments
        && (assignments.len() != count - has || assignments.iter().any(|a| a.brokers != [NODE_ID]))
    {
        let message = format!("each new partition is assigned to the only node, {}", NODE_ID);
        return Err((ErrorCode::InvalidReplicaAssignment, message));
    }
    if validate_only {
        return Ok(());
    }
    catalog::grow(core, topic.name.to_owned(), count).await.map(|_| ()).or_else(refused)
}

/// Answers InitProducerId for idempotent producers (KIP-98). Transactions are not served yet.
impl<'q> Handle<'q> for InitProducerIdRequest<'q> {
    async fn handle(self, context: &Context) -> InitProducerIdResponse {
        let (core, request) = (context.core(), &self);
        let without_epoch = request.producer_id >= 0 && request.producer_epoch < 0;
        let without_id = request.producer_id < 0 && request.producer_epoch >= 0;
        if request.transactional_id == Some("") || without_epoch || without_id {
            return InitProducerIdResponse::failed(ErrorCode::InvalidRequest);
        }
        if request.transactional_id.is_some() {
            tracing::info!("a client asked for transactions, which this version does not serve");
            return InitProducerIdResponse::failed(ErrorCode::UnsupportedVersion);
        }
        match catalog::next_producer_id(core).await {
            Ok(producer_id) => {
                InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() }
            }
            Err(TopicError::Stopping) => InitProducerIdResponse::failed(ErrorCode::CoordinatorNotAvailable),
            Err(e) => {
                tracing::error!(%e, "could not give out a producer id");
                InitProducerIdResponse::failed(ErrorCode::KafkaStorageError)
            }
        }
    }
}
