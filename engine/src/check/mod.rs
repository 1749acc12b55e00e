//! The offline check of a data directory: reads everything, and says what is wrong, where, what it means and what to do.
//! `docs/recovery.md` lists what is checked.
//!
//! Promises: [`check`] changes nothing. [`repair`] does only what the check proposed, and nothing that loses data. The caller
//! holds the directory's lock. Memory is bounded by the largest index.

mod derive;
mod index;
mod offsets;
mod repair;
mod segment;
mod shard;
mod unsealed;

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::catalog::Catalog;
use crate::data_dir::DataDir;
use crate::disk::{Disk, DynDisk};
use crate::error::OpenError;
use crate::ids::Identity;
use crate::ids::{Generation, LogId, Offset, ShardId};

pub use repair::{Repaired, repair};

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

/// What [`repair`] can do about a finding.
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
    /// What [`repair`] can do about the finding.
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

const RESTORE: &str = "restore the file from a copy";

/// Checks a data directory. `progress` is told each file that is begun, and the bytes of log read so far.
pub async fn check(disk: &impl Disk, progress: &mut dyn FnMut(&str, u64)) -> Report {
    check_on(&disk.clone().erased(), progress).await
}

async fn check_on(disk: &DynDisk, progress: &mut dyn FnMut(&str, u64)) -> Report {
    let mut checker = Checker { disk, progress, report: Report::default(), names: BTreeMap::new() };
    if let Err(error) = checker.directory().await {
        checker.error(error, "what depends on it was not checked; a start is refused");
    }
    checker.report
}

struct Checker<'a> {
    disk: &'a DynDisk,
    progress: &'a mut dyn FnMut(&str, u64),
    report: Report,
    /// Topic and partition of each log.
    names: BTreeMap<LogId, String>,
}

impl Checker<'_> {
    async fn directory(&mut self) -> Result<(), OpenError> {
        let names = self.disk.list("").await.map_err(OpenError::io("listing the data directory"))?;
        for name in names.iter().filter(|n| n.ends_with(".new")) {
            self.leftover(name.clone(), "a file that was being replaced when the process ended");
        }
        if !names.iter().any(|n| n == "keylane.format") {
            return Err(OpenError::damaged("keylane.format", 0, "it is missing"));
        }
        let (dir, version) = DataDir::read(self.disk).await?;
        (self.report.format_version, self.report.shards) = (version, dir.shards);
        let has_catalog = names.iter().any(|n| n == "catalog");
        // Opening would create a catalog where none exists, and a check changes nothing.
        let catalog = match has_catalog {
            true => match Catalog::open(self.disk.clone(), dir.shards).await {
                Ok(catalog) => Some(catalog),
                Err(error) => {
                    self.error(error, "topics cannot be told from their logs; a start is refused");
                    None
                }
            },
            false => None,
        };
        for topic in catalog.iter().flat_map(Catalog::topics) {
            self.report.topics += 1;
            for (number, placement) in topic.partitions.iter().enumerate() {
                self.names.insert(placement.log, format!("{}-{number}", topic.name));
            }
        }
        let mut records = false;
        for shard in (0..dir.shards).map(ShardId) {
            let live: Option<HashSet<_>> = catalog.as_ref().map(|c| c.logs_of(shard));
            let identity = Identity { directory: dir.id, shard };
            match shard::check_shard(self, &identity, live.as_ref()).await {
                Ok(any) => records |= any,
                Err(error) => self.error(error, "the rest of this shard was not checked"),
            }
        }
        if !has_catalog && records {
            self.fault("catalog", 0, "it is missing, but the shards hold records")
                .means("without it a start would take all topics for deleted; it is refused")
                .advice("do not start on this directory: restore the file from a copy first")
                .done();
        }
        Ok(())
    }

    /// Adds a finding for an error.
    fn error(&mut self, error: OpenError, means: &str) {
        match error {
            OpenError::Damaged { file, position, what } => {
                self.fault(file, position, what).means(means).done();
            }
            OpenError::Catalog { .. } => self.fault("catalog", 0, error.to_string()).means(means).done(),
            other => {
                let draft = self.fault("", 0, other.to_string()).means("nothing can be said about it");
                let advice = match other {
                    OpenError::Newer { .. } => "check it with the version of keylane that wrote it",
                    _ => "look for errors of the device in the kernel's log; check the rights of the files",
                };
                draft.advice(advice).severity(Severity::Unreadable).done();
            }
        }
    }

    fn fault(&mut self, file: impl Into<String>, position: u64, what: impl Into<String>) -> Draft<'_> {
        let finding = Finding {
            severity: Severity::Fault,
            file: file.into(),
            position,
            what: what.into(),
            means: String::new(),
            advice: RESTORE.to_owned(),
            lost: Vec::new(),
            repair: None,
        };
        Draft { findings: &mut self.report.findings, finding }
    }

    fn leftover(&mut self, path: String, what: &str) {
        self.fault(path.clone(), 0, what)
            .severity(Severity::Harmless)
            .means("nothing needs it")
            .advice("nothing, or --repair to remove it")
            .repair(Repair::Remove { path })
            .done();
    }

    fn lost(&self, log: LogId, from: Offset, to: Offset) -> Lost {
        Lost { log, partition: self.names.get(&log).cloned(), from, to }
    }

    /// The name of a log for people: topic and partition, or its number.
    fn name(&self, log: LogId) -> String {
        self.names.get(&log).map_or_else(|| format!("log {log}"), |name| format!("{name} (log {log})"))
    }
}

/// A finding before it is added to the report.
struct Draft<'a> {
    findings: &'a mut Vec<Finding>,
    finding: Finding,
}

impl Draft<'_> {
    fn severity(mut self, severity: Severity) -> Self {
        self.finding.severity = severity;
        self
    }

    fn means(mut self, means: impl Into<String>) -> Self {
        self.finding.means = means.into();
        self
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.finding.advice = advice.into();
        self
    }

    fn lost(mut self, lost: Vec<Lost>) -> Self {
        self.finding.lost = lost;
        self
    }

    fn repair(mut self, repair: Repair) -> Self {
        self.finding.repair = Some(repair);
        self
    }

    fn done(self) {
        self.findings.push(self.finding);
    }
}

/// Whether a log exists, by the catalog; without a catalog every log counts as existing.
fn is_live(live: Option<&HashSet<LogId>>, log: LogId) -> bool {
    live.is_none_or(|live| live.contains(&log))
}

/// The index that belongs to a name `*.idx`.
fn generation_of_index(name: &str) -> Option<Generation> {
    let stem = name.strip_suffix(".idx")?;
    let name = if stem.ends_with(".sorted") { stem.to_owned() } else { format!("{stem}.log") };
    crate::log::files::generation_of(&name)
}
