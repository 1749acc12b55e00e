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
    let defaults = LogConfig {
        segment_bytes: 128 << 20,
        max_compaction_lag_ms: i64::MAX as u64,
        ..LogConfig::default()
    };
    assert_eq!(log, defaults);
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
    let rules = batch_rules(&values(&[(CLEANUP_POLICY, "compact"), (COMPRESSION_GZIP_LEVEL, "3")]), &config);
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
        (MESSAGE_TIMESTAMP_TYPE, ["CreateTime", "LogAppendTime", " CreateTime"], ["", "logappendtime", "No"]),
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
    let with =
        |pairs| check_defaults(&ServerConfig { topic_defaults: values(pairs), ..ServerConfig::default() });
    let (given, range) = with(&[(RETENTION_MS, "-7")]).unwrap_err();
    assert!(given == "--retention-ms -7" && range.contains("from -1"), "{given}: {range}");
    assert!(with(&[("retention", "1")]).unwrap_err().1.contains("retention.ms"));
    assert!(with(&[(MIN_COMPACTION_LAG_MS, "10"), (MAX_COMPACTION_LAG_MS, "9")]).is_err());
    assert_eq!(with(&[(MIN_COMPACTION_LAG_MS, "10")]), Ok(()));
}
