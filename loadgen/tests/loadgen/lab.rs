//! The experiments, small, on a server in this process: they come out as they should, and the same each time but for
//! measured times.

use clap::Parser;
use keylane_loadgen::cli::{Cli, Command};
use keylane_loadgen::lab::{Finding, LabArgs, groups, hot, keys, offsets, plan, run_and_print, shards};

fn args(text: &str) -> LabArgs {
    let words = format!("keylane-loadgen lab {text} --data-parent {}", env!("CARGO_TARGET_TMPDIR"));
    match Cli::try_parse_from(words.split_ascii_whitespace()).expect("options").command {
        Command::Lab(args) => args,
        other => panic!("{other:?}"),
    }
}

fn keys(text: &str) -> keys::KeysFinding {
    match args(text) {
        LabArgs::Keys(args) => keys::run(&args).expect("it runs"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_tell_the_same_twice() {
    let finding = keys("keys --partitions 3 --users 4 --events 6");
    assert!(finding.wrong().is_empty(), "{finding}");
    let story = finding.to_string();
    assert!(
        story.contains("charlie   in order      1 2 3 4 5 6") && story.contains("OUT OF ORDER"),
        "{story}"
    );
    assert_eq!(keys("keys --partitions 3 --users 4 --events 6").to_string(), story);
    assert_ne!(keys("keys --partitions 3 --users 4 --events 6 --seed 2").to_string(), story);
    // With one partition there is one order, whatever the keys.
    let one = keys("keys --partitions 1");
    assert!(one.wrong().is_empty() && one.ways[1].users.iter().all(|user| user.in_order), "{one}");
}

#[test]
fn keys_choose_shards_as_they_choose_partitions() {
    let finding = keys("keys --kinesis --partitions 3 --users 4 --events 6");
    assert!(finding.wrong().is_empty(), "{finding}");
    let story = finding.to_string();
    // As AWS hashes them: alice and bob in shard 1, charlie in shard 2.
    for told in ["alice     in order      1 2 3 4 5 6   (shard 1)", "1 2 3 4 5 6   (shard 2)", "OUT OF ORDER"]
    {
        assert!(story.contains(told), "{story}");
    }
    assert_eq!(keys("keys --kinesis --partitions 3 --users 4 --events 6").to_string(), story);
}

#[test]
fn a_hot_key_has_one_shard_and_its_limits() {
    let LabArgs::Plan(args) = args("plan --kinesis --rate 4000 --record-bytes 200 --seconds 1.5") else {
        panic!("other options")
    };
    let finding = shards::run(&plan::of_shards(&args).unwrap()).unwrap();
    // A machine that is busy otherwise may not carry the rate.
    assert!(finding.wrong().iter().all(|claim| claim.contains("are taken; it were")), "{finding}");
    assert_eq!((finding.for_records, finding.for_bytes, finding.shards), (8, 2, 8), "{finding}");
}

#[test]
fn offsets_count_what_a_crash_does() {
    let LabArgs::Offsets(args) = args("offsets --embedded --records 40 --batch 4 --partitions 2") else {
        panic!("other options")
    };
    let finding = offsets::run(&args).unwrap();
    assert!(finding.wrong().is_empty(), "{finding}");
    assert_eq!(finding.restart, Some("stopped and started"));
    let counts: Vec<_> = finding.outcomes.iter().map(|o| (o.once, o.twice_or_more, o.never)).collect();
    assert_eq!(counts, [(32, 8, 0), (32, 0, 8), (40, 0, 0)], "{finding}");
    assert_eq!(finding.replays.iter().map(|r| r.read).collect::<Vec<_>>(), [40, 20]);
    assert_eq!(offsets::run(&args).unwrap().to_string(), finding.to_string());
}

#[test]
fn a_hot_key_fills_one_partition() {
    let LabArgs::Hot(args) = args("hot --partitions 4 --records 3000 --record-bytes 100 --work-us 50") else {
        panic!("other options")
    };
    let finding = hot::run(&args).unwrap();
    assert!(finding.wrong().is_empty(), "{finding}");
    let again = hot::run(&args).unwrap();
    for (act, again) in finding.acts.iter().zip(&again.acts) {
        assert_eq!(act.partitions, again.partitions);
        assert_eq!(act.partitions.iter().sum::<u64>(), 3000);
        assert_eq!((act.hot_records, act.hot_out_of_order), (again.hot_records, again.hot_out_of_order));
        assert!(!act.core_cpu_ms.is_empty() && act.core_cpu_ms.iter().sum::<f64>() > 0.0);
    }
}

#[test]
fn a_plan_is_measured_and_says_when_the_machine_does_not_carry_it() {
    let plan = |text: &str| match args(text) {
        LabArgs::Plan(args) => plan::run(&args).unwrap(),
        other => panic!("{other:?}"),
    };
    let finding = plan("plan --rate 20 --record-bytes 200 --consumer-rate 4 --seconds 2");
    assert!(finding.wrong().is_empty(), "{finding}");
    assert!(finding.partitions >= 10 && finding.for_consumers == 10, "{finding}");
    assert!(finding.one.records_per_s > 20.0 && finding.at_rate.sound == Some(true), "{finding}");
    // The control: nothing carries that.
    let finding = plan("plan --rate 20000000 --growth 1 --consumer-rate 20000000 --seconds 0.3");
    assert!(finding.wrong()[0].contains("this machine carries 20,000,000 records/s"), "{finding}");
    assert!(finding.to_string().contains("verdict: NOT as it should be"), "{finding}");
}

#[test]
fn the_exit_code_is_that_of_the_check() {
    assert_eq!(run_and_print(&args("keys --json")).unwrap(), 0);
    let refused = run_and_print(&args("offsets --embedded --records 20 --batch 10")).unwrap_err();
    assert!(refused.to_string().contains("lower --batch"), "{refused}");
}

#[test]
fn a_group_comes_out_as_it_should() {
    let LabArgs::Groups(args) = args("groups --partitions 8 --records 40 --work-ms 3") else {
        panic!("other options")
    };
    let finding = groups::run(&args).expect("it runs");
    assert!(finding.wrong().is_empty(), "{finding}");
    let shares: Vec<_> = finding.steps.iter().map(|step| step.shares.clone()).collect();
    assert_eq!(shares, [vec![4, 4], vec![3, 3, 2], vec![2, 2, 2, 2], vec![3, 3, 2], vec![4, 4]]);
    assert_eq!((finding.eager.given_up, finding.cooperative.given_up), (8, 2));
}
