//! What a shard does when its disk fails it: the first error is final, what was acknowledged stays
//! readable and is there after a restart. And what is damaged in silence is refused, never served.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;

use keylane_engine::catalog::NewTopic;
use keylane_engine::shard::{CommitState, ShardOptions};
use keylane_engine::{AppendError, CommitSeq, LogId};
use keylane_sim_disk::{CrashStyle, Fault, Op, Rng, Rule, SimDisk, SimOptions};
use keylane_tests::crash::check::{Checker, Depth, Finding, split};
use keylane_tests::crash::engine::Engine;
use keylane_tests::crash::model::{Log, Model, Sent, Stage, Topic, lying};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

const TOPIC: &str = "events";

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

fn inside<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(LocalSet::new().run_until(future))
}

fn small() -> ShardOptions {
    ShardOptions {
        segment_bytes: 64 << 10,
        chunk_bytes: 16 << 10,
        tail_cache_bytes: 32 << 10,
        early_commit_bytes: 4096,
        zero_fill: false,
        ..ShardOptions::default()
    }
}

/// An engine with one topic, and what was sent to it.
struct Bench {
    engine: Engine,
    logs: Vec<LogId>,
    model: RefCell<Model>,
    rng: Rng,
}

impl Bench {
    async fn new(disk: &SimDisk, seed: u64) -> Self {
        let mut engine = Engine::open(disk, 1, &small()).await.expect("an empty disk opens");
        let new = NewTopic { name: TOPIC.to_owned(), partitions: 3, configs: BTreeMap::new() };
        let made = engine.catalog.create(vec![new]).await.expect("a topic");
        let logs: Vec<_> = made[0].partitions.iter().map(|p| p.log).collect();
        let mut model = Model::default();
        for log in &logs {
            engine.shards[0].attach(*log);
            model.logs.insert(*log, Log::default());
        }
        let topic = Topic { stage: Stage::Live, logs: logs.clone() };
        model.topics.insert(TOPIC.to_owned(), topic);
        Self { engine, logs, model: RefCell::new(model), rng: Rng::new(seed) }
    }

    /// A batch for some log, the log's next one.
    fn make(&mut self) -> (LogId, Sent) {
        let log = self.logs[self.rng.below(self.logs.len() as u64) as usize];
        let model = self.model.borrow();
        let entry = &model.logs[&log];
        (log, entry.make(log, entry.sent.len(), &mut self.rng))
    }

    /// Tries to append a batch once; returns how many its log has then, and the commit.
    fn try_append(&self, log: LogId, batch: &Sent) -> Result<(usize, CommitSeq), AppendError> {
        let shard = &self.engine.shards[0];
        let at = shard.partition(log).expect("attached");
        let appended = shard.check_and_append(at, &lying(&batch.bytes))?;
        let mut model = self.model.borrow_mut();
        let entry = model.logs.get_mut(&log).expect("known");
        entry.sent.push(batch.clone());
        Ok((entry.sent.len(), appended.seq))
    }

    /// Appends up to `n` batches, a few at a time; returns the first error.
    async fn append(&mut self, n: usize) -> Option<AppendError> {
        let shard = self.engine.shards[0].clone();
        let mut outstanding = Vec::new();
        for _ in 0..n {
            let (log, batch) = self.make();
            let appended = loop {
                match self.try_append(log, &batch) {
                    Err(AppendError::Busy | AppendError::DiskFull) => shard.space().await,
                    other => break other,
                }
            };
            match appended {
                Ok((batches, seq)) => outstanding.push((log, batches, seq)),
                Err(error) => return Some(error),
            }
            if outstanding.len() >= 8 {
                self.settle(&mut outstanding).await;
            }
        }
        self.settle(&mut outstanding).await;
        None
    }

    /// Appends until there is no space.
    async fn fill(&mut self) {
        let shard = self.engine.shards[0].clone();
        loop {
            let (log, batch) = self.make();
            match self.try_append(log, &batch) {
                Ok((batches, seq)) => self.settle(&mut vec![(log, batches, seq)]).await,
                Err(AppendError::DiskFull) => return,
                Err(AppendError::Busy) => shard.space().await,
                Err(other) => panic!("{other}"),
            }
        }
    }

    async fn settle(&self, outstanding: &mut Vec<(LogId, usize, CommitSeq)>) {
        for (log, batches, seq) in outstanding.drain(..) {
            if self.engine.shards[0].committed(seq).await == CommitState::Durable {
                self.model.borrow_mut().ack(log, batches);
            }
        }
    }

    /// Reads everything that readers may see, and compares it.
    async fn read(&self) {
        let shard = &self.engine.shards[0];
        for log in &self.logs {
            let at = shard.partition(*log).expect("attached");
            let end = shard.offsets(at).expect("attached").high_watermark;
            let acked = {
                let model = self.model.borrow();
                let entry = &model.logs[log];
                assert_eq!(end, entry.end_of(entry.acked), "readers see what was acknowledged, and no more");
                entry.sent[..entry.acked].to_vec()
            };
            let (mut next, mut found) = (0, 0);
            while next < end {
                let part = shard.read(at, next, 64 << 10).await.expect("durable data is readable");
                for bytes in split(&part).expect("whole batches") {
                    assert!(acked[found].is(&bytes), "log {log}: another batch at {next}");
                    found += 1;
                }
                next = part.next_offset;
            }
            assert_eq!(found, acked.len());
        }
    }
}

fn checker<'a>(runtime: &'a Runtime, model: &'a RefCell<Model>, options: &'a ShardOptions) -> Checker<'a> {
    let (tally, starts, recovery_steps) = (RefCell::default(), RefCell::default(), Cell::new(0));
    Checker { runtime, model, shards: 1, options, tally, starts, recovery_steps }
}

/// PostgreSQL's "fsyncgate": a flush fails once, the next one succeeds, and the data is gone. And on
/// ext4, a write with O_DIRECT failed while the flush after it succeeded. The shard must stay failed.
#[test]
fn the_first_error_of_the_disk_is_final() {
    let runtime = runtime();
    for (number, op) in (0..20).flat_map(|n| [(n, Op::Write), (n, Op::Sync)]) {
        for fault in [Fault::Error, Fault::ErrorLost] {
            let disk = SimDisk::new(number, SimOptions::default());
            let model = inside(&runtime, async {
                let mut bench = Bench::new(&disk, number).await;
                assert!(bench.append(20 + 3 * number as usize).await.is_none());
                disk.add_rule(Rule::once(op, fault.clone()).on(".log").after(number % 5));
                let error = bench.append(200).await.expect("an append after the error");
                assert!(matches!(error, AppendError::Failed(_)), "{error}");
                let failure = bench.engine.shards[0].failure().expect("the shard has failed").to_string();
                assert!(failure.contains("os error 5") && failure.contains("restart"), "{failure}");
                // The disk works again. The shard does not.
                for _ in 0..20 {
                    let error = bench.append(1).await.expect("no append succeeds");
                    assert!(matches!(error, AppendError::Failed(_)), "{error}");
                }
                bench.read().await;
                assert!(bench.engine.shards[0].close().await.is_err());
                bench.read().await;
                bench.model
            });
            let options = small();
            let checker = checker(&runtime, &model, &options);
            let snapshot = model.borrow().snapshot();
            for seed in 0..10 {
                for style in [CrashStyle::AllDropped, CrashStyle::AllKept, CrashStyle::Mixed] {
                    let image = disk.crash_image(seed, style);
                    if let Err(finding) = checker.observe(&image, &snapshot, &BTreeMap::new(), Depth::Whole) {
                        panic!("{op:?} {fault:?}, run {number}, {style:?} {seed}: {finding}");
                    }
                }
            }
        }
    }
}

/// A short write is continued where that is possible, and is an error otherwise; it never passes for
/// success.
#[test]
fn a_write_that_ends_inside_a_block_fails_the_shard() {
    let runtime = runtime();
    for written in [0, 512, 4095, 4096 + 512] {
        let disk = SimDisk::new(1, SimOptions::default());
        inside(&runtime, async {
            let mut bench = Bench::new(&disk, 1).await;
            assert!(bench.append(50).await.is_none());
            let rule = Rule::once(Op::Write, Fault::Short(written)).on(".log");
            disk.add_rule(rule.times(100));
            let error = bench.append(100).await.expect("an append after the short write");
            assert!(matches!(error, AppendError::Failed(_)), "{error}");
            bench.read().await;
        });
    }
}

/// No space for another segment: appends say so, and go on by themselves when there is room.
#[test]
fn a_full_disk_takes_appends_again_when_there_is_room() {
    let runtime = runtime();
    let disk = SimDisk::new(1, SimOptions::default());
    let model = inside(&runtime, async {
        let mut bench = Bench::new(&disk, 1).await;
        assert!(bench.append(50).await.is_none());
        disk.set_capacity(Some(disk.used_bytes() + (160 << 10)));
        bench.fill().await;
        bench.read().await;
        disk.set_capacity(None);
        assert!(bench.append(300).await.is_none());
        bench.read().await;
        bench.model
    });
    let options = small();
    let checker = checker(&runtime, &model, &options);
    let snapshot = model.borrow().snapshot();
    let image = disk.crash_image(0, CrashStyle::AllDropped);
    assert!(checker.observe(&image, &snapshot, &BTreeMap::new(), Depth::Whole).is_ok());
}

/// A small directory that was closed, and what it holds.
fn closed(runtime: &Runtime) -> (SimDisk, RefCell<Model>) {
    let options = SimOptions { latency_turns: (0, 1), ..SimOptions::default() };
    let disk = SimDisk::new(1, options);
    let model = inside(runtime, async {
        let mut bench = Bench::new(&disk, 1).await;
        assert!(bench.append(120).await.is_none());
        bench.engine.shards[0].close().await.expect("closes");
        bench.model
    });
    (disk, model)
}

/// One flipped bit lost many acknowledged records, or a whole stream (NATS #7549, #7556). Here it is an
/// error, or nothing at all where it does not matter.
#[test]
fn a_flipped_bit_is_an_error_or_the_same_data() {
    let runtime = runtime();
    let (disk, model) = closed(&runtime);
    let options = small();
    let checker = checker(&runtime, &model, &options);
    let snapshot = model.borrow().snapshot();
    let mut rng = Rng::new(1);
    let (mut refused, mut same) = (0, 0);
    for path in disk.paths() {
        let len = disk.content(&path).expect("listed").len() as u64;
        let mut pos = 0;
        while pos < len {
            let image = disk.crash_image(pos, CrashStyle::AllDropped);
            image.flip_bit(&path, pos, rng.below(8) as u8).expect("listed");
            match checker.observe(&image, &snapshot, &BTreeMap::new(), Depth::Whole) {
                Ok(_) => same += 1,
                Err(Finding::Refused(_)) => refused += 1,
                Err(finding) => panic!("a bit at {pos} of {path}: {finding}"),
            }
            pos += if pos % 4096 < 128 { rng.between(1, 8) } else { rng.between(1, 200) };
        }
    }
    assert!(refused > 50 && same > 50, "{refused} refused, {same} the same");
}

/// Blocks that are valid, but not where they belong (TigerBeetle #2711); zeros where data was (Iggy
/// #3946).
#[test]
fn exchanged_and_zeroed_blocks_are_an_error_or_the_same_data() {
    let runtime = runtime();
    let (disk, model) = closed(&runtime);
    let options = small();
    let checker = checker(&runtime, &model, &options);
    let snapshot = model.borrow().snapshot();
    let blocks: Vec<(String, u64)> = disk
        .paths()
        .into_iter()
        .flat_map(|path| {
            let len = disk.content(&path).expect("listed").len() as u64;
            (0..len).step_by(4096).map(move |pos| (path.clone(), pos))
        })
        .collect();
    let mut rng = Rng::new(2);
    let mut refused = 0;
    for case in 0..blocks.len() * 20 {
        let image = disk.crash_image(case as u64, CrashStyle::AllDropped);
        let (path, pos) = &blocks[case % blocks.len()];
        let (other, other_pos) = &blocks[rng.below(blocks.len() as u64) as usize];
        match case < blocks.len() {
            true => image.zero_block(path, *pos),
            false => image.swap_blocks((path, *pos), (other, *other_pos)),
        }
        .expect("listed");
        match checker.observe(&image, &snapshot, &BTreeMap::new(), Depth::Whole) {
            Ok(_) => {}
            Err(Finding::Refused(_)) => refused += 1,
            Err(finding) => panic!("{path} {pos} and {other} {other_pos}: {finding}"),
        }
    }
    assert!(refused > 100, "{refused} refused");
}
