//! DescribeCluster (API 60), versions 0 to 2: what the Java admin client asks for the brokers (KIP-700).
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// Endpoint type of brokers (v1, KIP-919).
pub const BROKERS: i8 = 1;
/// Endpoint type of controllers (v1, KIP-919); a broker answers MISMATCHED_ENDPOINT_TYPE.
pub const CONTROLLERS: i8 = 2;

/// A DescribeCluster request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescribeClusterRequest {
    /// Whether operations on the cluster are to be listed.
    pub include_cluster_authorized_operations: bool,
    /// [`BROKERS`] or [`CONTROLLERS`] (v1).
    pub endpoint_type: i8,
    /// Whether fenced brokers are to be listed (v2).
    pub include_fenced_brokers: bool,
}

impl DescribeClusterRequest {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'_>) -> Result<Self, WireError> {
        if !ApiKey::DescribeCluster.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let request = Self {
            include_cluster_authorized_operations: r.bool("include_cluster_authorized_operations")?,
            endpoint_type: if version >= 1 { r.i8("endpoint_type")? } else { BROKERS },
            include_fenced_brokers: version >= 2 && r.bool("include_fenced_brokers")?,
        };
        r.skip_tags(true)?;
        Ok(request)
    }
}

/// A DescribeCluster response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeClusterResponse<'a> {
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error.
    pub error_message: Option<Cow<'a, str>>,
    /// As in the request (v1).
    pub endpoint_type: i8,
    /// Id of the cluster.
    pub cluster_id: Cow<'a, str>,
    /// Broker to send administration to.
    pub controller_id: i32,
    /// Brokers.
    pub brokers: Vec<ClusterBroker<'a>>,
    /// Bits of operations on the cluster, or [`super::metadata::OPERATIONS_OMITTED`].
    pub cluster_authorized_operations: i32,
}

/// A broker; never fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterBroker<'a> {
    /// Its id.
    pub id: i32,
    /// Host that clients connect to.
    pub host: Cow<'a, str>,
    /// Port that clients connect to.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Cow<'a, str>>,
}

impl DescribeClusterResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        w.i32(0); // throttle_time_ms
        w.i16(self.error.code());
        w.nullable_string(true, self.error_message.as_deref());
        if version >= 1 {
            w.i8(self.endpoint_type);
        }
        w.string(true, &self.cluster_id);
        w.i32(self.controller_id);
        w.length(true, self.brokers.len());
        for broker in &self.brokers {
            w.i32(broker.id);
            w.string(true, &broker.host);
            w.i32(broker.port);
            w.nullable_string(true, broker.rack.as_deref());
            if version >= 2 {
                w.bool(false); // is_fenced
            }
            w.no_tags(true);
        }
        w.i32(self.cluster_authorized_operations);
        w.no_tags(true);
    }
}
