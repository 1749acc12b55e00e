//! What the settings of a topic amount to for its partitions and for its batches.
//!
//! The catalog keeps settings as texts, under the names of Kafka's topic settings
//! (<https://kafka.apache.org/documentation/#topicconfigs>), so that a server that opens the directory later has the same ones.
//! Here a setting that is missing means: keep everything for ever, take any timestamp, store what came.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::log_config::LogConfig;
use crate::records::{BatchRules, Compression, TimestampType};

pub const CLEANUP_POLICY: &str = "cleanup.policy";
pub const COMPRESSION_GZIP_LEVEL: &str = "compression.gzip.level";
pub const COMPRESSION_LZ4_LEVEL: &str = "compression.lz4.level";
pub const COMPRESSION_TYPE: &str = "compression.type";
pub const COMPRESSION_ZSTD_LEVEL: &str = "compression.zstd.level";
pub const MESSAGE_TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub const RETENTION_BYTES: &str = "retention.bytes";
pub const RETENTION_MS: &str = "retention.ms";
pub const SEGMENT_MS: &str = "segment.ms";

pub const COMPACT: &str = "compact";
pub const DELETE: &str = "delete";
pub const CREATE_TIME: &str = "CreateTime";
pub const LOG_APPEND_TIME: &str = "LogAppendTime";

/// Settings by name, as texts.
pub type Settings = BTreeMap<String, String>;

/// A setting, if it is there and means something. One that does not counts as missing, so that nothing is deleted by mistake.
pub fn value<T: FromStr>(settings: &Settings, name: &str) -> Option<T> {
    let text = settings.get(name)?.trim();
    match text.parse() {
        Ok(value) => Some(value),
        Err(_) => {
            tracing::warn!("topic setting {name}={text} is not understood, and has no effect");
            None
        }
    }
}

/// A number, where a number below 0 stands for no limit.
pub fn limit(settings: &Settings, name: &str) -> Option<u64> {
    value::<i64>(settings, name).and_then(|number| number.try_into().ok())
}

/// Whether `cleanup.policy` includes this; without the setting, old records are deleted and nothing is compacted.
pub fn has_policy(settings: &Settings, wanted: &str) -> bool {
    let policy = settings.get(CLEANUP_POLICY).map_or(DELETE, String::as_str);
    policy.split(',').any(|item| item.trim() == wanted)
}

/// What is kept of the topic's partitions.
pub fn log_config(settings: &Settings) -> LogConfig {
    let default = LogConfig::keep_all();
    let retention_ms = limit(settings, RETENTION_MS);
    let retention_bytes = limit(settings, RETENTION_BYTES);
    let compact = has_policy(settings, COMPACT);
    // Segments are closed by age only where their records can be deleted or compacted.
    let ages = retention_ms.is_some() || retention_bytes.is_some() || compact;
    let segment_ms = if ages { default.segment_ms } else { u64::MAX };
    LogConfig {
        retention_ms,
        retention_bytes,
        segment_ms: limit(settings, SEGMENT_MS).unwrap_or(segment_ms),
        segment_bytes: limit(settings, "segment.bytes").unwrap_or(default.segment_bytes),
        delete: has_policy(settings, DELETE),
        compact,
        delete_retention_ms: limit(settings, "delete.retention.ms").unwrap_or(default.delete_retention_ms),
        min_cleanable_dirty_ratio: value(settings, "min.cleanable.dirty.ratio")
            .unwrap_or(default.min_cleanable_dirty_ratio),
        min_compaction_lag_ms: limit(settings, "min.compaction.lag.ms")
            .unwrap_or(default.min_compaction_lag_ms),
        max_compaction_lag_ms: limit(settings, "max.compaction.lag.ms")
            .unwrap_or(default.max_compaction_lag_ms),
    }
}

/// What the topic asks of the batches that are appended to it.
pub fn batch_rules(settings: &Settings) -> BatchRules {
    let default = BatchRules::WITHOUT_TOPIC;
    BatchRules {
        keys_required: has_policy(settings, COMPACT),
        timestamps: timestamps(settings),
        timestamp_before_max_ms: value(settings, "message.timestamp.before.max.ms")
            .unwrap_or(default.timestamp_before_max_ms),
        timestamp_after_max_ms: value(settings, "message.timestamp.after.max.ms")
            .unwrap_or(default.timestamp_after_max_ms),
        compression: compression(settings),
        check_compressed: default.check_compressed,
    }
}

/// Whose clock the timestamps are from.
pub fn timestamps(settings: &Settings) -> TimestampType {
    match settings.get(MESSAGE_TIMESTAMP_TYPE).map(|text| text.trim()) {
        Some(LOG_APPEND_TIME) => TimestampType::LogAppendTime,
        _ => TimestampType::CreateTime,
    }
}

/// How batches are compressed when they are stored.
pub fn compression(settings: &Settings) -> Compression {
    let level = |name, default| value(settings, name).unwrap_or(default);
    match settings.get(COMPRESSION_TYPE).map(|text| text.trim()) {
        Some("uncompressed") => Compression::Uncompressed,
        Some("gzip") => Compression::Gzip { level: level(COMPRESSION_GZIP_LEVEL, -1) },
        Some("snappy") => Compression::Snappy,
        Some("lz4") => Compression::Lz4 { level: level(COMPRESSION_LZ4_LEVEL, 9) },
        Some("zstd") => Compression::Zstd { level: level(COMPRESSION_ZSTD_LEVEL, 3) },
        _ => Compression::Producer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn without_settings_everything_is_kept_and_every_batch_is_taken() {
        let none = Settings::new();
        let log = log_config(&none);
        assert_eq!(log, LogConfig { segment_ms: u64::MAX, ..LogConfig::keep_all() });
        assert_eq!(batch_rules(&none), BatchRules::WITHOUT_TOPIC);
    }

    #[test]
    fn settings_mean_what_they_mean_to_a_server() {
        let some = settings(&[
            ("retention.ms", "5"),
            ("retention.bytes", "-1"),
            ("cleanup.policy", "compact, delete"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("message.timestamp.type", "LogAppendTime"),
            ("compression.type", "zstd"),
            ("compression.zstd.level", "-7"),
        ]);
        let log = log_config(&some);
        assert_eq!((log.retention_ms, log.retention_bytes), (Some(5), None));
        assert_eq!((log.delete, log.compact, log.min_cleanable_dirty_ratio), (true, true, 0.25));
        let rules = batch_rules(&some);
        assert!(rules.keys_required);
        assert_eq!(rules.timestamps, TimestampType::LogAppendTime);
        assert_eq!(rules.compression, Compression::Zstd { level: -7 });
    }

    #[test]
    fn what_is_not_understood_deletes_nothing() {
        let wrong = settings(&[("retention.ms", "soon"), ("retention.bytes", "1e3"), ("segment.ms", "")]);
        assert_eq!(log_config(&wrong), log_config(&Settings::new()));
    }
}
