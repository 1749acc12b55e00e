//! Crashes at every step of the disk, and disks that fail.
//!
//! `KEYLANE_CRASH_SEEDS` sets the number of seeded runs (default 10), `KEYLANE_CRASH_FIRST_SEED` the
//! first one (default 1). A finding names the seed and the step.

use std::io::Write;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use keylane_sim_disk::{Fault, Op, Rule};
use keylane_tests::crash::check::{Finding, Tally};
use keylane_tests::crash::run::{Machine, Outcome, Plan, run};

/// A clock that moves only when it is told to or nothing else can happen: what waits in vain is found at
/// once.
fn machine() -> Machine {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    Machine { runtime: runtime.expect("a runtime"), advance: |by| Box::pin(tokio::time::advance(by)) }
}

/// Batches that a run appends.
const APPENDS: usize = 2000;
/// The same where logs are kept to a size. Their segments are the smallest, and what checking all images of a run
/// costs grows with the square of the segments; a log exceeds its bound within the first few hundred appends.
const APPENDS_KEPT_TO_A_SIZE: usize = 1000;

fn assert_sound(outcome: &Outcome, plan: &Plan) {
    if let Some((place, finding)) = outcome.findings.first() {
        panic!("{place}: {finding}\n{plan:#?}");
    }
}

fn losses(plan: &Plan) -> usize {
    let outcome = run(plan, &machine(), true);
    let is_loss = |finding: &Finding| matches!(finding, Finding::Lost(_) | Finding::Refused(_));
    let lost = outcome.findings.iter().filter(|(_, finding)| is_loss(finding)).count();
    assert!(lost > 0, "no loss found in {:?}: this harness is not valid", outcome.tally);
    lost
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn every_acknowledged_batch_survives_a_crash_at_every_step() {
    let (seeds, first) = (setting("KEYLANE_CRASH_SEEDS", 10), setting("KEYLANE_CRASH_FIRST_SEED", 1));
    let start = Instant::now();
    let (next, planned) = (AtomicU64::new(first), AtomicU64::new(0));
    let total = Mutex::new((0, Tally::default()));
    // One after the other on each core.
    let work = || {
        let machine = machine();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                break;
            }
            let mut plan = Plan::draw(seed, APPENDS);
            if plan.retain {
                plan.appends = APPENDS_KEPT_TO_A_SIZE;
            }
            planned.fetch_add(plan.appends as u64, Ordering::Relaxed);
            let outcome = run(&plan, &machine, false);
            let mut total = total.lock().expect("no finding of another seed");
            assert_sound(&outcome, &plan);
            let (done, total) = &mut *total;
            *done += 1;
            total.add(&outcome.tally);
            if *done % 10 == 0 {
                let (images, time) = (total.images, start.elapsed());
                writeln!(std::io::stderr(), "crash: {done} seeds, {images} images, {time:?}")
                    .expect("a terminal");
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|finding| resume_unwind(finding));
        }
    });
    let (planned, (_, total)) = (planned.into_inner(), total.into_inner().expect("no finding"));
    let mut terminal = std::io::stderr();
    let Tally { appends, steps, images, recoveries, interrupted, twice, compared, cleaned, cut } = total;
    writeln!(
        terminal,
        "crash: {seeds} seeds, {appends} appends, {steps} I/O steps, {images} crash images, {recoveries} \
         recoveries ({interrupted} cut short by another crash, {twice} images in two recoveries), {compared} batches compared, {cleaned} logs that were compacted, {cut} cut back to a size, {:?}",
        start.elapsed()
    )
    .unwrap();
    assert!(appends >= planned && images > 1000 * seeds && interrupted > 0 && twice > 0);
    assert!(cleaned > 0 || seeds < 10, "no image held a log that was compacted");
    assert!(cut > 0 || seeds < 10, "in no image had retention by size deleted anything");
}

/// Negative control: with flushes that do nothing, the same harness must find loss.
#[test]
fn a_disk_that_ignores_flushes_is_found_out() {
    let mut plan = Plan::draw(1, 300);
    plan.disk.ignore_syncs = true;
    assert!(losses(&plan) > 100);
}

/// Negative control: a name that was never flushed can be gone after a crash.
#[test]
fn a_disk_that_ignores_flushes_of_directories_is_found_out() {
    let mut plan = Plan::draw(1, 300);
    plan.disk.ignore_dir_syncs = true;
    assert!(losses(&plan) > 10);
}

/// Negative control: an acknowledgement before the flush must be found.
#[test]
fn an_acknowledgement_before_the_flush_is_found_out() {
    let mut plan = Plan::draw(1, 300);
    plan.acks_at_once = true;
    assert!(losses(&plan) > 100);
}

/// Negative control: records that went although they were within half of their bound must be missed.
#[test]
fn deleting_more_than_half_of_the_bound_leaves_is_found_out() {
    let mut plan = Plan::draw(1, APPENDS);
    (plan.retain, plan.compact, plan.retains_less_by) = (true, false, 100 << 10);
    assert!(losses(&plan.fitted()) > 0);
}

/// A write or flush that fails once, and succeeds when it is repeated: what was acknowledged before is
/// there whatever happens, and nothing is acknowledged on the strength of the second try.
#[test]
fn what_was_acknowledged_survives_an_error_of_any_operation() {
    let machine = machine();
    let ops = [Op::Write, Op::Sync, Op::SyncDir, Op::Create, Op::Rename, Op::Remove, Op::Open, Op::Read];
    for (number, op) in (0..).zip(ops) {
        for (round, fault) in [Fault::Error, Fault::ErrorLost, Fault::Error].into_iter().enumerate() {
            let mut plan = Plan::draw(100 + number * 10 + round as u64, 300);
            plan.faults = vec![Rule::once(op, fault).after(number + 7 * round as u64)];
            let outcome = run(&plan, &machine, false);
            assert_sound(&outcome, &plan);
            let fatal = matches!(op, Op::Write | Op::Sync);
            assert!(outcome.gave_up.is_some() || !fatal, "{op:?} failed, and the load went on");
        }
    }
}

/// No space for a file, whichever it is: the load goes on when there is room again, and nothing is lost.
#[test]
fn a_full_disk_at_any_new_file_stops_nothing_for_good() {
    let machine = machine();
    for number in 0..20 {
        let mut plan = Plan::draw(200 + number, 300);
        (plan.topic_changes, plan.close) = (0, false);
        plan.faults = vec![Rule::once(Op::Create, Fault::NoSpace).after(number).times(1 + number % 3)];
        let outcome = run(&plan, &machine, false);
        assert_sound(&outcome, &plan);
        assert_eq!(outcome.gave_up, None);
    }
}

/// Operations that take a thousand turns of the scheduler, now and then.
#[test]
fn a_slow_disk_is_only_slow() {
    let machine = machine();
    for (number, op) in (0..).zip([Op::Write, Op::Sync, Op::Create, Op::Rename, Op::SyncDir, Op::Read]) {
        let mut plan = Plan::draw(300 + number, 300);
        plan.faults = (0..10).map(|n| Rule::once(op, Fault::Delay(1000)).after(5 * n)).collect();
        let outcome = run(&plan, &machine, false);
        assert_sound(&outcome, &plan);
        assert_eq!(outcome.gave_up, None);
    }
}

/// Closing while the sealer is at work, or waits for space: both must end, and once only.
#[test]
fn closing_waits_for_segments_that_are_being_sealed() {
    let machine = machine();
    for number in 0..20 {
        let mut plan = Plan::draw(400 + number, 300);
        plan.close = true;
        let fault = if number % 2 == 0 { Fault::Delay(3000) } else { Fault::NoSpace };
        plan.faults = vec![Rule::once(Op::Create, fault).on(".idx.new").after(number / 2).times(3)];
        let outcome = run(&plan, &machine, false);
        assert_sound(&outcome, &plan);
        assert_eq!(outcome.gave_up, None, "{plan:#?}");
    }
}
