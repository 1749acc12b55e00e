//! Settings of a server, as the rest of it sees them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use keylane_engine::records::CheckCompressed;

use crate::coordinator::groups::{Limits, classic, consumer};

use super::keys::Keys;

/// Settings of topics by name, as texts.
pub type Values = BTreeMap<String, String>;

/// A segment holds at least so many batches of the largest size.
pub(super) const BATCHES_PER_SEGMENT_MIN: u64 = 4;
/// Segments are made of blocks of this size; the engine rounds up.
pub(super) const BLOCK_BYTES: u64 = 4096;
/// A commit of one batch has at most so much more: a header, a directory entry and padding.
pub(super) const COMMIT_OVERHEAD_BYTES: u64 = 2 * BLOCK_BYTES;
/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Data directory.
    pub data: PathBuf,
    /// Address for Kafka clients; port 0 chooses one.
    pub kafka: SocketAddr,
    /// Address for Kinesis' clients; port 0 chooses one; `None`: they are not served.
    pub kinesis: Option<SocketAddr>,
    /// The account that streams belong to, as their ARNs say: 12 digits.
    pub kinesis_account: String,
    /// Milliseconds that a stream is being created, and being deleted.
    pub kinesis_delay_ms: u64,
    /// Keys with which requests must be signed; `None`: signatures are not looked at.
    pub kinesis_keys: Option<Keys>,
    /// What is beyond the rates of a shard at AWS is refused.
    pub kinesis_throttle: bool,
    /// Milliseconds that a subscription to a shard lives.
    pub kinesis_subscription_ms: u64,
    /// Host and port told to clients in Metadata; default: the address they connected to.
    pub advertise: Option<String>,
    /// CPUs to run on, one thread each; `None`: all that the process's affinity mask allows.
    pub cores: Option<Vec<usize>>,
    /// Shards to format a new data directory with; `None`: as many as cores.
    pub shards: Option<u16>,
    /// Create a topic when a client asks for the metadata of one that does not exist.
    pub auto_create_topics: bool,
    /// Partitions of a topic that is created without a number.
    pub default_partitions: i32,
    /// Values of topic settings for topics that do not set them themselves, by the name of the setting
    /// (`retention.ms`); see `service::settings`. `max.message.bytes` and `segment.bytes` have fields of their own.
    pub topic_defaults: Values,
    /// How far compressed batches are checked before they are stored.
    pub check_compressed: CheckCompressed,
    /// Milliseconds between two looks at what may be deleted or compacted.
    pub retention_check_interval_ms: u64,
    /// Largest record batch accepted, in bytes (`max.message.bytes` of new topics).
    pub max_message_bytes: usize,
    /// Largest request frame accepted, in bytes.
    pub max_request_bytes: usize,
    /// Size of a commit segment, in bytes.
    pub segment_bytes: u64,
    /// Memory for the tail cache of all shards together, in bytes.
    pub tail_cache_bytes: usize,
    /// Milliseconds that the first rebalance of an empty group waits for more members.
    pub group_initial_rebalance_delay_ms: u32,
    /// Most members of a group.
    pub group_max_size: usize,
    /// Shortest session time-out of a group's member, in milliseconds.
    pub group_min_session_timeout_ms: u32,
    /// Longest session time-out of a group's member, in milliseconds.
    pub group_max_session_timeout_ms: u32,
    /// How long a member of a consumer group may be silent, in milliseconds.
    pub group_consumer_session_timeout_ms: u32,
    /// Milliseconds between two heartbeats of a consumer group's member.
    pub group_consumer_heartbeat_interval_ms: u32,
    /// Most members of a consumer group.
    pub group_consumer_max_size: usize,
    /// Minutes that committed offsets of a group without members are kept.
    pub offsets_retention_minutes: u32,
    /// Milliseconds between two looks at which offsets are too old.
    pub offsets_retention_check_interval_ms: u64,
    /// Most fetch sessions kept, over all cores.
    pub fetch_sessions: usize,
    /// O_DIRECT for data files.
    pub direct_io: bool,
    /// Most connections served at once; more are closed at accept.
    pub max_connections: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("keylane-data"),
            kafka: SocketAddr::from(([127, 0, 0, 1], 9092)),
            kinesis: None,
            kinesis_account: "123456789012".to_owned(),
            kinesis_delay_ms: 0,
            kinesis_keys: None,
            kinesis_throttle: false,
            kinesis_subscription_ms: 300_000,
            advertise: None,
            cores: None,
            shards: None,
            auto_create_topics: true,
            default_partitions: 1,
            topic_defaults: Values::new(),
            check_compressed: CheckCompressed::Full,
            retention_check_interval_ms: 10_000,
            max_message_bytes: 1_048_588,
            max_request_bytes: 100 << 20,
            segment_bytes: 128 << 20,
            tail_cache_bytes: 128 << 20,
            group_initial_rebalance_delay_ms: 3_000,
            group_max_size: i32::MAX as usize,
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_consumer_session_timeout_ms: 45_000,
            group_consumer_heartbeat_interval_ms: 5_000,
            group_consumer_max_size: i32::MAX as usize,
            offsets_retention_minutes: 10_080,
            offsets_retention_check_interval_ms: 600_000,
            fetch_sessions: 1000,
            direct_io: true,
            max_connections: 10_000,
        }
    }
}

impl ServerConfig {
    /// What bounds groups and their members.
    pub fn group_limits(&self) -> Limits {
        let classic = classic::Limits {
            initial_delay: self.group_initial_rebalance_delay_ms.into(),
            size_max: self.group_max_size,
            session_min: self.group_min_session_timeout_ms.into(),
            session_max: self.group_max_session_timeout_ms.into(),
        };
        let consumer = consumer::Limits {
            session: self.group_consumer_session_timeout_ms.into(),
            heartbeat: self.group_consumer_heartbeat_interval_ms.into(),
            size_max: self.group_consumer_max_size,
        };
        Limits { classic, consumer }
    }

    /// Milliseconds that committed offsets of a group without members are kept.
    pub fn offsets_retention_ms(&self) -> i64 {
        i64::from(self.offsets_retention_minutes) * 60_000
    }

    /// Bytes of one shard that may wait for the disk before producers are slowed down.
    pub fn uncommitted_bytes_max(&self) -> usize {
        (16usize << 20).max(self.max_message_bytes.saturating_mul(2))
    }

    /// Largest batch that the engine takes with these settings, in bytes.
    pub fn batch_bytes_max(&self) -> usize {
        let quarter = usize::try_from(self.segment_bytes / BATCHES_PER_SEGMENT_MIN).unwrap_or(usize::MAX);
        quarter.min(self.uncommitted_bytes_max()).saturating_sub(COMMIT_OVERHEAD_BYTES as usize)
    }
}

/// Host and port of `HOST:PORT`; an IPv6 address stands in brackets, which are taken off.
pub fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let plain = host.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | '[' | ']' | '@' | ','));
    (plain && !host.is_empty()).then_some((host, port))
}
