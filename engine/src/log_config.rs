//! Settings of a log that decide which of its records are kept.
//!
//! Names, units and defaults are those of Kafka's topic settings
//! (<https://kafka.apache.org/documentation/#topicconfigs>). The partitions of a topic share one value.

/// Retention and compaction of a log, and when the active segment is closed for its sake.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Parts whose newest record is older than this many milliseconds are deleted (`retention.ms`).
    /// `None`: never.
    pub retention_ms: Option<u64>,
    /// Bytes that a partition may have; its oldest parts are deleted (`retention.bytes`). `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// The active segment is closed when it holds records of the log that are this old, in milliseconds
    /// (`segment.ms`).
    pub segment_ms: u64,
    /// The active segment is closed when it holds this many bytes of the log (`segment.bytes`).
    pub segment_bytes: u64,
    /// `cleanup.policy` includes `delete`: both retentions are in force.
    pub delete: bool,
    /// `cleanup.policy` includes `compact`: the last record of each key is kept.
    pub compact: bool,
    /// Tombstones stay this many milliseconds after they were first compacted (`delete.retention.ms`).
    pub delete_retention_ms: u64,
    /// Share of bytes not yet compacted from which on a partition is compacted
    /// (`min.cleanable.dirty.ratio`, 0 to 1).
    pub min_cleanable_dirty_ratio: f64,
    /// Records younger than this many milliseconds are not compacted (`min.compaction.lag.ms`).
    pub min_compaction_lag_ms: u64,
    /// Records older than this many milliseconds are compacted whatever the ratio
    /// (`max.compaction.lag.ms`).
    pub max_compaction_lag_ms: u64,
}

impl LogConfig {
    /// Everything is kept for ever: the default of embedded engines.
    pub fn keep_all() -> Self {
        Self { retention_ms: None, ..Self::default() }
    }
}

impl Default for LogConfig {
    /// Kafka's defaults: seven days, any size, `delete`.
    fn default() -> Self {
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        Self {
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            segment_ms: 7 * DAY_MS,
            segment_bytes: 1 << 30,
            delete: true,
            compact: false,
            delete_retention_ms: DAY_MS,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: u64::MAX,
        }
    }
}
