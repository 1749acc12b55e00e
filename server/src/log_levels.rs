//! Levels of the log that are changed while the server runs (KIP-412).
//!
//! A level belongs to a module of this program and all below it, whose name is written with dots, because tools take no colons;
//! [`ROOT`] is for what no other name covers. Promise: a name or level that
//! means nothing is refused; a program that has its own log, because the server is a part of it, is left alone.

use std::sync::OnceLock;

use tracing_subscriber::filter::Targets;

use crate::config::Values;

/// The name for what no other name covers.
pub const ROOT: &str = "root";
/// Modules whose level is shown: one that people ask for can be named as well.
pub const MODULES: &[&str] = &[
    "keylane",
    "keylane.cli",
    "keylane.coordinator",
    "keylane.front.http",
    "keylane.front.kafka",
    "keylane.front.kinesis",
    "keylane.runtime",
    "keylane.server",
    "keylane.service",
    "keylane_engine",
    "keylane_kafka",
];
/// Crates whose modules can be named.
const CRATES: &[&str] = &["keylane", "keylane_engine", "keylane_kafka"];

/// Sets the levels of this program's log; false if that cannot be done.
type SetFilter = Box<dyn Fn(Targets) -> bool + Send + Sync>;

/// What this program's log can do, and the level that it was started with.
struct Log {
    set: SetFilter,
    given: String,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Lets levels be changed from now on, which the command `keylane` does. `given`: the levels that the log was started with. Once in a program.
#[cfg(feature = "cli")]
pub fn can_be_changed(given: String, set: impl Fn(Targets) -> bool + Send + Sync + 'static) {
    let _only_the_first_counts = LOG.set(Log { set: Box::new(set), given });
}

/// Refuses a name that no part of the log has.
///
/// # Errors
/// What could be named.
pub fn check_name(name: &str) -> Result<(), String> {
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut parts = name.split('.');
    let of_a_crate = parts.next().is_some_and(|first| CRATES.contains(&first)) && parts.all(letters);
    if name == ROOT || of_a_crate {
        return Ok(());
    }
    Err(format!("there is no logger {name}: name {ROOT}, or a module, like {}", MODULES[4]))
}

/// The level that a name of Kafka's stands for here.
///
/// # Errors
/// The names that there are.
pub fn level_of(name: &str) -> Result<&'static str, String> {
    match name {
        "TRACE" => Ok("trace"),
        "DEBUG" => Ok("debug"),
        "INFO" => Ok("info"),
        "WARN" => Ok("warn"),
        "ERROR" | "FATAL" => Ok("error"),
        other => Err(format!("{other} is no level: TRACE, DEBUG, INFO, WARN, ERROR and FATAL are")),
    }
}

/// Puts levels in force, which were checked.
pub fn put_in_force(levels: &Values) {
    let Some(log) = LOG.get() else { return };
    let directives = directives(&log.given, levels);
    let done = directives.parse().is_ok_and(|filter| (log.set)(filter));
    if !done {
        tracing::error!(directives, "the levels of the log could not be changed");
    }
}

/// What was given at the start, then what was changed, which counts more.
fn directives(given: &str, levels: &Values) -> String {
    let changed = levels.iter().filter_map(|(name, level)| {
        let level = level_of(level).ok()?;
        let module = name.replace('.', "::");
        Some(if name == ROOT { level.to_owned() } else { format!("{module}={level}") })
    });
    std::iter::once(given.to_owned()).chain(changed).collect::<Vec<_>>().join(",")
}

/// The level in force for a name, in Kafka's words: its own, that of what it is a part of, or the root's.
pub fn level_in_force(name: &str, levels: &Values) -> String {
    let given = LOG.get().map_or("info", |log| log.given.as_str());
    let started = given.split(',').map(|directive| directive.split_once('=').unwrap_or((ROOT, directive)));
    let named = |(name, level): (&str, &str)| (name.replace("::", "."), level.to_uppercase());
    let mut all: Vec<(String, String)> = started.map(named).collect();
    all.extend(levels.iter().map(|(name, level)| (name.clone(), level.clone())));
    let covers =
        |part: &str| part == name || name.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'));
    let own = all.iter().filter(|(part, _)| covers(part)).max_by_key(|(part, _)| part.len());
    let root = || all.iter().rev().find(|(part, _)| part.as_str() == ROOT);
    own.or_else(root).map_or_else(|| "INFO".to_owned(), |(_, level)| level.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
    }

    #[test]
    fn names_and_levels_that_mean_nothing_are_refused() {
        for good in MODULES.iter().chain(&[ROOT, "keylane.front.kafka.serve"]) {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in [
            "",
            "kafka.server.KafkaApis",
            "keylane.",
            "keylane.A",
            "keylane::front",
            "hyper",
            "keylane=debug",
            "keylane,x",
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(level_of("FATAL"), Ok("error"));
        assert!(level_of("debug").is_err() && level_of("OFF").is_err());
    }

    #[test]
    fn what_is_changed_counts_more_than_what_was_given() {
        let changed = levels(&[("keylane.front", "DEBUG"), ("root", "WARN")]);
        let directives = directives("info", &changed);
        assert_eq!(directives, "info,keylane::front=debug,warn");
        let filter: Targets = directives.parse().unwrap();
        assert!(filter.would_enable("keylane::front::kafka", &tracing::Level::DEBUG));
        assert!(filter.would_enable("keylane_engine", &tracing::Level::WARN));
        assert!(!filter.would_enable("keylane_engine", &tracing::Level::INFO));
    }

    #[test]
    fn a_module_has_the_level_of_what_it_is_a_part_of() {
        let changed = levels(&[("keylane", "WARN"), ("keylane.front", "DEBUG"), ("root", "ERROR")]);
        let level = |name| level_in_force(name, &changed);
        assert_eq!(level("keylane.front.kafka"), "DEBUG");
        assert_eq!(level("keylane.service"), "WARN");
        assert_eq!((level("keylane_engine"), level(ROOT)), ("ERROR".to_owned(), "ERROR".to_owned()));
        assert_eq!(level_in_force("keylane_engine", &Values::new()), "INFO");
    }
}
