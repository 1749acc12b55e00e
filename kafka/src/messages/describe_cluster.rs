//! DescribeCluster (API 60): what the Java admin client asks for the brokers (KIP-700).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;

/// Endpoint type of brokers (v1, KIP-919).
pub const BROKERS: i8 = 1;
/// Endpoint type of controllers (v1, KIP-919); a broker answers MISMATCHED_ENDPOINT_TYPE.
pub const CONTROLLERS: i8 = 2;

message! {
    /// A DescribeCluster request.
    #[derive(Copy)]
    pub struct DescribeClusterRequest {
        /// Whether operations on the cluster are to be listed.
        include_cluster_authorized_operations: bool, ..;
        /// [`BROKERS`] or [`CONTROLLERS`].
        endpoint_type: i8 = BROKERS, 1..;
        /// Whether fenced brokers are to be listed.
        include_fenced_brokers: bool, 2..;
    }

    /// A DescribeCluster response.
    pub struct DescribeClusterResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// As in the request.
        endpoint_type: i8 = BROKERS, 1..;
        /// Id of the cluster.
        cluster_id: Cow<'a, str>, ..;
        /// Broker to send administration to.
        controller_id: i32 = -1, ..;
        /// Brokers.
        brokers: Vec<ClusterBroker<'a>>, ..;
        /// Bits of operations on the cluster, or [`super::metadata::OPERATIONS_OMITTED`].
        cluster_authorized_operations: i32 = i32::MIN, ..;
    }

    /// A broker.
    pub struct ClusterBroker<'a> {
        /// Its id.
        id: i32, ..;
        /// Host that clients connect to.
        host: Cow<'a, str>, ..;
        /// Port that clients connect to.
        port: i32, ..;
        /// Its rack.
        rack: Option<Cow<'a, str>>, ..;
        /// Whether it is fenced.
        is_fenced: bool, 2..;
    }
}
