//! `keylane check`: the engine's offline check of a data directory, for people and for machines.
//!
//! Promises: without `--repair` no file is changed or created, and files are opened for reading only; a directory
//! that a process has is refused. The report goes to stdout, progress to stderr. Exit codes: 0 all is sound, 1
//! faults were found, 2 something could not be read or the command could not be run.
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use keylane_engine::OpenError;
use keylane_engine::check::{Finding, Report, Severity, check, repair};
use keylane_engine::data_dir::DirLock;
use keylane_engine::disk::Disk;
use keylane_engine::disk::uring::UringDisk;
use keylane_engine::environment::{self, EnvironmentError};
use serde::Serialize;

use crate::runtime::net;

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// Options of `keylane check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckOptions {
    /// Data directory
    #[arg(value_name = "DIR")]
    pub data: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Repair what can be repaired without losing records: indexes, copies of checkpoints, leftovers
    #[arg(long)]
    pub repair: bool,
}

/// Why the check could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The system lacks something.
    #[error("{0}; {advice}", advice = .0.advice())]
    Environment(#[from] EnvironmentError),
    /// The directory cannot be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no such directory.
    #[error("{path} cannot be listed: {cause}; name an existing data directory", path = path.display())]
    Directory {
        /// As given.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The report could not be written.
    #[error("writing the report: {0}")]
    Output(#[source] io::Error),
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Output<'a> {
    directory: String,
    sound: bool,
    /// What was repaired; `null` without `--repair`.
    repaired: Option<&'a [String]>,
    /// What could not be repaired, and why.
    not_repaired: &'a [String],
    /// The last check: after the repair, if there was one.
    report: &'a Report,
}

/// Runs the command to its end and prints the report.
///
/// # Errors
/// [`CheckError`] if it could not be run: the process ends with code 2.
pub fn run(options: &CheckOptions) -> Result<ExitCode, CheckError> {
    environment::check_uring()?;
    let directory = |cause| CheckError::Directory { path: options.data.clone(), cause };
    drop(std::fs::read_dir(&options.data).map_err(directory)?);
    let _lock = match options.repair {
        true => Some(DirLock::take(&options.data)?),
        false => DirLock::take_existing(&options.data)?,
    };
    let (report, done, refused) = net::run(async {
        let direct = direct_works(&options.data).await;
        let mut progress = progress();
        let disk = UringDisk::read_only(&options.data, direct);
        let before = check(&disk, &mut progress).await;
        if !options.repair {
            return Ok((before, None, Vec::new()));
        }
        let disk = UringDisk::new(&options.data, direct);
        let repaired = repair(&disk, &before, &mut progress).await?;
        Ok::<_, CheckError>((repaired.after, Some(repaired.done), repaired.refused))
    })?;
    let text = if options.json {
        let output = Output {
            directory: options.data.display().to_string(),
            sound: report.is_sound(),
            repaired: done.as_deref(),
            not_repaired: &refused,
            report: &report,
        };
        serde_json::to_string_pretty(&output).map_err(|e| CheckError::Output(e.into()))? + "\n"
    } else {
        table(&options.data, &report, done.as_deref(), &refused)
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CheckError::Output)?;
    Ok(match (report.count(Severity::Unreadable), report.is_sound()) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => ExitCode::from(1),
        _ => ExitCode::from(2),
    })
}

/// Whether files can be read past the page cache, which may hold something else than the medium.
async fn direct_works(data: &Path) -> bool {
    match UringDisk::read_only(data, true).open("keylane.format").await {
        Err(e) => e.kind() != io::ErrorKind::InvalidInput,
        Ok(_) => true,
    }
}

/// Tells people now and then how far it is.
fn progress() -> impl FnMut(&str, u64) {
    let mut last = Instant::now();
    move |path, bytes| {
        if last.elapsed() >= PROGRESS {
            last = Instant::now();
            eprintln!("keylane: {} MB checked, now {path}", bytes / 1_000_000);
        }
    }
}

/// The report for people.
fn table(data: &Path, report: &Report, done: Option<&[String]>, refused: &[String]) -> String {
    let mut out = String::new();
    let Report { format_version, shards, topics, segments, commits, batches, bytes, gaps, .. } = report;
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}: format {format_version}, {shards} shards, {topics} topics", data.display());
    let _ = writeln!(
        out,
        "  read        {segments} segments, {commits} commits, {batches} batches, {bytes} bytes"
    );
    if *gaps > 0 {
        let _ = writeln!(
            out,
            "  gaps        {gaps} places where offsets have no records, as compaction leaves them"
        );
    }
    for line in done.unwrap_or_default() {
        let _ = writeln!(out, "  repaired    {line}");
    }
    for line in refused {
        let _ = writeln!(out, "  not done    {line}");
    }
    for finding in &report.findings {
        describe(&mut out, finding);
    }
    let count = |severity| report.count(severity);
    let harmless = match count(Severity::Harmless) {
        0 => String::new(),
        n => format!(" ({n} harmless leftovers of a crash)"),
    };
    let verdict = match (count(Severity::Fault), count(Severity::Unreadable)) {
        (0, 0) => "sound".to_owned(),
        (faults, 0) => format!("NOT SOUND: {faults} faults"),
        (faults, unreadable) => format!("NOT SOUND: {faults} faults, {unreadable} could not be read"),
    };
    let _ = writeln!(out, "verdict: {verdict}{harmless}");
    out
}

fn describe(out: &mut String, finding: &Finding) {
    let kind = match finding.severity {
        Severity::Harmless => "harmless",
        Severity::Unreadable => "UNREADABLE",
        _ => "FAULT",
    };
    let place = match finding.file.as_str() {
        "" => String::new(),
        file => format!("{file} at byte {}: ", finding.position),
    };
    let _ = writeln!(out, "  {kind:<11} {place}{}", finding.what);
    let _ = writeln!(out, "              means: {}", finding.means);
    for lost in &finding.lost {
        let name = lost.partition.clone().unwrap_or_else(|| format!("log {}", lost.log));
        let _ = writeln!(
            out,
            "              lost:  {name}, offsets {} to {}",
            lost.from,
            lost.to.saturating_sub(1)
        );
    }
    let _ = writeln!(out, "              do:    {}", finding.advice);
}
