//! The example that the documentation names runs, and prints what it should.
#![allow(clippy::unwrap_used)]

#[path = "../../examples/embed.rs"]
#[allow(dead_code)]
mod embed;

#[test]
fn the_example_runs_twice_in_the_same_directory() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for earlier in [false, true] {
        let mut told = Vec::new();
        embed::story(dir.path(), &mut told).unwrap();
        let told = String::from_utf8(told).unwrap();
        println!("{told}");
        assert_eq!(told.contains("an earlier run left topic readings"), earlier);
        for said in [
            "299 more appended without waiting for each; all durable now",
            "sensor-0 has all 50 in order",
            "a tail in another thread saw 10 new records",
            "opened again: all 310 records are there",
        ] {
            assert!(told.contains(said), "{said:?} was not told");
        }
    }
}
