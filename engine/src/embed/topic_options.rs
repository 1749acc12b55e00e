//! The settings with which a topic is created.

use std::time::Duration;

use crate::records::{Compression, TimestampType};

use super::topic_settings::{
    CLEANUP_POLICY, COMPACT, COMPRESSION_GZIP_LEVEL, COMPRESSION_LZ4_LEVEL, COMPRESSION_TYPE,
    COMPRESSION_ZSTD_LEVEL, CREATE_TIME, DELETE, LOG_APPEND_TIME, MESSAGE_TIMESTAMP_TYPE, RETENTION_BYTES,
    RETENTION_MS, SEGMENT_MS, Settings, compression, has_policy, limit, timestamps,
};

/// Most partitions of one topic.
const PARTITIONS_MAX: u32 = 100_000;

/// What happens to old records of a topic (Kafka's `cleanup.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Cleanup {
    /// Records are deleted when [`TopicOptions::retention`] or [`TopicOptions::retention_bytes`] says so.
    #[default]
    Delete,
    /// The last record of each key is kept, older ones are removed in the background. Every record needs a key; one without a
    /// value removes its key.
    Compact,
    /// Both.
    CompactAndDelete,
}

/// Settings of a topic: how many partitions, what is kept of them, how their records are stored.
///
/// A setting that is not given has a default of the program that has the directory open. A program with this crate keeps every
/// record for ever; `keylane serve` keeps records for seven days unless told otherwise. Say
/// [`keep_forever`](Self::keep_forever) in a directory that a server may open later.
///
/// ```
/// use std::time::Duration;
/// use keylane_engine::{Cleanup, Compression, TopicOptions};
///
/// let readings = TopicOptions::new(4)
///     .retention(Duration::from_secs(7 * 24 * 3600))
///     .retention_bytes(1 << 30)
///     .compression(Compression::Zstd { level: 3 });
/// assert_eq!(readings.retention_bytes_max(), Some(1 << 30));
///
/// let accounts = TopicOptions::new(1).cleanup(Cleanup::Compact);
/// assert_eq!(accounts.retention_max(), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicOptions {
    partitions: u32,
    settings: Settings,
}

impl TopicOptions {
    /// A topic with this many partitions (1 to 100,000), and without settings of its own.
    pub fn new(partitions: u32) -> Self {
        Self { partitions, settings: Settings::new() }
    }

    pub(super) fn of(partitions: usize, settings: &Settings) -> Self {
        Self { partitions: partitions as u32, settings: settings.clone() }
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.insert(name.to_owned(), value.to_string());
        self
    }

    /// Deletes records that are older than this, by their timestamps, within seconds after they became too old. Whole batches go,
    /// or larger parts.
    #[must_use]
    pub fn retention(self, age: Duration) -> Self {
        self.with(RETENTION_MS, milliseconds(age))
    }

    /// Deletes the oldest records of a partition that has more than this many bytes. Whole batches go, or larger parts.
    #[must_use]
    pub fn retention_bytes(self, bytes: u64) -> Self {
        self.with(RETENTION_BYTES, i64::try_from(bytes).unwrap_or(i64::MAX))
    }

    /// Never deletes a record because of its age or its partition's size.
    #[must_use]
    pub fn keep_forever(self) -> Self {
        self.with(RETENTION_MS, -1).with(RETENTION_BYTES, -1)
    }

    /// What happens to old records. Default: [`Cleanup::Delete`].
    #[must_use]
    pub fn cleanup(self, cleanup: Cleanup) -> Self {
        match cleanup {
            Cleanup::Delete => self.with(CLEANUP_POLICY, DELETE),
            Cleanup::Compact => self.with(CLEANUP_POLICY, COMPACT),
            Cleanup::CompactAndDelete => self.with(CLEANUP_POLICY, format!("{COMPACT},{DELETE}")),
        }
    }

    /// Whose clock the timestamps are from. Default: each record keeps its own.
    #[must_use]
    pub fn timestamps(self, timestamps: TimestampType) -> Self {
        let text = match timestamps {
            TimestampType::CreateTime => CREATE_TIME,
            TimestampType::LogAppendTime => LOG_APPEND_TIME,
        };
        self.with(MESSAGE_TIMESTAMP_TYPE, text)
    }

    /// How batches are compressed when they are stored; on the thread that appends. Default: as they come, which is not
    /// compressed for batches of this crate. Readers uncompress whatever they find.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        match compression {
            Compression::Producer => self.with(COMPRESSION_TYPE, "producer"),
            Compression::Uncompressed => self.with(COMPRESSION_TYPE, "uncompressed"),
            Compression::Snappy => self.with(COMPRESSION_TYPE, "snappy"),
            Compression::Gzip { level } => {
                self.with(COMPRESSION_TYPE, "gzip").with(COMPRESSION_GZIP_LEVEL, level)
            }
            Compression::Lz4 { level } => {
                self.with(COMPRESSION_TYPE, "lz4").with(COMPRESSION_LZ4_LEVEL, level)
            }
            Compression::Zstd { level } => {
                self.with(COMPRESSION_TYPE, "zstd").with(COMPRESSION_ZSTD_LEVEL, level)
            }
        }
    }

    /// Closes a segment when it holds records that are this old, so that they can be compacted and their space can be freed.
    /// Default: 7 days, and never in a topic that keeps everything.
    #[must_use]
    pub fn segment_age(self, age: Duration) -> Self {
        self.with(SEGMENT_MS, milliseconds(age).max(1))
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The age from which on records are deleted; `None`: never.
    pub fn retention_max(&self) -> Option<Duration> {
        let in_force = has_policy(&self.settings, DELETE);
        limit(&self.settings, RETENTION_MS).filter(|_| in_force).map(Duration::from_millis)
    }

    /// Bytes that a partition may have; `None`: no limit.
    pub fn retention_bytes_max(&self) -> Option<u64> {
        let in_force = has_policy(&self.settings, DELETE);
        limit(&self.settings, RETENTION_BYTES).filter(|_| in_force)
    }

    /// What happens to old records.
    pub fn cleanup_policy(&self) -> Cleanup {
        match (has_policy(&self.settings, COMPACT), has_policy(&self.settings, DELETE)) {
            (true, true) => Cleanup::CompactAndDelete,
            (true, false) => Cleanup::Compact,
            _ => Cleanup::Delete,
        }
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        timestamps(&self.settings)
    }

    /// How batches are compressed when they are stored.
    pub fn compression_type(&self) -> Compression {
        compression(&self.settings)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The rule that these settings break.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !(1..=PARTITIONS_MAX).contains(&self.partitions) {
            return Err("a topic has 1 to 100,000 partitions");
        }
        match self.compression_type() {
            Compression::Gzip { level } if level != -1 && !(1..=9).contains(&level) => {
                Err("levels of gzip are 1 to 9, and -1 for its default")
            }
            Compression::Lz4 { level } if !(1..=17).contains(&level) => Err("levels of lz4 are 1 to 17"),
            Compression::Zstd { level } if !(-131_072..=22).contains(&level) => {
                Err("levels of zstd are -131,072 to 22")
            }
            _ => Ok(()),
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_read_back() {
        let plain = TopicOptions::new(3);
        assert_eq!((plain.retention_max(), plain.retention_bytes_max()), (None, None));
        assert!(plain.settings().is_empty());
        let full = TopicOptions::new(3)
            .retention(Duration::from_secs(2))
            .retention_bytes(9)
            .segment_age(Duration::ZERO)
            .timestamps(TimestampType::LogAppendTime);
        assert_eq!(full.retention_max(), Some(Duration::from_secs(2)));
        assert_eq!(full.retention_bytes_max(), Some(9));
        assert_eq!(full.timestamp_type(), TimestampType::LogAppendTime);
        let kept = full.keep_forever();
        assert_eq!((kept.retention_max(), kept.retention_bytes_max()), (None, None));
        for cleanup in [Cleanup::Delete, Cleanup::Compact, Cleanup::CompactAndDelete] {
            assert_eq!(plain.clone().cleanup(cleanup).cleanup_policy(), cleanup);
        }
        for codec in [
            Compression::Producer,
            Compression::Uncompressed,
            Compression::Gzip { level: 4 },
            Compression::Snappy,
            Compression::Lz4 { level: 17 },
            Compression::Zstd { level: -5 },
        ] {
            let options = plain.clone().compression(codec);
            assert_eq!(options.compression_type(), codec);
            assert_eq!(options.check(), Ok(()));
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(TopicOptions::new(0).check().is_err());
        assert!(TopicOptions::new(100_001).check().is_err());
        for codec in
            [Compression::Gzip { level: 0 }, Compression::Lz4 { level: 18 }, Compression::Zstd { level: 23 }]
        {
            assert!(TopicOptions::new(1).compression(codec).check().is_err(), "{codec:?}");
        }
    }
}
