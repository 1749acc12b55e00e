//! Opens crash images and holds them against what was promised.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keylane_engine::shard::{Batches, CommitState, Offsets, PartitionRef, Shard, ShardOptions};
use keylane_engine::{AppendError, LogId, Offset, record_batch};
use keylane_sim_disk::{CrashStyle, Phase, Rng, SimDisk, Step};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::compacted;
use super::engine::Engine;
use super::model::{Model, Promise, Sent, Snapshot, Stage, lying};
use super::workload;

/// What is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Something that was acknowledged is not there.
    Lost(String),
    /// Something is there that should not be.
    Invented(String),
    /// It could not be opened or read.
    Refused(String),
    /// A second recovery found something else than the first.
    Changed(String),
    /// It does not take another batch.
    Unwritable(String),
    /// It waits for something that does not come.
    Stuck(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Invented(what) => write!(f, "invented: {what}"),
            Self::Refused(what) => write!(f, "refused: {what}"),
            Self::Changed(what) => write!(f, "changed by a second recovery: {what}"),
            Self::Unwritable(what) => write!(f, "takes no further batch: {what}"),
            Self::Stuck(what) => write!(f, "stuck: {what}"),
        }
    }
}

/// One image in so many is read as a whole, the others at the end of each log.
const DEEP_1_IN: u32 = 4;
/// Acknowledged batches of a log that are read where it is read at its end.
const END_BATCHES: usize = 8;

/// How much is read of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every batch.
    Whole,
    /// The last batches of each log.
    End,
}

/// Batches found, by log. Each log holds the front part of what was sent.
pub type Found = BTreeMap<LogId, usize>;

/// Counts of what was checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Batches appended.
    pub appends: u64,
    /// Steps of the disks of the runs.
    pub steps: u64,
    /// Crash images that were checked.
    pub images: u64,
    /// Recoveries, those that a crash cut short included.
    pub recoveries: u64,
    /// Recoveries that a crash cut short.
    pub interrupted: u64,
    /// Images of which the recovery was begun twice before it was let finish.
    pub twice: u64,
    /// Batches compared byte for byte, or record by record if their log is compacted.
    pub compared: u64,
    /// Logs that compaction had taken something from.
    pub cleaned: u64,
    /// Logs of which retention by size had deleted something.
    pub cut: u64,
}

impl Tally {
    /// Adds the counts of another.
    pub fn add(&mut self, other: &Tally) {
        self.appends += other.appends;
        self.steps += other.steps;
        self.images += other.images;
        self.recoveries += other.recoveries;
        self.interrupted += other.interrupted;
        self.twice += other.twice;
        self.compared += other.compared;
        self.cleaned += other.cleaned;
        self.cut += other.cut;
    }
}

/// Opens images and compares.
pub struct Checker<'a> {
    /// Runs one image at a time; its clock should be paused, so that what is stuck is found at once.
    pub runtime: &'a Runtime,
    /// What was sent.
    pub model: &'a RefCell<Model>,
    /// Shards to format an empty disk with.
    pub shards: u16,
    /// As in the run.
    pub options: &'a ShardOptions,
    /// What was done.
    pub tally: RefCell<Tally>,
    /// Steps of the last whole recovery: where to interrupt the next one.
    pub recovery_steps: Cell<u64>,
    /// Where the logs of the image that is checked were seen to start.
    pub starts: RefCell<BTreeMap<LogId, Offset>>,
}

impl Checker<'_> {
    /// Checks one image in one of several ways, drawn by `rng`.
    pub fn check(&self, image: SimDisk, snapshot: &Snapshot, rng: &mut Rng) -> Result<(), Finding> {
        self.tally.borrow_mut().images += 1;
        self.starts.borrow_mut().clear();
        let mut image = image;
        if rng.one_in(4) {
            image = self.interrupt(image, rng)?;
            if rng.one_in(2) {
                image = self.interrupt(image, rng)?;
                self.tally.borrow_mut().twice += 1;
            }
        }
        let depth = if rng.one_in(DEEP_1_IN) { Depth::Whole } else { Depth::End };
        let found = self.observe(&image, snapshot, &BTreeMap::new(), depth)?;
        if !rng.one_in(4) {
            return Ok(());
        }
        // What has been read has been shown: whatever becomes of the rest, it stays.
        let again = image.crash_image(rng.next_u64(), style(rng));
        let second = self.observe(&again, snapshot, &BTreeMap::new(), depth)?;
        if second != found {
            return Err(Finding::Changed(format!("{found:?} became {second:?}")));
        }
        if !rng.one_in(2) {
            return Ok(());
        }
        let further = again.crash_image(rng.next_u64(), style(rng));
        let added = self.append(&further, &found, rng)?;
        let last = further.crash_image(rng.next_u64(), CrashStyle::AllDropped);
        let third = self.observe(&last, snapshot, &added, depth)?;
        for (log, batches) in &found {
            let expected = batches + usize::from(added.contains_key(log));
            if third.get(log) != Some(&expected) {
                let what = format!("log {log}: {expected} batches became {:?}", third.get(log));
                return Err(Finding::Lost(what));
            }
        }
        Ok(())
    }

    /// Lets power fail once more while the image is being opened; gives what is left then.
    fn interrupt(&self, image: SimDisk, rng: &mut Rng) -> Result<SimDisk, Finding> {
        let at = rng.below(self.recovery_steps.get().max(8) * 2);
        let (seed, style) = (rng.next_u64(), style(rng));
        let left = Rc::new(RefCell::new(None));
        let (events, keep) = (Cell::new(0), Rc::clone(&left));
        image.on_step(Some(Rc::new(move |_: &Step<'_>, disk: &SimDisk| {
            if events.replace(events.get() + 1) == at {
                *keep.borrow_mut() = Some(disk.crash_image(seed, style));
            }
        })));
        self.inside(async {
            let engine = Engine::open(&image, self.shards, self.options).await;
            engine.map(drop).map_err(|e| Finding::Refused(e.to_string()))
        })?;
        let mut tally = self.tally.borrow_mut();
        tally.recoveries += 1;
        let left = left.borrow_mut().take();
        tally.interrupted += u64::from(left.is_some());
        Ok(left.unwrap_or_else(|| image.crash_image(seed, style)))
    }

    /// Opens an image, reads it and compares it with what was sent. `added` was sent after the image was
    /// taken, and acknowledged.
    pub fn observe(
        &self,
        image: &SimDisk,
        snapshot: &Snapshot,
        added: &BTreeMap<LogId, Sent>,
        depth: Depth,
    ) -> Result<Found, Finding> {
        let events = Rc::new(Cell::new(0));
        let count = Rc::clone(&events);
        image.on_step(Some(Rc::new(move |step: &Step<'_>, _: &SimDisk| {
            count.set(count.get() + u64::from(step.phase == Phase::Completed));
        })));
        let found = self.inside(async {
            let engine = Engine::open(image, self.shards, self.options)
                .await
                .map_err(|e| Finding::Refused(e.to_string()))?;
            self.recovery_steps.set(events.get());
            self.compare_topics(&engine, snapshot)?;
            let mut found = Found::new();
            for placement in engine.placements() {
                let Some((shard, at)) = engine.find(placement.log) else {
                    return Err(Finding::Lost(format!("log {} of the catalog", placement.log)));
                };
                let extra = added.get(&placement.log);
                found.insert(placement.log, self.compare_log(&shard, at, snapshot, extra, depth).await?);
            }
            // From here on logs are cut, beside the next crash. Where they are seen to start they do.
            if self.configure(&engine) {
                workload::tend(&engine, 1).await;
                for placement in engine.placements() {
                    let Some((shard, at)) = engine.find(placement.log) else { continue };
                    self.compare_start(&shard, at, snapshot, added.get(&placement.log))?;
                }
            }
            Ok(found)
        });
        image.on_step(None);
        self.tally.borrow_mut().recoveries += 1;
        found
    }

    /// Sets what logs are kept to. `false`: none is.
    fn configure(&self, engine: &Engine) -> bool {
        let model = self.model.borrow();
        let mut any = false;
        for (log, bound) in model.logs.iter().filter_map(|(log, entry)| Some((*log, entry.bound?))) {
            if let Some((shard, at)) = engine.find(log) {
                shard.configure(at, Arc::new(workload::bounded(bound)));
                any = true;
            }
        }
        any
    }

    /// Where a log starts: as far on as was promised or seen, and no further than was asked for or its bound allows.
    fn compare_start(
        &self,
        shard: &Shard,
        at: PartitionRef,
        snapshot: &Snapshot,
        added: Option<&Sent>,
    ) -> Result<Offsets, Finding> {
        let log = at.log();
        let offsets = shard.offsets(at).map_err(|e| Finding::Refused(format!("reading log {log}: {e}")))?;
        let Promise { trimmed, trim_asked, .. } = snapshot.of(log);
        let model = self.model.borrow();
        let deletable = model.logs.get(&log).map_or(0, |log| log.deletable(offsets.high_watermark, added));
        let mut starts = self.starts.borrow_mut();
        let seen = starts.entry(log).or_default();
        let (least, most) = (trimmed.max(*seen), trim_asked.max(deletable));
        if offsets.start > most || offsets.end != offsets.high_watermark {
            return Err(Finding::Lost(format!("log {log}: {offsets:?}, it may start at {most} at most")));
        }
        if offsets.start < least {
            let what = format!("log {log}: {offsets:?}, but records before {least} were deleted");
            return Err(Finding::Invented(what));
        }
        *seen = offsets.start;
        self.tally.borrow_mut().cut += u64::from(offsets.start > trim_asked);
        Ok(offsets)
    }

    fn compare_topics(&self, engine: &Engine, snapshot: &Snapshot) -> Result<(), Finding> {
        let mut there = BTreeSet::new();
        for topic in engine.catalog.topics() {
            let logs: Vec<_> = topic.partitions.iter().map(|p| p.log).collect();
            match snapshot.topics.get(&topic.name) {
                None => return Err(Finding::Invented(format!("topic {}", topic.name))),
                Some(known) if known.stage == Stage::Deleted => {
                    return Err(Finding::Invented(format!("topic {}, which was deleted", topic.name)));
                }
                Some(known) if known.stage != Stage::Creating && known.logs != logs => {
                    return Err(Finding::Invented(format!("other logs of topic {}: {logs:?}", topic.name)));
                }
                Some(_) => there.insert(topic.name.as_str()),
            };
        }
        let live = snapshot.topics.iter().filter(|(_, topic)| topic.stage == Stage::Live);
        match live.map(|(name, _)| name).find(|name| !there.contains(name.as_str())) {
            Some(name) => Err(Finding::Lost(format!("topic {name}"))),
            None => Ok(()),
        }
    }

    async fn compare_log(
        &self,
        shard: &Shard,
        at: PartitionRef,
        snapshot: &Snapshot,
        added: Option<&Sent>,
        depth: Depth,
    ) -> Result<usize, Finding> {
        let log = at.log();
        let lost = |what: String| Finding::Lost(format!("log {log}: {what}"));
        let invented = |what: String| Finding::Invented(format!("log {log}: {what}"));
        let refused = |e: &dyn fmt::Display| Finding::Refused(format!("reading log {log}: {e}"));
        let Promise { acked, sent, .. } = snapshot.of(log);
        let offsets = self.compare_start(shard, at, snapshot, added)?;
        if self.model.borrow().logs.get(&log).is_some_and(|log| log.compacted) {
            return self.compare_compacted(shard, at, snapshot, added, depth).await;
        }
        let kept = {
            let model = self.model.borrow();
            let log = model.logs.get(&log);
            // Batches that lie wholly before the start: it may be the end, which nobody was told of yet.
            log.map_or(0, |log| log.sent.partition_point(|batch| batch.end() <= offsets.start))
        };
        let from = match depth {
            Depth::Whole => kept,
            Depth::End => acked.saturating_sub(END_BATCHES).max(kept),
        };
        let first = self.model.borrow().logs.get(&log).map_or(0, |log| log.end_of(from));
        // A log may start inside a batch.
        let first = first.max(offsets.start);
        if offsets.high_watermark < first {
            return Err(lost(format!("{acked} batches were acknowledged, it ends at {}", offsets.end)));
        }
        let mut stored = Vec::new();
        let mut next = first;
        while next < offsets.high_watermark {
            let part = shard.read(at, next, 1 << 20).await.map_err(|e| refused(&e))?;
            if part.next_offset <= next {
                return Err(lost(format!("nothing at {next}")));
            }
            stored.extend(split(&part).map_err(|e| refused(&e))?);
            next = part.next_offset;
        }
        let model = self.model.borrow();
        let known = model.logs.get(&log).map_or(&[][..], |log| &log.sent[..]);
        let mut end = self.model.borrow().logs.get(&log).map_or(0, |log| log.end_of(from));
        for (i, bytes) in (from..).zip(&stored) {
            // What was added follows whatever survived of what was sent.
            let last = added.filter(|_| i + 1 == from + stored.len());
            let Some(expected) = last.or_else(|| known[..sent].get(i)) else {
                let offset = record_batch::base_offset(bytes);
                return Err(invented(format!("batch {i} at {offset:?}, {sent} were sent")));
            };
            if !expected.is(bytes) {
                let what = format!("batch {i} at {} is not the one sent", expected.base_offset);
                return Err(if i < acked { lost(what) } else { invented(what) });
            }
            if expected.base_offset != end {
                return Err(lost(format!("a gap in the offsets before {}", expected.base_offset)));
            }
            end = expected.end();
        }
        let have = from + stored.len();
        if have < acked {
            return Err(lost(format!("{acked} batches were acknowledged, {have} are there")));
        }
        if end != offsets.high_watermark {
            return Err(invented(format!("its batches end at {end}: {offsets:?}, {acked} acknowledged")));
        }
        self.tally.borrow_mut().compared += stored.len() as u64;
        Ok(have)
    }

    /// Of a log that is compacted: the latest record of every key must be there, nothing else than was sent,
    /// and its end must be where it was.
    async fn compare_compacted(
        &self,
        shard: &Shard,
        at: PartitionRef,
        snapshot: &Snapshot,
        added: Option<&Sent>,
        depth: Depth,
    ) -> Result<usize, Finding> {
        let log = at.log();
        let refused = |e: &dyn fmt::Display| Finding::Refused(format!("reading log {log}: {e}"));
        let Promise { acked, sent, .. } = snapshot.of(log);
        let offsets = shard.offsets(at).map_err(|e| refused(&e))?;
        let from = match depth {
            Depth::Whole => 0,
            Depth::End => acked.saturating_sub(END_BATCHES),
        };
        let first = self.model.borrow().logs.get(&log).map_or(0, |log| log.end_of(from)).max(offsets.start);
        let stored = compacted::read_from(shard, at, first).await?;
        let model = self.model.borrow();
        let mut known = model.logs.get(&log).map_or(Vec::new(), |log| log.sent[..sent].to_vec());
        if let Some(added) = added {
            // It follows whatever survived of what was sent.
            known.retain(|batch| batch.end() <= added.base_offset);
            known.push(added.clone());
        }
        let have = known.partition_point(|batch| batch.end() <= offsets.high_watermark);
        let end = have.checked_sub(1).map_or(0, |last| known[last].end());
        if end != offsets.high_watermark {
            let what = format!("log {log}: {offsets:?}, which is no end of a batch that was sent");
            return Err(Finding::Invented(what));
        }
        if have < acked {
            return Err(Finding::Lost(format!(
                "log {log}: {acked} batches were acknowledged, {have} are there"
            )));
        }
        compacted::compare(&known[from..have], &stored, first).map_err(|found| match found {
            Finding::Lost(what) => Finding::Lost(format!("log {log}: {what}")),
            Finding::Invented(what) => Finding::Invented(format!("log {log}: {what}")),
            other => other,
        })?;
        self.tally.borrow_mut().compared += stored.len() as u64;
        let cleaned = depth == Depth::Whole && compacted::is_cleaned(&known[..have], &stored);
        self.tally.borrow_mut().cleaned += u64::from(cleaned);
        Ok(have)
    }

    /// Opens an image and appends one batch to each log; returns them when they are durable. Repeats the
    /// last batch of idempotent producers, which must be recognised.
    fn append(
        &self,
        image: &SimDisk,
        found: &Found,
        rng: &mut Rng,
    ) -> Result<BTreeMap<LogId, Sent>, Finding> {
        self.tally.borrow_mut().recoveries += 1;
        let unwritable = |what: String| Finding::Unwritable(what);
        self.inside(async {
            let engine = Engine::open(image, self.shards, self.options)
                .await
                .map_err(|e| Finding::Refused(e.to_string()))?;
            self.configure(&engine);
            let mut added = BTreeMap::new();
            for (&log, &batches) in found {
                let batch = {
                    let model = self.model.borrow();
                    let Some(entry) = model.logs.get(&log) else { continue };
                    entry.make(log, batches, rng)
                };
                let Some((shard, at)) = engine.find(log) else { continue };
                self.repeat(&shard, at, batches)?;
                let seq = loop {
                    match shard.check_and_append(at, &lying(&batch.bytes)) {
                        Ok(appended) if appended.base_offset == batch.base_offset && !appended.duplicate => {
                            break appended.seq;
                        }
                        Ok(other) => return Err(unwritable(format!("log {log}: {other:?} for {batch:?}"))),
                        Err(AppendError::Busy | AppendError::DiskFull) => shard.space().await,
                        Err(other) => return Err(unwritable(format!("log {log}: {other}"))),
                    }
                };
                if shard.committed(seq).await != CommitState::Durable {
                    return Err(unwritable(format!("log {log}: {:?}", shard.failure())));
                }
                added.insert(log, batch);
            }
            Ok(added)
        })
    }

    fn repeat(&self, shard: &Shard, at: PartitionRef, batches: usize) -> Result<(), Finding> {
        let model = self.model.borrow();
        let Some(entry) = model.logs.get(&at.log()).filter(|entry| entry.idempotent) else { return Ok(()) };
        let Some(last) = batches.checked_sub(1).map(|last| &entry.sent[last]) else { return Ok(()) };
        match shard.check_and_append(at, &lying(&last.bytes)) {
            Ok(answer) if answer.duplicate && answer.base_offset == last.base_offset => Ok(()),
            other => Err(Finding::Invented(format!(
                "log {}: the batch at {} was sent again and answered with {other:?}",
                at.log(),
                last.base_offset
            ))),
        }
    }

    /// Runs something that uses an engine, and drops all its tasks at the end.
    fn inside<T>(&self, future: impl Future<Output = Result<T, Finding>>) -> Result<T, Finding> {
        let local = LocalSet::new();
        let limited = async {
            let limit = Duration::from_secs(600);
            tokio::time::timeout(limit, future).await
        };
        match self.runtime.block_on(local.run_until(limited)) {
            Ok(result) => result,
            Err(_) => Err(Finding::Stuck("ten minutes passed".to_owned())),
        }
    }
}

/// Draws how a crash treats what is not durable.
pub fn style(rng: &mut Rng) -> CrashStyle {
    match rng.below(6) {
        0 => CrashStyle::AllDropped,
        1 => CrashStyle::AllKept,
        _ => CrashStyle::Mixed,
    }
}

/// Cuts an answer into its batches.
pub fn split(answer: &Batches) -> Result<Vec<Bytes>, String> {
    let mut batches = Vec::new();
    for slice in &answer.slices {
        let mut rest = slice.clone();
        while !rest.is_empty() {
            let len = record_batch::total_len(&rest).filter(|len| *len <= rest.len());
            let Some(len) = len else {
                return Err(format!("{} bytes that are no whole batch", rest.len()));
            };
            batches.push(rest.split_to(len));
        }
    }
    Ok(batches)
}
