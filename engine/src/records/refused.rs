//! Records that a topic refuses, and why.

/// Most refused records of one batch that are listed; further ones are only counted.
pub const REFUSED_MAX: usize = 1000;

/// The records of a well-formed batch that the topic refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The first [`REFUSED_MAX`] refused records, in order.
    pub records: Vec<RefusedRecord>,
    /// Number of refused records.
    pub total: u32,
    /// Whether a record is refused for its timestamp.
    pub timestamps: bool,
}

/// A record that the topic refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedRecord {
    /// The place of the record in the batch, from 0.
    pub index: u32,
    /// Why the record is refused.
    pub reason: Reason,
}

/// Why a topic refuses a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The topic is compacted, and compaction needs a key.
    #[error("the topic is compacted, and the record has no key")]
    NoKey,
    /// The timestamp is too old, or too far in the future.
    #[error(
        "timestamp {timestamp} is not within {least} and {most}, the bounds of the topic \
         (message.timestamp.before.max.ms, message.timestamp.after.max.ms)"
    )]
    Timestamp {
        /// Timestamp of the record, in milliseconds.
        timestamp: i64,
        /// The oldest timestamp that the topic takes now.
        least: i64,
        /// The newest timestamp that the topic takes now.
        most: i64,
    },
    /// The producer set attribute bit 3 (time of the append), which only the log sets.
    #[error("the batch claims the time of its append, which a producer cannot know (attribute bit 3)")]
    AppendTime,
}
