//! Checks that the offsets of each log are dense from its log start offset: within each segment, and from segment to segment, up
//! to the end that the checkpoint states.
//!
//! Compaction removes batches, up to the offset that the checkpoint states, and leaves sorted segments. So a gap in the
//! offsets is a fault only between two commit segments that follow each other; other gaps are counted.

use crate::ids::{CommitSeq, LogId, Offset};
use crate::log::files;
use crate::log::index::{Index, IndexEntry};
use crate::log::sealed::{Run, Sealed};

use super::checker::Checker;
use super::view::{View, next_seq};

/// Checks the entries of one segment.
pub(super) fn check_runs(
    c: &mut Checker<'_>,
    view: &View<'_>,
    path: &str,
    index: &Index,
    entries: &[IndexEntry],
) {
    for (log, run) in index.runs.iter().filter(|(log, _)| view.is_live(*log)) {
        let own = entries.get(run.first_entry as usize..).unwrap_or_default();
        let own = own.get(..run.entries as usize).unwrap_or_default();
        for pair in own.windows(2) {
            let end = pair[0].end();
            let at = u64::from(pair[1].position);
            if pair[1].base_offset < end {
                twice(c, *log, path, at, pair[1].base_offset);
            } else if pair[1].base_offset > end {
                gap(c, *log, (path, at), end..pair[1].base_offset, index.sealed.generation.is_sorted());
            }
        }
    }
}

/// Checks all logs of a shard from segment to segment.
pub(super) fn check(c: &mut Checker<'_>, view: &View<'_>) {
    let mut commits: Vec<_> =
        view.checkpoint.segments.iter().filter(|s| !s.generation.is_sorted()).copied().collect();
    commits.sort_by_key(|s| s.first_seq);
    for (log, state) in view.logs.iter().filter(|(log, _)| view.is_live(**log)) {
        let mut runs: Vec<Run> = state.runs.iter().filter(|r| r.next_offset > state.start).copied().collect();
        runs.sort_by_key(|r| r.base_offset);
        let mut at = state.start;
        let mut before: Option<Run> = None;
        for run in runs {
            let path = files::segment(&view.dir, run.generation);
            at = over_compacted(c, view, *log, at, run.base_offset);
            if run.base_offset > at {
                let explained = explained(view, &commits, before, Some(run));
                gap(c, *log, (&path, 0), at..run.base_offset, explained);
            } else if before.is_some() && run.base_offset < at {
                twice(c, *log, &path, 0, run.base_offset);
            }
            at = at.max(run.next_offset);
            before = Some(run);
        }
        let path = files::checkpoint(&view.dir);
        at = over_compacted(c, view, *log, at, state.next_sealed);
        if at < state.next_sealed {
            let explained = explained(view, &commits, before, None);
            gap(c, *log, (&path, 0), at..state.next_sealed, explained);
        } else if before.is_some_and(|run| run.next_offset > state.next_sealed) {
            let name = c.name(*log);
            let what =
                format!("{name} ends at {} by the checkpoint, its segments go to {at}", state.next_sealed);
            c.fault(path, 0, what).means("offsets would be given out a second time").done();
        }
    }
}

/// Counts the gap that compaction may have left before `next`, and continues behind the gap.
fn over_compacted(c: &mut Checker<'_>, view: &View<'_>, log: LogId, at: Offset, next: Offset) -> Offset {
    let end = view.compacted(log).map_or(0, |compacted| compacted.end).min(next);
    if end <= at {
        return at;
    }
    c.report.gaps += 1;
    end
}

/// Whether segments in between are gone, or were replaced by segments of compaction.
fn explained(view: &View<'_>, commits: &[Sealed], before: Option<Run>, after: Option<Run>) -> bool {
    let find = |run: Run| commits.iter().find(|s| s.generation == run.generation);
    let from: Option<CommitSeq> = before.map_or(Some(1), |run| find(run).map(|s| s.next_seq));
    let to: Option<CommitSeq> =
        after.map_or_else(|| Some(next_seq(&view.checkpoint)), |run| find(run).map(|s| s.first_seq));
    let (Some(mut at), Some(to)) = (from, to) else { return true };
    for segment in commits {
        if segment.first_seq <= at {
            at = at.max(segment.next_seq);
        }
    }
    at < to
}

fn gap(
    c: &mut Checker<'_>,
    log: LogId,
    (path, at): (&str, u64),
    offsets: std::ops::Range<Offset>,
    explained: bool,
) {
    if explained {
        c.report.gaps += 1;
        return;
    }
    let what = format!("{} has no records from offset {} to {}", c.name(log), offsets.start, offsets.end);
    let lost = vec![c.lost(log, offsets.start, offsets.end)];
    c.fault(path, at, what).means("records that were there are gone; a start succeeds").lost(lost).done();
}

fn twice(c: &mut Checker<'_>, log: LogId, path: &str, at: u64, offset: Offset) {
    let what = format!("{} has offset {offset} twice", c.name(log));
    c.fault(path, at, what).means("readers may be given records twice").done();
}
