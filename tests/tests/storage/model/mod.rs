//! Random sequences of operations against a model: a list of batches for each partition, and where it starts. Several
//! topics, some of them compacted, idempotent producers among others, deletion by request, age and size, topics that
//! are deleted and created again, restarts and crashes at any point between operations.
//!
//! To add an operation: a variant of [`Op`], a line in [`op`], and a method of [`World`] that does it to
//! the engine and to the model and says what differs. A failure shrinks to a short list of operations.

mod log;
mod retention;
mod world;

use std::future::Future;

use keylane_sim_disk::CrashStyle;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestError, TestRunner};
use tokio::task::LocalSet;
use world::{Tally, World};

/// One operation. Numbers that choose a partition, a batch or an offset are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    CreateTopic { partitions: usize, compacted: bool, again: bool },
    DeleteTopic { topic: usize },
    Append { partition: usize, producer: Option<u8>, records: u8, bytes: u16, time: u8, wait: bool },
    Repeat { partition: usize },
    Read { partition: usize, offset: u16, bytes_max: u16 },
    Offsets { partition: usize },
    FindByTime { partition: usize, time: u8 },
    Trim { partition: usize, offset: u16, wait: bool },
    KeepTime { partition: usize, time: u8 },
    KeepBytes { partition: usize, bytes: u16 },
    Compact,
    Reopen,
    Crash { seed: u64, style: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let partition = any::<u8>().prop_map(usize::from);
    let append =
        (partition.clone(), prop::option::of(0..3u8), 1..5u8, 0..9000u16, any::<u8>(), any::<bool>());
    prop_oneof![
        2 => (1..4usize, any::<bool>(), any::<bool>())
            .prop_map(|(partitions, compacted, again)| Op::CreateTopic { partitions, compacted, again }),
        1 => any::<u8>().prop_map(|topic| Op::DeleteTopic { topic: usize::from(topic) }),
        20 => append.prop_map(|(partition, producer, records, bytes, time, wait)| {
            Op::Append { partition, producer, records, bytes, time, wait }
        }),
        2 => partition.clone().prop_map(|partition| Op::Repeat { partition }),
        6 => (partition.clone(), any::<u16>(), any::<u16>())
            .prop_map(|(partition, offset, bytes_max)| Op::Read { partition, offset, bytes_max }),
        3 => partition.clone().prop_map(|partition| Op::Offsets { partition }),
        3 => (partition.clone(), any::<u8>())
            .prop_map(|(partition, time)| Op::FindByTime { partition, time }),
        2 => (partition.clone(), any::<u16>(), any::<bool>())
            .prop_map(|(partition, offset, wait)| Op::Trim { partition, offset, wait }),
        1 => (partition.clone(), any::<u8>()).prop_map(|(partition, time)| Op::KeepTime { partition, time }),
        1 => (partition, 0..20_000u16).prop_map(|(partition, bytes)| Op::KeepBytes { partition, bytes }),
        2 => Just(Op::Compact),
        1 => Just(Op::Reopen),
        2 => (any::<u64>(), 0..3u8).prop_map(|(seed, style)| Op::Crash { seed, style }),
    ]
}

/// Runs operations; each reopening gets tasks of its own, as a new process would.
fn run(ops: &[Op], ignore_syncs: bool) -> Result<Tally, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let mut world = World::new(ignore_syncs);
    let mut rest = ops;
    loop {
        let end =
            rest.iter().position(|op| matches!(op, Op::Reopen | Op::Crash { .. })).unwrap_or(rest.len());
        let (now, later) = rest.split_at(end);
        let last = later.first();
        block_on(&runtime, async {
            world.open().await?;
            for op in now {
                world.apply(op).await.map_err(|what| format!("{op:?}: {what}"))?;
            }
            if let Some(Op::Crash { seed, style }) = last {
                let style =
                    [CrashStyle::AllDropped, CrashStyle::AllKept, CrashStyle::Mixed][usize::from(*style)];
                world.disk = world.disk.crash_image(*seed, style);
                Ok(())
            } else {
                world.close().await
            }
        })?;
        world.engine = None;
        world.deleted.clear();
        let Some((_, after)) = later.split_first() else { break };
        rest = after;
    }
    block_on(&runtime, world.open())?;
    Ok(world.tally)
}

fn block_on<T>(runtime: &tokio::runtime::Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(LocalSet::new().run_until(future))
}

/// Runs so many drawn sequences; what they have seen, or the shortest one with which something differs.
fn histories(cases: u32) -> Result<Tally, TestError<Vec<Op>>> {
    let failure_persistence = Some(Box::new(FileFailurePersistence::Off) as Box<_>);
    let config = Config { cases, failure_persistence, ..Config::default() };
    let mut total = Tally::default();
    let seen = std::cell::RefCell::new(&mut total);
    TestRunner::new(config).run(&prop::collection::vec(op(), 1..120), |ops| {
        let tally = run(&ops, false).map_err(TestCaseError::fail)?;
        let mut seen = seen.borrow_mut();
        seen.trimmed += tally.trimmed;
        seen.deleted += tally.deleted;
        seen.cleaned += tally.cleaned;
        Ok(())
    })?;
    Ok(total)
}

#[test]
fn the_engine_does_as_the_model() {
    let tally = histories(2000).unwrap_or_else(|found| panic!("{found}"));
    println!("{tally:?}");
    assert!(tally.trimmed > 500 && tally.deleted > 100 && tally.cleaned > 500, "too little of it: {tally:?}");
}

/// Negative controls; in a build with `--cfg keylane_planted` only.
#[cfg(keylane_planted)]
mod planted {
    use keylane_engine::planted::{Bug, plant};

    fn found(bug: Bug) {
        plant(Some(bug));
        let found = super::histories(300);
        plant(None);
        let found = found.expect_err("a planted bug").to_string();
        println!("planted: {bug:?}, model: {}", found.lines().next().unwrap_or_default());
    }

    #[test]
    fn a_start_that_counts_too_early_is_found_out() {
        found(Bug::TrimBeforeFlush);
    }

    #[test]
    fn tombstones_that_go_too_early_are_found_out() {
        found(Bug::TombstonesDropped);
    }
}

/// Negative control: with flushes that do nothing, the model must find loss, and a short list is enough.
#[test]
fn a_disk_that_ignores_flushes_is_found_out() {
    let append = Op::Append { partition: 0, producer: None, records: 1, bytes: 10, time: 1, wait: true };
    let ops = [
        Op::CreateTopic { partitions: 1, compacted: false, again: false },
        append,
        Op::Crash { seed: 1, style: 0 },
    ];
    run(&ops, false).expect("an honest disk");
    run(&ops, true).expect_err("loss");
}

/// Found by the sequences above: after a restart, freeing the segments of a deleted topic wrote a checkpoint
/// that named no segment at all; the next start took them all for freed ones and removed them.
#[test]
fn segments_outlive_a_topic_that_is_deleted_after_a_restart() {
    let append =
        |partition| Op::Append { partition, producer: None, records: 1, bytes: 10, time: 1, wait: true };
    let create = Op::CreateTopic { partitions: 2, compacted: false, again: false };
    let mut ops = vec![create.clone(), create, append(0), Op::Reopen, append(2), Op::Reopen];
    ops.push(Op::DeleteTopic { topic: 0 });
    ops.extend((0..8).map(|_| append(0)));
    ops.push(Op::Crash { seed: 1, style: 0 });
    run(&ops, false).expect("what was acknowledged is there");
}

/// Found by the sequences above: when a log started in the middle of a batch, retention did not look at that batch, and
/// deleted it with the next one although it was young enough to stay.
#[test]
fn retention_looks_at_the_batch_in_which_a_log_starts() {
    let append =
        |records, time| Op::Append { partition: 0, producer: None, records, bytes: 0, time, wait: true };
    let ops = [
        Op::CreateTopic { partitions: 1, compacted: false, again: false },
        append(4, 36),
        append(1, 0),
        Op::Trim { partition: 0, offset: 1, wait: true },
        Op::KeepTime { partition: 0, time: 1 },
    ];
    run(&ops, false).expect("only what is old is deleted");
}
