//! AlterConfigs and IncrementalAlterConfigs: settings of topics, while the server runs.
//!
//! Promise: each topic gets all of its changes or none; a success is answered when they are durable and in
//! force on every core.

use std::collections::HashSet;
use std::rc::Rc;

use keylane_engine::catalog::CatalogError;
use keylane_kafka::ErrorCode;
use keylane_kafka::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResponse, AlteredResource};
use keylane_kafka::messages::describe_configs::{BROKER, TOPIC};
use keylane_kafka::messages::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, Operation,
};

use crate::config::ServerConfig;
use crate::core::Core;
use crate::service::controller::{self, AlterError};
use crate::service::settings::{self, Values, items_of};
use crate::service::topics::is_internal;

use super::configs;
use super::topics::{Refusal, catalog_code, check_name, internal};

/// A change of a topic's settings, on its way to the catalog's owner.
#[derive(Debug, Clone)]
pub enum Change {
    /// These are all settings the topic has of its own.
    Replace(Vec<(String, Option<String>)>),
    /// One after the other: name, operation, value.
    Each(Vec<(String, i8, Option<String>)>),
}

/// Answers AlterConfigs.
pub async fn replace(core: &Rc<Core>, request: &AlterConfigsRequest<'_>) -> AlterConfigsResponse<'static> {
    let changes = request.resources.iter().map(|resource| {
        let pairs = resource.configs.iter().map(|c| (c.name.to_owned(), c.value.map(str::to_owned)));
        (resource.kind, resource.name, Change::Replace(pairs.collect()))
    });
    let resources = all(core, changes.collect(), request.validate_only).await;
    AlterConfigsResponse { resources, ..Default::default() }
}

/// Answers IncrementalAlterConfigs.
pub async fn change(
    core: &Rc<Core>,
    request: &IncrementalAlterConfigsRequest<'_>,
) -> IncrementalAlterConfigsResponse<'static> {
    let changes = request.resources.iter().map(|resource| {
        let each = resource.configs.iter();
        let each = each.map(|c| (c.name.to_owned(), c.operation, c.value.map(str::to_owned)));
        (resource.kind, resource.name, Change::Each(each.collect()))
    });
    let resources = all(core, changes.collect(), request.validate_only).await;
    IncrementalAlterConfigsResponse { resources, ..Default::default() }
}

async fn all(
    core: &Rc<Core>,
    changes: Vec<(i8, &str, Change)>,
    validate_only: bool,
) -> Vec<AlteredResource<'static>> {
    let mut seen = HashSet::new();
    let twice: HashSet<_> =
        changes.iter().map(|(kind, name, _)| (*kind, *name)).filter(|r| !seen.insert(*r)).collect();
    let mut resources = Vec::with_capacity(changes.len());
    for (kind, name, change) in changes {
        let done = if twice.contains(&(kind, name)) {
            Err((ErrorCode::InvalidRequest, "the request names this resource more than once".to_owned()))
        } else {
            one(core, kind, name, change, validate_only).await
        };
        let (error, error_message) = match done {
            Ok(()) => (ErrorCode::None, None),
            Err((code, message)) => (code, Some(message.into())),
        };
        resources.push(AlteredResource { error, error_message, kind, name: name.to_owned().into() });
    }
    resources
}

async fn one(
    core: &Rc<Core>,
    kind: i8,
    name: &str,
    change: Change,
    validate_only: bool,
) -> Result<(), Refusal> {
    match kind {
        TOPIC => {}
        BROKER => {
            let advice = "settings of the broker are options of `keylane serve`: restart it with others";
            return Err((ErrorCode::InvalidRequest, advice.to_owned()));
        }
        other => {
            return Err((ErrorCode::InvalidRequest, format!("resource type {other} has no settings here")));
        }
    }
    if name.is_empty() {
        let advice = "topics have no common settings: set the options of `keylane serve`, or name a topic";
        return Err((ErrorCode::InvalidRequest, advice.to_owned()));
    }
    check_name(name)?;
    if is_internal(name) {
        return Err((ErrorCode::InvalidTopicException, internal(name)));
    }
    let apply = move |own: &Values, config: &ServerConfig| change.apply(own, config);
    match controller::alter(core, name.to_owned(), apply, validate_only).await {
        Some(Ok(())) => Ok(()),
        Some(Err(AlterError::Refused(refusal))) => Err(refusal),
        Some(Err(AlterError::Catalog(e @ CatalogError::Unknown(_)))) => {
            Err((catalog_code(&e), e.to_string()))
        }
        Some(Err(AlterError::Catalog(e))) => {
            tracing::error!(%e, topic = name, "changing the settings of a topic failed");
            Err((catalog_code(&e), e.to_string()))
        }
        None => Err((ErrorCode::NotController, "the server is stopping".to_owned())),
    }
}

impl Change {
    /// The settings of a topic after the change.
    fn apply(&self, own: &Values, config: &ServerConfig) -> Result<Values, Refusal> {
        let names: Vec<&str> = match self {
            Self::Replace(pairs) => pairs.iter().map(|(name, _)| name.as_str()).collect(),
            Self::Each(each) => each.iter().map(|(name, ..)| name.as_str()).collect(),
        };
        let mut seen = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(**name)) {
            return Err((ErrorCode::InvalidRequest, format!("the request names {twice} more than once")));
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
        settings::check_together(&values, config).map_err(|e| (ErrorCode::InvalidConfig, e))?;
        Ok(values)
    }
}

fn apply_one(
    values: &mut Values,
    name: &str,
    operation: i8,
    value: Option<&str>,
    config: &ServerConfig,
) -> Result<(), Refusal> {
    let invalid = |message: String| (ErrorCode::InvalidConfig, message);
    match Operation::from_code(operation) {
        None => Err((ErrorCode::InvalidRequest, format!("there is no operation {operation}"))),
        Some(Operation::Set) => set(values, name, value, config),
        Some(Operation::Delete) => {
            // What was never set is gone already, whatever its name, as in Kafka.
            values.remove(name);
            Ok(())
        }
        Some(operation) => {
            let Some(setting) = settings::find(name).filter(|s| s.is_list()) else {
                let message = format!("{name}: there is no list to add to or to take from");
                return Err(invalid(message));
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

fn set(values: &mut Values, name: &str, value: Option<&str>, config: &ServerConfig) -> Result<(), Refusal> {
    let value = value.ok_or_else(|| no_value(name))?;
    configs::check(name, value, config).map_err(|message| (ErrorCode::InvalidConfig, message))?;
    values.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn no_value(name: &str) -> Refusal {
    (ErrorCode::InvalidRequest, format!("setting {name} has no value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: i8 = Operation::Set as i8;
    const DELETE: i8 = Operation::Delete as i8;
    const APPEND: i8 = Operation::Append as i8;
    const SUBTRACT: i8 = Operation::Subtract as i8;

    fn apply(own: &[(&str, &str)], each: &[(&str, i8, Option<&str>)]) -> Result<Vec<String>, Refusal> {
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
            (("retention.ms", SET, Some("-2")), ErrorCode::InvalidConfig),
            (("retention.ms", SET, None), ErrorCode::InvalidRequest),
            (("retention.ms", APPEND, Some("1")), ErrorCode::InvalidConfig),
            (("retention.ms", 9, Some("1")), ErrorCode::InvalidRequest),
            (("no.such.thing", SET, Some("1")), ErrorCode::InvalidConfig),
            (("no.such.thing", APPEND, Some("1")), ErrorCode::InvalidConfig),
            (("compression.type", SET, Some("deflate")), ErrorCode::InvalidConfig),
            (("remote.storage.enable", SET, Some("true")), ErrorCode::InvalidConfig),
            (("cleanup.policy", APPEND, Some("shred")), ErrorCode::InvalidConfig),
            (("min.compaction.lag.ms", SET, Some("9223372036854775807")), ErrorCode::None),
        ] {
            let got = apply(&[], &[change]).map_or_else(|(code, _)| code, |_| ErrorCode::None);
            assert_eq!(got, code, "{change:?}");
        }
        let twice = [("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))];
        assert_eq!(apply(&[], &twice).unwrap_err().0, ErrorCode::InvalidRequest);
        let lags = [("max.compaction.lag.ms", SET, Some("5"))];
        assert!(apply(&[("min.compaction.lag.ms", "6")], &lags).unwrap_err().1.contains("is above"));
    }

    #[test]
    fn replacing_forgets_what_is_not_named() {
        let own = Values::from([("retention.ms".to_owned(), "5".to_owned())]);
        let pairs = vec![("segment.ms".to_owned(), Some("7".to_owned()))];
        let after = Change::Replace(pairs).apply(&own, &ServerConfig::default()).unwrap();
        assert_eq!(after.into_iter().collect::<Vec<_>>(), [("segment.ms".to_owned(), "7".to_owned())]);
        let none = vec![("segment.ms".to_owned(), None)];
        let refused = Change::Replace(none).apply(&own, &ServerConfig::default()).unwrap_err();
        assert_eq!(refused.0, ErrorCode::InvalidRequest);
    }
}
