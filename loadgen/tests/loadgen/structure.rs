//! No two files of this crate need each other, directly or through others, and its functions are short.

use std::path::Path;

use keylane_structure::{AtLeast, check};

#[test]
fn files_do_not_need_each_other_and_functions_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let least = AtLeast { files: 60, needs: 200, functions: 500 };
    assert_eq!(check(&root, least), Vec::<String>::new());
}
