//! What can be set.
use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Data directory.
    pub data: PathBuf,
    /// Address for Kafka clients; port 0 chooses one.
    pub kafka: SocketAddr,
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
    /// Largest record batch accepted, in bytes (`max.message.bytes` of new topics).
    pub max_message_bytes: usize,
    /// Largest request frame accepted, in bytes.
    pub max_request_bytes: usize,
    /// Size of a commit segment, in bytes.
    pub segment_bytes: u64,
    /// Memory for the tail cache of all shards together, in bytes.
    pub tail_cache_bytes: usize,
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
            advertise: None,
            cores: None,
            shards: None,
            auto_create_topics: true,
            default_partitions: 1,
            max_message_bytes: 1_048_588,
            max_request_bytes: 100 << 20,
            segment_bytes: 128 << 20,
            tail_cache_bytes: 128 << 20,
            direct_io: true,
            max_connections: 10_000,
        }
    }
}
