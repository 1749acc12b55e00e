//! The settings of a topic: names, ranges, defaults, and what they amount to.
//!
//! Names, ranges and defaults are Kafka's (<https://kafka.apache.org/documentation/#topicconfigs>) unless
//! `docs/topic-settings.md` says otherwise. A value counts in this order: the topic's own, the broker's (which are changed while it
//! runs), the server's option, the default. Promise: a value that was accepted has a meaning, so that what is in force is never guessed; a
//! setting that changes nothing here says so in the table. A value is kept as it was given, blanks and all.

mod broker;
mod change;
mod in_force;
pub mod names;
mod setting;
mod table;

pub use broker::{BrokerSettings, Layer, name_on_topics};
pub use change::{Change, Operation, SettingsError, accept};
pub use in_force::{batch_rules, check_defaults, log_config, max_message_bytes};
pub use setting::{BrokerName, Kind, Setting};
pub use table::SETTINGS;
