//! What the settings of a topic amount to: the topic's own value counts first, then the server's option, then the default.

use std::str::FromStr;

use keylane_engine::LogConfig;
use keylane_engine::records::{BatchRules, Compression, TimestampType};

use crate::config::{ServerConfig, Values};

use super::names::{
    CLEANUP_POLICY, COMPACT, COMPRESSION_GZIP_LEVEL, COMPRESSION_LZ4_LEVEL, COMPRESSION_TYPE,
    COMPRESSION_ZSTD_LEVEL, DELETE, DELETE_RETENTION_MS, LOG_APPEND_TIME, MAX_COMPACTION_LAG_MS,
    MAX_MESSAGE_BYTES, MESSAGE_TIMESTAMP_AFTER_MAX_MS, MESSAGE_TIMESTAMP_BEFORE_MAX_MS,
    MESSAGE_TIMESTAMP_TYPE, MIN_CLEANABLE_DIRTY_RATIO, MIN_COMPACTION_LAG_MS, RETENTION_BYTES, RETENTION_MS,
    SEGMENT_BYTES, SEGMENT_MS, items_of,
};
use super::setting::Setting;
use super::table::{SETTINGS, find};

/// Checks settings against each other.
pub fn check_together(own: &Values, config: &ServerConfig) -> Result<(), String> {
    let log = log_config(own, config);
    let (min, max) = (log.min_compaction_lag_ms, log.max_compaction_lag_ms);
    if min > max {
        return Err(format!(
            "{MIN_COMPACTION_LAG_MS}={min} is above {MAX_COMPACTION_LAG_MS}={max}: lower the first or raise \
             the second"
        ));
    }
    Ok(())
}

/// Checks the values that the server's options set for all topics. The error names the option and says
/// what would be accepted.
pub fn check_defaults(config: &ServerConfig) -> Result<(), (String, String)> {
    // Options with fields of their own.
    let by_field = [MAX_MESSAGE_BYTES, SEGMENT_BYTES];
    let option_of = |setting: &'static Setting| setting.option.filter(|_| !by_field.contains(&setting.name));
    for (name, value) in &config.topic_defaults {
        let Some((setting, option)) = find(name).and_then(|s| Some((s, option_of(s)?))) else {
            let settable = SETTINGS.iter().filter(|s| option_of(s).is_some());
            let names: Vec<_> = settable.map(|s| s.name).collect();
            return Err((format!("{name} {value}"), format!("these can be: {}", names.join(", "))));
        };
        setting.check(value, config).map_err(|range| (format!("--{option} {value}"), range))?;
    }
    let lag = find(MIN_COMPACTION_LAG_MS).and_then(|s| s.option).unwrap_or_default();
    check_together(&Values::new(), config).map_err(|conflict| (format!("--{lag}"), conflict))
}

/// Largest batch that a topic takes, in bytes.
pub fn max_message_bytes(own: &Values, config: &ServerConfig) -> usize {
    InForce { own, config }.number(MAX_MESSAGE_BYTES).unwrap_or(config.max_message_bytes)
}

/// A number as it was given.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// The settings of a topic that are in force.
struct InForce<'a> {
    own: &'a Values,
    config: &'a ServerConfig,
}

impl InForce<'_> {
    fn text(&self, name: &str) -> String {
        let text = find(name).map(|s| s.in_force(self.own, self.config)).unwrap_or_default();
        text.trim().to_owned()
    }

    /// A number; every one was checked, so `None` stands for one that the type cannot hold.
    fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        number(&self.text(name))
    }

    fn policy(&self, wanted: &str) -> bool {
        items_of(&self.text(CLEANUP_POLICY)).any(|item| item == wanted)
    }
}

/// What the engine is told of a topic with these settings of its own.
pub fn log_config(own: &Values, config: &ServerConfig) -> LogConfig {
    let settings = InForce { own, config };
    let default = LogConfig::default();
    LogConfig {
        // A number below 0 is no u64, and stands for no limit.
        retention_ms: settings.number(RETENTION_MS),
        retention_bytes: settings.number(RETENTION_BYTES),
        segment_ms: settings.number(SEGMENT_MS).unwrap_or(default.segment_ms),
        segment_bytes: settings.number(SEGMENT_BYTES).unwrap_or(default.segment_bytes),
        delete: settings.policy(DELETE),
        compact: settings.policy(COMPACT),
        delete_retention_ms: settings.number(DELETE_RETENTION_MS).unwrap_or(default.delete_retention_ms),
        min_cleanable_dirty_ratio: settings
            .number(MIN_CLEANABLE_DIRTY_RATIO)
            .unwrap_or(default.min_cleanable_dirty_ratio),
        min_compaction_lag_ms: settings
            .number(MIN_COMPACTION_LAG_MS)
            .unwrap_or(default.min_compaction_lag_ms),
        max_compaction_lag_ms: settings
            .number(MAX_COMPACTION_LAG_MS)
            .unwrap_or(default.max_compaction_lag_ms),
    }
}

/// What a topic with these settings of its own asks of the batches that are appended to it.
pub fn batch_rules(own: &Values, config: &ServerConfig) -> BatchRules {
    let settings = InForce { own, config };
    let default = BatchRules::default();
    let append_time = settings.text(MESSAGE_TIMESTAMP_TYPE) == LOG_APPEND_TIME;
    let before = settings.number(MESSAGE_TIMESTAMP_BEFORE_MAX_MS);
    let after = settings.number(MESSAGE_TIMESTAMP_AFTER_MAX_MS);
    BatchRules {
        keys_required: settings.policy(COMPACT),
        timestamps: if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
        timestamp_before_max_ms: before.unwrap_or(default.timestamp_before_max_ms),
        timestamp_after_max_ms: after.unwrap_or(default.timestamp_after_max_ms),
        compression: compression(&settings),
        check_compressed: config.check_compressed,
    }
}

fn compression(settings: &InForce<'_>) -> Compression {
    // Every level was checked.
    let level = |name| settings.number(name).unwrap_or_default();
    match settings.text(COMPRESSION_TYPE).as_str() {
        "uncompressed" => Compression::Uncompressed,
        "gzip" => Compression::Gzip { level: level(COMPRESSION_GZIP_LEVEL) },
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4 { level: level(COMPRESSION_LZ4_LEVEL) },
        "zstd" => Compression::Zstd { level: level(COMPRESSION_ZSTD_LEVEL) },
        _ => Compression::Producer,
    }
}

#[cfg(test)]
mod tests;
