//! What a check found, and what can be done about it.

use serde::Serialize;

use crate::ids::{LogId, Offset};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// A state that a crash may leave; the next start cleans it up.
    Harmless,
    /// Something is damaged or missing.
    Fault,
    /// The file could not be read.
    Unreadable,
}

/// Records that are lost by a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The log.
    pub log: LogId,
    /// Topic and partition, `orders-3`, if the catalog names it.
    pub partition: Option<String>,
    /// First offset.
    pub from: Offset,
    /// Offset after the last one.
    pub to: Offset,
}

/// What [`repair`](fn@super::repair) can do about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Repair {
    /// Derive the index of a segment from the segment, and write it.
    RewriteIndex {
        /// Number of the shard.
        shard: u16,
        /// Generation of the segment, as the checkpoint counts it.
        generation: u64,
    },
    /// Replace the damaged copy in the checkpoint by the good one.
    HealCheckpoint {
        /// Number of the shard.
        shard: u16,
    },
    /// Derive the checkpoint from the segments.
    DeriveCheckpoint {
        /// Number of the shard.
        shard: u16,
    },
    /// Remove a file that nothing needs.
    Remove {
        /// Path of the file in the directory.
        path: String,
    },
}

/// One thing that the check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad the finding is.
    pub severity: Severity,
    /// The file, relative to the directory.
    pub file: String,
    /// Byte position in the file.
    pub position: u64,
    /// What is wrong.
    pub what: String,
    /// What the finding means.
    pub means: String,
    /// What to do.
    pub advice: String,
    /// Records that are lost, as far as that can be told.
    pub lost: Vec<Lost>,
    /// What [`repair`](fn@super::repair) can do about the finding.
    pub repair: Option<Repair>,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Version of the directory's format; 0 if it could not be read.
    pub format_version: u32,
    /// Shards of the directory; 0 if their number could not be read.
    pub shards: u16,
    /// Topics.
    pub topics: usize,
    /// Segments with commits.
    pub segments: u64,
    /// Whole commits in them.
    pub commits: u64,
    /// Batches in these commits.
    pub batches: u64,
    /// Bytes of these batches.
    pub bytes: u64,
    /// Places where offsets have no records, as compaction leaves them.
    pub gaps: u64,
    /// The findings, in the order of reading.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Findings of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }

    /// Whether everything could be read and nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|f| f.severity == Severity::Harmless)
    }
}
