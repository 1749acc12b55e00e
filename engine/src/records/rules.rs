//! What a topic asks of the batches that are appended to it.
//!
//! Names and allowed ranges of the settings belong to the program that offers them, the server for example.

/// What a topic asks of the batches that are appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRules {
    /// Every record needs a key, because the topic is compacted.
    pub keys_required: bool,
    /// Whose clock the timestamps are from.
    pub timestamps: TimestampType,
    /// A record may be this many milliseconds older than the server's clock; `i64::MAX`: any age. In force with
    /// [`TimestampType::CreateTime`] only, as Kafka's `message.timestamp.before.max.ms` (KIP-937).
    pub timestamp_before_max_ms: i64,
    /// A record may be this many milliseconds ahead of the server's clock; `i64::MAX`: any time. In force with
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
    /// The rules for batches without a topic: only well-formed is required, any timestamp will do.
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
    /// The producer's clock: each record has its own timestamp.
    #[default]
    CreateTime,
    /// The log's clock: all records of a batch have the time of the append.
    LogAppendTime,
}

/// How batches are compressed when they are stored (`compression.type`; levels as in KIP-390).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As the producer sent them.
    #[default]
    Producer,
    /// Not compressed.
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
    /// Only header and checksum, for people who trust their producers. The risks: no consumer gets past a batch that cannot be
    /// uncompressed or has other records than its header says; a wrong maximum timestamp misleads lookup by time and
    /// retention, within the topic's bounds for timestamps; a compacted topic can get records without a key, which its next
    /// compaction drops.
    Header,
}
