//! What can be set, and what is checked before anything starts: `options` as they are given, `server_config` as the rest of
//! the server sees them, `validate` the checks.
//!
//! Promise: a setting that cannot work is refused at start, with an error that says what to do.

pub mod options;
mod server_config;
mod validate;
pub mod values;

pub use server_config::{ServerConfig, Values, split_host_port};
pub use validate::{ConfigError, allowed_cores, online_cores};
