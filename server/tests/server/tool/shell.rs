//! Completions, manual pages, the door to the load generator, and when there are colours.
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::run;

#[test]
fn shells_complete_and_manual_pages_are_written() {
    for (shell, wanted) in
        [("bash", "complete -F _keylane"), ("zsh", "#compdef keylane"), ("fish", "complete -c keylane")]
    {
        let script = run(&["completions", shell], b"");
        assert_eq!(script.code, Some(0));
        for part in [wanted, "consume", "reset", "exit"] {
            assert!(script.out.contains(part), "{shell}: {part}");
        }
    }
    assert!(run(&["man"], b"").out.contains(".TH keylane 1"));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "--dir", dir.path().to_str().unwrap()], b"").code, Some(0));
    let page = std::fs::read_to_string(dir.path().join("keylane-group-reset.1")).unwrap();
    assert!(page.contains("execute"), "{page}");
    let nowhere = run(&["man", "--dir", "/nonexistent/man"], b"");
    assert!(nowhere.code == Some(1) && nowhere.err.contains("/nonexistent/man"), "{}", nowhere.err);
}

/// The load generator is looked for beside the program first.
#[test]
fn the_load_generator_is_run_with_the_arguments_as_they_are() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = dir.path().join("keylane");
    std::fs::hard_link(env!("CARGO_BIN_EXE_keylane"), &program).unwrap();
    let bench = || {
        let command =
            Command::new(&program).args(["bench", "run", "--help", "-x", "a b"]).env("PATH", "").output();
        let output = command.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, _, error) = bench();
    assert!(code == Some(1) && error.contains("cargo build --release -p keylane-loadgen"), "{error}");
    let script = dir.path().join("keylane-loadgen");
    std::fs::write(&script, "#!/bin/sh\nfor arg; do echo \"<$arg>\"; done\nexit 7\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(bench(), (Some(7), "<run>\n<--help>\n<-x>\n<a b>\n".to_owned(), String::new()));
}
