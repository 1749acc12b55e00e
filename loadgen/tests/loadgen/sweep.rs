//! A small sweep over two brokers, and the files that come of it.

use super::common::broker;
use keylane_loadgen::sink::Keep;
use keylane_loadgen::sweep::args::SweepArgs;
use keylane_loadgen::sweep::{compare, sweep_and_print};

#[test]
fn a_sweep_leaves_its_files_and_they_can_be_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let address = broker(2, Keep::Nothing).unwrap();
    let text = format!(
        "--broker keylane=embedded --broker sink={address},note=keeps_nothing --partitions 1,2 --batch 16k,single \
         --duration 250ms --warmup 50ms --pause 0s --repeat 2 --no-progress --json {} --csv {} --html {} --hgrm {}",
        path("a.json").display(),
        path("a.csv").display(),
        path("a.html").display(),
        path("hgrm").display(),
    );
    let args = SweepArgs::from_text(&text).unwrap();
    assert_eq!(sweep_and_print(&args).unwrap(), 0);
    let result = compare::load(&path("a.json")).unwrap();
    assert_eq!(result.points.len(), 8);
    for point in &result.points {
        assert_eq!(point.runs.len(), 2);
        let rate = point.mb_per_s().unwrap();
        assert!(rate.lowest > 0.0 && rate.lowest <= rate.median && rate.median <= rate.highest, "{point:?}");
        assert!(point.curve.len() > 5 && !point.runs[0].timeline.is_empty(), "{point:?}");
    }
    assert!(result.brokers[0].durability.contains("flush.messages=1"), "{:?}", result.brokers);
    assert_eq!(result.brokers[1].durability, "keeps_nothing");
    let csv = std::fs::read_to_string(path("a.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 8 * 2);
    let html = std::fs::read_to_string(path("a.html")).unwrap();
    assert!(result.points.iter().all(|point| html.contains(&format!("--partitions {}", point.partitions))));
    let logs = std::fs::read_dir(path("hgrm")).unwrap().count();
    assert_eq!(logs, 8 * 2);
    let text = compare::compare(&result, &result, None, None).unwrap();
    assert_eq!(text.matches("1.00 (").count(), text.matches(") ~").count(), "{text}");
    assert!(text.matches(") ~").count() >= 8 * 2, "{text}");
}

#[test]
fn a_sweep_tells_how_fast_readers_catch_up() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("a.csv");
    let with_readers = "--catch-up 1 --fetch-shape librdkafka";
    for (readers, told) in [(with_readers, true), ("--consumers 1", false)] {
        let text = format!(
            "--partitions 3 --batch 16k --duration 400ms --warmup 50ms --repeat 1 --rate 2000 --no-progress --csv {} {readers}",
            csv.display()
        );
        assert_eq!(sweep_and_print(&SweepArgs::from_text(&text).unwrap()).unwrap(), 0, "{readers}");
        let text = std::fs::read_to_string(&csv).unwrap();
        let (header, line) = text.split_once('\n').unwrap();
        let column = header.split(',').position(|name| name == "catch_up_mb_per_s").unwrap();
        let rate = line.split(',').nth(column).unwrap();
        assert_eq!(rate.parse::<f64>().is_ok_and(|rate| rate > 0.0), told, "{readers}: {line}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_an_error_and_not_a_figure() {
    let args = SweepArgs::from_text("--broker gone=127.0.0.1:1 --duration 100ms").unwrap();
    assert!(sweep_and_print(&args).is_err());
}
