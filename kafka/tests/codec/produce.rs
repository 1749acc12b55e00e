//! Produce, versions 3 to 13.
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ProduceRequest as TheirRequest, ProduceResponse as TheirResponse, TransactionalId,
};
use keylane_kafka::hot::produce::{
    ProduceItem, ProducePartition, ProduceRequest, ProduceResponseWriter, ProduceTopic,
};
use keylane_kafka::messages::produce::{ProducedPartition, RecordError};
use keylane_kafka::{ApiKey, ErrorCode, Reader, TopicRef, WireErrorKind};

use super::{decoded, encoded, id, name, text, to};

fn header_version(version: i16) -> i16 {
    i16::from(ApiKey::Produce.is_flexible(version))
}

fn topic_ref(version: i16, topic: &str, n: u128) -> TopicRef<'_> {
    if version >= 13 { TopicRef::Id(id(n)) } else { TopicRef::Name(topic) }
}

fn their_topic(version: i16, topic: &str, n: u128, partitions: &[(i32, Option<Bytes>)]) -> TopicProduceData {
    let partitions = partitions.iter().map(|(index, records)| {
        PartitionProduceData::default().with_index(*index).with_records(records.clone())
    });
    let data = TopicProduceData::default().with_partition_data(partitions.collect());
    if version >= 13 { data.with_topic_id(id(n)) } else { data.with_name(name(topic)) }
}

#[test]
fn requests_of_every_version_are_read_in_place() {
    let long = Bytes::from(vec![7u8; 20_000]);
    for version in 3..=13 {
        let request = TheirRequest::default()
            .with_transactional_id(Some(TransactionalId(text("tx"))))
            .with_acks(-1)
            .with_timeout_ms(30_000)
            .with_topic_data(vec![
                their_topic(version, "orders", 1, &[(0, Some(long.clone())), (9, None)]),
                their_topic(version, "none", 2, &[]),
                their_topic(version, "clicks", 3, &[(3, Some(Bytes::from_static(b"abc")))]),
            ]);
        let body = encoded(&request, version);
        // A frame has a header in front: ranges count from the start of the frame.
        let mut frame = vec![0xee; 13];
        frame.extend_from_slice(&body);
        let mut r = Reader::new(&frame);
        r.take(13, "header").unwrap();
        let ours = ProduceRequest::decode(version, &mut r).unwrap();
        assert_eq!(
            (ours.transactional_id, ours.outline.acks, ours.outline.timeout_ms),
            (Some("tx"), -1, 30_000)
        );
        assert_eq!((ours.outline.topic_count, ours.outline.partition_count), (3, 3));
        assert_eq!(ours.single_partition(), None);
        let items: Vec<_> = ours.items().collect();
        let orders = topic_ref(version, "orders", 1);
        let none = topic_ref(version, "none", 2);
        let clicks = topic_ref(version, "clicks", 3);
        let [
            ProduceItem::Topic(first),
            ProduceItem::Partition(long_one),
            ProduceItem::Partition(null_one),
            ProduceItem::Topic(second),
            ProduceItem::Topic(third),
            ProduceItem::Partition(short_one),
        ] = &items[..]
        else {
            panic!("{items:?}");
        };
        assert_eq!(*first, ProduceTopic { topic: orders, partition_count: 2 });
        assert_eq!(*second, ProduceTopic { topic: none, partition_count: 0 });
        assert_eq!(*third, ProduceTopic { topic: clicks, partition_count: 1 });
        assert_eq!((long_one.topic, long_one.index, long_one.records), (orders, 0, &long[..]));
        assert_eq!((null_one.topic, null_one.index, null_one.records), (orders, 9, &b""[..]));
        assert_eq!((short_one.topic, short_one.index, short_one.records), (clicks, 3, &b"abc"[..]));
        // Its outline reads the same out of a copy.
        let copy = frame.clone();
        let again = ProduceRequest::again(ours.outline, &copy);
        assert_eq!(again.transactional_id, ours.transactional_id);
        assert_eq!(again.items().collect::<Vec<_>>(), items);
        for ProducePartition { records, range, .. } in ours.partitions() {
            assert_eq!(&frame[range], records);
        }
    }
}

#[test]
fn a_single_partition_is_at_hand() {
    for version in 3..=13 {
        let records = Some(Bytes::from_static(b"batch"));
        let request = TheirRequest::default().with_acks(1).with_topic_data(vec![their_topic(
            version,
            "t",
            1,
            &[(4, records)],
        )]);
        let body = encoded(&request, version);
        let ours = ProduceRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let only = ours.single_partition().unwrap();
        assert_eq!((only.topic, only.index, only.records), (topic_ref(version, "t", 1), 4, &b"batch"[..]));
        assert_eq!(ours.transactional_id, None);
    }
}

#[test]
fn nothing_is_handed_out_of_a_damaged_request() {
    for version in 3..=13 {
        let records = Some(Bytes::from_static(b"batch"));
        let partitions = [(0, records.clone()), (1, records)];
        let request = TheirRequest::default().with_acks(1).with_topic_data(vec![their_topic(
            version,
            "t",
            1,
            &partitions,
        )]);
        let body = encoded(&request, version);
        for len in 0..body.len() {
            assert!(
                ProduceRequest::decode(version, &mut Reader::new(&body[..len])).is_err(),
                "v{version}: {len}"
            );
        }
        // As in Kafka, bytes after the request are nobody's concern.
        let mut longer = body.to_vec();
        longer.push(0);
        assert_eq!(
            ProduceRequest::decode(version, &mut Reader::new(&longer)).unwrap().outline.partition_count,
            2
        );
    }
    let error = ProduceRequest::decode(2, &mut Reader::new(&[])).unwrap_err();
    assert_eq!(error.kind, WireErrorKind::Version(2));
}

#[test]
fn responses_of_every_version_are_written_and_patched() {
    for version in 3..=13 {
        let mut out = BytesMut::from(&b"an earlier response"[..]);
        let mut writer = ProduceResponseWriter::begin(&mut out, to(ApiKey::Produce, version, 77), 2);
        let start = writer.frame_start();
        writer.topic(topic_ref(version, "orders", 1), 2);
        let good = |index, base_offset, log_append_time_ms, log_start_offset| ProducedPartition {
            base_offset,
            log_append_time_ms,
            log_start_offset,
            ..ProducedPartition::failed(index, ErrorCode::None)
        };
        let first = writer.partition(&good(0, 1_000, 77, 10));
        let blamed = [RecordError::new(4, "no key".to_owned()), RecordError::new(9, "none".to_owned())];
        let second = writer.partition(&ProducedPartition {
            record_errors: blamed.to_vec(),
            error_message: Some("two records".into()),
            ..ProducedPartition::failed(9, ErrorCode::InvalidRecord)
        });
        writer.topic(topic_ref(version, "clicks", 3), 1);
        let third = writer.partition(&good(3, 5, 78, 0));
        writer.finish(0).unwrap();
        assert_eq!(&out[..start], b"an earlier response");
        let frame = &mut out[start..];
        third.fail(frame, ErrorCode::KafkaStorageError);
        assert_eq!(frame[first.base_offset_at()..][..8], 1_000i64.to_be_bytes());
        assert_eq!(frame[second.error_code_at()..][..2], 87i16.to_be_bytes());

        let theirs: TheirResponse = decoded(frame, version, 77, header_version(version));
        assert_eq!(theirs.throttle_time_ms, 0);
        let flat: Vec<_> = theirs
            .responses
            .iter()
            .flat_map(|t| t.partition_responses.iter().map(move |p| (t, p)))
            .map(|(t, p)| {
                assert_eq!(p.log_append_time_ms, if p.error_code == 0 { 77 } else { -1 });
                let told: Vec<_> = p.record_errors.iter().map(|e| e.batch_index).collect();
                let message = p.error_message.as_deref();
                let refused = version >= 8 && p.error_code == 87;
                assert_eq!(
                    (&told[..], message),
                    if refused { (&[4, 9][..], Some("two records")) } else { (&[][..], None) }
                );
                let topic = if version >= 13 { t.topic_id.to_string() } else { t.name.to_string() };
                (topic, p.index, p.error_code, p.base_offset, p.log_start_offset)
            })
            .collect();
        let named = |topic: &str, n| if version >= 13 { id(n).to_string() } else { topic.to_owned() };
        let from_5 = |start| if version >= 5 { start } else { -1 };
        assert_eq!(
            flat,
            [
                (named("orders", 1), 0, 0, 1_000, from_5(10)),
                (named("orders", 1), 9, 87, -1, -1),
                (named("clicks", 3), 3, 56, -1, from_5(0)),
            ]
        );
    }
}

#[test]
#[should_panic(expected = "all its partitions")]
fn a_response_that_lacks_a_partition_is_not_sent() {
    let mut out = BytesMut::new();
    let mut writer = ProduceResponseWriter::begin(&mut out, to(ApiKey::Produce, 9, 1), 1);
    writer.topic(TopicRef::Name("t"), 1);
    let _ = writer.finish(0);
}
