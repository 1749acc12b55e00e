//! What requests do: a file for each family of APIs.
//!
//! Promise: a handler takes a decoded request and its context and returns the response as a message; it knows neither
//! frames nor sockets. Produce and Fetch are the exceptions: they encode their responses themselves, because records
//! are not copied for that.

pub mod alter_configs;
pub mod api_versions;
pub mod configs;
pub mod consumer_groups;
pub mod delete_records;
mod features;
pub mod fetch;
pub mod groups;
pub mod leader_epochs;
mod list_offsets;
pub mod members;
pub mod metadata;
pub mod produce;
mod producers;
mod quorum;
mod replicas;
mod resources;
mod topic_partitions;
pub mod topics;

use keylane_kafka::Ask;

use super::context::Context;

/// A request that one message answers. Every API of the table but Produce, Fetch and ApiVersions has this.
pub trait Handle<'q>: Ask<'q> {
    /// Does what is asked. `throttle_time_ms` of the answer is not set here: see [`Context::throttle`].
    async fn handle(self, context: &Context) -> Self::Answer<'static>;
}
