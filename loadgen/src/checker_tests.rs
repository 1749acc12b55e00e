//! Negative controls: each fault is made on purpose and must be found by its name.

use super::*;

const RUN: u64 = 42;
const KEYS: u32 = 10;
const PARTITIONS: i32 = 4;

/// A record as it lies in a partition.
type Rec = (u32, u64);

/// A faultless topic: 20 records of each key, and the books about them.
fn topic() -> (Vec<Vec<Rec>>, Ledger, KeyNames) {
    let names = KeyNames::new(KEYS);
    let mut ledger = Ledger::new(RUN, PARTITIONS, KEYS);
    let mut partitions = vec![Vec::new(); PARTITIONS as usize];
    for _ in 0..20 {
        for key in 0..KEYS {
            let home = crate::keys::partition_of(names.name(key), PARTITIONS) as usize;
            partitions[home].push((key, ledger.next_seq(key)));
        }
    }
    (partitions, ledger, names)
}

fn check(partitions: &[Vec<Rec>], ledger: &Ledger, names: &KeyNames) -> Checked {
    let mut checker = Checker::new(RUN, KEYS, PARTITIONS);
    for (partition, records) in (0..).zip(partitions) {
        checker.begin_partition(partition, 0);
        for (offset, &(key, seq)) in (0..).zip(records) {
            checker.batch(partition, offset, offset + 1, 1);
            checker.record(partition, offset, RUN, key, seq);
        }
    }
    checker.finish(ledger, names, true)
}

/// Checks with one checker per partition, merged: as threads do.
fn check_in_threads(partitions: &[Vec<Rec>], ledger: &Ledger, names: &KeyNames) -> Checked {
    let mut all = Checker::new(RUN, KEYS, PARTITIONS);
    for (partition, records) in (0..).zip(partitions) {
        let mut checker = Checker::new(RUN, KEYS, PARTITIONS);
        checker.begin_partition(partition, 0);
        for (offset, &(key, seq)) in (0..).zip(records) {
            checker.batch(partition, offset, offset + 1, 1);
            checker.record(partition, offset, RUN, key, seq);
        }
        all.merge(checker);
    }
    all.finish(ledger, names, true)
}

fn found(checked: &Checked) -> Vec<(FaultKind, u64)> {
    checked.faults.counts.iter().map(|(kind, count)| (*kind, *count)).collect()
}

/// The partition that has most records, and so those of several keys.
fn busiest(partitions: &[Vec<Rec>]) -> usize {
    (0..partitions.len()).max_by_key(|&p| partitions[p].len()).unwrap()
}

#[test]
fn a_faultless_topic_has_no_faults() {
    let (partitions, ledger, names) = topic();
    for checked in [check(&partitions, &ledger, &names), check_in_threads(&partitions, &ledger, &names)] {
        assert_eq!(found(&checked), vec![]);
        assert_eq!((checked.records_read, checked.records_acked, checked.keys), (200, 200, 10));
    }
}

#[test]
fn a_dropped_record_is_lost() {
    let (partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    for at in [0, 7, partitions[busy].len() - 1] {
        let mut partitions = partitions.clone();
        partitions[busy].remove(at);
        assert_eq!(found(&check(&partitions, &ledger, &names)), vec![(FaultKind::Lost, 1)], "at {at}");
    }
}

#[test]
fn a_whole_key_that_is_gone_is_lost() {
    let (mut partitions, ledger, names) = topic();
    partitions.iter_mut().for_each(|records| records.retain(|(key, _)| *key != 3));
    assert_eq!(found(&check(&partitions, &ledger, &names)), vec![(FaultKind::Lost, 20)]);
}

#[test]
fn a_record_that_is_there_twice_is_a_duplicate() {
    let (mut partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    let again = partitions[busy][5];
    partitions[busy].push(again);
    assert_eq!(found(&check(&partitions, &ledger, &names)), vec![(FaultKind::Duplicate, 1)]);
}

#[test]
fn two_records_of_a_key_the_wrong_way_round_are_reordered() {
    let (mut partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    let key = partitions[busy][0].0;
    let of_key: Vec<usize> =
        (0..partitions[busy].len()).filter(|&at| partitions[busy][at].0 == key).take(2).collect();
    partitions[busy].swap(of_key[0], of_key[1]);
    assert_eq!(found(&check(&partitions, &ledger, &names)), vec![(FaultKind::Reordered, 1)]);
}

#[test]
fn a_record_in_another_partition_has_moved() {
    let (mut partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    // Its last record, so that only the place is wrong.
    let record = partitions[busy].pop().unwrap();
    let other = (busy + 1) % PARTITIONS as usize;
    partitions[other].push(record);
    assert_eq!(found(&check_in_threads(&partitions, &ledger, &names)), vec![(FaultKind::MovedPartition, 1)]);
    let one_checker = check(&partitions, &ledger, &names);
    assert!(one_checker.faults.of(FaultKind::MovedPartition) > 0);
}

#[test]
fn a_key_that_is_always_in_the_wrong_partition_has_moved() {
    let (mut partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    let other = (busy + 1) % PARTITIONS as usize;
    let key = partitions[busy][0].0;
    let moved: Vec<Rec> = partitions[busy].iter().copied().filter(|r| r.0 == key).collect();
    partitions[busy].retain(|r| r.0 != key);
    partitions[other].extend(moved);
    assert_eq!(found(&check(&partitions, &ledger, &names)), vec![(FaultKind::MovedPartition, 1)]);
}

#[test]
fn a_copy_in_another_partition_is_a_duplicate_that_moved() {
    let (mut partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    let copy = partitions[busy][3];
    partitions[(busy + 1) % PARTITIONS as usize].push(copy);
    let expected = vec![(FaultKind::Duplicate, 1), (FaultKind::MovedPartition, 1)];
    assert_eq!(found(&check_in_threads(&partitions, &ledger, &names)), expected);
}

#[test]
fn a_record_that_nobody_sent_is_found() {
    let (partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    let key = partitions[busy][0].0;
    for stray in [(key, 21), (key, 0), (KEYS + 5, 1)] {
        let mut partitions = partitions.clone();
        partitions[busy].push(stray);
        let checked = check(&partitions, &ledger, &names);
        assert_eq!(found(&checked), vec![(FaultKind::NeverSent, 1)], "{stray:?}");
    }
    // Ours by key and sequence, but of another run.
    let mut checker = Checker::new(RUN, KEYS, PARTITIONS);
    checker.record(0, 0, RUN + 1, 1, 1);
    let checked = checker.finish(&Ledger::new(RUN, PARTITIONS, KEYS), &names, true);
    assert_eq!(found(&checked), vec![(FaultKind::NeverSent, 1)]);
}

#[test]
fn a_hole_in_the_offsets_is_a_gap_and_an_old_offset_goes_back() {
    let (_, _, names) = topic();
    let ledger = Ledger::new(RUN, PARTITIONS, KEYS);
    let run = |batches: &[(i64, i64, i32)]| {
        let mut checker = Checker::new(RUN, KEYS, PARTITIONS);
        checker.begin_partition(1, 10);
        batches.iter().for_each(|&(base, end, count)| checker.batch(1, base, end, count));
        found(&checker.finish(&ledger, &names, true))
    };
    assert_eq!(run(&[(10, 15, 5), (15, 16, 1)]), vec![]);
    assert_eq!(run(&[(12, 15, 3)]), vec![(FaultKind::OffsetGap, 2)]);
    assert_eq!(run(&[(10, 15, 5), (16, 17, 1)]), vec![(FaultKind::OffsetGap, 1)]);
    assert_eq!(run(&[(10, 15, 5), (10, 15, 5)]), vec![(FaultKind::OffsetBack, 1)]);
    assert_eq!(run(&[(10, 15, 4)]), vec![(FaultKind::OffsetGap, 1)]);
}

#[test]
fn what_is_unknown_may_be_there_or_not_but_not_twice() {
    let (partitions, mut ledger, names) = topic();
    let busy = busiest(&partitions);
    let (key, seq) = *partitions[busy].last().unwrap();
    ledger.mark_maybe(key, seq - 1, seq);
    assert_eq!(found(&check(&partitions, &ledger, &names)), vec![]);
    let mut without = partitions.clone();
    without[busy].retain(|&record| record != (key, seq) && record != (key, seq - 1));
    let checked = check(&without, &ledger, &names);
    assert_eq!(found(&checked), vec![]);
    assert_eq!((checked.records_acked, checked.records_maybe), (198, 2));
    let mut twice = partitions.clone();
    twice[busy].push((key, seq));
    assert_eq!(found(&check(&twice, &ledger, &names)), vec![(FaultKind::Duplicate, 1)]);
}

#[test]
fn loss_is_not_claimed_when_reading_stopped_early() {
    let (mut partitions, ledger, names) = topic();
    let busy = busiest(&partitions);
    partitions[busy].truncate(3);
    let mut checker = Checker::new(RUN, KEYS, PARTITIONS);
    for (offset, &(key, seq)) in (0..).zip(&partitions[busy]) {
        checker.record(busy as i32, offset, RUN, key, seq);
    }
    let checked = checker.finish(&ledger, &names, false);
    assert_eq!(found(&checked), vec![]);
    assert!(!checked.complete);
}

#[test]
fn what_was_read_once_must_stay() {
    let (mut partitions, mut ledger, names) = topic();
    let busy = busiest(&partitions);
    let (key, seq) = partitions[busy].pop().unwrap();
    ledger.mark_maybe(key, seq - 1, seq);
    let mut checker = Checker::new(RUN, KEYS, PARTITIONS);
    for (offset, &(key, seq)) in (0..).zip(&partitions[busy]) {
        checker.record(busy as i32, offset, RUN, key, seq);
    }
    checker.settle(&mut ledger);
    assert_eq!(ledger.maybe[&key].iter().collect::<Vec<_>>(), [(seq, seq)]);
    assert_eq!(found(&check(&partitions, &ledger, &names)), vec![]);
    partitions[busy].retain(|&record| record != (key, seq - 1));
    assert_eq!(found(&check(&partitions, &ledger, &names)), vec![(FaultKind::Lost, 1)]);
}
