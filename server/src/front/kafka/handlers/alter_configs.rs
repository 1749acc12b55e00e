//! AlterConfigs and IncrementalAlterConfigs: settings of topics, those that topics take from the broker, and levels of the log (KIP-412),
//! while the server runs.
//!
//! Promise: each resource gets all of its changes or none; a success is answered when they are durable and in
//! force on every core.

use std::collections::HashSet;
use std::rc::Rc;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResponse, AlteredResource};
use keylane_kafka::messages::describe_configs::{BROKER, BROKER_LOGGER, TOPIC};
use keylane_kafka::messages::incremental_alter_configs::{
    self as wire, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{Refusal, refusal_of_topic};
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::node::NODE_ID;
use crate::log_levels;
use crate::service::catalog;
use crate::service::settings::{Change, Layer, Operation, name_on_topics};
use crate::service::topics::check_changeable;

impl<'q> Handle<'q> for AlterConfigsRequest<'q> {
    async fn handle(self, context: &Context) -> AlterConfigsResponse<'static> {
        let (core, request) = (context.core(), &self);
        let changes = request.resources.iter().map(|resource| {
            let pairs = resource.configs.iter().map(|c| (c.name.to_owned(), c.value.map(str::to_owned)));
            (resource.kind, resource.name, Change::Replace(pairs.collect()))
        });
        let resources = all(core, changes.collect(), request.validate_only).await;
        AlterConfigsResponse { resources, ..Default::default() }
    }
}

impl<'q> Handle<'q> for IncrementalAlterConfigsRequest<'q> {
    async fn handle(self, context: &Context) -> IncrementalAlterConfigsResponse<'static> {
        let (core, request) = (context.core(), &self);
        let changes = request.resources.iter().map(|resource| {
            let each = resource.configs.iter();
            let each = each.map(|c| (c.name.to_owned(), operation(c.operation), c.value.map(str::to_owned)));
            (resource.kind, resource.name, Change::Each(each.collect()))
        });
        let resources = all(core, changes.collect(), request.validate_only).await;
        IncrementalAlterConfigsResponse { resources, ..Default::default() }
    }
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
        BROKER => return broker(core, name, change, validate_only).await,
        BROKER_LOGGER => return loggers(core, name, change, validate_only).await,
        other => {
            return Err((ErrorCode::InvalidRequest, format!("resource type {other} has no settings here")));
        }
    }
    if name.is_empty() {
        let advice = "topics have no common settings: set the options of `keylane serve`, or name a topic";
        return Err((ErrorCode::InvalidRequest, advice.to_owned()));
    }
    check_changeable(name).map_err(|e| refusal_of_topic(&e))?;
    let done = catalog::alter(core, name.to_owned(), change, validate_only).await;
    done.map_err(|error| refusal_of_topic(&error))
}

/// Changes what topics take from the broker, or with an empty name from all brokers.
async fn broker(core: &Rc<Core>, name: &str, change: Change, validate_only: bool) -> Result<(), Refusal> {
    let layer = match name {
        "" => Layer::AllBrokers,
        _ => check_node(name).map(|()| Layer::Broker)?,
    };
    let change = on_topics(change)?;
    let done = catalog::alter_broker(core, layer, change, validate_only).await;
    done.map_err(|error| match refusal_of_topic(&error) {
        // Where a topic's settings are not valid, a broker's make the request so, as in Kafka.
        (ErrorCode::InvalidConfig, message) => (ErrorCode::InvalidRequest, message),
        other => other,
    })
}

/// Refuses a node that there is not.
fn check_node(name: &str) -> Result<(), Refusal> {
    if name == NODE_ID.to_string() {
        return Ok(());
    }
    Err((ErrorCode::InvalidRequest, format!("the only node is {NODE_ID}")))
}

/// The change by the names that settings have on topics.
fn on_topics(change: Change) -> Result<Change, Refusal> {
    let renamed = |name: String| match name_on_topics(&name) {
        Some(on_topics) => Ok(on_topics.to_owned()),
        None => {
            let advice = "cannot be changed while the broker runs: what can be are defaults of topics' settings; \
                          others are options of `keylane serve`";
            Err((ErrorCode::InvalidRequest, format!("{name} {advice}")))
        }
    };
    Ok(match change {
        Change::Replace(pairs) => {
            let pairs = pairs.into_iter().map(|(name, value)| Ok((renamed(name)?, value)));
            Change::Replace(pairs.collect::<Result<_, Refusal>>()?)
        }
        Change::Each(each) => {
            // What was never set is gone already, whatever its name: tools delete throttles of replication.
            let each = each.into_iter().filter(|(name, operation, _)| {
                *operation != Operation::Delete || name_on_topics(name).is_some()
            });
            let each = each.map(|(name, operation, value)| Ok((renamed(name)?, operation, value)));
            Change::Each(each.collect::<Result<_, Refusal>>()?)
        }
    })
}

/// Changes levels of the log. They are set one by one: AlterConfigs, which replaces all, does not know them, as in Kafka.
async fn loggers(core: &Rc<Core>, name: &str, change: Change, validate_only: bool) -> Result<(), Refusal> {
    check_node(name)?;
    let refused = |message: String| (ErrorCode::InvalidRequest, message);
    let Change::Each(each) = change else {
        return Err(refused("levels of the log are changed one by one (IncrementalAlterConfigs)".to_owned()));
    };
    let mut levels = Vec::with_capacity(each.len());
    for (logger, operation, value) in each {
        let invalid = |message: String| (ErrorCode::InvalidConfig, message);
        log_levels::check_name(&logger).map_err(invalid)?;
        let level = match (operation, value) {
            (Operation::Set, Some(level)) => {
                log_levels::level_of(&level).map_err(invalid)?;
                Some(level)
            }
            (Operation::Delete, _) if logger == log_levels::ROOT => {
                return Err(refused(format!("{logger} always has a level: set another one")));
            }
            (Operation::Delete, _) => None,
            _ => return Err(refused(format!("the level of {logger} can be set or deleted"))),
        };
        levels.push((logger, level));
    }
    if validate_only {
        return Ok(());
    }
    catalog::alter_log_levels(core, levels).await.map_err(|error| refusal_of_topic(&error))
}

/// What the number of an operation asks for.
fn operation(number: i8) -> Operation {
    match wire::Operation::from_code(number) {
        None => Operation::Other(number),
        Some(wire::Operation::Set) => Operation::Set,
        Some(wire::Operation::Delete) => Operation::Delete,
        Some(wire::Operation::Append) => Operation::Append,
        Some(wire::Operation::Subtract) => Operation::Subtract,
    }
}
