//! What a client asks before it produces: ApiVersions, Metadata, CreateTopics, ListOffsets.
//!
//! One broker, itself; every topic that is asked for exists. Anything else ends the connection.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use keylane_kafka::frame::write_response;
use keylane_kafka::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use keylane_kafka::messages::create_topics::{CreateTopicsRequest, CreateTopicsResponse, CreatedTopic};
use keylane_kafka::messages::list_offsets::{
    EARLIEST, ListOffsetsRequest, ListOffsetsResponse, ListedPartition, ListedTopic,
};
use keylane_kafka::messages::metadata::{
    MetadataBroker, MetadataPartition, MetadataRequest, MetadataResponse, MetadataTopic,
};
use keylane_kafka::versions::encode_unsupported;
use keylane_kafka::{ApiKey, HeaderError, Message, Reader, Request, RequestHeader, Writer};

use super::connection::Offsets;
use super::wire;

/// Most partitions a topic can have.
pub const PARTITIONS_MAX: usize = 100_000;
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

/// The replicas of each partition: this broker alone.
const ME: &[i32] = &[0];

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
    pub fn answer(&self, frame: &[u8], offsets: &Offsets) -> io::Result<BytesMut> {
        let mut out = BytesMut::new();
        let mut r = Reader::new(frame);
        let header = match RequestHeader::decode(&mut r) {
            Ok(header) => header,
            Err(HeaderError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
                encode_unsupported(&mut out, correlation_id).map_err(invalid)?;
                return Ok(out);
            }
            Err(other) => return Err(invalid(other)),
        };
        let (version, served) = (header.version, SERVED.iter().find(|(api, ..)| *api == header.api));
        if served.is_none_or(|(_, low, high)| !(*low..=*high).contains(&version)) {
            return Err(invalid("not served"));
        }
        let request = Request::decode(header.api, version, &mut r).map_err(invalid)?;
        let body = |w: &mut Writer<'_>| match &request {
            Request::ApiVersions(_) => Self::api_versions().encode(version, w),
            Request::Metadata(request) => self.metadata(request, version).encode(version, w),
            Request::CreateTopics(request) => self.create(request).encode(version, w),
            Request::ListOffsets(request) => Self::list_offsets(request, offsets).encode(version, w),
            _ => {}
        };
        if matches!(request, Request::Produce(_) | Request::Fetch(_)) {
            return Err(invalid("not served"));
        }
        write_response(&mut out, header.response(), body).map_err(invalid)?;
        Ok(out)
    }

    fn api_versions() -> ApiVersionsResponse<'static> {
        let apis = SERVED.iter().map(|&(api, min_version, max_version)| ApiVersion {
            api_key: api.code(),
            min_version,
            max_version,
        });
        ApiVersionsResponse { apis: apis.collect(), ..Default::default() }
    }

    fn metadata<'a>(&self, request: &MetadataRequest<'a>, version: i16) -> MetadataResponse<'a> {
        let me = MetadataBroker {
            node_id: 0,
            host: self.address.ip().to_string().into(),
            port: i32::from(self.address.port()),
            rack: None,
        };
        let topics = match request.topics(version) {
            Some(named) => {
                named.iter().filter_map(|topic| topic.name).map(|name| self.topic(name.into())).collect()
            }
            None => self.created.borrow().keys().map(|name| self.topic(name.clone().into())).collect(),
        };
        MetadataResponse {
            brokers: vec![me],
            controller_id: 0,
            cluster_id: Some("ceiling".into()),
            topics,
            ..Default::default()
        }
    }

    fn topic<'a>(&self, name: Cow<'a, str>) -> MetadataTopic<'a> {
        let count = self.created.borrow().get(&*name).copied().unwrap_or(self.partitions);
        let partition = |index| MetadataPartition {
            index,
            leader_id: 0,
            leader_epoch: 0,
            replicas: ME.into(),
            isr_nodes: ME.into(),
            ..Default::default()
        };
        let partitions = (0..count).map(partition).collect();
        MetadataTopic { name: Some(name), partitions, ..Default::default() }
    }

    fn create<'a>(&self, request: &CreateTopicsRequest<'a>) -> CreateTopicsResponse<'a> {
        let topics = request.topics.iter().map(|topic| {
            let asked = if topic.num_partitions > 0 { topic.num_partitions } else { self.partitions };
            let count = asked.min(PARTITIONS_MAX as i32);
            self.created.borrow_mut().insert(topic.name.to_owned(), count);
            CreatedTopic {
                name: topic.name.into(),
                num_partitions: count,
                replication_factor: 1,
                configs: Some(Vec::new()),
                ..Default::default()
            }
        });
        CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
    }

    /// The beginning is 0; every other question is answered with the end.
    fn list_offsets<'a>(request: &ListOffsetsRequest<'a>, offsets: &Offsets) -> ListOffsetsResponse<'a> {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let end = end_of(offsets, topic.name, asked.index);
                let offset = if asked.timestamp == EARLIEST { 0 } else { end };
                ListedPartition { index: asked.index, offset, leader_epoch: 0, ..Default::default() }
            });
            ListedTopic { name: topic.name.into(), partitions: partitions.collect() }
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }
}

/// The next offset of a partition.
fn end_of(offsets: &Offsets, topic: &str, partition: i32) -> i64 {
    let topics = offsets.borrow();
    let Some(ends) = topics.get(topic.as_bytes()) else { return 0 };
    let index = usize::try_from(partition).unwrap_or(usize::MAX);
    ends.borrow().get(index).copied().unwrap_or(0)
}
