//! CreateTopics, DeleteTopics, InitProducerId. A success is answered when it is durable and known to every
//! core.

use std::collections::HashSet;
use std::hash::Hash;
use std::rc::Rc;

use keylane_engine::catalog::{CatalogError, valid_name};
use keylane_kafka::ErrorCode;
use keylane_kafka::TopicRef;
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
use crate::front::kafka::NODE_ID;
use crate::service::controller;
use crate::service::topics::is_internal;

use super::configs;

/// Partitions of one topic; more are refused, so that one request cannot take all memory.
const PARTITIONS_MAX: usize = 100_000;

/// Why a change is not made.
pub type Refusal = (ErrorCode, String);

/// Kafka keeps its own metadata in a log of this name, so that no client can have a topic called so.
const METADATA_LOG: &str = "__cluster_metadata";

fn invalid(message: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, message.into())
}

/// What is named more than once.
pub fn repeated<T: Eq + Hash + Copy>(all: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    all.filter(|item| !seen.insert(*item)).collect()
}

/// Answers CreateTopics.
pub async fn create_topics(
    core: &Rc<Core>,
    request: &CreateTopicsRequest<'_>,
) -> CreateTopicsResponse<'static> {
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

async fn create_one(
    core: &Rc<Core>,
    topic: &CreatableTopic<'_>,
    validate_only: bool,
) -> Result<CreatedTopic<'static>, Refusal> {
    let partitions = check(core, topic)?;
    let asked: Vec<_> = topic.configs.iter().map(|config| (config.name, config.value)).collect();
    let settings = configs::accept(&asked, &core.config).map_err(|m| (ErrorCode::InvalidConfig, m))?;
    let id = if validate_only {
        // As Kafka answers: the id that a topic could have, which none has.
        Uuid::new_v4()
    } else {
        match controller::create(core, topic.name.to_owned(), partitions, settings.clone()).await {
            Some(Ok(topic)) => topic.id,
            Some(Err(e)) => return Err((catalog_code(&e), e.to_string())),
            None => return Err((ErrorCode::NotController, "the server is stopping".to_owned())),
        }
    };
    let described = configs::topic_configs(&settings, &core.config);
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

/// Why a client may not change a topic of the server's own.
pub fn internal(name: &str) -> String {
    format!("{name} belongs to the server: it can be read, and is not changed by clients")
}

/// Refuses a name that no topic can have.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    if valid_name(name) {
        return Ok(());
    }
    let rule = "a topic name has 1 to 249 letters, digits, dots, underscores and hyphens, and is not . or ..";
    Err((ErrorCode::InvalidTopicException, rule.to_owned()))
}

fn check(core: &Core, topic: &CreatableTopic<'_>) -> Result<usize, Refusal> {
    let refuse = |code, message: String| Err((code, message));
    check_name(topic.name)?;
    if topic.name == METADATA_LOG {
        return Err(invalid(format!("{METADATA_LOG} is the name of Kafka's own metadata log")));
    }
    if is_internal(topic.name) {
        return refuse(ErrorCode::InvalidTopicException, internal(topic.name));
    }
    if core.topics.borrow().get(TopicRef::Name(topic.name)).is_some() {
        return refuse(ErrorCode::TopicAlreadyExists, format!("topic '{}' already exists", topic.name));
    }
    if let Some(other) = core.topics.borrow().colliding(topic.name) {
        let message = format!("topic '{}' collides with existing topic: {other}", topic.name);
        return refuse(ErrorCode::InvalidTopicException, message);
    }
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
    match usize::try_from(wanted) {
        Ok(n) if (1..=PARTITIONS_MAX).contains(&n) => Ok(n),
        _ => refuse(
            ErrorCode::InvalidPartitions,
            format!("{wanted} partitions: a topic has 1 to {PARTITIONS_MAX}"),
        ),
    }
}

/// The protocol's name for a refused change of the catalog.
pub fn catalog_code(error: &CatalogError) -> ErrorCode {
    match error {
        CatalogError::Exists(_) => ErrorCode::TopicAlreadyExists,
        CatalogError::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
        CatalogError::Exhausted => ErrorCode::InvalidPartitions,
        _ => ErrorCode::KafkaStorageError,
    }
}

/// Answers DeleteTopics.
pub async fn delete_topics(
    core: &Rc<Core>,
    request: &DeleteTopicsRequest<'_>,
    version: i16,
) -> DeleteTopicsResponse<'static> {
    let wanted: Vec<_> = request.topics().collect();
    let naming = Naming::of(&wanted);
    let mut done = HashSet::new();
    let mut topics = Vec::with_capacity(wanted.len());
    for topic in wanted.iter().filter(|t| done.insert((t.name, t.topic_id))) {
        let known = {
            let topics = core.topics.borrow();
            let by = topic.name.map_or(TopicRef::Id(topic.topic_id), TopicRef::Name);
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
    if is_internal(&name) {
        let error_message = (version >= 5).then(|| internal(&name).into());
        let error = ErrorCode::InvalidTopicException;
        return DeletedTopic { name: Some(name.into()), topic_id: id, error, error_message };
    }
    let (error, error_message) = match controller::delete(core, name.clone()).await {
        Some(Ok(_)) => (ErrorCode::None, None),
        Some(Err(e)) => (catalog_code(&e), Some(e.to_string().into())),
        None => (ErrorCode::NotController, Some("the server is stopping".into())),
    };
    DeletedTopic { name: Some(name.into()), topic_id: id, error, error_message }
}

/// Answers CreatePartitions: a topic can only get more.
pub async fn create_partitions(
    core: &Rc<Core>,
    request: &CreatePartitionsRequest<'_>,
) -> CreatePartitionsResponse<'static> {
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

async fn grow_one(core: &Rc<Core>, topic: &PartitionsTopic<'_>, validate_only: bool) -> Result<(), Refusal> {
    let has = core.topics.borrow().get(TopicRef::Name(topic.name)).map(|t| t.routes.len());
    let Some(has) = has else {
        return Err((ErrorCode::UnknownTopicOrPartition, "there is no such topic".to_owned()));
    };
    if is_internal(topic.name) {
        return Err((ErrorCode::InvalidTopicException, internal(topic.name)));
    }
    let count = usize::try_from(topic.count).unwrap_or(0);
    if count <= has || count > PARTITIONS_MAX {
        let message = format!("the topic has {has} partitions; it can have {} to {PARTITIONS_MAX}", has + 1);
        return Err((ErrorCode::InvalidPartitions, message));
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
    match controller::grow(core, topic.name.to_owned(), count).await {
        Some(Ok(_)) => Ok(()),
        Some(Err(e)) => Err((catalog_code(&e), e.to_string())),
        None => Err((ErrorCode::NotController, "the server is stopping".to_owned())),
    }
}

/// Answers InitProducerId for idempotent producers (KIP-98). Transactions are not served yet.
pub async fn init_producer_id(
    core: &Rc<Core>,
    request: &InitProducerIdRequest<'_>,
) -> InitProducerIdResponse {
    let without_epoch = request.producer_id >= 0 && request.producer_epoch < 0;
    let without_id = request.producer_id < 0 && request.producer_epoch >= 0;
    if request.transactional_id == Some("") || without_epoch || without_id {
        return InitProducerIdResponse::failed(ErrorCode::InvalidRequest);
    }
    if request.transactional_id.is_some() {
        tracing::info!("a client asked for transactions, which this version does not serve");
        return InitProducerIdResponse::failed(ErrorCode::UnsupportedVersion);
    }
    match controller::next_producer_id(core).await {
        Some(Ok(producer_id)) => {
            InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() }
        }
        Some(Err(e)) => {
            tracing::error!(%e, "could not give out a producer id");
            InitProducerIdResponse::failed(ErrorCode::KafkaStorageError)
        }
        None => InitProducerIdResponse::failed(ErrorCode::CoordinatorNotAvailable),
    }
}
