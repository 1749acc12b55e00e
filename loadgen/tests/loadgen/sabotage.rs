//! The generator spoils what it sends: its own checkers must find that, under the right name, with any broker.

use super::common::{broker, failed, load, text_of};
use keylane_loadgen::sink::Keep;

const SHAPE: &str = "--duration 300ms --warmup 0s --rate 20000 --batch-records 5 --connections 2 --keys 20 --record-bytes 200";

#[test]
fn each_sabotage_is_found_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = dir.path().join("evidence.jsonl");
    for embedded in [true, false] {
        for (sabotage, line, kind) in [
            ("drop", "loss", "lost"),
            ("duplicate", "duplicates", "duplicate"),
            ("reorder", "order", "reordered"),
            ("random-key", "order", "moved_partition"),
        ] {
            let file = evidence.display();
            let target = match embedded {
                true => "--partitions 4".to_owned(),
                false => format!("--bootstrap {}", broker(4, Keep::Batches(None)).unwrap()),
            };
            let report = load(&format!("{target} {SHAPE} --sabotage {sabotage} --evidence {file}"));
            assert!(failed(&report).contains(&line), "{sabotage} on {target}\n{report}");
            assert_eq!(report.exit_code, 1, "{sabotage}\n{report}");
            if sabotage != "random-key" {
                assert_eq!(failed(&report), [line], "{sabotage}\n{report}");
            }
            let lines = std::fs::read_to_string(&evidence).unwrap();
            let found: Vec<serde_json::Value> =
                lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let named = found.iter().filter(|fact| fact["what"] == kind);
            assert!(named.clone().count() > 0, "{sabotage}: {lines}");
            for fact in named {
                assert!(fact["key"].as_str().unwrap().starts_with("user-"), "{fact}");
                assert!(!fact["expected"].as_str().unwrap().is_empty(), "{fact}");
            }
        }
    }
}

/// Retention and lookup by time once believed what a producer claimed in a batch's header.
#[test]
fn headers_that_lie_are_put_right_or_found() {
    for codec in ["", "--codec lz4"] {
        let lying = format!("{SHAPE} {codec} --sabotage bad-header");
        let report = load(&format!("--partitions 4 {lying}"));
        assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{report}");
        let believing = broker(4, Keep::Batches(None)).unwrap();
        let report = load(&format!("--bootstrap {believing} {lying}"));
        assert_eq!((failed(&report), report.exit_code), (vec!["headers"], 1), "{report}");
    }
}

#[test]
fn without_sabotage_nothing_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let evidence = dir.path().join("evidence.jsonl");
    let more = format!("--partitions 4 --reread --fanout 2 --catch-up 1 --evidence {}", evidence.display());
    let report = load(&format!("{SHAPE} {more}"));
    assert_eq!((failed(&report), report.exit_code), (vec![], 0), "{report}");
    assert_eq!(std::fs::read_to_string(&evidence).unwrap(), "");
    let consumed = report.consumed.as_ref().unwrap();
    let names: Vec<&str> = consumed.readers.iter().map(|reader| reader.name.as_str()).collect();
    assert_eq!(names, ["tail 1", "tail 2", "catch-up 1", "again"]);
    let acked = report.produced.records_acked_total;
    assert!(acked > 300, "only {acked} records: the test is not valid");
    assert!(consumed.readers.iter().all(|reader| reader.records == acked && reader.complete), "{report}");
    assert!(text_of(&report, "durability").contains("still there"), "{report}");
}

#[test]
fn sabotage_that_cannot_be_is_refused() {
    let args =
        keylane_loadgen::args::RunArgs::from_text(&format!("{SHAPE} --partitions 1 --sabotage random-key"));
    assert!(keylane_loadgen::run::run(&args.unwrap()).is_err());
}
