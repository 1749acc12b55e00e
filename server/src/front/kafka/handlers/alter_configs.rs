//! AlterConfigs and IncrementalAlterConfigs: settings of topics, while the server runs.
//!
//! Promise: each topic gets all of its changes or none; a success is answered when they are durable and in
//! force on every core.

use std::collections::HashSet;
use std::rc::Rc;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::alter_configs::{AlterConfigsRequest, AlterConfigsResponse, AlteredResource};
use keylane_kafka::messages::describe_configs::{BROKER, TOPIC};
use keylane_kafka::messages::incremental_alter_configs::{
    self as wire, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::{Refusal, refusal_of_topic};
use crate::front::kafka::handlers::Handle;
use crate::service::catalog;
use crate::service::settings::{Change, Operation};
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
    check_changeable(name).map_err(|e| refusal_of_topic(&e))?;
    let done = catalog::alter(core, name.to_owned(), change, validate_only).await;
    done.map_err(|error| refusal_of_topic(&error))
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
