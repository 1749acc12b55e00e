//! The load of a run: writers with several batches outstanding, a reader, and topics that come and go.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use keylane_engine::catalog::NewTopic;
use keylane_engine::shard::{CommitState, PartitionRef, Shard};
use keylane_engine::{AppendError, CommitSeq, LogConfig, LogId, ReadError, record_batch};
use keylane_sim_disk::{Rng, SimDisk};
use tokio::task::{spawn_local, yield_now};

use super::engine::Engine;
use super::model::{Log, Model, Stage, TIME_MS, Topic, lying};
use super::run::{Plan, SEGMENT_BYTES_MIN};

type Targets = Rc<RefCell<BTreeMap<LogId, (Shard, PartitionRef)>>>;

/// What the tasks of a load share.
#[derive(Clone)]
struct Load {
    model: Rc<RefCell<Model>>,
    targets: Targets,
    appends_left: Rc<Cell<usize>>,
    trim_1_in: u32,
    compact: bool,
    retain: bool,
    retains_less_by: u64,
    /// A task has given up.
    over: Rc<Cell<bool>>,
}

/// Opens the engine and runs the load to its end; returns the open engine.
pub async fn run(disk: SimDisk, plan: &Plan, model: Rc<RefCell<Model>>) -> Result<Engine, String> {
    let mut engine =
        Engine::open(&disk, plan.shards, &plan.options).await.map_err(|e| format!("opening: {e}"))?;
    let load = Load {
        model,
        targets: Targets::default(),
        appends_left: Rc::new(Cell::new(plan.appends)),
        trim_1_in: plan.trim_1_in,
        compact: plan.compact,
        retain: plan.retain,
        retains_less_by: plan.retains_less_by,
        over: Rc::default(),
    };
    let mut rng = Rng::new(plan.seed);
    for number in 0..3 {
        create(&mut engine, &load, number, &mut rng).await?;
    }
    disk.set_options(|options| *options = plan.disk.clone());
    plan.faults.iter().for_each(|rule| disk.add_rule(rule.clone()));
    let writers: Vec<_> = (0..plan.writers)
        .map(|_| spawn_local(write(load.clone(), Rng::new(rng.next_u64()), plan.window)))
        .collect();
    let reader = spawn_local(read(load.clone(), Rng::new(rng.next_u64())));
    for number in 3..3 + plan.topic_changes {
        let due = plan.appends * (3 + plan.topic_changes - number) / (plan.topic_changes + 1);
        while load.appends_left.get() > due && !load.over.get() {
            if plan.compact || plan.retain {
                tend(&engine, 1).await;
            }
            yield_now().await;
        }
        create(&mut engine, &load, number, &mut rng).await?;
        delete(&mut engine, &load, number - 3).await?;
    }
    while (plan.compact || plan.retain) && load.appends_left.get() > 0 && !load.over.get() {
        tend(&engine, 1).await;
    }
    for task in writers.into_iter().chain([reader]) {
        task.await.map_err(|e| e.to_string())??;
    }
    Ok(engine)
}

/// Settings of a compacted log whose tombstones stay.
fn compacting() -> LogConfig {
    let delete_retention_ms = i64::MAX as u64;
    LogConfig { compact: true, delete: false, delete_retention_ms, ..LogConfig::keep_all() }
}

/// Settings of a log that is kept to so many bytes.
pub fn bounded(bytes: u64) -> LogConfig {
    LogConfig { retention_bytes: Some(bytes), ..LogConfig::keep_all() }
}

/// Tells the shards the time, again and again.
pub async fn tend(engine: &Engine, times: u32) {
    for _ in 0..times {
        engine.shards.iter().for_each(|shard| shard.tend(TIME_MS));
        for _ in 0..20 {
            yield_now().await;
        }
    }
}

fn name(number: usize) -> String {
    format!("topic-{number}")
}

async fn create(engine: &mut Engine, load: &Load, number: usize, rng: &mut Rng) -> Result<(), String> {
    let name = name(number);
    let topic = Topic { stage: Stage::Creating, logs: Vec::new() };
    load.model.borrow_mut().topics.insert(name.clone(), topic);
    let partitions = rng.between(2, 4) as usize;
    let new = NewTopic { name: name.clone(), partitions, configs: BTreeMap::new() };
    let made = engine.catalog.create(vec![new]).await.map_err(|e| format!("creating {name}: {e}"))?;
    let placements: Vec<_> = made.iter().flat_map(|topic| topic.partitions.clone()).collect();
    let mut model = load.model.borrow_mut();
    for placement in &placements {
        let shard = engine.shards[usize::from(placement.shard)].clone();
        let at = shard.attach(placement.log);
        let compacted = load.compact && rng.one_in(2);
        if compacted {
            shard.configure(at, Arc::new(compacting()));
        }
        let idempotent = rng.one_in(2);
        let large = load.retain && rng.one_in(2);
        let bound = SEGMENT_BYTES_MIN * 2 + rng.below(64 << 10);
        let bound = (load.retain && !compacted && !rng.one_in(4)).then_some(bound);
        if let Some(bound) = bound {
            shard.configure(at, Arc::new(bounded(bound - load.retains_less_by)));
        }
        load.targets.borrow_mut().insert(placement.log, (shard, at));
        model.logs.insert(placement.log, Log { idempotent, compacted, bound, large, ..Log::default() });
    }
    let topic = Topic { stage: Stage::Live, logs: placements.iter().map(|p| p.log).collect() };
    model.topics.insert(name, topic);
    Ok(())
}

async fn delete(engine: &mut Engine, load: &Load, number: usize) -> Result<(), String> {
    let name = name(number);
    load.model.borrow_mut().set_stage(&name, Stage::Deleting);
    let gone = engine.catalog.delete(&name).await.map_err(|e| format!("deleting {name}: {e}"))?;
    load.model.borrow_mut().set_stage(&name, Stage::Deleted);
    for placement in &gone.partitions {
        load.targets.borrow_mut().remove(&placement.log);
        engine.shards[usize::from(placement.shard)].detach(placement.log);
    }
    Ok(())
}

/// A batch that was appended and not yet acknowledged.
struct Outstanding {
    shard: Shard,
    log: LogId,
    batches: usize,
    seq: CommitSeq,
}

async fn write(load: Load, mut rng: Rng, window: usize) -> Result<(), String> {
    let mut outstanding: Vec<Outstanding> = Vec::new();
    while load.appends_left.get() > 0 || !outstanding.is_empty() {
        if outstanding.len() >= window || load.appends_left.get() == 0 {
            let oldest = &outstanding[0];
            oldest.shard.committed(oldest.seq).await;
        }
        let mut failed = None;
        outstanding.retain(|batch| match batch.shard.commit_state(batch.seq) {
            CommitState::Pending => true,
            CommitState::Durable => {
                load.model.borrow_mut().ack(batch.log, batch.batches);
                false
            }
            CommitState::Failed => {
                failed = batch.shard.failure();
                false
            }
        });
        if let Some(failure) = failed {
            load.over.set(true);
            return Err(failure.to_string());
        }
        if load.appends_left.get() == 0 {
            continue;
        }
        for _ in 0..rng.below(6) {
            yield_now().await;
        }
        match append(&load, &mut rng).await {
            Ok(batch) => outstanding.extend(batch),
            Err(what) => {
                load.over.set(true);
                return Err(what);
            }
        }
    }
    Ok(())
}

/// Appends one batch to some log.
async fn append(load: &Load, rng: &mut Rng) -> Result<Option<Outstanding>, String> {
    let target = {
        let targets = load.targets.borrow();
        let pick = rng.below(targets.len() as u64) as usize;
        targets.iter().nth(pick).map(|(log, (shard, at))| (*log, shard.clone(), *at))
    };
    let Some((log, shard, at)) = target else { return Ok(None) };
    let result = {
        let mut model = load.model.borrow_mut();
        let Some(entry) = model.logs.get_mut(&log) else { return Ok(None) };
        let batch = entry.make(log, entry.sent.len(), rng);
        let result = shard.check_and_append(at, &lying(&batch.bytes));
        if let Ok(appended) = &result {
            if appended.base_offset != batch.base_offset || appended.duplicate {
                return Err(format!("log {log}: {appended:?} where {} is next", batch.base_offset));
            }
            entry.sent.push(batch);
            load.appends_left.set(load.appends_left.get().saturating_sub(1));
        }
        result.map(|appended| (appended, entry.sent.len()))
    };
    if load.trim_1_in > 0 && rng.one_in(load.trim_1_in) {
        trim(load, rng, &shard, at);
    }
    match result {
        Ok((appended, batches)) => Ok(Some(Outstanding { shard, log, batches, seq: appended.seq })),
        Err(AppendError::Busy | AppendError::DiskFull) => {
            shard.space().await;
            Ok(None)
        }
        Err(AppendError::UnknownPartition) => Ok(None),
        Err(other) => Err(format!("appending to log {log}: {other}")),
    }
}

/// Raises the log start offset of a log somewhere into what is durable.
fn trim(load: &Load, rng: &mut Rng, shard: &Shard, at: PartitionRef) {
    let Ok(offsets) = shard.offsets(at) else { return };
    let target = offsets.start + rng.below(offsets.high_watermark - offsets.start + 1);
    let Ok(seq) = shard.trim(at, target) else { return };
    let mut model = load.model.borrow_mut();
    let Some(log) = model.logs.get_mut(&at.log()) else { return };
    log.trim_asked = log.trim_asked.max(target);
    let (shard, model) = (shard.clone(), Rc::clone(&load.model));
    spawn_local(async move {
        if shard.committed(seq).await == CommitState::Durable {
            model.borrow_mut().saw_start(at.log(), target);
        }
    });
}

/// Reads here and there while the writers write. What a reader was shown counts as promised.
async fn read(load: Load, mut rng: Rng) -> Result<(), String> {
    while load.appends_left.get() > 0 && !load.over.get() {
        for _ in 0..20 {
            yield_now().await;
        }
        let target = {
            let targets = load.targets.borrow();
            let pick = rng.below(targets.len().max(1) as u64) as usize;
            targets.iter().nth(pick).map(|(log, (shard, at))| (*log, shard.clone(), *at))
        };
        let Some((log, shard, at)) = target else { continue };
        let Ok(offsets) = shard.offsets(at) else { continue };
        if offsets.high_watermark == 0 {
            continue;
        }
        let seen = {
            let mut model = load.model.borrow_mut();
            let Some(entry) = model.logs.get(&log) else { continue };
            let seen = entry.batch_at(offsets.high_watermark - 1);
            seen.inspect(|last| model.ack(log, last + 1))
        };
        {
            let mut model = load.model.borrow_mut();
            model.saw_start(log, offsets.start);
            let entry = &model.logs[&log];
            let allowed = entry.trim_asked.max(entry.deletable(offsets.high_watermark, None));
            if offsets.start > allowed {
                return Err(format!("log {log}: {offsets:?}, it may start at {allowed} at most"));
            }
        }
        let Some(_) = seen else {
            return Err(format!("log {log}: readers see up to {}", offsets.high_watermark));
        };
        if offsets.start == offsets.high_watermark {
            continue;
        }
        let offset = offsets.start + rng.below(offsets.high_watermark - offsets.start);
        let answer = match shard.read(at, offset, 8 << 10).await {
            Ok(answer) => answer,
            Err(ReadError::UnknownPartition) => continue,
            Err(ReadError::OutOfRange { start, .. }) if start > offset => continue,
            Err(other) => return Err(format!("reading log {log} at {offset}: {other}")),
        };
        let model = load.model.borrow();
        let entry = &model.logs[&log];
        let first = entry.batch_at(offset).ok_or("an offset below the high watermark was never sent")?;
        let batches = super::check::split(&answer).map_err(|e| format!("log {log} at {offset}: {e}"))?;
        if batches.is_empty() {
            return Err(format!("log {log}: nothing at {offset}, below the high watermark"));
        }
        if entry.compacted {
            // What is read in one go may end anywhere: the latest of keys is looked for elsewhere.
            let end = batches.last().and_then(|b| record_batch::end_offset(b)).unwrap_or(0);
            let sent = &entry.sent[..entry.batch_at(end.saturating_sub(1)).map_or(0, |last| last + 1)];
            match super::compacted::compare(sent, &batches, end) {
                Ok(()) => continue,
                Err(found) => return Err(format!("log {log} at {offset}: {found}")),
            }
        }
        for (sent, stored) in entry.sent[first..].iter().zip(&batches) {
            if !sent.is(stored) {
                return Err(format!("log {log}: another batch at {} than was sent", sent.base_offset));
            }
        }
    }
    Ok(())
}
