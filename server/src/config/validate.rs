//! What is checked before anything starts.
//!
//! Promise: a setting that cannot work is refused at start, with an error that says what to do.

use crate::service::settings;

use super::server_config::{
    BATCHES_PER_SEGMENT_MIN, BLOCK_BYTES, COMMIT_OVERHEAD_BYTES, ServerConfig, split_host_port,
};
use super::values::CoreList;

/// Smallest and largest segment that the engine opens.
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 2 << 30);
/// Smallest useful limit of a batch: its header and one small record fit.
const MESSAGE_BYTES_MIN: usize = 1024;
/// Longest time that a subscription to a shard may live: a day.
const KINESIS_SUBSCRIPTION_MS_MAX: u64 = 86_400_000;
/// Longest time that a stream may take to be created: ten minutes.
const KINESIS_DELAY_MS_MAX: u64 = 10 * 60 * 1000;
/// Longest time between two looks at what may be deleted: a year.
const RETENTION_CHECK_INTERVAL_MS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;

/// A setting that cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not an account.
    #[error("--kinesis-account `{0}` is not an account; choose 12 digits")]
    Account(String),
    /// Not a host and a port.
    #[error(
        "cannot advertise `{0}`; --advertise takes HOST:PORT as clients can reach it, for example kafka.example:9092"
    )]
    Advertise(String),
    /// A number outside its limits.
    #[error("--{option} {value} is out of range; choose a value from {min} to {max}")]
    Range {
        /// Which option.
        option: &'static str,
        /// As given.
        value: u64,
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// A negative or zero number of partitions.
    #[error("--default-partitions {0} is out of range; choose at least 1")]
    Partitions(i32),
    /// A value for topics that a topic could not have.
    #[error("{given} cannot be set for topics: {accepted}")]
    TopicDefault {
        /// Option and value.
        given: String,
        /// What would be accepted.
        accepted: String,
    },
    /// No core at all.
    #[error("no core is given; name at least one with --cores, or leave the option out to use all")]
    NoCores,
    /// A core that the machine does not have.
    #[error("core {core} does not exist; this machine has {online}: choose among them with --cores")]
    CoreMissing {
        /// The core.
        core: usize,
        /// Cores of the machine.
        online: CoreList,
    },
    /// A core that the process may not use.
    #[error(
        "core {core} lies outside the affinity mask of this process ({allowed}); choose among those with --cores, \
         or widen the mask (taskset -c, CPUAffinity= of the service, cpuset of the container)"
    )]
    CoreNotAllowed {
        /// The core.
        core: usize,
        /// Cores of the mask.
        allowed: CoreList,
    },
    /// A batch could never arrive.
    #[error(
        "--max-message-bytes {message} is larger than --max-request-bytes {request}, so that no request could \
         carry such a batch; lower the first or raise the second"
    )]
    MessageAboveRequest {
        /// max-message-bytes.
        message: usize,
        /// max-request-bytes.
        request: usize,
    },
    /// A segment that holds only a batch or two.
    #[error(
        "--segment-bytes {segment} is too small for batches of {message} bytes (--max-message-bytes); choose at \
         least {min}"
    )]
    SegmentTooSmall {
        /// segment-bytes.
        segment: u64,
        /// max-message-bytes.
        message: usize,
        /// Smallest allowed.
        min: u64,
    },
    /// The cache cannot hold even one batch.
    #[error(
        "--tail-cache-bytes {cache} is smaller than one batch of --max-message-bytes {message}; choose at least \
         that, better 64MiB or more"
    )]
    CacheTooSmall {
        /// tail-cache-bytes.
        cache: usize,
        /// max-message-bytes.
        message: usize,
    },
    /// The mask cannot be read.
    #[error("cannot read the affinity mask of this process; name the cores with --cores")]
    Affinity(#[source] std::io::Error),
}

/// Cores that this process may run on.
pub fn allowed_cores() -> Result<CoreList, ConfigError> {
    let mask =
        rustix::thread::sched_getaffinity(None).map_err(|errno| ConfigError::Affinity(errno.into()))?;
    Ok(CoreList((0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| mask.is_set(core)).collect()))
}

/// Cores that the machine has, if it says so.
pub fn online_cores() -> Option<CoreList> {
    std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?.parse().ok()
}

fn range(option: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    let fits = (min..=max).contains(&value);
    if fits { Ok(()) } else { Err(ConfigError::Range { option, value, min, max }) }
}

impl ServerConfig {
    /// The settings with the cores filled in: those given, or else all of `allowed`.
    pub fn with_cores(mut self, allowed: &CoreList) -> Self {
        self.cores.get_or_insert_with(|| allowed.0.clone());
        self
    }

    /// Checks the settings against each other and against the machine: the cores that it has (if known) and
    /// those that the process may use.
    pub fn validate(&self, online: Option<&CoreList>, allowed: &CoreList) -> Result<(), ConfigError> {
        self.validate_cores(online, allowed)?;
        self.validate_kinesis()?;
        if let Some(shards) = self.shards {
            range("shards", shards.into(), 1, u16::MAX.into())?;
        }
        if self.default_partitions < 1 {
            return Err(ConfigError::Partitions(self.default_partitions));
        }
        let frame_max = i32::MAX as u64;
        let message = self.max_message_bytes;
        range("max-message-bytes", message as u64, MESSAGE_BYTES_MIN as u64, frame_max)?;
        range("max-request-bytes", self.max_request_bytes as u64, MESSAGE_BYTES_MIN as u64, frame_max)?;
        range("max-connections", self.max_connections as u64, 1, u32::MAX.into())?;
        range("fetch-sessions", self.fetch_sessions as u64, 0, i32::MAX as u64)?;
        if message > self.max_request_bytes {
            return Err(ConfigError::MessageAboveRequest { message, request: self.max_request_bytes });
        }
        let commit = message as u64 + COMMIT_OVERHEAD_BYTES;
        let min = (BATCHES_PER_SEGMENT_MIN * commit).next_multiple_of(BLOCK_BYTES);
        let segment = self.segment_bytes;
        if segment < min {
            return Err(ConfigError::SegmentTooSmall { segment, message, min });
        }
        range("segment-bytes", segment, SEGMENT_BYTES.0, SEGMENT_BYTES.1)?;
        if self.tail_cache_bytes < message {
            return Err(ConfigError::CacheTooSmall { cache: self.tail_cache_bytes, message });
        }
        let interval = self.retention_check_interval_ms;
        range("retention-check-interval-ms", interval, 1, RETENTION_CHECK_INTERVAL_MS_MAX)?;
        self.validate_groups()?;
        settings::check_defaults(self)
            .map_err(|(given, accepted)| ConfigError::TopicDefault { given, accepted })?;
        match &self.advertise {
            Some(advertise) if split_host_port(advertise).is_none() => {
                Err(ConfigError::Advertise(advertise.clone()))
            }
            _ => Ok(()),
        }
    }

    fn validate_kinesis(&self) -> Result<(), ConfigError> {
        let account = &self.kinesis_account;
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ConfigError::Account(account.clone()));
        }
        range("kinesis-delay-ms", self.kinesis_delay_ms, 0, KINESIS_DELAY_MS_MAX)?;
        range("kinesis-subscription-ms", self.kinesis_subscription_ms, 1, KINESIS_SUBSCRIPTION_MS_MAX)
    }

    fn validate_groups(&self) -> Result<(), ConfigError> {
        let interval = self.offsets_retention_check_interval_ms;
        range("offsets-retention-check-interval-ms", interval, 1, RETENTION_CHECK_INTERVAL_MS_MAX)?;
        range("offsets-retention-minutes", self.offsets_retention_minutes.into(), 1, i32::MAX as u64)?;
        range("group-max-size", self.group_max_size as u64, 1, i32::MAX as u64)?;
        range("group-consumer-max-size", self.group_consumer_max_size as u64, 1, i32::MAX as u64)?;
        let session = self.group_consumer_session_timeout_ms.into();
        range("group-consumer-session-timeout-ms", session, 2, i32::MAX as u64)?;
        // A member that keeps to it is heard of before its session ends.
        let heartbeat = self.group_consumer_heartbeat_interval_ms.into();
        range("group-consumer-heartbeat-interval-ms", heartbeat, 1, session - 1)?;
        let longest = self.group_max_session_timeout_ms.into();
        range("group-max-session-timeout-ms", longest, 1, i32::MAX as u64)?;
        range("group-min-session-timeout-ms", self.group_min_session_timeout_ms.into(), 1, longest)
    }

    fn validate_cores(&self, online: Option<&CoreList>, allowed: &CoreList) -> Result<(), ConfigError> {
        let cores = self.cores.as_ref().unwrap_or(&allowed.0);
        if cores.is_empty() {
            return Err(ConfigError::NoCores);
        }
        for &core in cores {
            if allowed.0.contains(&core) {
                continue;
            }
            return Err(match online {
                Some(online) if !online.0.contains(&core) => {
                    ConfigError::CoreMissing { core, online: online.clone() }
                }
                _ => ConfigError::CoreNotAllowed { core, allowed: allowed.clone() },
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut ServerConfig)) -> Result<(), String> {
        let mut config = ServerConfig::default();
        change(&mut config);
        let (online, allowed) = (CoreList(vec![0, 1, 2, 3]), CoreList(vec![1, 2]));
        config.validate(Some(&online), &allowed).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid_on_this_machine() {
        let allowed = allowed_cores().unwrap();
        assert!(!allowed.0.is_empty());
        let config = ServerConfig::default().with_cores(&allowed);
        config.validate(online_cores().as_ref(), &allowed).unwrap();
        assert_eq!(config.cores, Some(allowed.0));
        let given = ServerConfig { cores: Some(vec![0]), ..ServerConfig::default() };
        assert_eq!(given.with_cores(&CoreList(vec![0, 1])).cores, Some(vec![0]));
    }

    #[test]
    fn cores_must_exist_and_be_allowed() {
        assert_eq!(check(|c| c.cores = Some(vec![2])), Ok(()));
        let missing = check(|c| c.cores = Some(vec![1, 7])).unwrap_err();
        assert!(missing.starts_with("core 7 does not exist; this machine has 0-3:"), "{missing}");
        let outside = check(|c| c.cores = Some(vec![1, 3])).unwrap_err();
        assert!(
            outside.starts_with("core 3 lies outside the affinity mask of this process (1-2)"),
            "{outside}"
        );
        assert!(check(|c| c.cores = Some(vec![])).unwrap_err().contains("--cores"));
    }

    #[test]
    fn sizes_must_fit_together() {
        let error = check(|c| c.max_message_bytes = 200 << 20).unwrap_err();
        assert!(error.contains("--max-request-bytes 104857600"), "{error}");
        let error = check(|c| c.segment_bytes = 1 << 20).unwrap_err();
        assert!(error.contains("choose at least 4231168"), "{error}");
        assert_eq!(check(|c| c.segment_bytes = 4_231_168), Ok(()));
        let smallest = ServerConfig { segment_bytes: 4_231_168, ..ServerConfig::default() };
        assert!(
            smallest.batch_bytes_max() >= smallest.max_message_bytes,
            "the engine takes the largest batch"
        );
        assert!(check(|c| c.segment_bytes = 3 << 30).unwrap_err().contains("to 2147483648"));
        assert!(check(|c| c.tail_cache_bytes = 4096).unwrap_err().contains("--tail-cache-bytes 4096"));
        assert!(check(|c| c.max_request_bytes = 3 << 30).unwrap_err().contains("to 2147483647"));
        assert!(check(|c| c.max_message_bytes = 10).unwrap_err().contains("from 1024"));
        assert!(check(|c| c.shards = Some(0)).unwrap_err().contains("--shards 0"));
        assert!(check(|c| c.default_partitions = 0).unwrap_err().contains("--default-partitions 0"));
        assert!(check(|c| c.max_connections = 0).unwrap_err().contains("--max-connections 0"));
    }

    #[test]
    fn settings_of_groups_must_leave_something_to_choose() {
        let error = check(|c| c.group_min_session_timeout_ms = 1_800_001).unwrap_err();
        assert!(error.starts_with("--group-min-session-timeout-ms 1800001 is out of range"), "{error}");
        assert!(error.contains("from 1 to 1800000"), "{error}");
        assert_eq!(check(|c| c.group_min_session_timeout_ms = 1_800_000), Ok(()));
        assert!(check(|c| c.group_max_session_timeout_ms = 0).unwrap_err().contains("timeout-ms 0"));
        assert!(check(|c| c.group_max_size = 0).unwrap_err().contains("--group-max-size 0"));
        assert!(
            check(|c| c.group_consumer_max_size = 0).unwrap_err().contains("--group-consumer-max-size 0")
        );
        let error = check(|c| c.group_consumer_session_timeout_ms = 5_000).unwrap_err();
        assert!(error.contains("--group-consumer-heartbeat-interval-ms 5000"), "{error}");
        assert!(error.contains("from 1 to 4999"), "{error}");
        assert!(check(|c| c.offsets_retention_minutes = 0).unwrap_err().contains("minutes 0"));
        // The task that looks for old offsets would never rest.
        let error = check(|c| c.offsets_retention_check_interval_ms = 0).unwrap_err();
        assert!(error.contains("--offsets-retention-check-interval-ms 0"), "{error}");
    }

    #[test]
    fn defaults_of_topics_must_be_possible() {
        let with = |name: &str, value: &str| {
            check(|c| {
                c.topic_defaults.insert(name.to_owned(), value.to_owned());
            })
        };
        assert_eq!(with("retention.ms", "-1"), Ok(()));
        let error = with("cleanup.policy", "shred").unwrap_err();
        assert!(
            error.starts_with("--cleanup-policy shred cannot be set for topics: delete, compact"),
            "{error}"
        );
        assert!(check(|c| c.retention_check_interval_ms = 0).unwrap_err().contains("interval-ms 0"));
    }

    #[test]
    fn advertised_addresses() {
        assert_eq!(split_host_port("kafka.example:9092"), Some(("kafka.example", 9092)));
        assert_eq!(split_host_port("[::1]:9092"), Some(("::1", 9092)));
        for wrong in
            ["kafka", "kafka:", ":9092", "::1:9092", "kafka:0", "kafka:70000", "PLAINTEXT://k:9092", "a b:1"]
        {
            assert_eq!(split_host_port(wrong), None, "{wrong}");
        }
        assert_eq!(check(|c| c.advertise = Some("host:1".into())), Ok(()));
        assert!(check(|c| c.advertise = Some("host".into())).unwrap_err().contains("--advertise"));
    }
}
