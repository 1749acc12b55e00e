//! What requests do: a file for each family of APIs.
//!
//! Promise: a handler takes a decoded request and returns the response as a message; it knows neither frames nor sockets.
//! Produce and Fetch are the exceptions: they encode their responses themselves, because records are not copied for that.

pub mod alter_configs;
pub mod configs;
pub mod delete_records;
pub mod fetch;
pub mod groups;
pub mod list_offsets;
pub mod members;
pub mod metadata;
pub mod produce;
pub mod topics;
