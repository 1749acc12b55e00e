//! One setting of a topic: what values it takes, and where its value comes from.

use crate::config::{ServerConfig, Values};

use super::names::{COMPACT, DELETE, MAX_MESSAGE_BYTES, SEGMENT_BYTES};

/// A setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name on a topic.
    pub name: &'static str,
    /// Its name on a broker; `None` for what only topics have.
    pub broker: Option<BrokerName>,
    /// The server's option that sets it for topics that do not set it themselves.
    pub option: Option<&'static str>,
    /// Its value where nobody sets it.
    pub default: &'static str,
    /// What values it takes.
    pub rule: Rule,
    /// What it does, in a sentence; for one that changes nothing here, why.
    pub meaning: &'static str,
}

/// The name of a topic's setting on a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerName {
    /// The default is the default of this setting.
    WithDefault(&'static str),
    /// Kafka leaves this one empty by default, because another one in hours or minutes stands behind it.
    Empty(&'static str),
}

impl BrokerName {
    /// The name itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WithDefault(name) | Self::Empty(name) => name,
        }
    }
}

/// The type of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number.
    Double,
    /// Texts with commas between them.
    List,
    /// `true` or `false`.
    Boolean,
}

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A whole number of milliseconds from this on.
    Milliseconds(i64),
    /// A whole number of bytes in 64 bits, from this on.
    Bytes(i64),
    /// A whole number of messages from this on.
    Messages(i64),
    /// A whole number of bytes in 32 bits, from this on.
    ShortBytes(i32),
    /// A whole number from the first to the second.
    Between(i32, i32),
    /// A level of gzip: -1 for its default, or 1 to 9.
    GzipLevel,
    /// A number from 0 to 1.
    Ratio,
    /// Any of `delete` and `compact`, or none.
    Policy,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// `false`, because the other one would promise what there is not.
    Off,
    /// `*`, or a list of replicas (`partition:broker`).
    Replicas,
}

impl Setting {
    /// The type of its value.
    pub fn kind(&self) -> Kind {
        match self.rule {
            Rule::Milliseconds(_) | Rule::Bytes(_) | Rule::Messages(_) => Kind::Long,
            Rule::ShortBytes(_) | Rule::Between(..) | Rule::GzipLevel => Kind::Int,
            Rule::Ratio => Kind::Double,
            Rule::Policy | Rule::Replicas => Kind::List,
            Rule::OneOf(_) => Kind::String,
            Rule::Flag | Rule::Off => Kind::Boolean,
        }
    }

    /// Whether its value is a list, to which items can be added.
    pub fn is_list(&self) -> bool {
        self.kind() == Kind::List
    }

    /// Checks a value. The error says what would be accepted.
    pub fn check(&self, value: &str, config: &ServerConfig) -> Result<(), String> {
        let value = value.trim();
        let whole = || value.parse::<i64>().ok();
        let within = |min: i64, max: i64| whole().is_some_and(|n| (min..=max).contains(&n));
        let accepted = match self.rule {
            Rule::Milliseconds(min) | Rule::Bytes(min) | Rule::Messages(min) => within(min, i64::MAX),
            Rule::ShortBytes(min) => within(min.into(), self.bytes_max(config)),
            Rule::Between(min, max) => within(min.into(), max.into()),
            Rule::GzipLevel => within(-1, -1) || within(1, 9),
            Rule::Ratio => value.parse::<f64>().is_ok_and(|ratio| (0.0..=1.0).contains(&ratio)),
            Rule::Policy => items_as_given(value).all(|item| [COMPACT, DELETE].contains(&item)),
            Rule::OneOf(words) => words.contains(&value),
            Rule::Flag => is_flag(value, "true") || is_flag(value, "false"),
            Rule::Off => is_flag(value, "false"),
            Rule::Replicas => value == "*" || items_as_given(value).all(is_replica),
        };
        if accepted { Ok(()) } else { Err(self.range(config)) }
    }

    /// What is accepted, in words.
    fn range(&self, config: &ServerConfig) -> String {
        let unlimited = |min| if min == -1 { " (no limit)" } else { "" };
        let whole = |unit: &str, min: i64, max: i64| {
            format!("a whole number{unit} from {min}{} to {max} is accepted", unlimited(min))
        };
        match self.rule {
            Rule::Milliseconds(min) => whole(" of milliseconds", min, i64::MAX),
            Rule::Bytes(min) => whole(" of bytes", min, i64::MAX),
            Rule::Messages(min) => whole(" of messages", min, i64::MAX),
            Rule::ShortBytes(min) => whole(" of bytes", min.into(), self.bytes_max(config)),
            Rule::Between(min, max) => whole("", min.into(), max.into()),
            Rule::GzipLevel => "a whole number from 1 to 9, or -1 for gzip's default, is accepted".to_owned(),
            Rule::Ratio => "a number from 0 to 1 is accepted".to_owned(),
            Rule::Policy => {
                "delete, compact, both with a comma between them, or nothing (to keep everything) \
                             are accepted"
                    .to_owned()
            }
            Rule::OneOf(words) => format!("one of these is accepted: {}", words.join(", ")),
            Rule::Flag => "true or false is accepted".to_owned(),
            Rule::Off => format!("only false is accepted. {}", self.meaning),
            Rule::Replicas => {
                "* or a list of replicas, PARTITION:BROKER with commas between them, is accepted".to_owned()
            }
        }
    }

    fn bytes_max(&self, config: &ServerConfig) -> i64 {
        let most = match self.name {
            // A larger batch could not arrive, or not be stored.
            MAX_MESSAGE_BYTES => config.max_request_bytes.min(config.batch_bytes_max()),
            _ => i32::MAX as usize,
        };
        i64::try_from(most).unwrap_or(i64::MAX).min(i32::MAX.into())
    }

    /// What the server's options say, if they say something else than the default.
    pub fn of_server(&self, config: &ServerConfig) -> Option<String> {
        if let Some(given) = config.topic_defaults.get(self.name) {
            return Some(given.clone());
        }
        let given = match self.name {
            MAX_MESSAGE_BYTES => config.max_message_bytes.to_string(),
            SEGMENT_BYTES => config.segment_bytes.to_string(),
            _ => return None,
        };
        (given != self.default).then_some(given)
    }

    /// The value in force, as it was given.
    pub fn in_force(&self, own: &Values, config: &ServerConfig) -> String {
        let value = own.get(self.name).cloned().or_else(|| self.of_server(config));
        value.unwrap_or_else(|| self.default.to_owned())
    }
}

fn is_flag(value: &str, word: &str) -> bool {
    value.eq_ignore_ascii_case(word)
}

fn is_replica(item: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    item.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

/// The items of a list, empty ones too; none of an empty list.
fn items_as_given(list: &str) -> impl Iterator<Item = &str> {
    let given = if list.is_empty() { None } else { Some(list) };
    given.into_iter().flat_map(|list| list.split(',').map(str::trim))
}
