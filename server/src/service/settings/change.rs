//! Changes of a topic's settings, and the settings of a topic that is made.
//!
//! Promise: a change is made as a whole or refused; what is refused says what would be accepted.

use std::collections::HashSet;

use crate::config::{ServerConfig, Values};

use super::in_force::check_together;
use super::names::items_of;
use super::table::find;

/// Why a topic cannot have these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// What is asked for makes no sense, whatever the settings.
    #[error("{0}")]
    Request(String),
    /// A setting that there is not, or a value that it does not take.
    #[error("{0}")]
    Value(String),
}

/// What is done to one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It gets this value.
    Set,
    /// It has the default again.
    Delete,
    /// Items are added to its list.
    Append,
    /// Items are taken from its list.
    Subtract,
    /// An operation that there is not, by the number that a client gave it. It is refused.
    Other(i8),
}

/// A change of a topic's settings, on its way to the catalog's owner.
#[derive(Debug, Clone)]
pub enum Change {
    /// These are all settings the topic has of its own.
    Replace(Vec<(String, Option<String>)>),
    /// One after the other: name, operation, value.
    Each(Vec<(String, Operation, Option<String>)>),
}

/// Checks a value of a topic's setting. The error names the setting and says what would be accepted.
fn check(name: &str, value: &str, config: &ServerConfig) -> Result<(), SettingsError> {
    let checked = match find(name) {
        None => Err(format!("there is no setting {name}")),
        Some(setting) => setting.check(value, config).map_err(|range| format!("{name}={value}: {range}")),
    };
    checked.map_err(SettingsError::Value)
}

/// Checks the settings of a topic to be created.
///
/// # Errors
/// [`SettingsError::Value`], which says what would be accepted.
pub fn accept(wanted: &[(&str, Option<&str>)], config: &ServerConfig) -> Result<Values, SettingsError> {
    let mut kept = Values::new();
    for (name, value) in wanted {
        let Some(value) = value else {
            return Err(SettingsError::Value(format!("setting {name} has no value")));
        };
        check(name, value, config)?;
        kept.insert((*name).to_owned(), (*value).to_owned());
    }
    check_together(&kept, config).map_err(SettingsError::Value)?;
    Ok(kept)
}

impl Change {
    /// The settings of a topic after the change.
    /// # Errors
    /// [`SettingsError`] if a topic cannot have what the change asks for.
    pub fn apply(&self, own: &Values, config: &ServerConfig) -> Result<Values, SettingsError> {
        let names: Vec<&str> = match self {
            Self::Replace(pairs) => pairs.iter().map(|(name, _)| name.as_str()).collect(),
            Self::Each(each) => each.iter().map(|(name, ..)| name.as_str()).collect(),
        };
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
            return Err(SettingsError::Request(format!("the request names {twice} more than once")));
        }
        let mut values = match self {
            Self::Replace(_) => Values::new(),
            Self::Each(_) => own.clone(),
        };
        match self {
            Self::Replace(pairs) => {
                for (name, value) in pairs {
                    set(&mut values, name, value.as_deref(), config)?;
                }
            }
            Self::Each(each) => {
                for (name, operation, value) in each {
                    apply_one(&mut values, name, *operation, value.as_deref(), config)?;
                }
            }
        }
        check_together(&values, config).map_err(SettingsError::Value)?;
        Ok(values)
    }
}

fn apply_one(
    values: &mut Values,
    name: &str,
    operation: Operation,
    value: Option<&str>,
    config: &ServerConfig,
) -> Result<(), SettingsError> {
    match operation {
        Operation::Other(number) => Err(SettingsError::Request(format!("there is no operation {number}"))),
        Operation::Set => set(values, name, value, config),
        Operation::Delete => {
            // What was never set is gone already, whatever its name, as in Kafka.
            values.remove(name);
            Ok(())
        }
        Operation::Append | Operation::Subtract => {
            let Some(setting) = find(name).filter(|s| s.is_list()) else {
                let message = format!("{name}: there is no list to add to or to take from");
                return Err(SettingsError::Value(message));
            };
            let value = value.ok_or_else(|| no_value(name))?;
            let before = setting.in_force(values, config);
            let after: Vec<&str> = if operation == Operation::Append {
                append(&before, value)
            } else {
                items_of(&before).filter(|item| !items_of(value).any(|gone| gone == *item)).collect()
            };
            set(values, name, Some(&after.join(",")), config)
        }
    }
}

/// The items of a list, and those of another that it does not have.
fn append<'a>(list: &'a str, more: &'a str) -> Vec<&'a str> {
    let mut items: Vec<&str> = items_of(list).collect();
    for item in items_of(more) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    items
}

fn set(
    values: &mut Values,
    name: &str,
    value: Option<&str>,
    config: &ServerConfig,
) -> Result<(), SettingsError> {
    let value = value.ok_or_else(|| no_value(name))?;
    check(name, value, config)?;
    values.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn no_value(name: &str) -> SettingsError {
    SettingsError::Request(format!("setting {name} has no value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Operation = Operation::Set;
    const DELETE: Operation = Operation::Delete;
    const APPEND: Operation = Operation::Append;
    const SUBTRACT: Operation = Operation::Subtract;

    const FINE: &str = "fine";
    const REQUEST: &str = "request";
    const VALUE: &str = "value";

    fn kind(error: &SettingsError) -> &'static str {
        match error {
            SettingsError::Request(_) => REQUEST,
            SettingsError::Value(_) => VALUE,
        }
    }

    fn apply(
        own: &[(&str, &str)],
        each: &[(&str, Operation, Option<&str>)],
    ) -> Result<Vec<String>, SettingsError> {
        let own = own.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let each = each.iter().map(|(n, o, v)| ((*n).to_owned(), *o, v.map(str::to_owned))).collect();
        let after = Change::Each(each).apply(&own, &ServerConfig::default())?;
        Ok(after.iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn operations_change_what_they_name() {
        let own = [("retention.ms", "5"), ("segment.ms", "7")];
        let changes = [
            ("retention.ms", DELETE, None),
            ("retention.bytes", SET, Some("9")),
            ("max.message.bytes", DELETE, None),
            ("cleanup.policy", APPEND, Some("compact")),
        ];
        let after = ["cleanup.policy=delete,compact", "retention.bytes=9", "segment.ms=7"];
        assert_eq!(apply(&own, &changes).unwrap(), after);
        let both = [("cleanup.policy", "compact,delete")];
        let only = apply(&both, &[("cleanup.policy", SUBTRACT, Some("delete"))]).unwrap();
        assert_eq!(only, ["cleanup.policy=compact"]);
        let same = apply(&both, &[("cleanup.policy", APPEND, Some("delete,compact"))]).unwrap();
        assert_eq!(same, ["cleanup.policy=compact,delete"]);
        // Kept, though it is what there is anyway.
        let same = apply(&[], &[("compression.type", SET, Some("producer"))]).unwrap();
        assert_eq!(same, ["compression.type=producer"]);
        assert!(apply(&[], &[("no.such.thing", DELETE, None)]).unwrap().is_empty());
        let throttled = "leader.replication.throttled.replicas";
        let more = apply(&[(throttled, "0:1")], &[(throttled, APPEND, Some("1:1,0:1"))]).unwrap();
        assert_eq!(more, [format!("{throttled}=0:1,1:1")]);
        let nothing = apply(&[], &[("cleanup.policy", SUBTRACT, Some("delete"))]).unwrap();
        assert_eq!(nothing, ["cleanup.policy="]);
    }

    #[test]
    fn impossible_changes_are_refused() {
        for (change, code) in [
            (("retention.ms", SET, Some("-2")), VALUE),
            (("retention.ms", SET, None), REQUEST),
            (("retention.ms", APPEND, Some("1")), VALUE),
            (("retention.ms", Operation::Other(9), Some("1")), REQUEST),
            (("no.such.thing", SET, Some("1")), VALUE),
            (("no.such.thing", APPEND, Some("1")), VALUE),
            (("compression.type", SET, Some("deflate")), VALUE),
            (("remote.storage.enable", SET, Some("true")), VALUE),
            (("cleanup.policy", APPEND, Some("shred")), VALUE),
            (("min.compaction.lag.ms", SET, Some("9223372036854775807")), FINE),
        ] {
            let got = apply(&[], &[change]).map_or_else(|e| kind(&e), |_| FINE);
            assert_eq!(got, code, "{change:?}");
        }
        let twice = [("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))];
        assert_eq!(kind(&apply(&[], &twice).unwrap_err()), REQUEST);
        let lags = [("max.compaction.lag.ms", SET, Some("5"))];
        assert!(
            apply(&[("min.compaction.lag.ms", "6")], &lags).unwrap_err().to_string().contains("is above")
        );
    }

    #[test]
    fn replacing_forgets_what_is_not_named() {
        let own = Values::from([("retention.ms".to_owned(), "5".to_owned())]);
        let pairs = vec![("segment.ms".to_owned(), Some("7".to_owned()))];
        let after = Change::Replace(pairs).apply(&own, &ServerConfig::default()).unwrap();
        assert_eq!(after.into_iter().collect::<Vec<_>>(), [("segment.ms".to_owned(), "7".to_owned())]);
        let none = vec![("segment.ms".to_owned(), None)];
        let refused = Change::Replace(none).apply(&own, &ServerConfig::default()).unwrap_err();
        assert_eq!(kind(&refused), REQUEST);
    }

    #[test]
    fn only_what_is_served_is_accepted() {
        let config = ServerConfig::default();
        let refused = |name, value| accept(&[(name, Some(value))], &config).unwrap_err().to_string();
        assert!(refused("remote.storage.enable", "true").contains("no tiered storage"));
        assert!(refused("no.such.thing", "1").contains("no setting no.such.thing"));
        let error = refused("retention.ms", "-2");
        assert!(error.starts_with("retention.ms=-2: a whole number of milliseconds from -1"), "{error}");
        let error = accept(&[("retention.ms", None)], &config).unwrap_err().to_string();
        assert!(error.contains("retention.ms has no value"), "{error}");
        let given = Values::from([("flush.ms".to_owned(), " 5".to_owned())]);
        assert_eq!(accept(&[("flush.ms", Some(" 5"))], &config), Ok(given), "kept as it was given");
        let lags = [("min.compaction.lag.ms", Some("9")), ("max.compaction.lag.ms", Some("8"))];
        assert!(accept(&lags, &config).unwrap_err().to_string().contains("is above"));
    }
}
