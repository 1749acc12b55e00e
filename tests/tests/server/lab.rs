//! `lab offsets` with a server of its own, which it kills with kill -9: what was committed is there afterwards.

use keylane_loadgen::lab::{Common, Finding, offsets};
use keylane_tests::e2e::process::binary;

#[test]
fn committed_offsets_survive_the_kill_of_the_lab() {
    let common = Common {
        bootstrap: None,
        data_parent: Some(env!("CARGO_TARGET_TMPDIR").into()),
        seed: 7,
        json: false,
    };
    let args = offsets::OffsetsArgs {
        common,
        partitions: 3,
        records: 60,
        batch: 5,
        server_bin: Some(binary().unwrap()),
        embedded: false,
    };
    let finding = offsets::run(&args).unwrap();
    assert!(finding.wrong().is_empty(), "{finding}");
    assert_eq!(finding.restart, Some("killed with kill -9 and started"));
    assert!(
        finding.outcomes.iter().all(|outcome| outcome.after.iter().any(|offset| *offset > 0)),
        "{finding}"
    );
}
