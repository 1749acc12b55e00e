//! No two files of the server need each other, directly or through others, and its functions are short. The rooms below the
//! fronts know no protocol.

use std::path::Path;

use keylane_structure::{AtLeast, check, lines_with};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn files_do_not_need_each_other_and_functions_are_short() {
    let least = AtLeast { files: 40, needs: 100, functions: 300 };
    assert_eq!(check(&root(), least), Vec::<String>::new());
}

#[test]
fn below_the_fronts_no_protocol_is_known() {
    for room in ["runtime", "service", "coordinator"] {
        assert_eq!(lines_with(&root().join(room), "keylane_kafka"), Vec::<String>::new());
    }
    // A control: the front knows one.
    assert!(lines_with(&root().join("front"), "keylane_kafka").len() > 20);
}
