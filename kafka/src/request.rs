//! Any request, decoded by its header.
use crate::messages::alter_configs::AlterConfigsRequest;
use crate::messages::api_versions::ApiVersionsRequest;
use crate::messages::create_partitions::CreatePartitionsRequest;
use crate::messages::create_topics::CreateTopicsRequest;
use crate::messages::delete_groups::DeleteGroupsRequest;
use crate::messages::delete_records::DeleteRecordsRequest;
use crate::messages::delete_topics::DeleteTopicsRequest;
use crate::messages::describe_cluster::DescribeClusterRequest;
use crate::messages::describe_configs::DescribeConfigsRequest;
use crate::messages::describe_groups::DescribeGroupsRequest;
use crate::messages::fetch::FetchRequest;
use crate::messages::find_coordinator::FindCoordinatorRequest;
use crate::messages::incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::messages::init_producer_id::InitProducerIdRequest;
use crate::messages::list_groups::ListGroupsRequest;
use crate::messages::list_offsets::ListOffsetsRequest;
use crate::messages::metadata::MetadataRequest;
use crate::messages::offset_commit::OffsetCommitRequest;
use crate::messages::offset_delete::OffsetDeleteRequest;
use crate::messages::offset_fetch::OffsetFetchRequest;
use crate::messages::produce::ProduceRequest;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError};

/// The body of a request.
#[derive(Debug, Clone)]
pub enum Request<'a> {
    Produce(ProduceRequest<'a>),
    Fetch(FetchRequest<'a>),
    ListOffsets(ListOffsetsRequest<'a>),
    Metadata(MetadataRequest<'a>),
    FindCoordinator(FindCoordinatorRequest<'a>),
    ApiVersions(ApiVersionsRequest<'a>),
    OffsetCommit(OffsetCommitRequest<'a>),
    OffsetFetch(OffsetFetchRequest<'a>),
    DescribeGroups(DescribeGroupsRequest<'a>),
    ListGroups(ListGroupsRequest<'a>),
    DeleteGroups(DeleteGroupsRequest<'a>),
    OffsetDelete(OffsetDeleteRequest<'a>),
    CreateTopics(CreateTopicsRequest<'a>),
    DeleteTopics(DeleteTopicsRequest<'a>),
    DeleteRecords(DeleteRecordsRequest<'a>),
    InitProducerId(InitProducerIdRequest<'a>),
    DescribeConfigs(DescribeConfigsRequest<'a>),
    AlterConfigs(AlterConfigsRequest<'a>),
    CreatePartitions(CreatePartitionsRequest<'a>),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest<'a>),
    DescribeCluster(DescribeClusterRequest),
}

impl<'a> Request<'a> {
    /// Reads the body that follows a header with this API and version.
    pub fn decode(api: ApiKey, version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        Ok(match api {
            ApiKey::Produce => Self::Produce(ProduceRequest::decode(version, r)?),
            ApiKey::Fetch => Self::Fetch(FetchRequest::decode(version, r)?),
            ApiKey::ListOffsets => Self::ListOffsets(ListOffsetsRequest::decode(version, r)?),
            ApiKey::Metadata => Self::Metadata(MetadataRequest::decode(version, r)?),
            ApiKey::FindCoordinator => Self::FindCoordinator(FindCoordinatorRequest::decode(version, r)?),
            ApiKey::ApiVersions => Self::ApiVersions(ApiVersionsRequest::decode(version, r)?),
            ApiKey::OffsetCommit => Self::OffsetCommit(OffsetCommitRequest::decode(version, r)?),
            ApiKey::OffsetFetch => Self::OffsetFetch(OffsetFetchRequest::decode(version, r)?),
            ApiKey::DescribeGroups => Self::DescribeGroups(DescribeGroupsRequest::decode(version, r)?),
            ApiKey::ListGroups => Self::ListGroups(ListGroupsRequest::decode(version, r)?),
            ApiKey::DeleteGroups => Self::DeleteGroups(DeleteGroupsRequest::decode(version, r)?),
            ApiKey::OffsetDelete => Self::OffsetDelete(OffsetDeleteRequest::decode(version, r)?),
            ApiKey::CreateTopics => Self::CreateTopics(CreateTopicsRequest::decode(version, r)?),
            ApiKey::DeleteTopics => Self::DeleteTopics(DeleteTopicsRequest::decode(version, r)?),
            ApiKey::DeleteRecords => Self::DeleteRecords(DeleteRecordsRequest::decode(version, r)?),
            ApiKey::InitProducerId => Self::InitProducerId(InitProducerIdRequest::decode(version, r)?),
            ApiKey::DescribeConfigs => Self::DescribeConfigs(DescribeConfigsRequest::decode(version, r)?),
            ApiKey::AlterConfigs => Self::AlterConfigs(AlterConfigsRequest::decode(version, r)?),
            ApiKey::CreatePartitions => Self::CreatePartitions(CreatePartitionsRequest::decode(version, r)?),
            ApiKey::IncrementalAlterConfigs => {
                Self::IncrementalAlterConfigs(IncrementalAlterConfigsRequest::decode(version, r)?)
            }
            ApiKey::DescribeCluster => Self::DescribeCluster(DescribeClusterRequest::decode(version, r)?),
        })
    }
}
