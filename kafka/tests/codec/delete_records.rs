//! DeleteRecords 0 to 2.
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition as TheirPartition, DeleteRecordsTopic as TheirTopic,
};
use kafka_protocol::messages::{self as theirs};
use keylane_kafka::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
    DeletedRecordsPartition, DeletedRecordsTopic, HIGH_WATERMARK,
};
use keylane_kafka::{ApiKey, ErrorCode, Message, Reader};

use super::{answered, encoded, name, prefixes_are_refused};

#[test]
fn delete_records_both_ways() {
    for version in 0..=2 {
        let partition =
            |index, offset| TheirPartition::default().with_partition_index(index).with_offset(offset);
        let orders = TheirTopic::default()
            .with_name(name("orders"))
            .with_partitions(vec![partition(0, 7), partition(3, HIGH_WATERMARK)]);
        let clicks = TheirTopic::default().with_name(name("clicks"));
        let request =
            theirs::DeleteRecordsRequest::default().with_topics(vec![orders, clicks]).with_timeout_ms(1234);
        let body = encoded(&request, version);
        let ours = DeleteRecordsRequest::decode(version, &mut Reader::new(&body)).unwrap();
        let expected = DeleteRecordsRequest {
            topics: vec![
                DeleteRecordsTopic {
                    name: "orders",
                    partitions: vec![
                        DeleteRecordsPartition { index: 0, offset: 7 },
                        DeleteRecordsPartition { index: 3, offset: -1 },
                    ],
                },
                DeleteRecordsTopic { name: "clicks", partitions: vec![] },
            ],
            timeout_ms: 1234,
        };
        assert_eq!(ours, expected);
        prefixes_are_refused(&body, |r| DeleteRecordsRequest::decode(version, r).map(drop));

        let done = DeletedRecordsPartition { index: 0, low_watermark: 1 << 40, error: ErrorCode::None };
        let failed =
            DeletedRecordsPartition { index: 3, low_watermark: -1, error: ErrorCode::OffsetOutOfRange };
        let response = DeleteRecordsResponse {
            topics: vec![
                DeletedRecordsTopic { name: "orders".into(), partitions: vec![done, failed] },
                DeletedRecordsTopic { name: "clicks".into(), partitions: vec![] },
            ],
            ..Default::default()
        };
        let theirs: theirs::DeleteRecordsResponse =
            answered(ApiKey::DeleteRecords, version, |w| response.encode(version, w));
        let [orders, clicks] = &theirs.topics[..] else { panic!("{theirs:?}") };
        assert_eq!((&orders.name, &clicks.name), (&name("orders"), &name("clicks")));
        assert!(clicks.partitions.is_empty());
        let partitions: Vec<_> =
            orders.partitions.iter().map(|p| (p.partition_index, p.low_watermark, p.error_code)).collect();
        assert_eq!(partitions, [(0, 1 << 40, 0), (3, -1, 1)]);
    }
}
