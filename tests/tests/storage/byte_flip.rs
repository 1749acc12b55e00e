//! A bit is flipped in every byte of every file of a small data directory, one at a time; every block is
//! zeroed; every two commits of two shards are exchanged. What may come of it: `keylane_tests::small`.

use std::collections::BTreeMap;
use std::thread;

use keylane_sim_disk::CrashStyle;
use keylane_tests::held::{Held, Stamp, Verdict, inside, look, runtime};
use keylane_tests::small::{
    Small, Tally, flip_bytes, idle_directory, small_directory, swap_commits, twin_directory, zero_blocks,
};

fn assert_sound(tally: &Tally) {
    let findings = &tally.findings;
    assert!(findings.is_empty(), "{} findings: {:#?}", findings.len(), &findings[..findings.len().min(5)]);
}

#[test]
fn a_flipped_bit_in_any_byte_is_an_error_or_the_same_records() {
    let threads: u64 = 2;
    let mut total = Tally::default();
    thread::scope(|scope| {
        let run = |rest| scope.spawn(move || flip_bytes(&idle_directory(), "", threads, rest));
        let started: Vec<_> = (0..threads).map(run).collect();
        for thread in started {
            total.add(thread.join().expect("no panic"));
        }
    });
    let Tally { same, refused, cut, .. } = total;
    println!("byte flip: {same} the same, {refused} refused, {cut} cut the last commit");
    assert_sound(&total);
    assert!(same > 1000 && refused > 1000 && cut == 0, "{same} the same, {refused} refused, {cut} cut");
}

/// What an idle log writes makes the difference: without it, the last commit may be cut, and it alone.
#[test]
fn a_flipped_bit_in_a_busy_log_cuts_the_last_commit_at_most() {
    let small = small_directory();
    let total = flip_bytes(&small, &small.tail, 3, 1);
    assert_sound(&total);
    // It has one block.
    assert!((1..=4096 / 3 + 1).contains(&total.cut) && total.refused > 1000, "{total:?}");
}

#[test]
fn a_zeroed_block_is_an_error_or_the_same_records() {
    let total = zero_blocks(&idle_directory());
    assert_sound(&total);
    assert!(total.refused > 5 && total.cut == 0, "{total:?}");
}

#[test]
fn exchanged_commits_are_an_error() {
    let total = swap_commits(&twin_directory());
    assert_sound(&total);
    assert!(total.refused > 50 && total.same == 0, "{total:?}");
}

/// Negative control: a directory that holds less, or something else, than was acknowledged is found out.
#[test]
fn a_shorter_or_other_directory_is_a_finding() {
    let runtime = runtime();
    let Small { disk, held, without_last, .. } = small_directory();
    let verdict = |held: &Held| {
        let image = disk.crash_image(0, CrashStyle::AllDropped);
        inside(&runtime, look(&image, held))
    };
    assert_eq!(verdict(&held), Verdict::Same);
    // As if more had been acknowledged than is there.
    let mut more = held.clone();
    for stamps in more.logs.values_mut() {
        let last = *stamps.last().expect("batches");
        stamps.push(Stamp { offset: last.end(), ..last });
    }
    let there: BTreeMap<u32, usize> = held.logs.iter().map(|(log, stamps)| (*log, stamps.len())).collect();
    assert_eq!(verdict(&more), Verdict::Shorter(there.clone()));
    assert_ne!(there, without_last);
    let mut other = held.clone();
    other.logs.values_mut().next().expect("a log")[0].crc ^= 1;
    assert!(matches!(verdict(&other), Verdict::Other(_)));
}
