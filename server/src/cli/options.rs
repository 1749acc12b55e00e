//! Options as they are given: on the command line, in the environment (`KEYLANE_*`) and in a TOML file.
//!
//! Promise: every option can be given in all three, under the same name; the command line wins over the
//! environment, which wins over the file, which wins over the default. A key that the file does not know is an
//! error that names it.
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use keylane_engine::records::CheckCompressed;
use serde::Deserialize;

use crate::config::values::{CoreList, Limit, Size};
use crate::config::{Keys, ServerConfig, Values};
use crate::service::settings::names as topic;

/// Log level if none is given.
const LOG_DEFAULT: &str = "info";

/// An option that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}", path = path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of keys cannot be read.
    #[error("cannot read the file of keys {path} (see --kinesis-verify)", path = path.display())]
    ReadKeys {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of keys is not what it should be.
    #[error("line {line} of the file of keys {path} is no id and secret of a key, with white space between", path = path.display())]
    ParseKeys {
        /// The file.
        path: PathBuf,
        /// The number of the line.
        line: usize,
    },
    /// The file is not what it should be.
    #[error("cannot understand the configuration file {path}", path = path.display())]
    ParseFile {
        /// The file.
        path: PathBuf,
        /// Line, column and key.
        source: Box<toml::de::Error>,
    },
    /// Not an address.
    #[error(
        "cannot listen on `{value}`; --kafka and --kinesis take HOST:PORT, for example 0.0.0.0:9092 or [::]:9092"
    )]
    Address {
        /// As given.
        value: String,
        /// Why.
        source: std::io::Error,
    },
    /// A number that does not fit into memory.
    #[error("--{option} {value} is larger than the address space")]
    TooLarge {
        /// Which option.
        option: &'static str,
        /// As given.
        value: u64,
    },
}

/// Options of `keylane serve`; `None` where nothing was given.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Data directory; created if it does not exist [default: keylane-data]
    #[arg(long, env = "KEYLANE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address for Kafka clients; port 0 chooses one [default: 127.0.0.1:9092]
    #[arg(long, env = "KEYLANE_KAFKA", value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// Address for Kinesis clients over HTTP; port 0 chooses one [default: they are not served]
    #[arg(long, env = "KEYLANE_KINESIS", value_name = "HOST:PORT")]
    pub kinesis: Option<String>,
    /// Account that Kinesis streams belong to, 12 digits [default: 123456789012]
    #[arg(long, env = "KEYLANE_KINESIS_ACCOUNT", value_name = "ID")]
    pub kinesis_account: Option<String>,
    /// Milliseconds that a Kinesis stream stays CREATING, and later DELETING [default: 0]
    #[arg(long, env = "KEYLANE_KINESIS_DELAY_MS", value_name = "MS")]
    pub kinesis_delay_ms: Option<u64>,
    /// Milliseconds that a subscription to a Kinesis shard lives [default: 300000]
    #[arg(long, env = "KEYLANE_KINESIS_SUBSCRIPTION_MS", value_name = "MS")]
    pub kinesis_subscription_ms: Option<u64>,
    /// File of the keys with which Kinesis clients must sign: in each line an id and a secret [default: signatures are not checked]
    #[arg(long, env = "KEYLANE_KINESIS_VERIFY", value_name = "FILE")]
    pub kinesis_verify: Option<PathBuf>,
    /// Refuse what is beyond the rates of a Kinesis shard at AWS [default: false]
    #[arg(
        long,
        env = "KEYLANE_KINESIS_THROTTLE",
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub kinesis_throttle: Option<bool>,
    /// Cores to run on, one thread each, as for taskset -c: 0-3 or 0,2 or 0-6:2 [default: all allowed ones]
    #[arg(long, env = "KEYLANE_CORES", value_name = "LIST")]
    pub cores: Option<CoreList>,
    /// Shards to format a new data directory with [default: the number of cores]
    #[arg(long, env = "KEYLANE_SHARDS", value_name = "N")]
    pub shards: Option<u16>,
    /// Host and port told to clients [default: the address they connected to]
    #[arg(long, env = "KEYLANE_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Create a topic when a client asks for one that does not exist [default: true]
    #[arg(long, env = "KEYLANE_AUTO_CREATE_TOPICS", value_name = "true|false")]
    pub auto_create_topics: Option<bool>,
    /// Partitions of a topic that is created without a number [default: 1]
    #[arg(long, env = "KEYLANE_DEFAULT_PARTITIONS", value_name = "N")]
    pub default_partitions: Option<i32>,
    /// Age in milliseconds at which records of topics are deleted; -1: never [default: 604800000, seven days]
    #[arg(long, env = "KEYLANE_RETENTION_MS", value_name = "MS", allow_negative_numbers = true)]
    pub retention_ms: Option<i64>,
    /// Size above which the oldest records of a partition are deleted; -1: no limit [default: -1]
    #[arg(long, env = "KEYLANE_RETENTION_BYTES", value_name = "SIZE", allow_negative_numbers = true)]
    pub retention_bytes: Option<Limit>,
    /// What is done with old records of topics: delete, compact, or compact,delete [default: delete]
    #[arg(long, env = "KEYLANE_CLEANUP_POLICY", value_name = "LIST")]
    pub cleanup_policy: Option<String>,
    /// Age in milliseconds of records at which the active segment is closed [default: 604800000, seven days]
    #[arg(long, env = "KEYLANE_SEGMENT_MS", value_name = "MS")]
    pub segment_ms: Option<i64>,
    /// Milliseconds that tombstones stay after they were first compacted [default: 86400000, one day]
    #[arg(long, env = "KEYLANE_DELETE_RETENTION_MS", value_name = "MS")]
    pub delete_retention_ms: Option<i64>,
    /// Share of bytes not yet compacted from which on a partition is compacted [default: 0.5]
    #[arg(long, env = "KEYLANE_MIN_CLEANABLE_DIRTY_RATIO", value_name = "RATIO")]
    pub min_cleanable_dirty_ratio: Option<f64>,
    /// Age in milliseconds below which records are not compacted [default: 0]
    #[arg(long, env = "KEYLANE_MIN_COMPACTION_LAG_MS", value_name = "MS")]
    pub min_compaction_lag_ms: Option<i64>,
    /// Age in milliseconds above which records are compacted whatever the ratio [default: no limit]
    #[arg(long, env = "KEYLANE_MAX_COMPACTION_LAG_MS", value_name = "MS")]
    pub max_compaction_lag_ms: Option<i64>,
    /// Whose clock the timestamps of records are from: CreateTime (the producer's) or LogAppendTime [default: CreateTime]
    #[arg(long, env = "KEYLANE_MESSAGE_TIMESTAMP_TYPE", value_name = "TYPE")]
    pub message_timestamp_type: Option<String>,
    /// Milliseconds that a record's timestamp may be behind the server's clock [default: no limit]
    #[arg(long, env = "KEYLANE_MESSAGE_TIMESTAMP_BEFORE_MAX_MS", value_name = "MS")]
    pub message_timestamp_before_max_ms: Option<i64>,
    /// Milliseconds that a record's timestamp may be ahead of the server's clock [default: 3600000, one hour]
    #[arg(long, env = "KEYLANE_MESSAGE_TIMESTAMP_AFTER_MAX_MS", value_name = "MS")]
    pub message_timestamp_after_max_ms: Option<i64>,
    /// How batches are stored: producer (as they were sent), uncompressed, gzip, snappy, lz4 or zstd [default: producer]
    #[arg(long, env = "KEYLANE_COMPRESSION_TYPE", value_name = "TYPE")]
    pub compression_type: Option<String>,
    /// Level of gzip, 1 to 9, or -1 for its default [default: -1]
    #[arg(long, env = "KEYLANE_COMPRESSION_GZIP_LEVEL", value_name = "LEVEL", allow_negative_numbers = true)]
    pub compression_gzip_level: Option<i64>,
    /// Level of lz4, 1 to 17 [default: 9]
    #[arg(long, env = "KEYLANE_COMPRESSION_LZ4_LEVEL", value_name = "LEVEL")]
    pub compression_lz4_level: Option<i64>,
    /// Level of zstd, -131072 to 22 [default: 3]
    #[arg(long, env = "KEYLANE_COMPRESSION_ZSTD_LEVEL", value_name = "LEVEL", allow_negative_numbers = true)]
    pub compression_zstd_level: Option<i64>,
    /// How far compressed batches are checked before they are stored: every record, or the header alone [default: full]
    #[arg(long, env = "KEYLANE_CHECK_COMPRESSED")]
    pub check_compressed: Option<Check>,
    /// Milliseconds between two looks at what may be deleted or compacted [default: 10000]
    #[arg(long, env = "KEYLANE_RETENTION_CHECK_INTERVAL_MS", value_name = "MS")]
    pub retention_check_interval_ms: Option<u64>,
    /// Largest record batch accepted [default: 1048588]
    #[arg(long, env = "KEYLANE_MAX_MESSAGE_BYTES", value_name = "SIZE")]
    pub max_message_bytes: Option<Size>,
    /// Largest request accepted [default: 100MiB]
    #[arg(long, env = "KEYLANE_MAX_REQUEST_BYTES", value_name = "SIZE")]
    pub max_request_bytes: Option<Size>,
    /// Size of a commit segment [default: 128MiB]
    #[arg(long, env = "KEYLANE_SEGMENT_BYTES", value_name = "SIZE")]
    pub segment_bytes: Option<Size>,
    /// Memory for the tail cache of all shards together [default: 128MiB]
    #[arg(long, env = "KEYLANE_TAIL_CACHE_BYTES", value_name = "SIZE")]
    pub tail_cache_bytes: Option<Size>,
    /// Milliseconds that the first rebalance of an empty group waits for more members [default: 3000]
    #[arg(long, env = "KEYLANE_GROUP_INITIAL_REBALANCE_DELAY_MS", value_name = "MS")]
    pub group_initial_rebalance_delay_ms: Option<u32>,
    /// Most members of a group [default: no limit]
    #[arg(long, env = "KEYLANE_GROUP_MAX_SIZE", value_name = "N")]
    pub group_max_size: Option<usize>,
    /// Shortest session time-out of a group's member in milliseconds [default: 6000]
    #[arg(long, env = "KEYLANE_GROUP_MIN_SESSION_TIMEOUT_MS", value_name = "MS")]
    pub group_min_session_timeout_ms: Option<u32>,
    /// Longest session time-out of a group's member in milliseconds [default: 1800000, half an hour]
    #[arg(long, env = "KEYLANE_GROUP_MAX_SESSION_TIMEOUT_MS", value_name = "MS")]
    pub group_max_session_timeout_ms: Option<u32>,
    /// How long a member of a consumer group (KIP-848) may be silent, in milliseconds [default: 45000]
    #[arg(long, env = "KEYLANE_GROUP_CONSUMER_SESSION_TIMEOUT_MS", value_name = "MS")]
    pub group_consumer_session_timeout_ms: Option<u32>,
    /// Milliseconds between two heartbeats of a consumer group's member [default: 5000]
    #[arg(long, env = "KEYLANE_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS", value_name = "MS")]
    pub group_consumer_heartbeat_interval_ms: Option<u32>,
    /// Most members of a consumer group [default: no limit]
    #[arg(long, env = "KEYLANE_GROUP_CONSUMER_MAX_SIZE", value_name = "N")]
    pub group_consumer_max_size: Option<usize>,
    /// Minutes that committed offsets of a group without members are kept [default: 10080, seven days]
    #[arg(long, env = "KEYLANE_OFFSETS_RETENTION_MINUTES", value_name = "MINUTES")]
    pub offsets_retention_minutes: Option<u32>,
    /// Milliseconds between two looks at which committed offsets are too old [default: 600000, ten minutes]
    #[arg(long, env = "KEYLANE_OFFSETS_RETENTION_CHECK_INTERVAL_MS", value_name = "MS")]
    pub offsets_retention_check_interval_ms: Option<u64>,
    /// Most fetch sessions kept for clients (KIP-227); 0: none [default: 1000]
    #[arg(long, env = "KEYLANE_FETCH_SESSIONS", value_name = "N")]
    pub fetch_sessions: Option<usize>,
    /// How data files are opened: O_DIRECT, or through the page cache (slower) [default: direct]
    #[arg(long, env = "KEYLANE_IO")]
    pub io: Option<Io>,
    /// Most connections served at once [default: 10000]
    #[arg(long, env = "KEYLANE_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,
    /// Level of the log on stderr: error, warn, info, debug, trace, or directives by module [default: info]
    #[arg(long, env = "KEYLANE_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
    /// File with these options, by the same names
    #[arg(long, env = "KEYLANE_CONFIG", value_name = "FILE.toml")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// How data files are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Io {
    /// O_DIRECT.
    Direct,
    /// Through the page cache.
    Buffered,
}

/// How far compressed batches are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Every record.
    Full,
    /// The header alone, for people who trust their producers.
    Header,
}

impl From<Check> for CheckCompressed {
    fn from(check: Check) -> Self {
        match check {
            Check::Full => Self::Full,
            Check::Header => Self::Header,
        }
    }
}

impl Options {
    /// The options with what `self` lacks taken from `file`.
    fn or(self, file: Self) -> Self {
        Self {
            data: self.data.or(file.data),
            kafka: self.kafka.or(file.kafka),
            kinesis: self.kinesis.or(file.kinesis),
            kinesis_account: self.kinesis_account.or(file.kinesis_account),
            kinesis_delay_ms: self.kinesis_delay_ms.or(file.kinesis_delay_ms),
            kinesis_verify: self.kinesis_verify.or(file.kinesis_verify),
            kinesis_throttle: self.kinesis_throttle.or(file.kinesis_throttle),
            kinesis_subscription_ms: self.kinesis_subscription_ms.or(file.kinesis_subscription_ms),
            cores: self.cores.or(file.cores),
            shards: self.shards.or(file.shards),
            advertise: self.advertise.or(file.advertise),
            auto_create_topics: self.auto_create_topics.or(file.auto_create_topics),
            default_partitions: self.default_partitions.or(file.default_partitions),
            retention_ms: self.retention_ms.or(file.retention_ms),
            retention_bytes: self.retention_bytes.or(file.retention_bytes),
            cleanup_policy: self.cleanup_policy.or(file.cleanup_policy),
            segment_ms: self.segment_ms.or(file.segment_ms),
            delete_retention_ms: self.delete_retention_ms.or(file.delete_retention_ms),
            min_cleanable_dirty_ratio: self.min_cleanable_dirty_ratio.or(file.min_cleanable_dirty_ratio),
            min_compaction_lag_ms: self.min_compaction_lag_ms.or(file.min_compaction_lag_ms),
            max_compaction_lag_ms: self.max_compaction_lag_ms.or(file.max_compaction_lag_ms),
            message_timestamp_type: self.message_timestamp_type.or(file.message_timestamp_type),
            message_timestamp_before_max_ms: self
                .message_timestamp_before_max_ms
                .or(file.message_timestamp_before_max_ms),
            message_timestamp_after_max_ms: self
                .message_timestamp_after_max_ms
                .or(file.message_timestamp_after_max_ms),
            compression_type: self.compression_type.or(file.compression_type),
            compression_gzip_level: self.compression_gzip_level.or(file.compression_gzip_level),
            compression_lz4_level: self.compression_lz4_level.or(file.compression_lz4_level),
            compression_zstd_level: self.compression_zstd_level.or(file.compression_zstd_level),
            check_compressed: self.check_compressed.or(file.check_compressed),
            retention_check_interval_ms: self
                .retention_check_interval_ms
                .or(file.retention_check_interval_ms),
            max_message_bytes: self.max_message_bytes.or(file.max_message_bytes),
            max_request_bytes: self.max_request_bytes.or(file.max_request_bytes),
            segment_bytes: self.segment_bytes.or(file.segment_bytes),
            tail_cache_bytes: self.tail_cache_bytes.or(file.tail_cache_bytes),
            group_initial_rebalance_delay_ms: self
                .group_initial_rebalance_delay_ms
                .or(file.group_initial_rebalance_delay_ms),
            group_max_size: self.group_max_size.or(file.group_max_size),
            group_min_session_timeout_ms: self
                .group_min_session_timeout_ms
                .or(file.group_min_session_timeout_ms),
            group_max_session_timeout_ms: self
                .group_max_session_timeout_ms
                .or(file.group_max_session_timeout_ms),
            group_consumer_session_timeout_ms: self
                .group_consumer_session_timeout_ms
                .or(file.group_consumer_session_timeout_ms),
            group_consumer_heartbeat_interval_ms: self
                .group_consumer_heartbeat_interval_ms
                .or(file.group_consumer_heartbeat_interval_ms),
            group_consumer_max_size: self.group_consumer_max_size.or(file.group_consumer_max_size),
            offsets_retention_minutes: self.offsets_retention_minutes.or(file.offsets_retention_minutes),
            offsets_retention_check_interval_ms: self
                .offsets_retention_check_interval_ms
                .or(file.offsets_retention_check_interval_ms),
            fetch_sessions: self.fetch_sessions.or(file.fetch_sessions),
            io: self.io.or(file.io),
            max_connections: self.max_connections.or(file.max_connections),
            log: self.log.or(file.log),
            config: self.config,
        }
    }

    /// What is given for the settings of topics, by their names.
    fn topic_defaults(&self) -> Values {
        let text = |value: Option<i64>| value.map(|value| value.to_string());
        let given = [
            (topic::RETENTION_MS, text(self.retention_ms)),
            (topic::RETENTION_BYTES, self.retention_bytes.map(|limit| limit.0.to_string())),
            (topic::CLEANUP_POLICY, self.cleanup_policy.clone()),
            (topic::SEGMENT_MS, text(self.segment_ms)),
            (topic::DELETE_RETENTION_MS, text(self.delete_retention_ms)),
            (topic::MIN_CLEANABLE_DIRTY_RATIO, self.min_cleanable_dirty_ratio.map(|ratio| ratio.to_string())),
            (topic::MIN_COMPACTION_LAG_MS, text(self.min_compaction_lag_ms)),
            (topic::MAX_COMPACTION_LAG_MS, text(self.max_compaction_lag_ms)),
            (topic::MESSAGE_TIMESTAMP_TYPE, self.message_timestamp_type.clone()),
            (topic::MESSAGE_TIMESTAMP_BEFORE_MAX_MS, text(self.message_timestamp_before_max_ms)),
            (topic::MESSAGE_TIMESTAMP_AFTER_MAX_MS, text(self.message_timestamp_after_max_ms)),
            (topic::COMPRESSION_TYPE, self.compression_type.clone()),
            (topic::COMPRESSION_GZIP_LEVEL, text(self.compression_gzip_level)),
            (topic::COMPRESSION_LZ4_LEVEL, text(self.compression_lz4_level)),
            (topic::COMPRESSION_ZSTD_LEVEL, text(self.compression_zstd_level)),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// What is given for groups, over the defaults.
    fn groups_over(&self, default: ServerConfig) -> ServerConfig {
        let over = |given: Option<u32>, default: u32| given.unwrap_or(default);
        let delay = self.group_initial_rebalance_delay_ms;
        let (shortest, longest) = (self.group_min_session_timeout_ms, self.group_max_session_timeout_ms);
        let (session, heartbeat) =
            (self.group_consumer_session_timeout_ms, self.group_consumer_heartbeat_interval_ms);
        let interval = self.offsets_retention_check_interval_ms;
        ServerConfig {
            group_initial_rebalance_delay_ms: over(delay, default.group_initial_rebalance_delay_ms),
            group_max_size: self.group_max_size.unwrap_or(default.group_max_size),
            group_min_session_timeout_ms: over(shortest, default.group_min_session_timeout_ms),
            group_max_session_timeout_ms: over(longest, default.group_max_session_timeout_ms),
            group_consumer_session_timeout_ms: over(session, default.group_consumer_session_timeout_ms),
            group_consumer_heartbeat_interval_ms: over(
                heartbeat,
                default.group_consumer_heartbeat_interval_ms,
            ),
            group_consumer_max_size: self.group_consumer_max_size.unwrap_or(default.group_consumer_max_size),
            offsets_retention_minutes: over(
                self.offsets_retention_minutes,
                default.offsets_retention_minutes,
            ),
            offsets_retention_check_interval_ms: interval
                .unwrap_or(default.offsets_retention_check_interval_ms),
            ..default
        }
    }

    /// Adds the file's options and the defaults. Returns the server's settings and the log level.
    ///
    /// The settings are not validated yet: see [`ServerConfig::validate`].
    pub fn resolve(self) -> Result<(ServerConfig, String), OptionsError> {
        let file = match &self.config {
            Some(path) => read_file(path)?,
            None => Self::default(),
        };
        let given = self.or(file);
        let topic_defaults = given.topic_defaults();
        let default = given.groups_over(ServerConfig::default());
        let bytes = |size: Option<Size>, option, default: usize| match size {
            Some(Size(bytes)) => {
                usize::try_from(bytes).map_err(|_| OptionsError::TooLarge { option, value: bytes })
            }
            None => Ok(default),
        };
        let config = ServerConfig {
            data: given.data.unwrap_or(default.data),
            kafka: given.kafka.as_deref().map_or(Ok(default.kafka), address)?,
            kinesis: given.kinesis.as_deref().map(address).transpose()?,
            kinesis_account: given.kinesis_account.unwrap_or(default.kinesis_account),
            kinesis_delay_ms: given.kinesis_delay_ms.unwrap_or(default.kinesis_delay_ms),
            kinesis_keys: given.kinesis_verify.map(read_keys).transpose()?,
            kinesis_throttle: given.kinesis_throttle.unwrap_or(default.kinesis_throttle),
            kinesis_subscription_ms: given.kinesis_subscription_ms.unwrap_or(default.kinesis_subscription_ms),
            advertise: given.advertise,
            cores: given.cores.map(|list| list.0),
            shards: given.shards,
            auto_create_topics: given.auto_create_topics.unwrap_or(default.auto_create_topics),
            default_partitions: given.default_partitions.unwrap_or(default.default_partitions),
            topic_defaults,
            check_compressed: given.check_compressed.map_or(default.check_compressed, Into::into),
            retention_check_interval_ms: given
                .retention_check_interval_ms
                .unwrap_or(default.retention_check_interval_ms),
            max_message_bytes: bytes(
                given.max_message_bytes,
                "max-message-bytes",
                default.max_message_bytes,
            )?,
            max_request_bytes: bytes(
                given.max_request_bytes,
                "max-request-bytes",
                default.max_request_bytes,
            )?,
            segment_bytes: given.segment_bytes.map_or(default.segment_bytes, |size| size.0),
            tail_cache_bytes: bytes(given.tail_cache_bytes, "tail-cache-bytes", default.tail_cache_bytes)?,
            direct_io: given.io.map_or(default.direct_io, |io| io == Io::Direct),
            fetch_sessions: given.fetch_sessions.unwrap_or(default.fetch_sessions),
            max_connections: given.max_connections.unwrap_or(default.max_connections),
            ..default
        };
        Ok((config, log_levels(given.log.as_deref().unwrap_or_default())))
    }
}

/// What `--log` says, without empty parts; without any, the default.
fn log_levels(given: &str) -> String {
    let parts: Vec<_> = given.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { LOG_DEFAULT.to_owned() } else { parts.join(",") }
}

fn read_keys(path: PathBuf) -> Result<Keys, OptionsError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Keys::parse(&text).map_err(|line| OptionsError::ParseKeys { path, line }),
        Err(source) => Err(OptionsError::ReadKeys { path, source }),
    }
}

fn read_file(path: &Path) -> Result<Options, OptionsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| OptionsError::ReadFile { path: path.to_owned(), source })?;
    toml::from_str(&text)
        .map_err(|source| OptionsError::ParseFile { path: path.to_owned(), source: Box::new(source) })
}

/// The address of `HOST:PORT`; of several that a name has, the first of IPv4, as clients most often try it.
fn address(text: &str) -> Result<SocketAddr, OptionsError> {
    let wrong = |source| OptionsError::Address { value: text.to_owned(), source };
    let addresses: Vec<_> = text.to_socket_addrs().map_err(wrong)?.collect();
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    address.copied().ok_or_else(|| wrong(std::io::Error::other("the name has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::groups::{Limits, classic, consumer};

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn with_file(text: &str, given: Options) -> Result<(ServerConfig, String), OptionsError> {
        let file = file(text);
        Options { config: Some(file.path().to_owned()), ..given }.resolve()
    }

    #[test]
    fn every_option_is_read_from_the_file() {
        let text = r#"
            data = "/srv/keylane"
            kafka = "127.0.0.1:0"
            cores = "0-2:2"
            shards = 8
            advertise = "kafka.example:9093"
            auto-create-topics = false
            default-partitions = 12
            retention-ms = -1
            retention-bytes = "1G"
            cleanup-policy = "compact,delete"
            segment-ms = 3600000
            delete-retention-ms = 5
            min-cleanable-dirty-ratio = 0.25
            min-compaction-lag-ms = 6
            max-compaction-lag-ms = 7
            message-timestamp-type = "LogAppendTime"
            message-timestamp-before-max-ms = 9
            message-timestamp-after-max-ms = 10
            compression-type = "zstd"
            compression-gzip-level = -1
            compression-lz4-level = 11
            compression-zstd-level = -12
            check-compressed = "header"
            retention-check-interval-ms = 8
            max-message-bytes = 65536
            max-request-bytes = "16MiB"
            segment-bytes = "64M"
            tail-cache-bytes = "1G"
            fetch-sessions = 12
            io = "buffered"
            max-connections = 5
            log = "debug"
        "#;
        let (config, log) = with_file(text, Options::default()).unwrap();
        assert_eq!(config.data, PathBuf::from("/srv/keylane"));
        assert_eq!(config.kafka, SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!((config.cores, config.shards), (Some(vec![0, 2]), Some(8)));
        assert_eq!(config.advertise.as_deref(), Some("kafka.example:9093"));
        assert!(!config.auto_create_topics && !config.direct_io);
        assert_eq!((config.default_partitions, config.max_connections), (12, 5));
        assert_eq!(config.fetch_sessions, 12);
        assert_eq!((config.max_message_bytes, config.max_request_bytes), (65_536, 16 << 20));
        assert_eq!((config.segment_bytes, config.tail_cache_bytes), (64 << 20, 1 << 30));
        assert_eq!(log, "debug");
        let topics = [
            ("cleanup.policy", "compact,delete"),
            ("compression.gzip.level", "-1"),
            ("compression.lz4.level", "11"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "-12"),
            ("delete.retention.ms", "5"),
            ("max.compaction.lag.ms", "7"),
            ("message.timestamp.after.max.ms", "10"),
            ("message.timestamp.before.max.ms", "9"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("min.compaction.lag.ms", "6"),
            ("retention.bytes", "1073741824"),
            ("retention.ms", "-1"),
            ("segment.ms", "3600000"),
        ];
        assert!(config.topic_defaults.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(topics));
        assert_eq!(config.retention_check_interval_ms, 8);
        assert_eq!(config.check_compressed, CheckCompressed::Header);
    }

    #[test]
    fn every_option_of_groups_is_read_from_the_file() {
        let text = r#"
            group-initial-rebalance-delay-ms = 4000
            group-max-size = 9
            group-min-session-timeout-ms = 11
            group-max-session-timeout-ms = 12000
            group-consumer-session-timeout-ms = 15
            group-consumer-heartbeat-interval-ms = 10
            group-consumer-max-size = 16
            offsets-retention-minutes = 13
            offsets-retention-check-interval-ms = 14
        "#;
        let (config, _) = with_file(text, Options::default()).unwrap();
        let classic =
            classic::Limits { initial_delay: 4_000, size_max: 9, session_min: 11, session_max: 12_000 };
        let consumer = consumer::Limits { session: 15, heartbeat: 10, size_max: 16 };
        assert_eq!(config.group_limits(), Limits { classic, consumer });
        let retention = (config.offsets_retention_minutes, config.offsets_retention_check_interval_ms);
        assert_eq!(retention, (13, 14));
    }

    #[test]
    fn what_is_given_wins_over_the_file_and_the_file_over_the_default() {
        let given = Options { shards: Some(2), ..Options::default() };
        let (config, log) = with_file("shards = 3\ndefault-partitions = 7", given).unwrap();
        assert_eq!((config.shards, config.default_partitions, config.max_connections), (Some(2), 7, 10_000));
        assert_eq!(log, "info");
    }

    #[test]
    fn a_key_that_is_not_known_is_named() {
        let error = with_file("shrads = 3", Options::default()).unwrap_err();
        let chain = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(chain.contains("shrads") && chain.contains("shards"), "{chain}");
        let error = with_file("config = \"other.toml\"", Options::default()).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("config"));
    }

    #[test]
    fn wrong_values_in_the_file_are_explained() {
        for (text, part) in [
            ("segment-bytes = \"1 MB\"", "is not a size"),
            ("segment-bytes = -1", "a size"),
            ("retention-bytes = -2", "or -1"),
            ("retention-bytes = \"some\"", "or -1"),
            ("cores = \"3-1\"", "is not a list of cores"),
            ("io = \"fast\"", "buffered"),
            ("check-compressed = \"some\"", "header"),
        ] {
            let error = with_file(text, Options::default()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(part), "{source}");
        }
        let missing = Options { config: Some("/nonexistent/keylane.toml".into()), ..Options::default() };
        assert!(matches!(missing.resolve(), Err(OptionsError::ReadFile { .. })));
    }

    #[test]
    fn addresses() {
        assert_eq!(address("127.0.0.1:9092").unwrap(), SocketAddr::from(([127, 0, 0, 1], 9092)));
        assert!(address("[::1]:0").unwrap().is_ipv6());
        for wrong in ["9092", "127.0.0.1", "127.0.0.1:99999", ""] {
            assert!(matches!(address(wrong), Err(OptionsError::Address { .. })), "{wrong}");
        }
    }

    #[test]
    fn empty_parts_of_log_levels_say_nothing() {
        assert_eq!(log_levels("info,"), "info");
        assert_eq!(log_levels(" warn , ,keylane=debug"), "warn,keylane=debug");
        assert_eq!(log_levels(","), LOG_DEFAULT);
    }
}
