//! Requests and responses, one file for each API, and the table of the APIs that are served.
//!
//! To serve another API: declare its messages in a file here, name the file below, add a row to the table, and
//! write a handler in the server, which does not compile without one.
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;
pub mod update_features;

/// The table of the APIs that are served, by key: calls a macro with its rows.
///
/// A row has the API's name in Kafka and its number; the versions that are served; the first version with compact
/// types and tagged fields (KIP-482), one after the last if none has them; the file, the request and the response.
///
/// Produce is advertised from version 0 on although 0 to 2 are refused, as Kafka 4 does (KAFKA-18659): older
/// librdkafka takes a higher minimum for a broker without its message formats and silently turns compression off.
#[macro_export]
macro_rules! for_each_api {
    ($callback:ident) => {
        $callback! {
            Produce = 0, 3..=13 advertised 0, flexible 9, produce::{ProduceRequest<'a>, ProduceResponse<'a>};
            Fetch = 1, 4..=18, flexible 12, fetch::{FetchRequest<'a>, FetchResponse<'a>};
            ListOffsets = 2, 1..=11, flexible 6, list_offsets::{ListOffsetsRequest<'a>, ListOffsetsResponse<'a>};
            Metadata = 3, 0..=13, flexible 9, metadata::{MetadataRequest<'a>, MetadataResponse<'a>};
            OffsetCommit = 8, 2..=10, flexible 8, offset_commit::{OffsetCommitRequest<'a>, OffsetCommitResponse<'a>};
            OffsetFetch = 9, 1..=10, flexible 6, offset_fetch::{OffsetFetchRequest<'a>, OffsetFetchResponse<'a>};
            FindCoordinator = 10, 0..=6, flexible 3, find_coordinator::{FindCoordinatorRequest<'a>, FindCoordinatorResponse<'a>};
            JoinGroup = 11, 0..=9, flexible 6, join_group::{JoinGroupRequest<'a>, JoinGroupResponse<'a>};
            Heartbeat = 12, 0..=4, flexible 4, heartbeat::{HeartbeatRequest<'a>, HeartbeatResponse};
            LeaveGroup = 13, 0..=5, flexible 4, leave_group::{LeaveGroupRequest<'a>, LeaveGroupResponse<'a>};
            SyncGroup = 14, 0..=5, flexible 4, sync_group::{SyncGroupRequest<'a>, SyncGroupResponse<'a>};
            DescribeGroups = 15, 0..=6, flexible 5, describe_groups::{DescribeGroupsRequest<'a>, DescribeGroupsResponse<'a>};
            ListGroups = 16, 0..=5, flexible 3, list_groups::{ListGroupsRequest<'a>, ListGroupsResponse<'a>};
            ApiVersions = 18, 0..=4, flexible 3, api_versions::{ApiVersionsRequest<'a>, ApiVersionsResponse<'a>};
            CreateTopics = 19, 2..=7, flexible 5, create_topics::{CreateTopicsRequest<'a>, CreateTopicsResponse<'a>};
            DeleteTopics = 20, 1..=6, flexible 4, delete_topics::{DeleteTopicsRequest<'a>, DeleteTopicsResponse<'a>};
            DeleteRecords = 21, 0..=2, flexible 2, delete_records::{DeleteRecordsRequest<'a>, DeleteRecordsResponse<'a>};
            InitProducerId = 22, 0..=5, flexible 2, init_producer_id::{InitProducerIdRequest<'a>, InitProducerIdResponse};
            OffsetForLeaderEpoch = 23, 2..=4, flexible 4, offset_for_leader_epoch::{OffsetForLeaderEpochRequest<'a>, OffsetForLeaderEpochResponse<'a>};
            DescribeConfigs = 32, 1..=4, flexible 4, describe_configs::{DescribeConfigsRequest<'a>, DescribeConfigsResponse<'a>};
            AlterConfigs = 33, 0..=2, flexible 2, alter_configs::{AlterConfigsRequest<'a>, AlterConfigsResponse<'a>};
            AlterReplicaLogDirs = 34, 1..=2, flexible 2, alter_replica_log_dirs::{AlterReplicaLogDirsRequest<'a>, AlterReplicaLogDirsResponse<'a>};
            DescribeLogDirs = 35, 1..=4, flexible 2, describe_log_dirs::{DescribeLogDirsRequest<'a>, DescribeLogDirsResponse<'a>};
            CreatePartitions = 37, 0..=3, flexible 2, create_partitions::{CreatePartitionsRequest<'a>, CreatePartitionsResponse<'a>};
            DeleteGroups = 42, 0..=2, flexible 2, delete_groups::{DeleteGroupsRequest<'a>, DeleteGroupsResponse<'a>};
            ElectLeaders = 43, 0..=2, flexible 2, elect_leaders::{ElectLeadersRequest<'a>, ElectLeadersResponse<'a>};
            IncrementalAlterConfigs = 44, 0..=1, flexible 1, incremental_alter_configs::{IncrementalAlterConfigsRequest<'a>, IncrementalAlterConfigsResponse<'a>};
            AlterPartitionReassignments = 45, 0..=1, flexible 0, alter_partition_reassignments::{AlterPartitionReassignmentsRequest<'a>, AlterPartitionReassignmentsResponse<'a>};
            ListPartitionReassignments = 46, 0..=0, flexible 0, list_partition_reassignments::{ListPartitionReassignmentsRequest<'a>, ListPartitionReassignmentsResponse<'a>};
            OffsetDelete = 47, 0..=0, flexible 1, offset_delete::{OffsetDeleteRequest<'a>, OffsetDeleteResponse<'a>};
            DescribeQuorum = 55, 0..=2, flexible 0, describe_quorum::{DescribeQuorumRequest<'a>, DescribeQuorumResponse<'a>};
            UpdateFeatures = 57, 0..=2, flexible 0, update_features::{UpdateFeaturesRequest<'a>, UpdateFeaturesResponse<'a>};
            DescribeCluster = 60, 0..=2, flexible 0, describe_cluster::{DescribeClusterRequest, DescribeClusterResponse<'a>};
            DescribeProducers = 61, 0..=0, flexible 0, describe_producers::{DescribeProducersRequest<'a>, DescribeProducersResponse<'a>};
            ConsumerGroupHeartbeat = 68, 0..=1, flexible 0, consumer_group_heartbeat::{ConsumerGroupHeartbeatRequest<'a>, ConsumerGroupHeartbeatResponse<'a>};
            ConsumerGroupDescribe = 69, 0..=1, flexible 0, consumer_group_describe::{ConsumerGroupDescribeRequest<'a>, ConsumerGroupDescribeResponse<'a>};
            ListConfigResources = 74, 0..=1, flexible 0, list_config_resources::{ListConfigResourcesRequest, ListConfigResourcesResponse<'a>};
            DescribeTopicPartitions = 75, 0..=0, flexible 0, describe_topic_partitions::{DescribeTopicPartitionsRequest<'a>, DescribeTopicPartitionsResponse<'a>};
        }
    };
}
