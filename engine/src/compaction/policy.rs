//! When a pass over a partition is due, and up to which records it may go. Names and defaults are those of Kafka's topic
//! settings (<https://kafka.apache.org/documentation/#topicconfigs>). Times are in milliseconds.

/// A topic's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// `min.cleanable.dirty.ratio`: a pass is due when more than this part of the bytes is dirty.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records are not compacted.
    pub min_compaction_lag_ms: u64,
    /// `max.compaction.lag.ms`: with an older dirty record a pass is due whatever the ratio.
    pub max_compaction_lag_ms: u64,
    /// `delete.retention.ms`: how long a tombstone stays after a pass first covered it.
    pub delete_retention_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX as u64,
            delete_retention_ms: 86_400_000,
        }
    }
}

/// State of a partition between two passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirt {
    /// Bytes that an earlier pass has covered.
    pub clean_bytes: u64,
    /// Bytes that no pass has covered, as far as they [may be cleaned](Policy::may_clean).
    pub dirty_bytes: u64,
    /// Timestamp of the oldest dirty record, if known.
    pub oldest_dirty_ms: Option<i64>,
}

/// Why a pass is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Due {
    /// This part of the bytes is dirty. Partitions with a larger part should come first.
    Ratio(f64),
    /// A record has waited longer than `max.compaction.lag.ms`, by this many milliseconds. Such a partition comes before all
    /// others.
    Lag(u64),
}

/// The part of the bytes that is dirty: 0 to 1, and 0 if there are no bytes.
pub fn dirty_ratio(clean_bytes: u64, dirty_bytes: u64) -> f64 {
    if dirty_bytes == 0 { 0.0 } else { dirty_bytes as f64 / (clean_bytes as f64 + dirty_bytes as f64) }
}

impl Policy {
    /// Whether a batch (or several) may be cleaned whose newest record has this timestamp. A pass ends before the first batch
    /// for which the answer is no.
    pub fn may_clean(&self, newest_ms: i64, now_ms: i64) -> bool {
        self.min_compaction_lag_ms == 0
            || newest_ms <= now_ms.saturating_sub_unsigned(self.min_compaction_lag_ms)
    }

    /// Whether a pass is due, and why. A partition without new records is left as it is, tombstones included, as in Kafka.
    pub fn due(&self, dirt: &Dirt, now_ms: i64) -> Option<Due> {
        if dirt.dirty_bytes == 0 {
            return None;
        }
        let latest = now_ms.saturating_sub_unsigned(self.max_compaction_lag_ms);
        if let Some(oldest) = dirt.oldest_dirty_ms.filter(|&oldest| oldest < latest) {
            return Some(Due::Lag(latest.abs_diff(oldest)));
        }
        let ratio = dirty_ratio(dirt.clean_bytes, dirt.dirty_bytes);
        (ratio > self.min_cleanable_dirty_ratio).then_some(Due::Ratio(ratio))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn dirt(clean_bytes: u64, dirty_bytes: u64, oldest_dirty_ms: Option<i64>) -> Dirt {
        Dirt { clean_bytes, dirty_bytes, oldest_dirty_ms }
    }

    #[test]
    fn the_ratio_decides_and_equal_is_not_more() {
        let policy = Policy::default();
        assert_eq!(policy.due(&dirt(100, 100, Some(0)), NOW), None);
        assert_eq!(policy.due(&dirt(100, 300, Some(0)), NOW), Some(Due::Ratio(0.75)));
        assert_eq!(policy.due(&dirt(0, 1, None), NOW), Some(Due::Ratio(1.0)));
        assert_eq!(dirty_ratio(u64::MAX, u64::MAX), 0.5);
    }

    #[test]
    fn without_dirty_bytes_nothing_is_due() {
        let eager = Policy { min_cleanable_dirty_ratio: -1.0, max_compaction_lag_ms: 0, ..Policy::default() };
        assert_eq!(eager.due(&dirt(100, 0, Some(0)), NOW), None);
        assert_eq!(dirty_ratio(0, 0), 0.0);
    }

    #[test]
    fn an_old_record_is_due_whatever_the_ratio() {
        let policy = Policy { max_compaction_lag_ms: 1000, ..Policy::default() };
        assert_eq!(policy.due(&dirt(1 << 40, 1, Some(NOW - 1000)), NOW), None);
        assert_eq!(policy.due(&dirt(1 << 40, 1, Some(NOW - 1007)), NOW), Some(Due::Lag(7)));
        assert_eq!(policy.due(&dirt(1 << 40, 1, None), NOW), None);
    }

    #[test]
    fn young_records_are_left_alone() {
        let policy = Policy { min_compaction_lag_ms: 50, ..Policy::default() };
        assert!(policy.may_clean(NOW - 50, NOW));
        assert!(!policy.may_clean(NOW - 49, NOW));
        assert!(Policy::default().may_clean(i64::MAX, NOW), "without a lag the future counts too");
    }
}
