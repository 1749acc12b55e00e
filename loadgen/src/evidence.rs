//! What was found to be wrong, fact by fact, and the file that it is kept in.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::keys::KeyNames;

/// What can be wrong with what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Acked and not there.
    Lost,
    /// There more than once.
    Duplicate,
    /// After a later record of its key.
    Reordered,
    /// In another partition than the key's.
    MovedPartition,
    /// Not written by any run of the ledger.
    NeverSent,
    /// An offset that no record has.
    OffsetGap,
    /// An offset that had been passed.
    OffsetBack,
    /// A poll began behind the offset that it asked for.
    PollSkipped,
    /// A poll gave what lies before the offset that it asked for.
    PollBack,
    /// One offset with two values: two readers saw different records there.
    TwoValues,
    /// Was read once, and was gone later: it was shown before it was durable.
    ReadNotDurable,
    /// In a batch whose header does not state the largest timestamp of its records.
    LyingHeader,
    /// Not readable as a batch or as one of our records.
    Corrupt,
}

/// One fault. What is not known, or makes no sense for its kind, is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub key: Option<u32>,
    pub seq: Option<u64>,
    /// What should have been there instead.
    pub expected: String,
}

impl Evidence {
    pub fn at(partition: i32, offset: i64) -> Self {
        Self { partition: Some(partition), offset: Some(offset), ..Self::default() }
    }

    pub fn of_key(key: u32) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    pub fn record(mut self, key: u32, seq: u64) -> Self {
        (self.key, self.seq) = (Some(key), Some(seq));
        self
    }

    pub fn expected(mut self, expected: impl std::fmt::Display) -> Self {
        self.expected = expected.to_string();
        self
    }
}

/// A fault as it was found, with the number of records or offsets that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub what: FaultKind,
    pub times: u64,
    pub evidence: Evidence,
    pub reader: String,
}

#[derive(Serialize)]
struct FileLine<'a> {
    what: FaultKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    expected: &'a str,
    times: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    reader: &'a str,
}

/// Writes one JSON object a line; an empty file says that nothing was found.
pub fn write(path: &Path, found: &[Found], names: &KeyNames) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
    let mut out = BufWriter::new(file);
    for Found { what, times, evidence, reader } in found {
        let name = |key: u32| match usize::try_from(key).is_ok_and(|key| key < names.len()) {
            true => String::from_utf8_lossy(names.name(key)).into_owned(),
            false => format!("unknown-{key}"),
        };
        let line = FileLine {
            what: *what,
            partition: evidence.partition,
            offset: evidence.offset,
            key: evidence.key.map(name),
            seq: evidence.seq,
            expected: &evidence.expected,
            times: *times,
            reader,
        };
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush().with_context(|| format!("writing {}", path.display()))
}
