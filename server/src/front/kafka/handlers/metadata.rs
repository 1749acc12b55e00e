//! Metadata, DescribeCluster, DescribeLogDirs and FindCoordinator: one broker, all partitions led by it, in one directory.
//! Metadata creates topics when that is allowed.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use keylane_engine::catalog::{CatalogError, Topic, valid_name};
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::describe_cluster::{
    BROKERS, CONTROLLERS, ClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use keylane_kafka::messages::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, LogDir, LogDirPartition, LogDirTopic,
};
use keylane_kafka::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use keylane_kafka::messages::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse,
    MetadataTopic, OPERATIONS_OMITTED,
};

use crate::config::Values;
use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::node::{NODE_ID, address};
use crate::service::catalog;
use crate::service::error::TopicError;
use crate::service::sizes;
use crate::service::topics::{Route, TopicKey, is_internal};

/// Operations on a topic, one bit each (KIP-430): without authorization everybody may do all of them. READ 3,
/// WRITE 4, CREATE 5, DELETE 6, ALTER 7, DESCRIBE 8, DESCRIBE_CONFIGS 10, ALTER_CONFIGS 11.
pub const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// Operations on the cluster: CREATE 5, ALTER 7, DESCRIBE 8, CLUSTER_ACTION 9, DESCRIBE_CONFIGS 10,
/// ALTER_CONFIGS 11, IDEMPOTENT_WRITE 12.
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// First version in which a topic can be asked for by its id alone (KIP-516).
const BY_ID: i16 = 12;
/// The brokers that a partition is on.
pub const REPLICAS: &[i32] = &[NODE_ID];

impl<'q> Handle<'q> for MetadataRequest<'q> {
    async fn handle(self, context: &Context) -> MetadataResponse<'static> {
        let (connection, request, version) = (&context.connection, &self, context.version());
        let core = &connection.core;
        let mut topics = match request.topics(version) {
            None => {
                let mut all: Vec<_> = core.topics.borrow().all().map(|t| describe(&t.topic)).collect();
                all.sort_by(|a, b| a.name.cmp(&b.name));
                all
            }
            Some(named) if is_by_id_too_early(request, version) => {
                let refused = |t: &MetadataRequestTopic<'_>| MetadataTopic {
                    topic_id: t.topic_id,
                    ..unknown(t.name, ErrorCode::InvalidRequest)
                };
                named.iter().map(refused).collect()
            }
            Some(named) => {
                // Before v4 a request could not say that it does not want topics created.
                let create =
                    core.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
                named_topics(core, named, create).await
            }
        };
        let operations =
            if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_OMITTED };
        for topic in &mut topics {
            topic.topic_authorized_operations = operations;
        }
        let wants_cluster = request.include_cluster_authorized_operations;
        if is_by_id_too_early(request, version) {
            // All that is told is the refusal, as in Kafka.
            return MetadataResponse { topics, ..Default::default() };
        }
        let (host, port) = address(connection);
        MetadataResponse {
            brokers: vec![MetadataBroker { node_id: NODE_ID, host: host.into(), port, rack: None }],
            cluster_id: Some(core.cluster.id.clone().into()),
            controller_id: NODE_ID,
            topics,
            cluster_authorized_operations: if wants_cluster {
                CLUSTER_OPERATIONS
            } else {
                OPERATIONS_OMITTED
            },
            ..Default::default()
        }
    }
}

/// Whether a request asks for topics by id in a version that has the fields, but in which no broker ever served
/// them: Kafka refuses all of it.
fn is_by_id_too_early(request: &MetadataRequest<'_>, version: i16) -> bool {
    let by_id = |t: &MetadataRequestTopic<'_>| t.name.is_none() || !t.topic_id.is_nil();
    version < BY_ID && request.topics.as_ref().is_some_and(|topics| topics.iter().any(by_id))
}

/// Topics that a request names, each once.
async fn named_topics(
    core: &Rc<Core>,
    named: &[MetadataRequestTopic<'_>],
    create: bool,
) -> Vec<MetadataTopic<'static>> {
    let mut asked = HashSet::new();
    let mut found = HashSet::new();
    let mut topics = Vec::with_capacity(named.len());
    for topic in named.iter().filter(|t| asked.insert((t.topic_id, t.name))) {
        let topic = one(core, topic, create).await;
        // By its name and by its id, it is one topic still.
        if topic.topic_id.is_nil() || found.insert(topic.topic_id) {
            topics.push(topic);
        }
    }
    topics
}

/// One topic. With an id, the name does not count.
async fn one(core: &Rc<Core>, wanted: &MetadataRequestTopic<'_>, create: bool) -> MetadataTopic<'static> {
    let Some(name) = wanted.name.filter(|_| wanted.topic_id.is_nil()) else {
        let known = core.topics.borrow().get(TopicKey::Id(wanted.topic_id)).map(|t| describe(&t.topic));
        return known.unwrap_or(MetadataTopic {
            topic_id: wanted.topic_id,
            ..unknown(None, ErrorCode::UnknownTopicId)
        });
    };
    let known = core.topics.borrow().get(TopicKey::Name(name)).map(|t| describe(&t.topic));
    if let Some(known) = known {
        return known;
    }
    if !valid_name(name) {
        return unknown(Some(name), ErrorCode::InvalidTopicException);
    }
    // One of the server's own is made by what needs it. One whose name collides is not made.
    if !create || is_internal(name) || core.topics.borrow().colliding(name).is_some() {
        return unknown(Some(name), ErrorCode::UnknownTopicOrPartition);
    }
    let partitions = usize::try_from(core.config.default_partitions).unwrap_or(1).max(1);
    match catalog::create(core, name.to_owned(), partitions, Values::new()).await {
        Ok(topic) => describe(&topic),
        // Somebody else was faster.
        Err(TopicError::Catalog(CatalogError::Exists(_))) => {
            let known = core.topics.borrow().get(TopicKey::Name(name)).map(|t| describe(&t.topic));
            known.unwrap_or_else(|| unknown(Some(name), ErrorCode::LeaderNotAvailable))
        }
        Err(TopicError::Stopping) => unknown(Some(name), ErrorCode::LeaderNotAvailable),
        Err(e) => {
            tracing::error!(name, %e, "could not create a topic on demand");
            unknown(Some(name), ErrorCode::KafkaStorageError)
        }
    }
}

fn unknown(name: Option<&str>, error: ErrorCode) -> MetadataTopic<'static> {
    MetadataTopic { error, name: name.map(|n| Cow::Owned(n.to_owned())), ..Default::default() }
}

fn describe(topic: &Topic) -> MetadataTopic<'static> {
    let partition = |index: usize| MetadataPartition {
        error: ErrorCode::None,
        index: index as i32,
        leader_id: NODE_ID,
        leader_epoch: 0,
        replicas: REPLICAS.into(),
        isr_nodes: REPLICAS.into(),
        ..Default::default()
    };
    MetadataTopic {
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: (0..topic.partitions.len()).map(partition).collect(),
        ..unknown(Some(&topic.name), ErrorCode::None)
    }
}

/// Answers DescribeCluster (KIP-700).
impl<'q> Handle<'q> for DescribeClusterRequest {
    async fn handle(self, context: &Context) -> DescribeClusterResponse<'static> {
        let (connection, request) = (&context.connection, &self);
        let cluster_id = &connection.core.cluster.id;
        let error = match request.endpoint_type {
            BROKERS => {
                let (host, port) = address(connection);
                let wanted = request.include_cluster_authorized_operations;
                return DescribeClusterResponse {
                    cluster_id: cluster_id.clone().into(),
                    controller_id: NODE_ID,
                    brokers: vec![ClusterBroker {
                        id: NODE_ID,
                        host: host.into(),
                        port,
                        ..Default::default()
                    }],
                    cluster_authorized_operations: if wanted {
                        CLUSTER_OPERATIONS
                    } else {
                        OPERATIONS_OMITTED
                    },
                    ..Default::default()
                };
            }
            CONTROLLERS => (ErrorCode::MismatchedEndpointType, "this is a broker, not a controller"),
            _ => (ErrorCode::UnsupportedEndpointType, "an endpoint type is 1 (brokers) or 2 (controllers)"),
        };
        DescribeClusterResponse { error: error.0, error_message: Some(error.1.into()), ..Default::default() }
    }
}

/// DescribeLogDirs: the data directory, with the partitions that were asked for and exist.
impl<'q> Handle<'q> for DescribeLogDirsRequest<'q> {
    async fn handle(self, context: &Context) -> DescribeLogDirsResponse<'static> {
        let core = context.core();
        let (names, routes) = asked_partitions(core, &self);
        let sizes = sizes::sizes(core, &routes).await;
        let mut topics: Vec<LogDirTopic<'static>> = Vec::new();
        for ((name, index), size) in names.into_iter().zip(sizes) {
            let Some(size) = size else { continue };
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            let partition = LogDirPartition { index, size, ..Default::default() };
            match topics.last_mut() {
                Some(topic) if topic.name == name => topic.partitions.push(partition),
                _ => topics.push(LogDirTopic { name: name.into(), partitions: vec![partition] }),
            }
        }
        let directory = match sizes::space(core) {
            Ok(space) => LogDir {
                error: ErrorCode::None,
                path: space.directory.to_string_lossy().into_owned().into(),
                topics,
                total_bytes: i64::try_from(space.total).unwrap_or(i64::MAX),
                usable_bytes: i64::try_from(space.usable).unwrap_or(i64::MAX),
            },
            Err(error) => {
                tracing::warn!(%error, "the data directory's file system tells nothing");
                let path = core.config.data.to_string_lossy().into_owned().into();
                LogDir { error: ErrorCode::KafkaStorageError, path, ..Default::default() }
            }
        };
        DescribeLogDirsResponse { directories: vec![directory], ..Default::default() }
    }
}

/// The partitions of a request, each once, with their ways, by topic.
fn asked_partitions(core: &Core, request: &DescribeLogDirsRequest<'_>) -> (Vec<(String, i32)>, Vec<Route>) {
    let topics = core.topics.borrow();
    let mut asked: BTreeSet<(&str, i32)> = BTreeSet::new();
    match &request.topics {
        None => {
            for topic in topics.all() {
                asked.extend((0..).zip(&topic.routes).map(|(index, _)| (&*topic.topic.name, index)));
            }
        }
        Some(named) => {
            asked.extend(named.iter().flat_map(|t| t.partitions.iter().map(|index| (t.name, *index))));
        }
    }
    let found = asked.into_iter().filter_map(|(name, index)| {
        let route = topics.get(TopicKey::Name(name))?.route(index).ok()?;
        Some(((name.to_owned(), index), route))
    });
    found.unzip()
}

/// Answers FindCoordinator: this node, for groups. There are no transactions and no share groups.
///
/// The API must be served whatever it says: librdkafka takes its absence for a broker that is too old for LZ4, and
/// then silently sends uncompressed.
impl<'q> Handle<'q> for FindCoordinatorRequest<'q> {
    async fn handle(self, context: &Context) -> FindCoordinatorResponse<'static> {
        let (connection, request, version) = (&context.connection, &self, context.version());
        const GROUP: i8 = 0;
        const TRANSACTION: i8 = 1;
        const WHY: &str = "this version serves neither transactions nor share groups";
        let (host, port) = address(connection);
        let coordinator = |key: &&str| {
            let key = (*key).to_owned().into();
            if request.key_type == GROUP {
                // Kafka has a text here where others have none.
                let text = if version >= 4 { "" } else { "NONE" };
                let (error, error_message) = (ErrorCode::None, Some(text.into()));
                let host = host.clone().into();
                return Coordinator { key, error, error_message, node_id: NODE_ID, host, port };
            }
            let error = if request.key_type == TRANSACTION {
                ErrorCode::UnsupportedVersion
            } else {
                ErrorCode::InvalidRequest
            };
            Coordinator {
                key,
                error,
                error_message: Some(WHY.into()),
                node_id: -1,
                host: "".into(),
                port: -1,
            }
        };
        FindCoordinatorResponse::new(version, request.keys(version).iter().map(coordinator).collect())
    }
}
