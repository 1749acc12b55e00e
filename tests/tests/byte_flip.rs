//! A bit is flipped in every byte of every file of a small data directory, one at a time. What comes of
//! it must be an error that names the place, or exactly the same records; never fewer, never others.
//!
//! One exception, counted apart: the very last commit of a directory that was not closed may be cut. A
//! damaged last commit looks like one that was being written when power failed.

use std::collections::BTreeMap;
use std::thread;

use keylane_engine::disk::sim::{CrashStyle, SimDisk};
use keylane_tests::held::{Held, Verdict, inside, look, runtime};
use keylane_tests::small::{self, Small};

#[derive(Debug, Default)]
struct Tally {
    same: usize,
    refused: usize,
    cut: usize,
    /// What must not be, with the place.
    findings: Vec<String>,
}

/// Flips one bit in every byte whose number leaves `rest` when divided by `step`.
fn flip(small: &Small, step: u64, rest: u64) -> Tally {
    let runtime = runtime();
    let mut tally = Tally::default();
    for path in small.disk.paths() {
        let len = small.disk.content(&path).expect("listed").len() as u64;
        for at in (0..len).filter(|at| at % step == rest) {
            let image = small.disk.crash_image(0, CrashStyle::AllDropped);
            image.flip_bit(&path, at, (at / step % 8) as u8).expect("listed");
            match inside(&runtime, look(&image, &small.held)) {
                Verdict::Same => tally.same += 1,
                Verdict::Refused(errors) if errors.iter().all(|e| names_a_place(e)) => tally.refused += 1,
                Verdict::Shorter(batches) if path == small.tail && batches == small.without_last => {
                    tally.cut += 1;
                }
                other => tally.findings.push(format!("byte {at} of {path}: {other:?}")),
            }
        }
    }
    tally
}

fn names_a_place(error: &str) -> bool {
    let file = ["keylane.format", "catalog", "checkpoint", ".log", ".idx", "segment "];
    error.contains("damaged at") && file.iter().any(|name| error.contains(name))
}

#[test]
fn a_flipped_bit_in_any_byte_is_an_error_or_the_same_records() {
    let threads: u64 = 2;
    let tallies = thread::scope(|scope| {
        let run = |rest| scope.spawn(move || flip(&small::small_directory(), threads, rest));
        let started: Vec<_> = (0..threads).map(run).collect();
        started.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    let mut total = Tally::default();
    for tally in tallies {
        total.same += tally.same;
        total.refused += tally.refused;
        total.cut += tally.cut;
        total.findings.extend(tally.findings);
    }
    let Tally { same, refused, cut, findings } = total;
    println!("byte flip: {same} the same, {refused} refused, {cut} cut the last commit");
    assert!(
        findings.is_empty(),
        "{} findings, first: {:#?}",
        findings.len(),
        &findings[..findings.len().min(5)]
    );
    assert!(same > 1000 && refused > 1000, "{same} the same, {refused} refused");
    // The last commit has one block at most, and the exception is for it alone.
    assert!((1..=4096).contains(&cut), "{cut} cut the last commit");
}

/// Negative control: a directory that has lost a commit before the last, or the last two, is found out.
#[test]
fn a_shorter_or_other_directory_is_a_finding() {
    let runtime = runtime();
    let Small { disk, held, without_last, .. } = small::small_directory();
    let verdict = |held: &Held| {
        let image: SimDisk = disk.crash_image(0, CrashStyle::AllDropped);
        inside(&runtime, look(&image, held))
    };
    assert_eq!(verdict(&held), Verdict::Same);
    // As if more had been acknowledged than is there.
    let mut more = held.clone();
    for stamps in more.logs.values_mut() {
        let last = *stamps.last().expect("batches");
        stamps.push(keylane_tests::held::Stamp { offset: last.end(), ..last });
    }
    let there: BTreeMap<u32, usize> = held.logs.iter().map(|(log, stamps)| (*log, stamps.len())).collect();
    assert_eq!(verdict(&more), Verdict::Shorter(there.clone()));
    assert_ne!(there, without_last);
    let mut other = held.clone();
    other.logs.values_mut().next().expect("a log")[0].crc ^= 1;
    assert!(matches!(verdict(&other), Verdict::Other(_)));
}
