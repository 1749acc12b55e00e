//! Metadata, DescribeCluster and FindCoordinator: one broker, all partitions led by it. Metadata creates topics
//! when that is allowed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use keylane_engine::catalog::{CatalogError, Topic, valid_name};

use crate::config::split_host_port;
use crate::connection::Connection;
use crate::controller;
use crate::core::Core;
use crate::kafka::ErrorCode;
use crate::kafka::describe_cluster::{ClusterBroker, DescribeClusterRequest, DescribeClusterResponse};
use crate::kafka::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::kafka::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataTopic,
};
use crate::kafka::produce::TopicRef;
use crate::topics::is_internal;

use super::NODE_ID;

/// "Not computed": authorisation is not a thing here.
const OPERATIONS_OMITTED: i32 = i32::MIN;
const REPLICAS: &[i32] = &[NODE_ID];

/// Where this client reaches the server.
pub fn address(connection: &Connection) -> (String, i32) {
    let advertised = connection.core.config.advertise.as_deref().and_then(split_host_port);
    match advertised {
        Some((host, port)) => (host.to_owned(), i32::from(port)),
        None => (connection.local.ip().to_string(), i32::from(connection.local.port())),
    }
}

/// Answers Metadata.
pub async fn metadata(
    connection: &Rc<Connection>,
    request: &MetadataRequest<'_>,
    version: i16,
) -> MetadataResponse<'static> {
    let core = &connection.core;
    let topics = match &request.topics {
        None => {
            let mut all: Vec<_> = core.topics.borrow().all().map(|t| describe(&t.topic)).collect();
            all.sort_by(|a, b| a.name.cmp(&b.name));
            all
        }
        Some(named) => {
            // Before v4 a request could not say that it does not want topics created.
            let create = core.config.auto_create_topics && (version < 4 || request.allow_auto_topic_creation);
            let mut topics = Vec::with_capacity(named.len());
            for topic in named {
                topics.push(one(core, topic, create).await);
            }
            topics
        }
    };
    let (host, port) = address(connection);
    MetadataResponse {
        brokers: vec![MetadataBroker { node_id: NODE_ID, host: host.into(), port, rack: None }],
        cluster_id: Some(core.cluster.id.clone().into()),
        controller_id: NODE_ID,
        topics,
        cluster_authorized_operations: OPERATIONS_OMITTED,
        error: ErrorCode::None,
    }
}

async fn one(core: &Rc<Core>, wanted: &MetadataRequestTopic<'_>, create: bool) -> MetadataTopic<'static> {
    let Some(name) = wanted.name else {
        let known = core.topics.borrow().get(TopicRef::Id(wanted.topic_id)).map(|t| describe(&t.topic));
        return known.unwrap_or(MetadataTopic {
            topic_id: wanted.topic_id,
            ..unknown(None, ErrorCode::UnknownTopicId)
        });
    };
    let known = core.topics.borrow().get(TopicRef::Name(name)).map(|t| describe(&t.topic));
    if let Some(known) = known {
        return known;
    }
    if !valid_name(name) {
        return unknown(Some(name), ErrorCode::InvalidTopicException);
    }
    // One of the server's own is made by what needs it.
    if !create || is_internal(name) {
        return unknown(Some(name), ErrorCode::UnknownTopicOrPartition);
    }
    let partitions = usize::try_from(core.config.default_partitions).unwrap_or(1).max(1);
    match controller::create(core, name.to_owned(), partitions, BTreeMap::new()).await {
        Some(Ok(topic)) => describe(&topic),
        // Somebody else was faster.
        Some(Err(CatalogError::Exists(_))) => {
            let known = core.topics.borrow().get(TopicRef::Name(name)).map(|t| describe(&t.topic));
            known.unwrap_or_else(|| unknown(Some(name), ErrorCode::LeaderNotAvailable))
        }
        Some(Err(e)) => {
            tracing::error!(name, %e, "could not create a topic on demand");
            unknown(Some(name), ErrorCode::KafkaStorageError)
        }
        None => unknown(Some(name), ErrorCode::LeaderNotAvailable),
    }
}

fn unknown(name: Option<&str>, error: ErrorCode) -> MetadataTopic<'static> {
    MetadataTopic {
        error,
        name: name.map(|n| Cow::Owned(n.to_owned())),
        topic_id: uuid::Uuid::nil(),
        is_internal: false,
        partitions: Vec::new(),
        topic_authorized_operations: OPERATIONS_OMITTED,
    }
}

fn describe(topic: &Topic) -> MetadataTopic<'static> {
    let partition = |index: usize| MetadataPartition {
        error: ErrorCode::None,
        index: index as i32,
        leader_id: NODE_ID,
        leader_epoch: 0,
        replicas: REPLICAS,
    };
    MetadataTopic {
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: (0..topic.partitions.len()).map(partition).collect(),
        ..unknown(Some(&topic.name), ErrorCode::None)
    }
}

/// Answers DescribeCluster (KIP-700).
pub fn describe_cluster(
    connection: &Connection,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse<'static> {
    const BROKERS: i8 = 1;
    let (host, port) = address(connection);
    let wrong = request.endpoint_type != BROKERS;
    DescribeClusterResponse {
        error: if wrong { ErrorCode::MismatchedEndpointType } else { ErrorCode::None },
        error_message: wrong.then(|| "this is a broker, not a controller".into()),
        endpoint_type: BROKERS,
        cluster_id: connection.core.cluster.id.clone().into(),
        controller_id: NODE_ID,
        brokers: vec![ClusterBroker { id: NODE_ID, host: host.into(), port, rack: None }],
        cluster_authorized_operations: OPERATIONS_OMITTED,
    }
}

/// Answers FindCoordinator: this node, for groups. There are no transactions and no share groups.
///
/// The API must be served whatever it says: librdkafka takes its absence for a broker that is too old for LZ4, and
/// then silently sends uncompressed.
pub fn find_coordinator(
    connection: &Connection,
    request: &FindCoordinatorRequest<'_>,
) -> FindCoordinatorResponse<'static> {
    const GROUP: i8 = 0;
    const WHY: &str = "this version serves neither transactions nor share groups";
    let (host, port) = address(connection);
    let coordinator = |key: &&str| {
        let key = (*key).to_owned().into();
        if request.key_type == GROUP {
            let (error, error_message) = (ErrorCode::None, None);
            let host = host.clone().into();
            return Coordinator { key, error, error_message, node_id: NODE_ID, host, port };
        }
        let error = ErrorCode::UnsupportedVersion;
        Coordinator { key, error, error_message: Some(WHY.into()), node_id: -1, host: "".into(), port: -1 }
    };
    FindCoordinatorResponse { coordinators: request.keys.iter().map(coordinator).collect() }
}
