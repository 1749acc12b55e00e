//! A blocking client: one connection, raw where a test wants it raw.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use super::batch;

/// Versions that name topics (later ones have ids instead).
pub const PRODUCE: i16 = 12;
pub const FETCH: i16 = 12;
const METADATA: i16 = 12;
/// A server that takes longer for an answer is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that makes sense here.
const FRAME_BYTES_MAX: usize = 64 << 20;

pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Header and body of a request, with the length before them.
pub fn frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("keylane-tests")));
    let api = ApiKey::try_from(R::KEY).expect("an API of Kafka");
    let mut body = BytesMut::new();
    header.encode(&mut body, api.request_header_version(version)).expect("a header");
    request.encode(&mut body, version).expect("a request that this version can express");
    framed(&body)
}

/// `body` with its length before it.
pub fn framed(body: &[u8]) -> Bytes {
    let length = i32::try_from(body.len()).expect("a short frame");
    [&length.to_be_bytes(), body].concat().into()
}

/// A Produce request for one partition.
pub fn produce_request(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// A Fetch request for one partition that waits for nothing.
pub fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(4 << 20);
    let topic = FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
    FetchRequest::default().with_max_wait_ms(0).with_max_bytes(8 << 20).with_topics(vec![topic])
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    next_id: i32,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, next_id: 1 })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("sending")
    }

    /// The next answer without its length; `None` when the server has closed the connection.
    pub fn receive(&mut self) -> Result<Option<Bytes>> {
        let mut prefix = [0; 4];
        match self.stream.read_exact(&mut prefix) {
            Ok(()) => {}
            Err(e) if closed(&e) => return Ok(None),
            Err(e) => return Err(e).context("waiting for an answer"),
        }
        let length = usize::try_from(i32::from_be_bytes(prefix)).context("an answer of negative length")?;
        ensure!(length <= FRAME_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("the rest of an answer")?;
        Ok(Some(body.into()))
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&frame(request, version, id))?;
        let Some(body) = self.receive()? else { bail!("the server closed the connection") };
        let (got, response) = decode::<R>(body, version)?;
        ensure!(got == id, "the answer to request {got} came for {id}");
        Ok(response)
    }

    /// Creates a topic; the error code.
    pub fn create_topic(&mut self, topic: &str, partitions: i32) -> Result<i16> {
        let new = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![new]).with_timeout_ms(10_000);
        let response = self.call(7, &request)?;
        Ok(response.topics.first().context("no topic in the answer")?.error_code)
    }

    /// Deletes a topic; the error code.
    pub fn delete_topic(&mut self, topic: &str) -> Result<i16> {
        let gone = DeleteTopicState::default().with_name(Some(name(topic)));
        let request = DeleteTopicsRequest::default().with_topics(vec![gone]).with_timeout_ms(10_000);
        let response = self.call(6, &request)?;
        Ok(response.responses.first().context("no topic in the answer")?.error_code)
    }

    /// Names of all topics.
    pub fn topics(&mut self) -> Result<Vec<String>> {
        let response = self.call(METADATA, &MetadataRequest::default().with_topics(None))?;
        Ok(response.topics.into_iter().filter_map(|t| t.name.map(|n| n.0.to_string())).collect())
    }

    /// A fresh producer id and its epoch.
    pub fn producer_id(&mut self) -> Result<(i64, i16)> {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        let response = self.call(4, &request)?;
        ensure!(response.error_code == 0, "InitProducerId: error {}", response.error_code);
        Ok((response.producer_id.0, response.producer_epoch))
    }

    /// Sends a batch with `acks=all`; what is said about its partition.
    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> Result<PartitionProduceResponse> {
        produced(self.call(PRODUCE, &produce_request(topic, partition, -1, records))?)
    }

    /// Sends a batch with `acks=all`, which must be taken; its offset.
    pub fn append(&mut self, topic: &str, partition: i32, records: Bytes) -> Result<i64> {
        let done = self.produce(topic, partition, records)?;
        ensure!(done.error_code == 0, "Produce: error {}", done.error_code);
        Ok(done.base_offset)
    }

    /// What there is at an offset.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Result<PartitionData> {
        fetched(self.call(FETCH, &fetch_request(topic, partition, offset))?)
    }

    /// All values of a partition from its beginning; their offsets must be dense from 0.
    pub fn read_all(&mut self, topic: &str, partition: i32) -> Result<Vec<Bytes>> {
        let mut all: Vec<Bytes> = Vec::new();
        loop {
            let next = all.len() as i64;
            let found = self.fetch(topic, partition, next)?;
            ensure!(found.error_code == 0, "Fetch at {next}: error {}", found.error_code);
            let records = found.records.unwrap_or_default();
            if records.is_empty() {
                let end = found.high_watermark;
                ensure!(end == next, "nothing at {next}, but the high watermark is {end}");
                return Ok(all);
            }
            for (offset, value) in batch::values(&records)? {
                // An answer begins with the batch that holds the offset, which may begin before it.
                if offset >= next {
                    ensure!(offset == all.len() as i64, "offset {offset} after {} records", all.len());
                    all.push(value);
                }
            }
        }
    }

    /// The offset that the next record of a partition gets.
    pub fn end_offset(&mut self, topic: &str, partition: i32) -> Result<i64> {
        self.list_offset(topic, partition, -1)
    }

    /// The first offset of a partition that can be read.
    pub fn start_offset(&mut self, topic: &str, partition: i32) -> Result<i64> {
        self.list_offset(topic, partition, -2)
    }

    /// The offset for a timestamp, which can be one of those that stand for something else.
    fn list_offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> Result<i64> {
        let partition =
            ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let response = self.call(7, &ListOffsetsRequest::default().with_topics(vec![topic]))?;
        let found = response.topics.first().and_then(|t| t.partitions.first());
        let found = found.context("no partition in the answer")?;
        ensure!(found.error_code == 0, "ListOffsets: error {}", found.error_code);
        Ok(found.offset)
    }
}

/// Whether an error says that the other side is gone.
pub(super) fn closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// Correlation id and body of an answer.
pub fn decode<R: Request>(mut body: Bytes, version: i16) -> Result<(i32, R::Response)> {
    let api = ApiKey::try_from(R::KEY).map_err(|()| anyhow::anyhow!("no API {}", R::KEY))?;
    let header = ResponseHeader::decode(&mut body, api.response_header_version(version))?;
    let response = R::Response::decode(&mut body, version)?;
    ensure!(!body.has_remaining(), "{} bytes follow the answer", body.remaining());
    Ok((header.correlation_id, response))
}

/// What a Produce response says about its only partition.
pub fn produced(response: ProduceResponse) -> Result<PartitionProduceResponse> {
    let topic = response.responses.into_iter().next().context("no topic in the answer")?;
    topic.partition_responses.into_iter().next().context("no partition in the answer")
}

/// What a Fetch response says about its only partition.
pub fn fetched(response: FetchResponse) -> Result<PartitionData> {
    ensure!(response.error_code == 0, "Fetch: error {}", response.error_code);
    let topic = response.responses.into_iter().next().context("no topic in the answer")?;
    topic.partitions.into_iter().next().context("no partition in the answer")
}
