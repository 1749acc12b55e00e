//! Checks one shard: the checkpoint, the segments that it names, their indexes, later commits, the offsets of the logs, and
//! leftover files.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::aligned::{round_down, round_up};
use crate::disk::{Disk, read_exact_at};
use crate::error::OpenError;
use crate::ids::Identity;
use crate::ids::{CommitSeq, Generation, LogId, Offset};
use crate::log::checkpoint::{Checkpoint, Compacted};
use crate::log::files;
use crate::log::format::{Entry, check_entry};
use crate::log::index::{self as log_index, Index, IndexEntry};
use crate::log::sealed::Run;
use crate::log::sealed::Sealed;

use super::index::{self, Found};
use super::segment::{self, Flaw, Seen};
use super::{Checker, Lost, Repair, generation_of_index, is_live, offsets, unsealed};

/// A log, as the checkpoint and the segments state it.
#[derive(Debug, Default)]
pub(super) struct LogView {
    /// Log start offset that the checkpoint states; the space of batches before it may have been given back.
    pub start_sealed: Offset,
    /// Log start offset.
    pub start: Offset,
    /// Log end offset that the checkpoint states.
    pub next_sealed: Offset,
    /// Log end offset.
    pub next: Offset,
    /// Runs in sealed segments.
    pub runs: Vec<Run>,
}

/// What is known of a shard.
pub(super) struct View<'a> {
    pub identity: &'a Identity,
    pub dir: String,
    pub live: Option<&'a HashSet<LogId>>,
    pub generations: Vec<Generation>,
    pub checkpoint: Checkpoint,
    pub logs: BTreeMap<LogId, LogView>,
    /// Whether damage hides which offsets the segments hold.
    pub partial: bool,
}

impl<'a> View<'a> {
    pub fn new(
        identity: &'a Identity,
        live: Option<&'a HashSet<LogId>>,
        generations: Vec<Generation>,
        checkpoint: Checkpoint,
    ) -> Self {
        let mut logs: BTreeMap<LogId, LogView> = BTreeMap::new();
        for state in checkpoint.logs.decode() {
            let (start, next) = (state.start, state.next);
            let view = LogView { start_sealed: start, start, next_sealed: next, next, runs: Vec::new() };
            logs.insert(state.log, view);
        }
        for (log, start) in &checkpoint.trims {
            if let Some(view) = logs.get_mut(log) {
                view.start = view.start.max(*start);
                view.start_sealed = view.start;
            }
        }
        let dir = files::shard_dir(identity.shard);
        Self { identity, dir, live, generations, checkpoint, logs, partial: false }
    }

    pub fn is_live(&self, log: LogId) -> bool {
        is_live(self.live, log)
    }

    /// Whether the space of a batch in a segment may have been given back.
    pub fn is_dead(&self, generation: Generation, entry: &Entry) -> bool {
        let start = self.logs.get(&entry.log).map(|view| view.start_sealed);
        !self.is_live(entry.log)
            || start.is_none_or(|start| entry.end() <= start)
            || self.is_replaced(generation, entry.log, entry.end())
    }

    /// Whether compaction replaced a batch, or a run, of this segment that ends at `end`.
    pub fn is_replaced(&self, generation: Generation, log: LogId, end: Offset) -> bool {
        self.compacted(log).is_some_and(|c| c.replaces(generation, end))
    }

    /// How far a log was compacted.
    pub fn compacted(&self, log: LogId) -> Option<&Compacted> {
        self.checkpoint.compacted.iter().find(|c| c.log == log)
    }

    fn add_run(&mut self, log: LogId, run: Run) {
        if self.is_replaced(run.generation, log, run.next_offset) {
            return;
        }
        // Without a catalog, logs that the checkpoint does not state count as deleted.
        if self.live.is_some_and(|live| live.contains(&log)) {
            self.logs.entry(log).or_default().runs.push(run);
        } else if let (None, Some(view)) = (self.live, self.logs.get_mut(&log)) {
            view.runs.push(run);
        }
    }

    /// Whether readers can reach a batch.
    fn is_needed(&self, generation: Generation, log: LogId, end: Offset) -> bool {
        let there = self.logs.get(&log).is_some_and(|view| end > view.start);
        self.is_live(log) && there && !self.is_replaced(generation, log, end)
    }
}

/// Checks a shard. `true`: the shard holds, or held, records.
pub(super) async fn check_shard(
    c: &mut Checker<'_>,
    identity: &Identity,
    live: Option<&HashSet<LogId>>,
) -> Result<bool, OpenError> {
    let dir = files::shard_dir(identity.shard);
    let names = match c.disk.list(&dir).await {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(OpenError::io(format!("listing {dir}")))?,
    };
    let mut generations: Vec<_> = names.iter().filter_map(|n| files::generation_of(n)).collect();
    generations.sort();
    let path = files::checkpoint(&dir);
    let stored =
        Checkpoint::load_bytes(c.disk, &dir).await.map_err(OpenError::io(format!("reading {path}")))?;
    let Some(checkpoint) = check_checkpoint(c, identity, &path, stored.as_deref(), &generations, live) else {
        return Ok(!generations.is_empty());
    };
    let mut view = View::new(identity, live, generations, checkpoint);
    unsealed::check(c, &mut view).await?;
    for sealed in view.checkpoint.segments.clone() {
        check_sealed(c, &mut view, &sealed).await?;
    }
    if !view.partial {
        offsets::check(c, &view);
    }
    leftovers(c, &view, &names);
    Ok(view.logs.values().any(|log| log.next > 0))
}

fn check_checkpoint(
    c: &mut Checker<'_>,
    identity: &Identity,
    path: &str,
    bytes: Option<&[u8]>,
    generations: &[Generation],
    live: Option<&HashSet<LogId>>,
) -> Option<Checkpoint> {
    let shard = identity.shard.0;
    let derive = |what: &str, c: &mut Checker<'_>| {
        c.fault(path, 0, what)
            .means("which segments belong to the shard is unknown: they were not checked, and a start is refused")
            .advice(
                "restore the file from a copy of the same moment, or --repair to derive it from the segments: \
                 deleted records may come back, and a batch that is sent again may be stored twice",
            )
            .repair(Repair::DeriveCheckpoint { shard })
            .done();
    };
    let Some(bytes) = bytes else {
        if !generations.is_empty() {
            derive("it is missing, but there are segments", c);
        } else if live.is_some_and(|live| !live.is_empty()) {
            c.fault(
                path,
                0,
                "it is missing, and so are all segments, but the catalog names logs of this shard",
            )
            .means("a start would take these logs for empty; what they held is lost")
            .advice("do not start on this directory: restore the folder from a copy first")
            .done();
        }
        return None;
    };
    let half = (bytes.len() / 2) as u64;
    let (position, good) = match Checkpoint::decode_copies(identity.shard, bytes) {
        [Some(first), Some(second)] if first == second => return Some(first),
        [Some(first), _] => (half, first),
        [None, Some(second)] => (0, second),
        [None, None] => {
            derive("both copies in it are damaged", c);
            return None;
        }
    };
    c.fault(path, position, "one of the two copies in it is damaged")
        .means("nothing is lost: the other copy says the same")
        .advice("--repair, before the other one is damaged as well")
        .repair(Repair::HealCheckpoint { shard })
        .done();
    Some(good)
}

async fn check_sealed(c: &mut Checker<'_>, view: &mut View<'_>, sealed: &Sealed) -> Result<(), OpenError> {
    let (shard, generation) = (view.identity.shard, sealed.generation);
    let path = files::segment(&view.dir, generation);
    (c.progress)(&path, c.report.bytes);
    let index_path = files::index(&view.dir, generation);
    let found = index::read(c.disk, &index_path, shard, sealed).await?;
    if view.generations.binary_search(&generation).is_err() {
        let lost = match &found {
            Found::Good(index, _) => lost_runs(c, view, index),
            _ => Vec::new(),
        };
        view.partial = true;
        c.fault(path, 0, "the checkpoint names this segment, but it is missing")
            .means("a start is refused; all records in it are lost")
            .lost(lost)
            .done();
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
    let has_index = matches!(found, Found::Good(..));
    for flaw in &seen.flaws {
        let (lost, known) = lost_by(c, view, (&path, generation), flaw, &found).await?;
        let means = match (has_index, known && lost.is_empty()) {
            (_, true) => "no record is lost: each batch in it is whole",
            (true, _) => "a start succeeds; these records cannot be read",
            (false, _) => "a start is refused, as the index cannot be derived; records cannot be read",
        };
        c.fault(&*path, flaw.from, &*flaw.what).means(means).lost(lost).done();
    }
    let repair = Repair::RewriteIndex { shard: shard.0, generation: generation.0 };
    let bad = |c: &mut Checker<'_>, position, what: &str| {
        let draft = c.fault(&*index_path, position, what);
        if seen.flaws.is_empty() {
            draft
                .means("nothing is lost: it is derived from the segment")
                .advice("--repair; a start derives it as well if its header or table is damaged")
                .repair(repair)
                .done();
        } else {
            draft.means("it cannot be derived: the segment is damaged, too").done();
        }
    };
    match found {
        Found::Missing => bad(c, 0, "it is missing"),
        Found::Damaged(position, what) => bad(c, position, &what),
        Found::Older => {}
        Found::Good(index, entries) => {
            let unknown = |at: u32| {
                let inside = |f: &Flaw| (f.from..f.to).contains(&u64::from(at));
                seen.flaws.iter().any(|f| f.batch.is_none() && inside(f))
            };
            let needed = |log, e: &IndexEntry| view.is_needed(generation, log, e.end());
            if let Some((position, what)) = index::compare(&index, &entries, &seen.scan, needed, unknown) {
                bad(c, position, &what);
            }
            offsets::check_runs(c, view, &path, &index, &entries);
            for (log, run) in &index.runs {
                view.add_run(*log, *run);
            }
            return Ok(());
        }
    }
    view.partial |= !seen.flaws.is_empty();
    for (log, entries) in &seen.scan.logs {
        view.add_run(*log, log_index::run_of(generation, 0, entries));
    }
    Ok(())
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
    found: &Found,
) -> Result<(Vec<Lost>, bool), OpenError> {
    if let Some((log, from, to)) = flaw.batch {
        let lost = view.is_needed(generation, log, to).then(|| c.lost(log, from, to));
        return Ok((lost.into_iter().collect(), true));
    }
    let Found::Good(index, entries) = found else { return Ok((Vec::new(), false)) };
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
            let expected = Entry {
                log: *log,
                len: e.len,
                at: 0,
                span: e.span,
                base_offset: e.base_offset,
                max_timestamp: e.max_timestamp,
            };
            let whole = read_exact_at(&file, begin, len).await.is_ok_and(|bytes| {
                let raw = bytes.get((from - begin) as usize..(end - begin) as usize);
                raw.is_some_and(|raw| check_entry(&expected, raw).is_ok())
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

/// Lists files that nothing needs.
fn leftovers(c: &mut Checker<'_>, view: &View<'_>, names: &[String]) {
    let named: BTreeSet<_> = view.checkpoint.segments.iter().map(|s| s.generation).collect();
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    for name in names {
        let path = format!("{}/{name}", view.dir);
        if name.ends_with(".new") {
            c.leftover(path, "a file that was being replaced when the process ended");
            continue;
        }
        let index = generation_of_index(name);
        let Some(generation) = index.or_else(|| files::generation_of(name)) else { continue };
        let old = generation.is_sorted() || generation.0 <= view.checkpoint.through;
        if !old || named.contains(&generation) {
            continue;
        }
        c.leftover(
            path,
            if index.is_some() { "the index of no segment" } else { "a segment that was freed" },
        );
    }
}

/// Sequence of the next commit, by the checkpoint.
pub(super) fn next_seq(checkpoint: &Checkpoint) -> CommitSeq {
    checkpoint.next_seq.max(1)
}
