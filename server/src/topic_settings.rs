//! The settings of a topic that can be changed: names, ranges, defaults, and what they amount to.
//!
//! Names, ranges and defaults are Kafka's (<https://kafka.apache.org/documentation/#topicconfigs>) unless
//! `docs/topic-settings.md` says otherwise. A value counts in this order: the topic's own, the server's option,
//! the default. Promise: a value that was accepted has a meaning, so that what is in force is never guessed.

use std::collections::BTreeMap;

use keylane_engine::LogConfig;

use crate::config::ServerConfig;
use crate::kafka::describe_configs::ConfigType;

pub const CLEANUP_POLICY: &str = "cleanup.policy";
pub const DELETE_RETENTION_MS: &str = "delete.retention.ms";
pub const MAX_COMPACTION_LAG_MS: &str = "max.compaction.lag.ms";
pub const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub const MIN_CLEANABLE_DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
pub const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
pub const RETENTION_BYTES: &str = "retention.bytes";
pub const RETENTION_MS: &str = "retention.ms";
pub const SEGMENT_BYTES: &str = "segment.bytes";
pub const SEGMENT_MS: &str = "segment.ms";

const COMPACT: &str = "compact";
const DELETE: &str = "delete";

/// Settings by name, as texts.
pub type Values = BTreeMap<String, String>;

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name on a topic.
    pub name: &'static str,
    /// Its name on a broker.
    pub broker_name: &'static str,
    /// The server's option that sets it for topics that do not set it themselves.
    pub option: &'static str,
    /// Its value where nobody sets it.
    pub default: &'static str,
    rule: Rule,
    /// What it does, in a sentence.
    pub meaning: &'static str,
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// A whole number of milliseconds from this on.
    Milliseconds(i64),
    /// A whole number of bytes in 64 bits, from this on.
    Bytes(i64),
    /// A whole number of bytes in 32 bits, from this on.
    ShortBytes(i64),
    /// A number from 0 to 1.
    Ratio,
    /// `delete`, `compact` or both.
    Policy,
}

const fn setting(
    name: &'static str,
    broker_name: &'static str,
    option: &'static str,
    default: &'static str,
    rule: Rule,
    meaning: &'static str,
) -> Setting {
    Setting { name, broker_name, option, default, rule, meaning }
}

/// All of them, by name.
pub const SETTINGS: &[Setting] = &[
    setting(
        CLEANUP_POLICY,
        "log.cleanup.policy",
        "cleanup-policy",
        DELETE,
        Rule::Policy,
        "Delete old parts, keep the last record of each key (compact), or both.",
    ),
    setting(
        DELETE_RETENTION_MS,
        "log.cleaner.delete.retention.ms",
        "delete-retention-ms",
        "86400000",
        Rule::Milliseconds(0),
        "How long tombstones stay after they were first compacted.",
    ),
    setting(
        MAX_COMPACTION_LAG_MS,
        "log.cleaner.max.compaction.lag.ms",
        "max-compaction-lag-ms",
        "9223372036854775807",
        Rule::Milliseconds(1),
        "Older records are compacted whatever the dirty ratio.",
    ),
    setting(
        MAX_MESSAGE_BYTES,
        "message.max.bytes",
        "max-message-bytes",
        "1048588",
        Rule::ShortBytes(0),
        "Largest record batch that is accepted.",
    ),
    setting(
        MIN_CLEANABLE_DIRTY_RATIO,
        "log.cleaner.min.cleanable.ratio",
        "min-cleanable-dirty-ratio",
        "0.5",
        Rule::Ratio,
        "Share of bytes not yet compacted from which on a partition is compacted.",
    ),
    setting(
        MIN_COMPACTION_LAG_MS,
        "log.cleaner.min.compaction.lag.ms",
        "min-compaction-lag-ms",
        "0",
        Rule::Milliseconds(0),
        "Younger records are not compacted.",
    ),
    setting(
        RETENTION_BYTES,
        "log.retention.bytes",
        "retention-bytes",
        "-1",
        Rule::Bytes(-1),
        "Bytes that a partition may have before its oldest parts are deleted; -1: no limit.",
    ),
    setting(
        RETENTION_MS,
        "log.retention.ms",
        "retention-ms",
        "604800000",
        Rule::Milliseconds(-1),
        "Age at which parts of a partition are deleted; -1: never.",
    ),
    setting(
        SEGMENT_BYTES,
        "log.segment.bytes",
        "segment-bytes",
        "134217728",
        Rule::ShortBytes(1 << 20),
        "The active segment is closed when it holds so many bytes of the partition, or is full.",
    ),
    setting(
        SEGMENT_MS,
        "log.roll.ms",
        "segment-ms",
        "604800000",
        Rule::Milliseconds(1),
        "The active segment is closed when it holds records of the partition that are this old.",
    ),
];

/// Finds a setting by its name on a topic.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.name == name)
}

impl Setting {
    /// The type of its value.
    pub fn kind(&self) -> ConfigType {
        match self.rule {
            Rule::Milliseconds(_) | Rule::Bytes(_) => ConfigType::Long,
            Rule::ShortBytes(_) => ConfigType::Int,
            Rule::Ratio => ConfigType::Double,
            Rule::Policy => ConfigType::List,
        }
    }

    /// Whether its value is a list, to which items can be added.
    pub fn is_list(&self) -> bool {
        self.rule == Rule::Policy
    }

    /// Checks a value. Returns it in the form in which it is kept, or what would be accepted.
    pub fn check(&self, value: &str, config: &ServerConfig) -> Result<String, String> {
        let value = value.trim();
        let accepted = match self.rule {
            Rule::Milliseconds(min) => number(value, min, i64::MAX),
            Rule::Bytes(min) => number(value, min, i64::MAX),
            Rule::ShortBytes(min) => number(value, min, self.bytes_max(config)),
            Rule::Ratio => {
                let ratio = value.parse::<f64>().ok();
                ratio.filter(|ratio| (0.0..=1.0).contains(ratio)).map(|_| value.to_owned())
            }
            Rule::Policy => policy(value),
        };
        accepted.ok_or_else(|| self.range(config))
    }

    /// What is accepted, in words.
    fn range(&self, config: &ServerConfig) -> String {
        let unlimited = |min| if min == -1 { " (no limit)" } else { "" };
        let whole = |unit, min, max| {
            format!("a whole number of {unit} from {min}{} to {max} is accepted", unlimited(min))
        };
        match self.rule {
            Rule::Milliseconds(min) => whole("milliseconds", min, i64::MAX),
            Rule::Bytes(min) => whole("bytes", min, i64::MAX),
            Rule::ShortBytes(min) => whole("bytes", min, self.bytes_max(config)),
            Rule::Ratio => "a number from 0 to 1 is accepted".to_owned(),
            Rule::Policy => "delete, compact or both with a comma between them are accepted (to keep \
                             everything: delete with retention.ms=-1)"
                .to_owned(),
        }
    }

    fn bytes_max(&self, config: &ServerConfig) -> i64 {
        let most = match self.name {
            // A larger batch could not arrive, or not be stored.
            MAX_MESSAGE_BYTES => config.max_request_bytes.min(config.batch_bytes_max()),
            _ => i32::MAX as usize,
        };
        i64::try_from(most).unwrap_or(i64::MAX).min(i32::MAX.into())
    }

    /// What the server's options say, if they say something else than the default.
    pub fn of_server(&self, config: &ServerConfig) -> Option<String> {
        let given = match self.name {
            MAX_MESSAGE_BYTES => config.max_message_bytes.to_string(),
            SEGMENT_BYTES => config.segment_bytes.to_string(),
            name => return config.topic_defaults.get(name).cloned(),
        };
        (given != self.default).then_some(given)
    }

    /// The value in force.
    pub fn in_force(&self, own: &Values, config: &ServerConfig) -> String {
        let value = own.get(self.name).cloned().or_else(|| self.of_server(config));
        value.unwrap_or_else(|| self.default.to_owned())
    }
}

fn number(value: &str, min: i64, max: i64) -> Option<String> {
    value.parse::<i64>().ok().filter(|n| (min..=max).contains(n)).map(|n| n.to_string())
}

fn policy(value: &str) -> Option<String> {
    let mut items: Vec<&str> = Vec::new();
    for item in items_of(value) {
        if item != COMPACT && item != DELETE {
            return None;
        }
        if !items.contains(&item) {
            items.push(item);
        }
    }
    (!items.is_empty()).then(|| items.join(","))
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
    for (name, value) in &config.topic_defaults {
        let by_field = [MAX_MESSAGE_BYTES, SEGMENT_BYTES];
        let Some(setting) = find(name).filter(|s| !by_field.contains(&s.name)) else {
            let names: Vec<_> = SETTINGS.iter().map(|s| s.name).filter(|n| !by_field.contains(n)).collect();
            return Err((format!("{name} {value}"), format!("these can be: {}", names.join(", "))));
        };
        let given = |range| (format!("--{} {value}", setting.option), range);
        setting.check(value, config).map_err(given)?;
    }
    let lag = find(MIN_COMPACTION_LAG_MS).map_or("", |s| s.option);
    check_together(&Values::new(), config).map_err(|conflict| (format!("--{lag}"), conflict))
}

/// Largest batch that a topic takes, in bytes.
pub fn max_message_bytes(own: &Values, config: &ServerConfig) -> usize {
    own.get(MAX_MESSAGE_BYTES).and_then(|v| v.parse().ok()).unwrap_or(config.max_message_bytes)
}

/// What the engine is told of a topic with these settings of its own.
pub fn log_config(own: &Values, config: &ServerConfig) -> LogConfig {
    let value = |name| find(name).map(|s| s.in_force(own, config)).unwrap_or_default();
    let default = LogConfig::default();
    // Every value was checked; -1 is no u64, and stands for no limit.
    let whole = |name| value(name).parse::<u64>().ok();
    let policy = value(CLEANUP_POLICY);
    LogConfig {
        retention_ms: whole(RETENTION_MS),
        retention_bytes: whole(RETENTION_BYTES),
        segment_ms: whole(SEGMENT_MS).unwrap_or(default.segment_ms),
        segment_bytes: whole(SEGMENT_BYTES).unwrap_or(default.segment_bytes),
        delete: items_of(&policy).any(|item| item == DELETE),
        compact: items_of(&policy).any(|item| item == COMPACT),
        delete_retention_ms: whole(DELETE_RETENTION_MS).unwrap_or(default.delete_retention_ms),
        min_cleanable_dirty_ratio: value(MIN_CLEANABLE_DIRTY_RATIO)
            .parse()
            .unwrap_or(default.min_cleanable_dirty_ratio),
        min_compaction_lag_ms: whole(MIN_COMPACTION_LAG_MS).unwrap_or(default.min_compaction_lag_ms),
        max_compaction_lag_ms: whole(MAX_COMPACTION_LAG_MS).unwrap_or(default.max_compaction_lag_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_table_agrees_with_the_server_and_with_itself() {
        let config = ServerConfig::default();
        assert!(SETTINGS.is_sorted_by_key(|s| s.name));
        for setting in SETTINGS {
            assert_eq!(setting.check(setting.default, &config).as_deref(), Ok(setting.default));
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
    }

    #[test]
    fn values_are_accepted_inside_their_range_only() {
        let config = ServerConfig::default();
        let check = |name, value| find(name).unwrap().check(value, &config);
        for (name, good, bad) in [
            (RETENTION_MS, ["-1", "0", "9223372036854775807"], ["-2", "1.5", "9223372036854775808"]),
            (RETENTION_BYTES, ["-1", "0", "1000"], ["-2", "", "1k"]),
            (SEGMENT_BYTES, ["1048576", "2147483647", "1073741824"], ["1048575", "2147483648", "0"]),
            (SEGMENT_MS, ["1", "604800000", "9223372036854775807"], ["0", "-1", "x"]),
            (DELETE_RETENTION_MS, ["0", "1", "86400000"], ["-1", "day", "0x1"]),
            (MIN_CLEANABLE_DIRTY_RATIO, ["0", "0.25", "1.0"], ["-0.1", "1.01", "NaN"]),
            (MIN_COMPACTION_LAG_MS, ["0", "1", "5000"], ["-1", "", "1e3"]),
            (MAX_COMPACTION_LAG_MS, ["1", "2", "5000"], ["0", "-1", "inf"]),
            (CLEANUP_POLICY, ["delete", "compact", "compact,delete"], ["", "compress", "delete,none"]),
            (MAX_MESSAGE_BYTES, ["0", "2000", "1048588"], ["-1", "2147483647", "many"]),
        ] {
            for value in good {
                assert_eq!(check(name, value).as_deref(), Ok(value), "{name}");
            }
            for value in bad {
                assert!(check(name, value).unwrap_err().contains("accepted"), "{name}={value}");
            }
        }
        assert_eq!(check(CLEANUP_POLICY, " delete , compact,delete ").as_deref(), Ok("delete,compact"));
        assert_eq!(check(RETENTION_MS, " +5 ").as_deref(), Ok("5"));
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
