use super::*;
use crate::sweep::figures::Figures;
use crate::sweep::result::NamedBroker;

fn point(partitions: i32, speeds: &[f64], options: &str) -> Point {
    let run = |&mb_per_s: &f64| Figures { mb_per_s, p99_us: 1e6 / mb_per_s, ..Figures::default() };
    Point {
        partitions,
        batch: "64k".to_owned(),
        acks: "all".to_owned(),
        options: options.split(' ').map(str::to_owned).collect(),
        runs: speeds.iter().map(run).collect(),
        ..Point::default()
    }
}

fn sweep(name: &str, points: Vec<Point>) -> SweepResult {
    let broker =
        NamedBroker { name: name.to_owned(), durability: "flushed".to_owned(), ..NamedBroker::default() };
    SweepResult { format: FORMAT.to_owned(), brokers: vec![broker], points, ..SweepResult::default() }
}

#[test]
fn ratios_have_the_range_that_the_spreads_allow() {
    let a = sweep(
        "x",
        vec![point(1, &[90.0, 100.0, 110.0], "--window 5"), point(10, &[50.0, 51.0], "--window 5")],
    );
    let b = sweep(
        "y",
        vec![point(1, &[190.0, 200.0, 210.0], "--window 5"), point(10, &[49.0, 52.0], "--window 5")],
    );
    let text = compare(&a, &b, None, None).unwrap();
    assert!(text.contains("2.00 (1.73-2.33)  "), "{text}");
    assert!(text.contains("1.00 (0.96-1.04) ~"), "{text}");
    assert!(!text.contains("DIFFERS"), "{text}");
}

#[test]
fn what_differs_is_said() {
    let a = sweep("x", vec![point(1, &[100.0], "--window 5 --bootstrap a:1")]);
    let mut b = sweep("x", vec![point(1, &[100.0], "--window 9 --bootstrap b:2"), point(7, &[1.0], "")]);
    b.machine.kernel = "7.0".to_owned();
    b.brokers[0].durability = "not flushed".to_owned();
    let text = compare(&a, &b, None, None).unwrap();
    for expected in [
        "DIFFERS  kernel: A , B 7.0",
        "options of the load: A --window 5, B --window 9",
        "the durability differs",
        "0 points of A and 1 of B",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    let a = sweep("x", vec![point(1, &[100.0], "")]);
    let other_load = sweep("x", vec![point(2, &[100.0], "")]);
    assert!(
        compare(&a, &other_load, None, None).unwrap_err().to_string().contains("no measured load in common")
    );
    let failed = sweep("x", vec![point(1, &[], "")]);
    assert!(compare(&a, &failed, None, None).is_err());
    let mut two = sweep("y", vec![point(1, &[100.0], "")]);
    two.brokers.push(NamedBroker { name: "z".to_owned(), ..NamedBroker::default() });
    assert!(compare(&a, &two, None, None).unwrap_err().to_string().contains("--broker-b"));
    assert!(compare(&a, &two, None, Some("y")).is_ok());
    assert!(compare(&a, &two, None, Some("nobody")).is_err());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.json");
    for text in ["not json", "{}", "{\"format\": \"something else\"}"] {
        std::fs::write(&path, text).unwrap();
        assert!(load(&path).is_err(), "{text}");
    }
    std::fs::write(&path, serde_json::to_string(&a).unwrap()).unwrap();
    assert_eq!(load(&path).unwrap(), a);
}
