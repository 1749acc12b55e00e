//! The binary's options and messages, as a user meets them.
use std::process::{Command, Output};

fn keylane(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keylane"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYLANE_")) {
        command.env_remove(name);
    }
    command.args(args).envs(environment.iter().copied());
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// The wrong value that is reported tells which source won.
#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "cores = \"997\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let reports_core = |core: &str, args: &[&str], environment: &[(&str, &str)]| {
        let (code, message) = keylane(args, environment);
        assert_eq!(code, Some(1), "{message}");
        assert!(message.starts_with(&format!("keylane: core {core} does not exist")), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    };
    let from_environment = [("KEYLANE_CORES", "998"), ("KEYLANE_CONFIG", path)];
    reports_core("999", &["serve", "--cores", "999"], &from_environment);
    reports_core("998", &["serve"], &from_environment);
    reports_core("997", &["serve", "--config", path], &[]);
}

#[test]
fn every_option_has_a_variable() {
    for (variable, value) in [
        ("KEYLANE_KAFKA", "nowhere"),
        ("KEYLANE_SHARDS", "0"),
        ("KEYLANE_ADVERTISE", "nowhere"),
        ("KEYLANE_DEFAULT_PARTITIONS", "0"),
        ("KEYLANE_MAX_MESSAGE_BYTES", "200M"),
        ("KEYLANE_MAX_REQUEST_BYTES", "3G"),
        ("KEYLANE_SEGMENT_BYTES", "1M"),
        ("KEYLANE_TAIL_CACHE_BYTES", "1k"),
        ("KEYLANE_RETENTION_MS", "-2"),
        ("KEYLANE_CLEANUP_POLICY", "shred"),
        ("KEYLANE_SEGMENT_MS", "0"),
        ("KEYLANE_DELETE_RETENTION_MS", "-1"),
        ("KEYLANE_MIN_CLEANABLE_DIRTY_RATIO", "2"),
        ("KEYLANE_MIN_COMPACTION_LAG_MS", "-1"),
        ("KEYLANE_MAX_COMPACTION_LAG_MS", "0"),
        ("KEYLANE_RETENTION_CHECK_INTERVAL_MS", "0"),
        ("KEYLANE_MAX_CONNECTIONS", "0"),
        ("KEYLANE_DATA", "/proc/keylane"),
        ("KEYLANE_LOG", "keylane=loud"),
        ("KEYLANE_CONFIG", "/nonexistent/keylane.toml"),
    ] {
        let (code, message) = keylane(&["serve"], &[(variable, value)]);
        assert_eq!(code, Some(1), "{variable}: {message}");
        assert!(message.starts_with("keylane: "), "{variable}: {message}");
    }
    for (variable, value) in [
        ("KEYLANE_AUTO_CREATE_TOPICS", "perhaps"),
        ("KEYLANE_IO", "fast"),
        ("KEYLANE_SEGMENT_BYTES", "1 MB"),
        ("KEYLANE_RETENTION_BYTES", "-2"),
    ] {
        let (code, message) = keylane(&["serve"], &[(variable, value)]);
        assert_eq!(code, Some(2), "{variable}: {message}");
        assert!(message.contains(value), "{variable}: {message}");
    }
}

#[test]
fn wrong_usage_and_unknown_keys() {
    assert_eq!(keylane(&[], &[]).0, Some(2));
    assert_eq!(keylane(&["serve", "--no-such-option"], &[]).0, Some(2));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "shrads = 4\n").unwrap();
    let (code, message) = keylane(&["serve", "--config", file.path().to_str().unwrap()], &[]);
    assert_eq!(code, Some(1));
    assert!(message.contains("`shrads`") && message.contains("`shards`"), "{message}");
}

/// Once, colours went into files as well, and a directory in memory was served without a word.
#[test]
fn the_log_of_a_server_in_memory_is_plain_and_says_once_what_is_lost() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    for (parent, told) in [("/dev/shm", 1), (env!("CARGO_TARGET_TMPDIR"), 0)] {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let mut server = Command::new(env!("CARGO_BIN_EXE_keylane"))
            .args(["serve", "--kafka", "127.0.0.1:0", "--data", dir.path().to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        kill(Pid::from_raw(server.id() as i32), Signal::SIGTERM).unwrap();
        let log = String::from_utf8(server.wait_with_output().unwrap().stderr).unwrap();
        assert!(line.starts_with("keylane: listening") && log.contains("opened a shard"), "{line}{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
        assert_eq!(log.matches("nothing in it survives a power cut").count(), told, "{log}");
    }
}
