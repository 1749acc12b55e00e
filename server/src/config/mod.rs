//! What can be set, and what is checked before anything starts: `options` as they are given, `keys` those of clients, `server_config` as the rest of
//! the server sees them, `validate` the checks.
//!
//! Promise: a setting that cannot work is refused at start, with an error that says what to do.

mod keys;
pub mod options;
mod server_config;
mod validate;
pub mod values;

pub use keys::Keys;
pub use server_config::{ServerConfig, Values, split_host_port};
pub use validate::{ConfigError, allowed_cores, online_cores};
