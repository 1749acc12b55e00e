//! What a topic asks of the batches that are appended to it.
//!
//! Only says what is asked: names and ranges of settings are the affair of whoever offers them.

/// What a topic asks of the batches that are appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRules {
    /// Every record needs a key, because the topic is compacted.
    pub keys_required: bool,
    /// Whose clock the timestamps are from.
    pub timestamps: TimestampType,
    /// A record may be so many milliseconds older than the clock here; `i64::MAX`: as old as it likes. Counts
    /// with [`TimestampType::CreateTime`] only, as Kafka's `message.timestamp.before.max.ms` (KIP-937).
    pub timestamp_before_max_ms: i64,
    /// A record may be so many milliseconds ahead of the clock here; `i64::MAX`: as far as it likes. Counts with
    /// [`TimestampType::CreateTime`] only, as Kafka's `message.timestamp.after.max.ms` (KIP-937).
    pub timestamp_after_max_ms: i64,
    /// How batches are compressed when they are stored.
    pub compression: Compression,
    /// How far compressed batches are checked.
    pub check_compressed: CheckCompressed,
}

impl BatchRules {
    /// Kafka's default of `message.timestamp.after.max.ms`: an hour.
    pub const TIMESTAMP_AFTER_MAX_MS: i64 = 3_600_000;
    /// What holds for every batch, whatever its topic asks: no timestamp is too old or too new.
    pub const WITHOUT_TOPIC: Self = Self {
        keys_required: false,
        timestamps: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression: Compression::Producer,
        check_compressed: CheckCompressed::Full,
    };
}

impl Default for BatchRules {
    fn default() -> Self {
        Self {
            keys_required: false,
            timestamps: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: Self::TIMESTAMP_AFTER_MAX_MS,
            compression: Compression::Producer,
            check_compressed: CheckCompressed::Full,
        }
    }
}

/// Whose clock the timestamps of a topic are from (`message.timestamp.type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer's: each record has its own.
    #[default]
    CreateTime,
    /// The log's: all records of a batch have the time at which it was appended.
    LogAppendTime,
}

/// How batches are compressed when they are stored (`compression.type`; levels as in KIP-390).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As the producer sent them.
    #[default]
    Producer,
    /// Not at all.
    Uncompressed,
    /// gzip.
    Gzip {
        /// 1 to 9, or -1 for the codec's default.
        level: i32,
    },
    /// snappy, which has no levels.
    Snappy,
    /// lz4, in frames.
    Lz4 {
        /// 1 to 17.
        level: i32,
    },
    /// zstd.
    Zstd {
        /// -131,072 to 22.
        level: i32,
    },
}

/// How far a compressed batch is checked before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckCompressed {
    /// Every record, by uncompressing it as a stream, as Kafka does.
    #[default]
    Full,
    /// The header alone, and its checksum: for people who trust their producers. Risks: a batch that cannot be
    /// uncompressed, or has other records than its header says, keeps every consumer from getting past it; a maximum
    /// timestamp that is wrong misleads lookup by time and retention, within the bounds of the topic's
    /// timestamps; a compacted topic can get records without a key, which its next compaction drops.
    Header,
}
