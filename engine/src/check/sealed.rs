//! Checks a sealed segment and its index.

use crate::aligned::{round_down, round_up};
use crate::disk::{Disk, read_exact_at};
use crate::error::OpenError;
use crate::ids::{Generation, LogId};
use crate::log::files;
use crate::log::format::check_entry;
use crate::log::index::{self as log_index, Index, IndexEntry};
use crate::log::sealed::{Run, Sealed};

use super::checker::Checker;
use super::index::{self, IndexState};
use super::offsets;
use super::report::{Lost, Repair};
use super::segment::{self, Flaw, Seen};
use super::view::View;

/// Checks a sealed segment and its index.
pub(super) async fn check(
    c: &mut Checker<'_>,
    view: &mut View<'_>,
    sealed: &Sealed,
) -> Result<(), OpenError> {
    let generation = sealed.generation;
    let path = files::segment(&view.dir, generation);
    (c.progress)(&path, c.report.bytes);
    let index_path = files::index(&view.dir, generation);
    let found = index::read(c.disk, &index_path, view.identity.shard, sealed).await?;
    if view.generations.binary_search(&generation).is_err() {
        missing(c, view, path, &found);
        return Ok(());
    }
    let mut scanner = segment::scanner(c.disk, view.identity, generation).await?;
    let seen = segment::read_sealed(&mut scanner, sealed, |e| view.is_dead(generation, e)).await?;
    count(c, &seen);
    if scanner.header().await?.is_none() {
        c.fault(&*path, 0, "the segment header is damaged")
            .means("nothing is lost: the header of a sealed segment is not needed")
            .done();
    }
    report_flaws(c, view, (&path, generation), &seen, &found).await?;
    let fault = index_fault(view, generation, &seen, &found);
    let agrees = fault.is_none();
    if let Some((position, what)) = fault {
        let repair = Repair::RewriteIndex { shard: view.identity.shard.0, generation: generation.0 };
        report_index(c, &index_path, position, &what, repair, seen.flaws.is_empty());
    }
    // An index that contradicts its segment says nothing about which records are there: the segment does.
    if let IndexState::Good(index, entries) = found
        && agrees
    {
        offsets::check_runs(c, view, &path, &index, &entries);
        for (log, run) in &index.runs {
            view.add_run(*log, *run);
        }
        return Ok(());
    }
    view.partial |= !seen.flaws.is_empty();
    for (log, entries) in &seen.scan.logs {
        view.add_run(*log, log_index::run_of(generation, 0, entries));
    }
    Ok(())
}

/// Reports a segment that the checkpoint names and that does not exist.
fn missing(c: &mut Checker<'_>, view: &mut View<'_>, path: String, found: &IndexState) {
    let lost = match found {
        IndexState::Good(index, _) => lost_runs(c, view, index),
        _ => Vec::new(),
    };
    view.partial = true;
    c.fault(path, 0, "the checkpoint names this segment, but it is missing")
        .means("a start is refused; all records in it are lost")
        .lost(lost)
        .done();
}

/// Reports damage to a segment.
async fn report_flaws(
    c: &mut Checker<'_>,
    view: &View<'_>,
    (path, generation): (&str, Generation),
    seen: &Seen,
    found: &IndexState,
) -> Result<(), OpenError> {
    let has_index = matches!(found, IndexState::Good(..));
    for flaw in &seen.flaws {
        let (lost, known) = lost_by(c, view, (path, generation), flaw, found).await?;
        let means = match (has_index, known && lost.is_empty()) {
            (_, true) => "no record is lost: each batch in it is whole",
            (true, _) => "a start succeeds; these records cannot be read",
            (false, _) => "a start is refused, as the index cannot be derived; records cannot be read",
        };
        c.fault(path, flaw.from, &*flaw.what).means(means).lost(lost).done();
    }
    Ok(())
}

/// Position and description of what is wrong with an index.
fn index_fault(
    view: &View<'_>,
    generation: Generation,
    seen: &Seen,
    found: &IndexState,
) -> Option<(u64, String)> {
    match found {
        IndexState::Missing => Some((0, "it is missing".to_owned())),
        IndexState::Damaged(position, what) => Some((*position, what.clone())),
        IndexState::Older => None,
        IndexState::Good(index, entries) => {
            let unknown = |at: u32| {
                let inside = |f: &Flaw| (f.from..f.to).contains(&u64::from(at));
                seen.flaws.iter().any(|f| f.batch.is_none() && inside(f))
            };
            let needed = |log, e: &IndexEntry| view.is_needed(generation, log, e.end());
            index::compare(index, entries, &seen.scan, needed, unknown)
        }
    }
}

/// Reports that an index is wrong. `derivable`: its segment is whole.
fn report_index(c: &mut Checker<'_>, path: &str, position: u64, what: &str, repair: Repair, derivable: bool) {
    let draft = c.fault(path, position, what);
    if derivable {
        draft
            .means("nothing is lost: it is derived from the segment")
            .advice("--repair; a start derives it as well if its header or table is damaged")
            .repair(repair)
            .done();
    } else {
        draft.means("it cannot be derived: the segment is damaged, too").done();
    }
}

fn count(c: &mut Checker<'_>, seen: &Seen) {
    c.report.segments += 1;
    c.report.commits += seen.commits;
    c.report.batches += seen.scan.logs.values().map(|e| e.len() as u64).sum::<u64>();
    c.report.bytes += seen.scan.sealed.data_end;
}

fn lost_runs(c: &Checker<'_>, view: &View<'_>, index: &Index) -> Vec<Lost> {
    let needed = |(log, run): &&(LogId, Run)| view.is_needed(run.generation, *log, run.next_offset);
    let needed = index.runs.iter().filter(needed);
    needed.map(|(log, run)| c.lost(*log, run.base_offset, run.next_offset)).collect()
}

/// The records that cannot be read because of a flaw, and whether all of them are known.
async fn lost_by(
    c: &Checker<'_>,
    view: &View<'_>,
    (path, generation): (&str, Generation),
    flaw: &Flaw,
    found: &IndexState,
) -> Result<(Vec<Lost>, bool), OpenError> {
    if let Some((log, from, to)) = flaw.batch {
        let lost = view.is_needed(generation, log, to).then(|| c.lost(log, from, to));
        return Ok((lost.into_iter().collect(), true));
    }
    let IndexState::Good(index, entries) = found else { return Ok((Vec::new(), false)) };
    let file = c.disk.open(path).await.map_err(OpenError::io(format!("opening {path}")))?;
    let mut lost: Vec<Lost> = Vec::new();
    for (log, run) in &index.runs {
        let own = entries.get(run.first_entry as usize..).unwrap_or_default();
        for e in own.iter().take(run.entries as usize) {
            let (from, end) = (u64::from(e.position), u64::from(e.position) + u64::from(e.len));
            let next = e.end();
            if !(flaw.from..flaw.to).contains(&from) || !view.is_needed(generation, *log, next) {
                continue;
            }
            // A batch that the index names is served if the batch itself is whole, even if its commit is damaged.
            let begin = round_down(from);
            let len = round_up((end - begin) as usize);
            let whole = read_exact_at(&file, begin, len).await.is_ok_and(|bytes| {
                let raw = bytes.get((from - begin) as usize..(end - begin) as usize);
                raw.is_some_and(|raw| check_entry(&e.in_directory(*log), raw).is_ok())
            });
            match lost.last_mut() {
                _ if whole => {}
                Some(last) if last.log == *log && last.to == e.base_offset => last.to = next,
                _ => lost.push(c.lost(*log, e.base_offset, next)),
            }
        }
    }
    Ok((lost, true))
}
