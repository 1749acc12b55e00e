//! The table of APIs in `docs/kafka.md` is the one in the code. Where it is not, this writes it:
//! `KEYLANE_WRITE_DOCS=1 cargo test -p keylane-kafka --test codec table::`.
use std::fmt::Write;

use keylane_kafka::SERVED;

const DOC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kafka.md");
const BEGIN: &str = "<!-- The table of APIs: `KEYLANE_WRITE_DOCS=1 cargo test -p keylane-kafka --test codec table::` writes it -->\n";
const END: &str = "<!-- The end of the table of APIs -->\n";

/// The rows, with what is said of the versions.
fn table() -> String {
    let mut out = "| API | key | versions | flexible from |\n|---|---|---|---|\n".to_owned();
    for spec in SERVED {
        let versions = match (spec.min, spec.max) {
            (min, max) if min == max => format!("{min}"),
            (min, max) if spec.advertised_min < min => {
                format!("{min} to {max} (told to clients: {} to {max})", spec.advertised_min)
            }
            (min, max) => format!("{min} to {max}"),
        };
        let flexible = match spec.flexible_from {
            from if from > spec.max => "none".to_owned(),
            from => from.to_string(),
        };
        writeln!(out, "| {:?} | {} | {versions} | {flexible} |", spec.key, spec.key.code()).expect("memory");
    }
    out
}

/// The document with the table in its place; `None` if it has no place for it.
fn with_table(doc: &str) -> Option<String> {
    let (before, rest) = doc.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", table()))
}

#[test]
fn the_document_has_the_table_of_the_code() {
    let doc = std::fs::read_to_string(DOC).expect("docs/kafka.md");
    let fresh = with_table(&doc).expect("docs/kafka.md has the two marks between which the table stands");
    if std::env::var_os("KEYLANE_WRITE_DOCS").is_some() {
        std::fs::write(DOC, &fresh).expect("docs/kafka.md can be written");
    }
    let doc = std::fs::read_to_string(DOC).expect("docs/kafka.md");
    let how = "KEYLANE_WRITE_DOCS=1 cargo test -p keylane-kafka --test codec table::";
    assert!(doc == fresh, "the table in docs/kafka.md is not that of the code; to write it: {how}");
}

/// The negative control: a row that is missing, or says other versions, is noticed.
#[test]
fn a_stale_table_is_noticed() {
    let sound = format!("before\n{BEGIN}{}{END}after\n", table());
    assert_eq!(with_table(&sound), Some(sound.clone()));
    let row = table().lines().last().expect("rows").to_owned() + "\n";
    for stale in [sound.replace(&row, ""), sound.replace("| 4 to 18 |", "| 4 to 17 |")] {
        assert_ne!(stale, sound);
        assert_eq!(with_table(&stale).as_ref(), Some(&sound));
    }
    assert_eq!(with_table("no marks"), None);
}
