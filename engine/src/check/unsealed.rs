//! Checks the commits after the checkpoint, by the rule of recovery: an invalid commit at the end was never acknowledged,
//! unless a later commit states that it was durable.

use std::collections::BTreeMap;

use crate::aligned::BLOCK;
use crate::error::OpenError;
use crate::ids::{CommitSeq, Generation};
use crate::log::files;
use crate::log::format::Entry;
use crate::log::scan::{Scan, Scanner};
use crate::log::sealed::Sealed;

use super::checker::Checker;
use super::report::{Lost, Severity};
use super::segment;
use super::view::{View, next_seq};

const REFUSED: &str =
    "a start is refused: acknowledged records are damaged here, and later ones cannot be reached";

/// Segment and position at which the last whole commit ended.
struct End {
    /// The segment.
    path: String,
    /// The position in it.
    position: u64,
}

/// A segment up to its last whole commit.
struct Read {
    generation: Generation,
    path: String,
    scan: Scan,
    /// What is wrong with the commit that follows, if there is one.
    what: Option<String>,
    /// Records that are lost with it.
    lost: Vec<Lost>,
}

/// Checks the segments that the checkpoint does not cover.
pub(super) async fn check(c: &mut Checker<'_>, view: &mut View<'_>) -> Result<(), OpenError> {
    let unsealed: Vec<_> = view.generations.iter().copied().filter(|g| is_new(view, g)).collect();
    let mut end: Option<End> = None;
    let mut seq = next_seq(&view.checkpoint);
    for generation in unsealed {
        let path = files::segment(&view.dir, generation);
        (c.progress)(&path, c.report.bytes);
        let mut scanner = segment::scanner(c.disk, view.identity, generation).await?;
        if scanner.header().await?.is_none() {
            if let Some(at) = scanner.find_commit(BLOCK as u64, |_| true).await? {
                c.fault(&*path, 0, format!("no segment header, but a commit at {at}")).means(REFUSED).done();
                return Ok(());
            }
            continue;
        }
        let read = read(c, view, &mut scanner, (generation, path), seq).await?;
        let position = read.scan.sealed.data_end;
        seq = read.scan.sealed.next_seq;
        if let Some(at) = scanner.find_commit(position, |h| h.durable_below > seq).await? {
            refuse(c, view, read, end, at);
            return Ok(());
        }
        if read.what.is_some() || scanner.find_commit(position, |h| h.seq > seq).await?.is_some() {
            c.fault(&*read.path, position, format!("commit {seq} and what follows were being written"))
                .severity(Severity::Harmless)
                .means("a torn tail: it was never acknowledged")
                .advice("nothing: the next start cuts it off")
                .done();
        }
        if position > BLOCK as u64 || end.is_none() {
            end = Some(End { path: read.path, position });
        }
    }
    Ok(())
}

/// Whether the checkpoint does not cover a segment.
fn is_new(view: &View<'_>, generation: &Generation) -> bool {
    !generation.is_sorted() && generation.0 > view.checkpoint.through
}

/// Reads a segment, whose first commit is `seq`, up to its last whole commit.
async fn read(
    c: &mut Checker<'_>,
    view: &mut View<'_>,
    scanner: &mut Scanner,
    (generation, path): (Generation, String),
    seq: CommitSeq,
) -> Result<Read, OpenError> {
    let sealed = Sealed { generation, first_seq: seq, next_seq: seq, data_end: BLOCK as u64 };
    let mut scan = Scan { sealed, logs: BTreeMap::new() };
    let mut lost = Vec::new();
    let what = loop {
        let (position, seq) = (scan.sealed.data_end, scan.sealed.next_seq);
        match segment::read_commit(scanner, position, seq, |_| false).await? {
            Ok((header, entries, bad)) if bad.is_empty() => {
                for entry in &entries {
                    replay(c, view, entry, &path, position);
                }
                c.report.batches += entries.iter().filter(|e| !e.is_trim()).count() as u64;
                scan.add(&header, &entries);
            }
            Ok((_, _, bad)) => {
                let live = bad.iter().filter(|(e, _)| view.is_live(e.log));
                lost = live.map(|(e, _)| c.lost(e.log, e.base_offset, e.end())).collect();
                break bad.into_iter().next().map(|(_, what)| what);
            }
            Err(what) => break what,
        }
    };
    let commits = scan.sealed.next_seq - scan.sealed.first_seq;
    c.report.segments += u64::from(commits > 0);
    c.report.commits += commits;
    c.report.bytes += scan.sealed.data_end;
    Ok(Read { generation, path, scan, what, lost })
}

/// Reports that a start is refused: the commit at `at` states that an earlier commit was durable, but that one is not whole.
fn refuse(c: &mut Checker<'_>, view: &View<'_>, read: Read, end: Option<End>, at: u64) {
    let Read { generation, path, scan, what, lost } = read;
    let (position, seq) = (scan.sealed.data_end, scan.sealed.next_seq);
    let before = Generation(generation.0 - 1);
    let mut missing = String::new();
    if is_new(view, &before) && view.generations.binary_search(&before).is_err() {
        missing = format!("; segment {} is missing", files::segment(&view.dir, before));
    }
    let reason = what.map_or(String::new(), |what| format!(" ({what})"));
    let what = format!(
        "commit {seq} is invalid{reason}, but the commit at {at} of {path} says that it was durable{missing}"
    );
    // If no commit of this segment is whole, the damage lies where the segment before ended.
    let end = end.filter(|_| position == BLOCK as u64 && reason.is_empty());
    let End { path, position } = end.unwrap_or(End { path, position });
    c.fault(path, position, what).means(REFUSED).lost(lost).done();
}

/// Checks an entry against the offsets of its log, and advances them.
fn replay(c: &mut Checker<'_>, view: &mut View<'_>, entry: &Entry, path: &str, position: u64) {
    if !view.is_live(entry.log) {
        return;
    }
    let log = view.logs.entry(entry.log).or_default();
    if entry.is_trim() {
        log.start = log.start.max(entry.base_offset);
        return;
    }
    let next = std::mem::replace(&mut log.next, entry.end());
    if entry.base_offset != next {
        let name = c.name(entry.log);
        let what = format!("{name} continues at offset {} where {next} comes next", entry.base_offset);
        let lost = (next < entry.base_offset).then(|| c.lost(entry.log, next, entry.base_offset));
        let lost = lost.into_iter().collect();
        c.fault(path, position, what).means("a start is refused").lost(lost).done();
    }
}
