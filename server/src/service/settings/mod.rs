//! The settings of a topic: names, ranges, defaults, and what they amount to.
//!
//! Names, ranges and defaults are Kafka's (<https://kafka.apache.org/documentation/#topicconfigs>) unless
//! `docs/topic-settings.md` says otherwise. A value counts in this order: the topic's own, the server's option,
//! the default. Promise: a value that was accepted has a meaning, so that what is in force is never guessed; a
//! setting that changes nothing here says so in the table. A value is kept as it was given, blanks and all.

mod setting;
mod table;

use std::collections::BTreeMap;
use std::str::FromStr;

use keylane_engine::LogConfig;
use keylane_engine::records::{BatchRules, Compression, TimestampType};

use crate::config::ServerConfig;

pub use setting::{BrokerName, Setting};
pub use table::SETTINGS;

pub const CLEANUP_POLICY: &str = "cleanup.policy";
pub const COMPRESSION_GZIP_LEVEL: &str = "compression.gzip.level";
pub const COMPRESSION_LZ4_LEVEL: &str = "compression.lz4.level";
pub const COMPRESSION_TYPE: &str = "compression.type";
pub const COMPRESSION_ZSTD_LEVEL: &str = "compression.zstd.level";
pub const DELETE_RETENTION_MS: &str = "delete.retention.ms";
pub const MAX_COMPACTION_LAG_MS: &str = "max.compaction.lag.ms";
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub const MESSAGE_TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";
pub const MESSAGE_TIMESTAMP_BEFORE_MAX_MS: &str = "message.timestamp.before.max.ms";
pub const MESSAGE_TIMESTAMP_TYPE: &str = "message.timestamp.type";
pub const MIN_CLEANABLE_DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
pub const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
pub const RETENTION_BYTES: &str = "retention.bytes";
pub const RETENTION_MS: &str = "retention.ms";
pub const SEGMENT_BYTES: &str = "segment.bytes";
pub const SEGMENT_MS: &str = "segment.ms";

const COMPACT: &str = "compact";
const DELETE: &str = "delete";
const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const LOG_APPEND_TIME: &str = "LogAppendTime";
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", LOG_APPEND_TIME];

/// Settings by name, as texts.
pub type Values = BTreeMap<String, String>;

/// Finds a setting by its name on a topic.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.name == name)
}

/// The items of a list.
pub fn items_of(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

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
    own.get(MAX_MESSAGE_BYTES).and_then(|v| number(v)).unwrap_or(config.max_message_bytes)
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
mod tests {
    use keylane_engine::records::CheckCompressed;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_table_agrees_with_the_server_and_with_itself() {
        let config = ServerConfig::default();
        assert!(SETTINGS.is_sorted_by_key(|s| s.name));
        for setting in SETTINGS {
            assert_eq!(setting.check(setting.default, &config), Ok(()), "{}", setting.name);
            assert_eq!(setting.of_server(&config), None, "{}", setting.name);
        }
        assert_eq!(
            max_message_bytes(&Values::new(), &config).to_string(),
            find(MAX_MESSAGE_BYTES).unwrap().default
        );
        let log = log_config(&Values::new(), &config);
        let kafka = LogConfig {
            segment_bytes: 128 << 20,
            max_compaction_lag_ms: i64::MAX as u64,
            ..LogConfig::default()
        };
        assert_eq!(log, kafka);
        assert_eq!(batch_rules(&Values::new(), &config), BatchRules::default());
    }

    #[test]
    fn rules_of_batches_follow_the_topic_and_the_options() {
        let options = values(&[(COMPRESSION_TYPE, "gzip"), (MESSAGE_TIMESTAMP_AFTER_MAX_MS, "7")]);
        let config = ServerConfig {
            topic_defaults: options,
            check_compressed: CheckCompressed::Header,
            ..ServerConfig::default()
        };
        let rules =
            batch_rules(&values(&[(CLEANUP_POLICY, "compact"), (COMPRESSION_GZIP_LEVEL, "3")]), &config);
        assert!(rules.keys_required && rules.timestamps == TimestampType::CreateTime);
        assert_eq!((rules.timestamp_before_max_ms, rules.timestamp_after_max_ms), (i64::MAX, 7));
        assert_eq!(rules.compression, Compression::Gzip { level: 3 });
        assert_eq!(rules.check_compressed, CheckCompressed::Header);
        for (kind, compression) in [
            ("producer", Compression::Producer),
            ("uncompressed", Compression::Uncompressed),
            ("gzip", Compression::Gzip { level: -1 }),
            ("snappy", Compression::Snappy),
            ("lz4", Compression::Lz4 { level: 9 }),
            ("zstd", Compression::Zstd { level: 3 }),
        ] {
            let own = [(COMPRESSION_TYPE, kind), (MESSAGE_TIMESTAMP_TYPE, "LogAppendTime")];
            let rules = batch_rules(&values(&own), &config);
            assert_eq!((rules.compression, rules.timestamps), (compression, TimestampType::LogAppendTime));
        }
        let levels = [(COMPRESSION_TYPE, "zstd"), (COMPRESSION_ZSTD_LEVEL, " -5 ")];
        assert_eq!(batch_rules(&values(&levels), &config).compression, Compression::Zstd { level: -5 });
        let before = [(MESSAGE_TIMESTAMP_BEFORE_MAX_MS, "0"), (MESSAGE_TIMESTAMP_AFTER_MAX_MS, "1")];
        let rules = batch_rules(&values(&before), &config);
        assert_eq!((rules.timestamp_before_max_ms, rules.timestamp_after_max_ms), (0, 1));
    }

    #[test]
    fn values_are_accepted_inside_their_range_only() {
        let config = ServerConfig::default();
        let check = |name, value| find(name).unwrap().check(value, &config);
        for (name, good, bad) in [
            (RETENTION_MS, ["-1", "0", "9223372036854775807"], ["-2", "1.5", "9223372036854775808"]),
            (RETENTION_BYTES, ["-1", "-9", "1000"], ["9223372036854775808", "", "1k"]),
            (SEGMENT_BYTES, ["1048576", "2147483647", "1073741824"], ["1048575", "2147483648", "0"]),
            (SEGMENT_MS, ["1", "604800000", "9223372036854775807"], ["0", "-1", "x"]),
            (DELETE_RETENTION_MS, ["0", "1", "86400000"], ["-1", "day", "0x1"]),
            (MIN_CLEANABLE_DIRTY_RATIO, ["0", "0.25", "1.0"], ["-0.1", "1.01", "NaN"]),
            (MIN_COMPACTION_LAG_MS, ["0", "1", "5000"], ["-1", "", "1e3"]),
            (MAX_COMPACTION_LAG_MS, ["1", "2", "5000"], ["0", "-1", "inf"]),
            (CLEANUP_POLICY, ["", "compact", "compact,delete"], ["delete,", "compress", "delete,none"]),
            (MAX_MESSAGE_BYTES, ["0", "2000", "1048588"], ["-1", "2147483647", "many"]),
            (
                MESSAGE_TIMESTAMP_TYPE,
                ["CreateTime", "LogAppendTime", " CreateTime"],
                ["", "logappendtime", "No"],
            ),
            (MESSAGE_TIMESTAMP_BEFORE_MAX_MS, ["0", "1", "9223372036854775807"], ["-1", "", "1h"]),
            (MESSAGE_TIMESTAMP_AFTER_MAX_MS, ["0", "1", "9223372036854775807"], ["-1", "", "1h"]),
            (COMPRESSION_TYPE, ["producer", "uncompressed", "zstd"], ["", "none", "GZIP"]),
            (COMPRESSION_GZIP_LEVEL, ["-1", "1", "9"], ["0", "10", "best"]),
            (COMPRESSION_LZ4_LEVEL, ["1", "9", "17"], ["0", "18", "-1"]),
            (COMPRESSION_ZSTD_LEVEL, ["-131072", "0", "22"], ["-131073", "23", ""]),
            ("file.delete.delay.ms", ["0", "1", "9223372036854775807"], ["-1", "", "1m"]),
            ("flush.messages", ["1", "2", "9223372036854775807"], ["0", "-1", "all"]),
            ("flush.ms", ["0", "1", "9223372036854775807"], ["-1", "", "0.5"]),
            ("follower.replication.throttled.replicas", ["", "*", "0:1,1:1"], ["none", "0", "0:1:2"]),
            ("index.interval.bytes", ["0", "1", "2147483647"], ["-1", "2147483648", ""]),
            ("leader.replication.throttled.replicas", ["", "*", "0:1"], [":", "x", "0:1,"]),
            ("local.retention.bytes", ["-2", "-1", "9223372036854775807"], ["-3", "", "x"]),
            ("local.retention.ms", ["-2", "-1", "9223372036854775807"], ["-3", "", "x"]),
            ("min.insync.replicas", ["1", "2", "2147483647"], ["0", "-1", "2147483648"]),
            ("preallocate", ["true", "false", "TRUE"], ["yes", "", "1"]),
            ("remote.log.copy.disable", ["true", "false", "False"], ["yes", "", "1"]),
            ("remote.log.delete.on.disable", ["true", "false", "False"], ["yes", "", "1"]),
            ("remote.storage.enable", ["false", "FALSE", " false"], ["true", "", "no"]),
            ("segment.index.bytes", ["4", "5", "2147483647"], ["3", "2147483648", ""]),
            ("segment.jitter.ms", ["0", "1", "9223372036854775807"], ["-1", "", "x"]),
            ("unclean.leader.election.enable", ["true", "false", "False"], ["yes", "", "1"]),
        ] {
            for value in good {
                assert_eq!(check(name, value), Ok(()), "{name}={value}");
            }
            for value in bad {
                assert!(check(name, value).unwrap_err().contains("accepted"), "{name}={value}");
            }
        }
        assert_eq!(check(CLEANUP_POLICY, " delete , compact,delete "), Ok(()));
        assert_eq!(check(RETENTION_MS, " +5 "), Ok(()));
        assert!(check(RETENTION_MS, "-2").unwrap_err().contains("from -1 (no limit) to 9223372036854775807"));
    }

    #[test]
    fn the_topic_wins_over_the_option_and_that_over_the_default() {
        let options = values(&[(RETENTION_MS, "1000"), (CLEANUP_POLICY, "compact"), (SEGMENT_MS, "7")]);
        let config = ServerConfig { topic_defaults: options, ..ServerConfig::default() };
        let own = values(&[(RETENTION_MS, "-1"), (RETENTION_BYTES, "5"), (CLEANUP_POLICY, "compact,delete")]);
        let log = log_config(&own, &config);
        assert_eq!((log.retention_ms, log.retention_bytes, log.segment_ms), (None, Some(5), 7));
        assert_eq!((log.delete, log.compact, log.delete_retention_ms), (true, true, 86_400_000));
        let log = log_config(&Values::new(), &config);
        assert_eq!((log.retention_ms, log.delete, log.compact), (Some(1000), false, true));
        let own = values(&[(RETENTION_MS, " +5 "), (RETENTION_BYTES, "-9"), (CLEANUP_POLICY, "")]);
        let log = log_config(&own, &config);
        assert_eq!((log.retention_ms, log.retention_bytes), (Some(5), None));
        assert!(!log.delete && !log.compact, "an empty policy keeps everything");
    }

    #[test]
    fn conflicts_and_wrong_options_are_named() {
        let config = ServerConfig::default();
        let own = values(&[(MIN_COMPACTION_LAG_MS, "10"), (MAX_COMPACTION_LAG_MS, "9")]);
        let error = check_together(&own, &config).unwrap_err();
        assert!(error.contains("min.compaction.lag.ms=10 is above max.compaction.lag.ms=9"), "{error}");
        let with = |pairs| {
            check_defaults(&ServerConfig { topic_defaults: values(pairs), ..ServerConfig::default() })
        };
        let (given, range) = with(&[(RETENTION_MS, "-7")]).unwrap_err();
        assert!(given == "--retention-ms -7" && range.contains("from -1"), "{given}: {range}");
        assert!(with(&[("retention", "1")]).unwrap_err().1.contains("retention.ms"));
        assert!(with(&[(MIN_COMPACTION_LAG_MS, "10"), (MAX_COMPACTION_LAG_MS, "9")]).is_err());
        assert_eq!(with(&[(MIN_COMPACTION_LAG_MS, "10")]), Ok(()));
    }
}
