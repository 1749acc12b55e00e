//! What can be set, and what is checked before anything starts: `server_config` has the settings, `values` how people write them,
//! `keys` those of clients, `validate` the checks.
//!
//! Promise: a setting that cannot work is refused at start, with an error that says what to do.

mod keys;
mod server_config;
mod validate;
pub mod values;

pub use keys::Keys;
pub use server_config::{ServerConfig, Values, split_host_port};
pub use validate::{ConfigError, allowed_cores, online_cores};
