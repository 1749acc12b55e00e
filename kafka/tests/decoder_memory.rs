//! No frame makes a decoder panic, or allocate more than a small multiple of the frame's own length.
//!
//! The story: a Kafka broker died of a 20-byte request whose array length said two thousand million
//! (KAFKA-14063), and codecs that reserve what a length claims still do. Here an allocator counts every byte
//! that a decode asks for, over valid requests of every API and version and over what mutation makes of them.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{self as theirs, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use keylane_kafka::wire::Reader;
use keylane_kafka::{ApiKey, Request, RequestHeader, SERVED};
use proptest::prelude::*;

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it is; counting touches only a thread-local
// cell that needs neither initialisation nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get().saturating_add(layout.size()));
        // SAFETY: the caller's promises about `layout` are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above, that is from the system's allocator, with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `work` allocated in all, freed ones included.
fn allocated(work: impl FnOnce()) -> usize {
    let before = ALLOCATED.get();
    work();
    ALLOCATED.get() - before
}

/// Most bytes that decoding a frame may allocate.
fn bound(frame: &[u8]) -> usize {
    64 * frame.len() + 64 * 1024
}

/// Decodes a body, and walks through what a Produce request holds.
fn decode(api: ApiKey, version: i16, body: &[u8]) {
    if let Ok(Request::Produce(produce)) = Request::decode(api, version, &mut Reader::new(body)) {
        assert_eq!(produce.partitions().count(), produce.partition_count);
    }
}

fn check(api: ApiKey, version: i16, body: &[u8]) {
    let bytes = allocated(|| decode(api, version, body));
    assert!(
        bytes <= bound(body),
        "{api:?} v{version}: {bytes} bytes for a body of {}: {body:x?}",
        body.len()
    );
    if api == ApiKey::Produce {
        assert_eq!(bytes, 0, "Produce is decoded without allocating");
    }
}

fn text(s: &'static str) -> StrBytes {
    StrBytes::from_static_str(s)
}

fn body(request: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    request.encode(&mut out, version).expect("a valid request");
    out.to_vec()
}

/// A valid request of each API and version that the other codec knows, with at least one of each array.
fn valid(api: ApiKey, version: i16) -> Vec<u8> {
    let name = || TopicName(text("orders"));
    let by_id = uuid::Uuid::from_u128(1);
    let group = || theirs::GroupId(text("g"));
    match api {
        ApiKey::Produce => {
            let partition = theirs::produce_request::PartitionProduceData::default()
                .with_records(Some(Bytes::from_static(b"records")));
            let topic =
                theirs::produce_request::TopicProduceData::default().with_partition_data(vec![partition; 2]);
            let topic = if version >= 13 { topic.with_topic_id(by_id) } else { topic.with_name(name()) };
            body(&theirs::ProduceRequest::default().with_topic_data(vec![topic; 2]), version)
        }
        ApiKey::Fetch => {
            let partition = theirs::fetch_request::FetchPartition::default();
            let topic = theirs::fetch_request::FetchTopic::default().with_partitions(vec![partition; 2]);
            let topic = if version >= 13 { topic.with_topic_id(by_id) } else { topic.with_topic(name()) };
            let mut request = theirs::FetchRequest::default().with_topics(vec![topic; 2]);
            if version >= 7 {
                let gone = theirs::fetch_request::ForgottenTopic::default().with_partitions(vec![1, 2]);
                let gone = if version >= 13 { gone.with_topic_id(by_id) } else { gone.with_topic(name()) };
                request = request.with_forgotten_topics_data(vec![gone]);
            }
            if version >= 12 {
                request = request.with_cluster_id(Some(text("cluster")));
            }
            if version >= 15 {
                let state = theirs::fetch_request::ReplicaState::default().with_replica_epoch(3);
                request = request.with_replica_state(state);
            }
            body(&request, version)
        }
        ApiKey::ListOffsets => {
            let partition = theirs::list_offsets_request::ListOffsetsPartition::default();
            let topic = theirs::list_offsets_request::ListOffsetsTopic::default()
                .with_name(name())
                .with_partitions(vec![partition; 2]);
            body(&theirs::ListOffsetsRequest::default().with_topics(vec![topic; 2]), version.min(10))
        }
        ApiKey::Metadata => {
            let topic = theirs::metadata_request::MetadataRequestTopic::default().with_name(Some(name()));
            body(&theirs::MetadataRequest::default().with_topics(Some(vec![topic; 2])), version)
        }
        ApiKey::ApiVersions => {
            let mut request = theirs::ApiVersionsRequest::default();
            if version >= 3 {
                request = request.with_client_software_name(text("client"));
            }
            body(&request, version)
        }
        ApiKey::CreateTopics => {
            let assignment = theirs::create_topics_request::CreatableReplicaAssignment::default()
                .with_broker_ids(vec![theirs::BrokerId(1)]);
            let config = theirs::create_topics_request::CreatableTopicConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1")));
            let topic = theirs::create_topics_request::CreatableTopic::default()
                .with_name(name())
                .with_assignments(vec![assignment; 2])
                .with_configs(vec![config; 2]);
            body(&theirs::CreateTopicsRequest::default().with_topics(vec![topic; 2]), version)
        }
        ApiKey::DeleteTopics if version >= 6 => {
            let topic = theirs::delete_topics_request::DeleteTopicState::default().with_name(Some(name()));
            body(&theirs::DeleteTopicsRequest::default().with_topics(vec![topic; 2]), version)
        }
        ApiKey::DeleteTopics => {
            body(&theirs::DeleteTopicsRequest::default().with_topic_names(vec![name(); 2]), version)
        }
        ApiKey::FindCoordinator if version >= 4 => body(
            &theirs::FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"); 2]),
            version,
        ),
        ApiKey::FindCoordinator => {
            body(&theirs::FindCoordinatorRequest::default().with_key(text("g")), version)
        }
        ApiKey::InitProducerId => {
            let transaction = Some(theirs::TransactionalId(text("tx")));
            body(&theirs::InitProducerIdRequest::default().with_transactional_id(transaction), version)
        }
        ApiKey::DescribeConfigs => {
            let resource = theirs::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_name(text("orders"))
                .with_configuration_keys(Some(vec![text("retention.ms"); 2]));
            body(&theirs::DescribeConfigsRequest::default().with_resources(vec![resource; 2]), version)
        }
        ApiKey::DeleteRecords => {
            let partition = theirs::delete_records_request::DeleteRecordsPartition::default();
            let topic = theirs::delete_records_request::DeleteRecordsTopic::default()
                .with_name(name())
                .with_partitions(vec![partition; 2]);
            body(&theirs::DeleteRecordsRequest::default().with_topics(vec![topic; 2]), version)
        }
        ApiKey::AlterConfigs => {
            let config = theirs::alter_configs_request::AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1")));
            let resource = theirs::alter_configs_request::AlterConfigsResource::default()
                .with_resource_name(text("orders"))
                .with_configs(vec![config; 2]);
            body(&theirs::AlterConfigsRequest::default().with_resources(vec![resource; 2]), version)
        }
        ApiKey::IncrementalAlterConfigs => {
            let config = theirs::incremental_alter_configs_request::AlterableConfig::default()
                .with_name(text("retention.ms"))
                .with_value(Some(text("1")));
            let resource = theirs::incremental_alter_configs_request::AlterConfigsResource::default()
                .with_resource_name(text("orders"))
                .with_configs(vec![config; 2]);
            body(
                &theirs::IncrementalAlterConfigsRequest::default().with_resources(vec![resource; 2]),
                version,
            )
        }
        ApiKey::CreatePartitions => {
            let assignment = theirs::create_partitions_request::CreatePartitionsAssignment::default()
                .with_broker_ids(vec![theirs::BrokerId(1)]);
            let topic = theirs::create_partitions_request::CreatePartitionsTopic::default()
                .with_name(name())
                .with_assignments(Some(vec![assignment; 2]));
            body(&theirs::CreatePartitionsRequest::default().with_topics(vec![topic; 2]), version)
        }
        ApiKey::OffsetCommit => {
            let partition = theirs::offset_commit_request::OffsetCommitRequestPartition::default();
            let topic = theirs::offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![partition; 2]);
            let request = theirs::OffsetCommitRequest::default().with_group_id(group());
            body(&request.with_topics(vec![topic; 2]), version)
        }
        ApiKey::OffsetFetch if version >= 8 => {
            let topic = theirs::offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(name())
                .with_partition_indexes(vec![1, 2]);
            let group = theirs::offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic; 2]));
            body(&theirs::OffsetFetchRequest::default().with_groups(vec![group; 2]), version)
        }
        ApiKey::OffsetFetch => {
            let topic = theirs::offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(name())
                .with_partition_indexes(vec![1, 2]);
            let request = theirs::OffsetFetchRequest::default().with_group_id(group());
            body(&request.with_topics(Some(vec![topic; 2])), version)
        }
        ApiKey::OffsetDelete => {
            let partition = theirs::offset_delete_request::OffsetDeleteRequestPartition::default();
            let topic = theirs::offset_delete_request::OffsetDeleteRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![partition; 2]);
            let request = theirs::OffsetDeleteRequest::default().with_group_id(group());
            body(&request.with_topics(vec![topic; 2]), version)
        }
        ApiKey::DescribeGroups => {
            body(&theirs::DescribeGroupsRequest::default().with_groups(vec![group(); 2]), version)
        }
        ApiKey::DeleteGroups => {
            body(&theirs::DeleteGroupsRequest::default().with_groups_names(vec![group(); 2]), version)
        }
        ApiKey::ListGroups => {
            let mut request = theirs::ListGroupsRequest::default();
            if version >= 4 {
                request = request.with_states_filter(vec![text("Empty"); 2]);
            }
            if version >= 5 {
                request = request.with_types_filter(vec![text("classic"); 2]);
            }
            body(&request, version)
        }
        ApiKey::DescribeCluster => body(&theirs::DescribeClusterRequest::default(), version),
    }
}

fn every_version() -> impl Iterator<Item = (ApiKey, i16)> {
    SERVED.iter().flat_map(|spec| (spec.min..=spec.max).map(|version| (spec.key, version)))
}

#[test]
fn valid_requests_are_decoded_within_the_bound() {
    for (api, version) in every_version() {
        let body = valid(api, version);
        assert!(Request::decode(api, version, &mut Reader::new(&body)).is_ok(), "{api:?} v{version}");
        check(api, version, &body);
    }
}

/// The negative control: a decoder that believes a length breaks the bound and is caught.
#[test]
#[should_panic(expected = "bytes for a body of")]
fn a_decoder_that_believes_a_length_is_caught() {
    let body = valid(ApiKey::Metadata, 1);
    let bytes = allocated(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20))));
    assert!(bytes <= bound(&body), "{bytes} bytes for a body of {}", body.len());
}

#[test]
fn a_huge_length_at_any_place_allocates_nothing_for_it() {
    let huge: [&[u8]; 5] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x80, 0, 0, 0],
        &[0x00, 0xff, 0xff, 0xff],
    ];
    for (api, version) in every_version() {
        let body = valid(api, version);
        for at in 0..body.len() {
            for length in huge {
                let mut overwritten = body.clone();
                overwritten.splice(at..(at + length.len()).min(body.len()), length.iter().copied());
                check(api, version, &overwritten);
                let mut inserted = body.clone();
                inserted.splice(at..=at, length.iter().copied());
                check(api, version, &inserted);
            }
        }
    }
}

/// The worst that is still true: as many of the smallest elements as the frame holds.
#[test]
fn as_many_small_elements_as_fit_stay_within_the_bound() {
    const FILL: usize = 8192;
    for (api, version) in every_version() {
        let body = valid(api, version);
        for at in 0..=body.len() {
            for count in [FILL, FILL / 2, FILL / 3, FILL / 4, FILL / 6, FILL / 16] {
                for filler in [0u8, 1, 2] {
                    let head = body.get(..at).unwrap_or_default();
                    let mut fixed = head.to_vec();
                    fixed.extend((count as u32).to_be_bytes());
                    fixed.resize(fixed.len() + FILL, filler);
                    check(api, version, &fixed);
                    let mut compact = head.to_vec();
                    compact.extend([((count + 1) & 0x7f) as u8 | 0x80, ((count + 1) >> 7) as u8 & 0x7f]);
                    compact.resize(compact.len() + FILL, filler);
                    check(api, version, &compact);
                }
            }
        }
    }
}

fn any_version() -> impl Strategy<Value = (ApiKey, i16)> {
    proptest::sample::select(every_version().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes((api, version) in any_version(), body in proptest::collection::vec(any::<u8>(), 0..300)) {
        check(api, version, &body);
    }

    #[test]
    fn mutated_requests(
        (api, version) in any_version(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut body = valid(api, version);
        for (at, byte) in changes {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len() + 1));
        }
        check(api, version, &body);
    }

    #[test]
    fn random_headers(frame in proptest::collection::vec(any::<u8>(), 0..64)) {
        let bytes = allocated(|| {
            let _ = RequestHeader::decode(&mut Reader::new(&frame));
        });
        prop_assert_eq!(bytes, 0);
    }
}
