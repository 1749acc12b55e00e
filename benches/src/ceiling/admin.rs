//! What a client asks before it produces: ApiVersions, Metadata, CreateTopics, ListOffsets.
//!
//! One broker, itself; every topic that is asked for exists. Anything else ends the connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::connection::Offsets;
use super::wire;

/// Most partitions a topic can have.
pub const PARTITIONS_MAX: usize = 100_000;
/// Largest request that is decoded, in bytes: the decoder allocates what array lengths say, so only
/// plausible requests get there.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Kafka's timestamp for the beginning of a partition.
const EARLIEST: i64 = -2;
/// Kafka's error UNSUPPORTED_VERSION.
const UNSUPPORTED_VERSION: i16 = 35;

/// (key, lowest, highest version) as advertised. Fetch is listed because clients look for it before they
/// produce (librdkafka takes the record format from it); to ask for it ends the connection. Produce is
/// listed from 0 for the same reason.
const SERVED: [(ApiKey, i16, i16); 6] = [
    (ApiKey::Produce, 0, *wire::PRODUCE_VERSIONS.end()),
    (ApiKey::Fetch, 4, 12),
    (ApiKey::ListOffsets, 1, 5),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
];

/// Answers requests that are off the hot path.
pub struct Admin {
    address: SocketAddr,
    partitions: i32,
    created: RefCell<HashMap<String, i32>>,
}

fn invalid(cause: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause.to_string())
}

impl Admin {
    /// Answers as the broker at `address`; topics have `partitions` partitions unless created with
    /// another number.
    pub fn new(address: SocketAddr, partitions: i32) -> Self {
        Self { address, partitions, created: RefCell::default() }
    }

    /// The answer to a frame, length prefix included; `offsets` are the next offsets of all partitions.
    pub fn answer(&self, frame: &[u8], offsets: &Offsets) -> io::Result<Vec<u8>> {
        let (key, version, correlation) = wire::request_head(frame).ok_or_else(|| invalid("short frame"))?;
        if frame.len() > REQUEST_BYTES_MAX {
            return Err(invalid("request too large"));
        }
        let served = SERVED.iter().find(|(api, ..)| *api as i16 == key);
        let known = served.is_some_and(|(_, low, high)| (*low..=*high).contains(&version));
        if key == ApiKey::ApiVersions as i16 {
            let (version, error) = if known { (version, 0) } else { (0, UNSUPPORTED_VERSION) };
            return frame_of(correlation, version, &Self::api_versions(error));
        }
        if !known {
            return Err(invalid("not served"));
        }
        let mut body = Bytes::copy_from_slice(frame);
        if key == ApiKey::Metadata as i16 {
            RequestHeader::decode(&mut body, MetadataRequest::header_version(version)).map_err(invalid)?;
            let request = MetadataRequest::decode(&mut body, version).map_err(invalid)?;
            return frame_of(correlation, version, &self.metadata(&request, version));
        }
        if key == ApiKey::CreateTopics as i16 {
            RequestHeader::decode(&mut body, CreateTopicsRequest::header_version(version))
                .map_err(invalid)?;
            let request = CreateTopicsRequest::decode(&mut body, version).map_err(invalid)?;
            return frame_of(correlation, version, &self.create(&request));
        }
        if key == ApiKey::ListOffsets as i16 {
            RequestHeader::decode(&mut body, ListOffsetsRequest::header_version(version)).map_err(invalid)?;
            let request = ListOffsetsRequest::decode(&mut body, version).map_err(invalid)?;
            return frame_of(correlation, version, &Self::list_offsets(&request, offsets));
        }
        Err(invalid("not served"))
    }

    fn api_versions(error: i16) -> ApiVersionsResponse {
        let keys = SERVED.map(|(api, low, high)| {
            ApiVersion::default().with_api_key(api as i16).with_min_version(low).with_max_version(high)
        });
        ApiVersionsResponse::default().with_error_code(error).with_api_keys(keys.to_vec())
    }

    fn metadata(&self, request: &MetadataRequest, version: i16) -> MetadataResponse {
        let me = MetadataResponseBroker::default()
            .with_node_id(BrokerId(0))
            .with_host(StrBytes::from_string(self.address.ip().to_string()))
            .with_port(i32::from(self.address.port()));
        let named = request.topics.iter().flatten().filter_map(|topic| topic.name.clone());
        let mut names: Vec<TopicName> = named.collect();
        let all = request.topics.as_ref().is_none_or(|topics| version == 0 && topics.is_empty());
        if all {
            let created = self.created.borrow();
            names = created.keys().map(|name| TopicName(StrBytes::from_string(name.clone()))).collect();
        }
        let topics = names.into_iter().map(|name| self.topic(name)).collect();
        MetadataResponse::default()
            .with_brokers(vec![me])
            .with_controller_id(BrokerId(0))
            .with_cluster_id(Some(StrBytes::from_static_str("ceiling")))
            .with_topics(topics)
    }

    fn topic(&self, name: TopicName) -> MetadataResponseTopic {
        let count = self.created.borrow().get(name.0.as_str()).copied().unwrap_or(self.partitions);
        let partitions = (0..count).map(|index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(0))
                .with_leader_epoch(0)
                .with_replica_nodes(vec![BrokerId(0)])
                .with_isr_nodes(vec![BrokerId(0)])
        });
        MetadataResponseTopic::default().with_partitions(partitions.collect()).with_name(Some(name))
    }

    fn create(&self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let results = request.topics.iter().map(|topic| {
            let asked = if topic.num_partitions > 0 { topic.num_partitions } else { self.partitions };
            let count = asked.min(PARTITIONS_MAX as i32);
            self.created.borrow_mut().insert(topic.name.0.to_string(), count);
            CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_num_partitions(count)
                .with_replication_factor(1)
        });
        CreateTopicsResponse::default().with_topics(results.collect())
    }

    /// The beginning is 0; every other question is answered with the end.
    fn list_offsets(request: &ListOffsetsRequest, offsets: &Offsets) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let end = end_of(offsets, &topic.name, asked.partition_index);
                let offset = if asked.timestamp == EARLIEST { 0 } else { end };
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index)
                    .with_timestamp(-1)
                    .with_leader_epoch(0)
                    .with_offset(offset)
            });
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

/// The next offset of a partition.
fn end_of(offsets: &Offsets, topic: &TopicName, partition: i32) -> i64 {
    let topics = offsets.borrow();
    let Some(ends) = topics.get(topic.0.as_bytes()) else { return 0 };
    let index = usize::try_from(partition).unwrap_or(usize::MAX);
    ends.borrow().get(index).copied().unwrap_or(0)
}

fn frame_of<M: Encodable + HeaderVersion>(correlation: i32, version: i16, body: &M) -> io::Result<Vec<u8>> {
    let mut out = BytesMut::from(&[0u8; 4][..]);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut out, M::header_version(version)).map_err(invalid)?;
    body.encode(&mut out, version).map_err(invalid)?;
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(out.to_vec())
}
