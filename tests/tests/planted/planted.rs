//! Each bug that can be planted in the engine is found by the harness that is there for it, and without
//! a plant the same harness finds nothing. Exists in a build with `--cfg keylane_planted` only:
//!
//! ```text
//! bash .ci/run planted
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use keylane_engine::planted::{Bug, plant};
use keylane_sim_disk::{Fault, Op, Rule};
use keylane_tests::crash::run::{Machine, Plan, run};
use keylane_tests::freed::read_while_freed;
use keylane_tests::small::{flip_bytes, small_directory, swap_commits, twin_directory, zero_blocks};

/// Runs a harness without the bug and with it. A panic of the engine is a finding, too.
fn prove(bug: Bug, harness: impl Fn() -> Vec<String>) {
    plant(None);
    assert_eq!(harness(), Vec::<String>::new(), "found without a plant");
    plant(Some(bug));
    let found = catch_unwind(AssertUnwindSafe(&harness));
    plant(None);
    let found = found.unwrap_or_else(|_| vec!["a panic".to_owned()]);
    assert!(!found.is_empty(), "{bug:?} was planted and not found");
    println!("planted: {bug:?}: {} findings, first: {}", found.len(), found[0]);
}

/// Crashes at every step of a few runs that `change` has made fit.
fn crashes(change: impl Fn(&mut Plan, u64)) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let machine = Machine { runtime, advance: |by| Box::pin(tokio::time::advance(by)) };
    let mut found = Vec::new();
    for number in 0..6 {
        let mut plan = Plan::draw(700 + number, 200);
        change(&mut plan, number);
        let outcome = run(&plan, &machine, false);
        found.extend(outcome.findings.iter().map(|(place, finding)| format!("{place}: {finding}")));
        if plan.faults.is_empty() || !fatal(&plan.faults) {
            found.extend(outcome.gave_up);
        }
        if !found.is_empty() {
            break;
        }
    }
    found
}

/// Whether the load may give up because of these faults.
fn fatal(faults: &[Rule]) -> bool {
    faults.iter().any(|rule| !matches!(rule.fault, Fault::Delay(_) | Fault::NoSpace))
}

fn strike(op: Op, fault: Fault) -> impl Fn(&mut Plan, u64) {
    move |plan, number| plan.faults = vec![Rule::once(op, fault.clone()).on(".log").after(3 + 5 * number)]
}

#[test]
fn a_flush_that_is_tried_again() {
    prove(Bug::FlushRetried, || crashes(strike(Op::Sync, Fault::ErrorLost)));
}

#[test]
fn an_ignored_error_of_a_write() {
    prove(Bug::WriteErrorIgnored, || crashes(strike(Op::Write, Fault::ErrorLost)));
}

#[test]
fn an_answer_before_the_flush() {
    prove(Bug::AckBeforeFlush, || crashes(|_, _| {}));
}

#[test]
fn a_maximum_timestamp_that_is_believed() {
    prove(Bug::TimestampBelieved, || crashes(|_, _| {}));
}

#[test]
fn a_checksum_that_nobody_looks_at() {
    let small = small_directory();
    prove(Bug::ChecksumSkipped, || flip_bytes(&small, ".log", 16, 5).findings);
}

#[test]
fn damage_in_the_middle_taken_for_the_end() {
    let small = small_directory();
    prove(Bug::DamageTakenForEnd, || flip_bytes(&small, &small.tail, 16, 5).findings);
}

#[test]
fn a_directory_entry_that_is_not_flushed() {
    prove(Bug::NameNotFlushed, || crashes(|_, _| {}));
}

#[test]
fn commits_made_visible_in_the_order_of_completion() {
    prove(Bug::CompletionOrder, || {
        crashes(|plan, _| {
            plan.options.commits_in_flight = 4;
            plan.options.early_commit_bytes = 1;
            plan.disk.latency_turns = (1, 30);
        })
    });
}

#[test]
fn a_start_that_refuses_a_torn_tail() {
    prove(Bug::TornTailRefused, || crashes(|_, _| {}));
}

#[test]
fn a_start_that_goes_on_in_the_old_segment() {
    prove(Bug::OldSegmentUsedAgain, || crashes(|_, _| {}));
}

#[test]
fn zeros_that_pass_for_a_batch() {
    let small = small_directory();
    prove(Bug::ZerosBelieved, || zero_blocks(&small).findings);
}

#[test]
fn an_index_that_is_believed() {
    let small = small_directory();
    prove(Bug::IndexUnchecked, || flip_bytes(&small, ".idx", 1, 0).findings);
}

#[test]
fn a_short_write_that_passes_for_a_whole_one() {
    prove(Bug::ShortWriteTaken, || crashes(|plan, _| plan.disk.short_write_1_in = 3));
}

#[test]
fn a_commit_that_is_believed_wherever_it_lies() {
    let twins = twin_directory();
    prove(Bug::PlaceUnchecked, || swap_commits(&twins).findings);
}

#[test]
fn a_segment_that_counts_as_sealed_on_a_full_disk() {
    prove(Bug::FullTakenForSealed, || {
        crashes(|plan, number| {
            (plan.topic_changes, plan.close, plan.options.segment_bytes) = (0, false, 64 << 10);
            plan.faults = vec![Rule::once(Op::Create, Fault::NoSpace).on(".idx.new").after(number % 2)];
        })
    });
}

#[test]
fn a_slow_disk_that_is_an_error() {
    prove(Bug::SlowDiskFails, || {
        crashes(|plan, number| {
            plan.faults = vec![Rule::once(Op::Write, Fault::Delay(1000)).on(".log").after(number)]
        })
    });
}

/// Compacted logs, and segments small enough that there are several passes.
fn compacting(plan: &mut Plan, _: u64) {
    (plan.compact, plan.trim_1_in, plan.options.segment_bytes) = (true, 0, 64 << 10);
    plan.appends = 600;
}

#[test]
fn an_exchange_before_the_flush() {
    prove(Bug::CompactedNotFlushed, || crashes(compacting));
}

#[test]
fn tombstones_that_go_too_early() {
    prove(Bug::TombstonesDropped, || crashes(compacting));
}

#[test]
fn a_read_that_is_served_from_a_freed_segment() {
    prove(Bug::FreedServed, read_while_freed);
}
