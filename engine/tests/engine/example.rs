//! The examples that the documentation names run, and print what they should.
#![allow(clippy::unwrap_used)]

#[path = "../../examples/embed.rs"]
#[allow(dead_code)]
mod embed;

#[path = "../../examples/ordering.rs"]
#[allow(dead_code)]
mod ordering;

#[test]
fn the_key_decides_what_keeps_its_order() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for _ in 0..2 {
        let mut told = Vec::new();
        let [kept, mixed, grown] = ordering::story(dir.path(), &mut told).unwrap();
        println!("{}", String::from_utf8(told).unwrap());
        // A parcel can be in order by chance: if its seven records come to lie in partitions that never go down.
        assert!((kept, grown) == (8, 8) && mixed <= 4, "{kept} {mixed} {grown}");
    }
}

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
