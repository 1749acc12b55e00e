//! What all parts of a check share: the disk, the report that grows, and how a finding is written down.

use std::collections::BTreeMap;

use crate::disk::DynDisk;
use crate::error::OpenError;
use crate::ids::{LogId, Offset};

use super::report::{Finding, Lost, Repair, Report, Severity};

/// The advice for findings without a better one.
const RESTORE: &str = "restore the file from a copy";

/// A check that is running.
pub struct Checker<'a> {
    /// The disk.
    pub disk: &'a DynDisk,
    /// Called with the name of each file that is begun, and the bytes of log read so far.
    pub progress: &'a mut dyn FnMut(&str, u64),
    /// What was found so far.
    pub report: Report,
    /// Topic and partition of each log.
    pub names: BTreeMap<LogId, String>,
}

impl Checker<'_> {
    /// Adds a finding for an error.
    pub fn error(&mut self, error: OpenError, means: &str) {
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

    /// Begins a finding of severity [`Severity::Fault`].
    pub fn fault(&mut self, file: impl Into<String>, position: u64, what: impl Into<String>) -> Draft<'_> {
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

    /// Adds a file that nothing needs.
    pub fn leftover(&mut self, path: String, what: &str) {
        self.fault(path.clone(), 0, what)
            .severity(Severity::Harmless)
            .means("nothing needs it")
            .advice("nothing, or --repair to remove it")
            .repair(Repair::Remove { path })
            .done();
    }

    /// Records of a log that are lost.
    pub fn lost(&self, log: LogId, from: Offset, to: Offset) -> Lost {
        Lost { log, partition: self.names.get(&log).cloned(), from, to }
    }

    /// The name of a log for people: topic and partition, or its number.
    pub fn name(&self, log: LogId) -> String {
        self.names.get(&log).map_or_else(|| format!("log {log}"), |name| format!("{name} (log {log})"))
    }
}

/// A finding before it is added to the report.
pub struct Draft<'a> {
    findings: &'a mut Vec<Finding>,
    finding: Finding,
}

impl Draft<'_> {
    /// How bad the finding is.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.finding.severity = severity;
        self
    }

    /// What the finding means.
    pub fn means(mut self, means: impl Into<String>) -> Self {
        self.finding.means = means.into();
        self
    }

    /// What a person can do.
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.finding.advice = advice.into();
        self
    }

    /// Records that are lost by the fault.
    pub fn lost(mut self, lost: Vec<Lost>) -> Self {
        self.finding.lost = lost;
        self
    }

    /// What a repair can do about the finding.
    pub fn repair(mut self, repair: Repair) -> Self {
        self.finding.repair = Some(repair);
        self
    }

    /// Adds the finding to the report.
    pub fn done(self) {
        self.findings.push(self.finding);
    }
}
