//! A small run, again and again, with something wrong at each step of its disk in turn: the disk is full
//! from there on and has room again later, the step says that there is no space, the step takes long, or
//! it succeeds and did something else. Nothing that was acknowledged is lost, nothing else appears, and
//! neither want of space nor slowness fails a shard for good.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use keylane_sim_disk::{CrashStyle, Fault, Op, Phase, SimDisk, SimOptions, Step};
use keylane_tests::crash::check::Finding;
use keylane_tests::crash::model::Sent;
use keylane_tests::held::{Author, Held, Verdict, inside, look, look_compacted};
use tokio::runtime::Runtime;
use tokio::time::sleep;

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// A file operation that was submitted: number, kind, path.
type Seen = (u64, Op, String);

/// What a run came to.
struct Ran {
    disk: SimDisk,
    /// Why it gave up, if it did.
    result: Result<(), String>,
    /// What was sent.
    held: Held,
    /// Batches of each log that were acknowledged.
    acked: BTreeMap<u32, usize>,
    /// What was sent to the log that is compacted all the while.
    sent: BTreeMap<u32, Vec<Sent>>,
    /// Passes of compaction that took effect.
    passes: u64,
    steps: Vec<Seen>,
}

/// Three topics in two shards, one of them compacted, a few segments each, and a stop. What cannot be created is tried again, as
/// a client would. `faults` is told of the disk before the load begins.
fn small_run(runtime: &Runtime, faults: impl FnOnce(&SimDisk)) -> Ran {
    let disk = SimDisk::new(3, SimOptions { latency_turns: (0, 3), ..SimOptions::default() });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (result, author, passes) = inside(runtime, async {
        let mut author = Author::open(&disk, 2, Held::default(), 5).await.expect("an empty disk");
        let list = Rc::clone(&seen);
        disk.on_step(Some(Rc::new(move |step: &Step<'_>, _: &SimDisk| {
            if step.phase == Phase::Submitted {
                list.borrow_mut().push((step.number, step.op, step.path.to_owned()));
            }
        })));
        faults(&disk);
        let result = load(&mut author).await;
        let counters = author.engine.shards.iter().map(|shard| shard.counters());
        let passes = counters.map(|c| c.compacted.load(Relaxed)).sum();
        (result, (author.held, author.acked, author.sent), passes)
    });
    let (held, acked, sent) = author;
    disk.on_step(None);
    disk.set_capacity(None);
    disk.clear_faults();
    Ran { disk, result, held, acked, sent, passes, steps: seen.take() }
}

async fn load(author: &mut Author) -> Result<(), String> {
    for topic in ["orders", "events", "latest"] {
        let mut tries = 0;
        while let Err(what) = match topic {
            "latest" => author.create_compacted(topic, 1).await,
            _ => author.create(topic, 2).await,
        } {
            tries += 1;
            if tries > 100 {
                return Err(what);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    for round in 0..30 {
        author.append(&[round % 4, 4, (round + 1) % 4, 4, (round * 3) % 4]).await?;
        if round % 10 == 9 {
            author.tend().await;
        }
    }
    author.stop().await
}

/// Steps of a run in which nothing is wrong.
fn steps(runtime: &Runtime) -> Vec<Seen> {
    let Ran { disk, result, held, acked, sent, passes, steps } = small_run(runtime, |_| {});
    result.expect("nothing is wrong");
    assert_eq!(inside(runtime, look(&disk, &held)), Verdict::Same);
    assert_eq!(inside(runtime, look_compacted(&disk, &sent, &acked)), Ok(()));
    assert!(passes >= 2, "{passes} passes of compaction");
    let segments = disk.paths().iter().filter(|path| path.ends_with(".idx")).count();
    assert!(steps.len() > 150 && segments >= 4, "{} steps, {segments} segments", steps.len());
    steps
}

fn assert_same(runtime: &Runtime, ran: &Ran, what: &str) {
    for style in [CrashStyle::AllDropped, CrashStyle::AllKept] {
        let image = ran.disk.crash_image(1, style);
        assert_eq!(inside(runtime, look(&image, &ran.held)), Verdict::Same, "{what}, {style:?}");
        let compacted = inside(runtime, look_compacted(&image, &ran.sent, &ran.acked));
        assert_eq!(compacted, Ok(()), "{what}, {style:?}");
    }
}

/// A full disk damaged or doubled a segment (Redpanda #12917).
#[test]
fn a_disk_that_is_full_from_any_step_on_stops_nothing_for_good() {
    let runtime = runtime();
    let steps = steps(&runtime);
    let mut refusals = 0;
    for (number, op, path) in &steps {
        let what = format!("full from step {number}, {op:?} of {path}");
        let full_at = *number;
        let ran = small_run(&runtime, |disk| {
            let full = Cell::new(false);
            disk.on_step(Some(Rc::new(move |step: &Step<'_>, disk: &SimDisk| {
                if step.number >= full_at && !full.replace(true) {
                    disk.set_capacity(Some(disk.used_bytes()));
                }
                if step.number == full_at + 60 {
                    disk.set_capacity(None);
                }
            })));
        });
        ran.result.as_ref().unwrap_or_else(|error| panic!("{what}: {error}"));
        refusals += usize::from(ran.disk.steps() as usize > steps.len());
        assert_same(&runtime, &ran, &what);
    }
    assert!(refusals > steps.len() / 4, "{refusals} of {} runs met a full disk", steps.len());
}

/// ENOSPC as the answer to one step. Where space was reserved before, writes and flushes of a segment,
/// it is an error like any other, and final; what was acknowledged is there after a restart.
#[test]
fn no_space_at_any_step_loses_nothing() {
    let runtime = runtime();
    let (mut failed, mut survived) = (0, 0);
    for (number, op, path) in steps(&runtime) {
        let what = format!("no space at step {number}, {op:?} of {path}");
        let ran = small_run(&runtime, |disk| disk.fail_step(number, Fault::NoSpace));
        let Err(error) = &ran.result else {
            survived += 1;
            assert_same(&runtime, &ran, &what);
            continue;
        };
        failed += 1;
        // To open a freed segment in order to use it again needs no space either.
        let reserved = matches!(op, Op::Write | Op::Sync | Op::Open) && path.ends_with(".log");
        assert!(reserved, "{what}: {error}");
        for style in [CrashStyle::AllDropped, CrashStyle::AllKept] {
            let image = ran.disk.crash_image(1, style);
            let compacted = inside(&runtime, look_compacted(&image, &ran.sent, &ran.acked));
            assert_eq!(compacted, Ok(()), "{what}, {style:?}");
            match inside(&runtime, look(&image, &ran.held)) {
                Verdict::Same => {}
                Verdict::Shorter(logs) => {
                    let lost =
                        logs.iter().find(|(log, batches)| ran.acked.get(log).is_some_and(|n| n > batches));
                    assert_eq!(lost, None, "{what}, {style:?}, {:?}", ran.acked);
                }
                other => panic!("{what}, {style:?}: {other:?}"),
            }
        }
    }
    assert!(failed > 20 && survived > 50, "{failed} runs failed, {survived} went on");
}

/// A slow disk tripped a time-out or an assertion (Redpanda #5433).
#[test]
fn any_step_may_take_long() {
    let runtime = runtime();
    for (number, op, path) in steps(&runtime) {
        let what = format!("step {number}, {op:?} of {path}, takes long");
        let ran = small_run(&runtime, |disk| disk.fail_step(number, Fault::Delay(3000)));
        ran.result.as_ref().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_same(&runtime, &ran, &what);
    }
}

/// Writes that report success and did nothing, wrote zeros, flipped a bit, or went elsewhere
/// (TigerBeetle #2711): an error when it is read, or the same.
#[test]
fn a_write_that_lies_is_an_error_or_the_same_records() {
    let runtime = runtime();
    let steps = steps(&runtime);
    let segments: Vec<_> =
        steps.iter().filter(|(_, op, p)| *op == Op::Create && p.ends_with(".log")).collect();
    let mut refused = 0;
    for (number, op, path) in &steps {
        if *op != Op::Write {
            continue;
        }
        let elsewhere = segments.iter().rev().find(|(made, _, other)| made < number && other != path);
        let elsewhere = elsewhere.map(|(_, _, other)| Fault::Misdirected(other.clone(), 8192));
        for fault in [Fault::Lost, Fault::Zeroed, Fault::FlipBit].into_iter().chain(elsewhere) {
            let what = format!("step {number}, write to {path}: {fault:?}");
            let Ran { disk, result, held, acked, sent, .. } =
                small_run(&runtime, |disk| disk.fail_step(*number, fault));
            result.unwrap_or_else(|error| panic!("{what}: {error}"));
            let image = disk.crash_image(1, CrashStyle::AllKept);
            let compacted = inside(&runtime, look_compacted(&image, &sent, &acked));
            assert!(matches!(compacted, Ok(()) | Err(Finding::Refused(_))), "{what}: {compacted:?}");
            match inside(&runtime, look(&image, &held)) {
                Verdict::Same => {}
                Verdict::Refused(_) => refused += 1,
                other => panic!("{what}: {other:?}"),
            }
        }
    }
    assert!(refused > 50, "{refused} refused");
}
