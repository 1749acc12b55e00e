//! What every front offers its clients: topics, their settings, streams (topics whose partitions have hash ranges), records by
//! offset and by time.
//!
//! Promise: a success is durable and known to every core. Nothing here knows a protocol: names are those of topics, errors
//! are typed.

pub mod append;
pub mod by_time;
pub mod catalog;
pub mod error;
pub mod producers;
pub mod read;
pub mod record_time;
pub mod settings;
pub mod sizes;
pub mod streams;
pub mod topics;
pub mod trim;
