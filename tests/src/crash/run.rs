//! One run: a load on a simulated disk, and a check of a crash image at each of its steps.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use keylane_engine::shard::ShardOptions;
use keylane_sim_disk::{Phase, Rng, Rule, SimDisk, SimOptions, Step};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::check::{Checker, Finding, Tally, style};
use super::model::{Model, Snapshot};
use super::workload;

/// Images that may wait to be checked.
const WAITING_MAX: usize = 256;

/// Bytes of the smallest segments. No log is kept to less than two of them.
pub const SEGMENT_BYTES_MIN: u64 = 16 * 4096;

/// What runs it all: a runtime of one thread whose clock is paused, and the means to advance the clock
/// (which tokio has for tests only).
pub struct Machine {
    /// The runtime.
    pub runtime: Runtime,
    /// Advances its clock.
    pub advance: fn(Duration) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// A run, drawn from its seed.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Batches to append.
    pub appends: usize,
    /// Tasks that append.
    pub writers: usize,
    /// Batches that each of them has outstanding at most.
    pub window: usize,
    /// Times that a topic is created and another one deleted.
    pub topic_changes: usize,
    /// Shards of the data directory.
    pub shards: u16,
    /// Limits of each shard.
    pub options: ShardOptions,
    /// How the disk behaves once the first topics are there.
    pub disk: SimOptions,
    /// What strikes the disk from then on. The load may fail of it; the checks may not.
    pub faults: Vec<Rule>,
    /// Negative control: a batch counts as acknowledged as soon as it was appended.
    pub acks_at_once: bool,
    /// Log start offsets are raised: one append in so many brings one; 0: none.
    pub trim_1_in: u32,
    /// Close the engine at the end.
    pub close: bool,
    /// Every other log is compacted, and time told to the shards.
    pub compact: bool,
    /// Most of the other logs are kept to a size, some of which are large enough to exceed it.
    pub retain: bool,
    /// Negative control: logs are kept to so much less than they should be.
    pub retains_less_by: u64,
}

impl Plan {
    /// Draws a run.
    pub fn draw(seed: u64, appends: usize) -> Self {
        let mut rng = Rng::new(seed ^ 0x6372_6173);
        let segment_bytes = rng.between(16, 64) * 4096;
        let options = ShardOptions {
            segment_bytes,
            chunk_bytes: (rng.between(2, 8) * 4096) as usize,
            tail_cache_bytes: (rng.between(4, 64) * 4096) as usize,
            uncommitted_bytes_max: (rng.between(8, 32) * 4096) as usize,
            commits_in_flight: rng.between(1, 4) as usize,
            early_commit_bytes: rng.between(1, 8192) as usize,
            zero_fill: rng.one_in(4),
            // All, some or none of the segments are regrouped.
            regroup_extent_bytes: [0, 4 << 10, 16 << 10, 1 << 30][rng.below(4) as usize],
            read_ahead_bytes: (rng.between(1, 64) * 16384) as usize,
            // For five keys of the ten: a pass ends early.
            compaction_keys_bytes: if seed.is_multiple_of(3) { 25 << 3 } else { 1 << 20 },
        };
        let disk = SimOptions {
            latency_turns: (1, rng.between(2, 30) as u32),
            short_write_1_in: if rng.one_in(4) { 10 } else { 0 },
            short_read_1_in: if rng.one_in(4) { 10 } else { 0 },
            ..SimOptions::default()
        };
        Self {
            seed,
            appends,
            writers: rng.between(2, 8) as usize,
            window: rng.between(1, 16) as usize,
            topic_changes: rng.between(1, 4) as usize,
            shards: rng.between(1, 2) as u16,
            options,
            disk,
            faults: Vec::new(),
            acks_at_once: false,
            trim_1_in: [0, 20, 200][rng.below(3) as usize],
            close: rng.one_in(2),
            compact: rng.one_in(2),
            retain: rng.one_in(2),
            retains_less_by: 0,
        }
        .fitted()
    }
}

impl Plan {
    /// With small segments where logs are kept to a size: a log's part of one must not be as much as half of it.
    pub fn fitted(mut self) -> Self {
        if self.retain {
            self.options.segment_bytes = SEGMENT_BYTES_MIN;
        }
        self
    }
}

/// An image, and what had been promised when it was taken.
struct Waiting {
    step: u64,
    what: String,
    image: SimDisk,
    snapshot: Snapshot,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was done.
    pub tally: Tally,
    /// What was found wrong, with the step.
    pub findings: Vec<(String, Finding)>,
    /// Why the load gave up before its end, if it did.
    pub gave_up: Option<String>,
}

/// Runs a plan. Stops at the first finding, unless `all` are wanted.
pub fn run(plan: &Plan, machine: &Machine, all: bool) -> Outcome {
    let runtime = &machine.runtime;
    let disk = SimDisk::new(plan.seed, honest(plan.disk.clone()));
    let model = Rc::new(RefCell::new(Model { acks_at_once: plan.acks_at_once, ..Model::default() }));
    let waiting = Rc::new(RefCell::new(VecDeque::new()));
    let full = Rc::new(Notify::new());
    disk.on_step(Some(Rc::new(observer(plan, &model, &waiting, &full))));

    let checker = Checker {
        runtime,
        model: &model,
        shards: plan.shards,
        options: &plan.options,
        tally: RefCell::default(),
        recovery_steps: Cell::new(0),
        starts: RefCell::default(),
    };
    let (mut findings, mut gave_up) = (Vec::new(), None);
    let local = LocalSet::new();
    let (load_plan, load_model, load_disk) = (plan.clone(), Rc::clone(&model), disk.clone());
    let advance = machine.advance;
    let mut load = local.spawn_local(async move {
        // Time passes while there is work, too.
        let clock = spawn_local(async move {
            loop {
                for _ in 0..20 {
                    yield_now().await;
                }
                advance(Duration::from_millis(1)).await;
            }
        });
        let engine = workload::run(load_disk, &load_plan, load_model).await?;
        if load_plan.compact || load_plan.retain {
            // What is due is done before the end.
            workload::tend(&engine, 100).await;
        }
        if load_plan.close {
            for shard in &engine.shards {
                shard.close().await.map_err(|e| format!("closing: {e}"))?;
            }
        }
        clock.abort();
        Ok::<(), String>(())
    });
    let mut rng = Rng::new(plan.seed ^ 0x6368_6563);
    loop {
        // The load stops while images are checked, so that only a few of them are alive.
        let ended = runtime.block_on(local.run_until(async {
            tokio::select! {
                biased;
                ended = &mut load => Some(ended),
                () = full.notified() => None,
            }
        }));
        for next in std::iter::from_fn(|| waiting.borrow_mut().pop_front()) {
            let Waiting { step, what, image, snapshot } = next;
            if let Err(finding) = checker.check(image, &snapshot, &mut rng) {
                findings.push((format!("seed {}, step {step}, {what}", plan.seed), finding));
                if !all {
                    break;
                }
            }
        }
        if let Some(Ok(Err(what))) = &ended {
            gave_up = Some(what.clone());
            if plan.faults.is_empty() {
                findings.push((format!("seed {}, the load", plan.seed), Finding::Refused(what.clone())));
            }
        }
        if let Some(Err(panic)) = ended {
            std::panic::resume_unwind(panic.into_panic());
        }
        if ended.is_some() || (!all && !findings.is_empty()) {
            break;
        }
    }
    disk.on_step(None);
    let mut tally = checker.tally.take();
    tally.appends = model.borrow().sent() as u64;
    tally.steps = disk.steps();
    Outcome { tally, findings, gave_up }
}

/// Takes a crash image at each step that can change what is on the medium: at its submission or at its
/// completion.
fn observer(
    plan: &Plan,
    model: &Rc<RefCell<Model>>,
    waiting: &Rc<RefCell<VecDeque<Waiting>>>,
    full: &Rc<Notify>,
) -> impl Fn(&Step<'_>, &SimDisk) + use<> {
    let (model, waiting, full) = (Rc::clone(model), Rc::clone(waiting), Rc::clone(full));
    let seed = plan.seed;
    move |step, disk| {
        let mut rng = Rng::new(seed ^ step.number.rotate_left(32));
        let phase = if rng.one_in(2) { Phase::Submitted } else { Phase::Completed };
        if !step.op.mutates() || step.phase != phase {
            return;
        }
        let style = style(&mut rng);
        let image = disk.crash_image(rng.next_u64(), style);
        image.set_options(|options| {
            // What waiting can bring about has been simulated already: the recovery need not be slow.
            *options = SimOptions { latency_turns: (0, 2), ..honest(options.clone()) };
        });
        let what = format!("{:?} {:?} of {:?}, {style:?}", step.op, step.phase, step.path);
        let snapshot = model.borrow().snapshot();
        let mut waiting = waiting.borrow_mut();
        waiting.push_back(Waiting { step: step.number, what, image, snapshot });
        if waiting.len() >= WAITING_MAX {
            full.notify_one();
        }
    }
}

/// The same disk, but its flushes work.
fn honest(options: SimOptions) -> SimOptions {
    SimOptions { ignore_syncs: false, ignore_dir_syncs: false, ..options }
}
