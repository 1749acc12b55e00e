//! What every front offers its clients: topics, their settings, records by offset and by time.
//!
//! Promise: a success is durable and known to every core. Nothing here knows a protocol: names are those of topics, errors
//! are typed.

pub mod controller;
pub mod record_time;
pub mod settings;
pub mod topics;
