//! What reads and writes in place does so as the declarations say, in every version.
use bytes::{Bytes, BytesMut};
use keylane_kafka::field::Field;
use keylane_kafka::frame::write_response;
use keylane_kafka::hot::fetch::FetchResponseWriter;
use keylane_kafka::hot::produce::{ProduceItem, ProduceRequest, ProduceResponseWriter};
use keylane_kafka::messages::{fetch, produce};
use keylane_kafka::{ApiKey, Message, Reader};

use super::to;

fn versions(api: ApiKey) -> std::ops::RangeInclusive<i16> {
    api.spec().min..=api.spec().max
}

fn declared<'a, M: Message<'a>>(message: &M, version: i16) -> BytesMut {
    let mut out = BytesMut::new();
    write_response(&mut out, to(M::API, version, 5), |w| message.encode(version, w))
        .expect("a short response");
    out
}

#[test]
fn produce_requests_are_read_alike() {
    for version in versions(ApiKey::Produce) {
        let body = ApiKey::Produce.sample_request(version);
        let declared = produce::ProduceRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let hot = ProduceRequest::decode(version, &mut Reader::new(&body)).unwrap();
        assert_eq!((hot.transactional_id, hot.outline.acks), (declared.transactional_id, declared.acks));
        assert_eq!(
            (hot.outline.timeout_ms, hot.outline.topic_count),
            (declared.timeout_ms, declared.topics.len())
        );
        let mut topics: Vec<produce::ProduceTopic<'_>> = Vec::new();
        for item in hot.items() {
            match item {
                ProduceItem::Topic(topic) => {
                    topics.push(produce::ProduceTopic { topic: topic.topic, partitions: vec![] });
                }
                ProduceItem::Partition(p) => topics
                    .last_mut()
                    .unwrap()
                    .partitions
                    .push(produce::ProducePartition { index: p.index, records: Some(p.records) }),
            }
        }
        assert_eq!(topics, declared.topics, "v{version}");
    }
}

#[test]
fn produce_responses_are_written_alike() {
    for version in versions(ApiKey::Produce) {
        let sample = produce::ProduceResponse::sample(ApiKey::Produce.at(version), &mut 0);
        let response = produce::ProduceResponse { throttle_time_ms: 77, ..sample };
        let mut out = BytesMut::new();
        let mut writer =
            ProduceResponseWriter::begin(&mut out, to(ApiKey::Produce, version, 5), response.topics.len());
        for topic in &response.topics {
            writer.topic(topic.topic, topic.partitions.len());
            for partition in &topic.partitions {
                writer.partition(partition);
            }
        }
        writer.finish(77).unwrap();
        assert_eq!(out, declared(&response, version), "v{version}");
    }
}

#[test]
fn fetch_responses_are_written_alike() {
    for version in versions(ApiKey::Fetch) {
        let sample = fetch::FetchResponse::sample(ApiKey::Fetch.at(version), &mut 0);
        let mut response = fetch::FetchResponse { throttle_time_ms: 77, ..sample };
        let mut writer = FetchResponseWriter::begin(
            to(ApiKey::Fetch, version, 5),
            77,
            response.error,
            response.session_id,
            response.topics.len(),
        );
        for topic in &mut response.topics {
            writer.topic(topic.topic, topic.partitions.len());
            for partition in &mut topic.partitions {
                // What is not written: this server knows of no other replica.
                partition.preferred_read_replica = -1;
                let head = fetch::FetchedPartition { records: None, ..partition.clone() };
                writer.partition(&head, partition.records.map(Bytes::copy_from_slice));
            }
        }
        assert_eq!(writer.finish().unwrap().concat(), declared(&response, version), "v{version}");
    }
}
