//! DescribeConfigs (API 32): settings with their sources (KIP-226) and types (KIP-569).
use std::borrow::Cow;

use crate::declare::message;
use crate::error::ErrorCode;
use crate::field::{At, Field};
use crate::wire::{Reader, WireError, Writer};

/// Resource type of a topic.
pub const TOPIC: i8 = 2;
/// Resource type of a broker.
pub const BROKER: i8 = 4;
/// Resource type of the levels of a broker's log (KIP-412).
pub const BROKER_LOGGER: i8 = 8;
/// Resource type of a subscription to clients' metrics (KIP-714).
pub const CLIENT_METRICS: i8 = 16;
/// Resource type of a group (KIP-848).
pub const GROUP: i8 = 32;

message! {
    /// A DescribeConfigs request.
    pub struct DescribeConfigsRequest<'a> {
        /// What to describe.
        resources: Vec<ConfigResource<'a>>, ..;
        /// Whether to list where else each setting can come from.
        include_synonyms: bool, ..;
        /// Whether to explain each setting.
        include_documentation: bool, 3..;
    }

    /// A resource to describe.
    pub struct ConfigResource<'a> {
        /// [`TOPIC`], [`BROKER`], or a type that is not served.
        kind: i8, ..;
        /// Its name; a broker's is its id, or empty for the defaults of all.
        name: &'a str, ..;
        /// Settings asked for; `None`: all.
        keys: Option<Vec<&'a str>>, ..;
    }

    /// A DescribeConfigs response.
    pub struct DescribeConfigsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The resources of the request.
        resources: Vec<DescribedResource<'a>>, ..;
    }

    /// Outcome for a resource.
    pub struct DescribedResource<'a> {
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, ..;
        /// As in the request.
        kind: i8, ..;
        /// As in the request.
        name: Cow<'a, str>, ..;
        /// Its settings.
        configs: Vec<DescribedConfig<'a>>, ..;
    }

    /// A setting.
    pub struct DescribedConfig<'a> {
        /// Its name.
        name: Cow<'a, str>, ..;
        /// Its value.
        value: Option<Cow<'a, str>>, ..;
        /// Whether it cannot be changed.
        read_only: bool, ..;
        /// Where the value comes from.
        source: ConfigSource, ..;
        /// Whether the value is a secret.
        is_sensitive: bool, ..;
        /// Values it has from other sources, the one that counts first; empty if not asked for.
        synonyms: Vec<ConfigSynonym<'a>>, ..;
        /// Type of the value.
        config_type: ConfigType, 3..;
        /// Explanation; null if not asked for.
        documentation: Option<Cow<'a, str>>, 3..;
    }

    /// A value from one source.
    pub struct ConfigSynonym<'a> {
        /// Name of the setting there.
        name: Cow<'a, str>, ..;
        /// Its value there.
        value: Option<Cow<'a, str>>, ..;
        /// The source.
        source: ConfigSource, ..;
    }
}

/// Numbers with a name. A number that has none is read as the first, which is "unknown".
macro_rules! named_numbers {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[repr(i8)]
        pub enum $name {
            #[default]
            /// Not one of the others.
            Unknown = 0,
            $($(#[$doc])* $variant = $code,)*
        }

        impl<'a> Field<'a> for $name {
            fn read(r: &mut Reader<'a>, _: At, name: &'static str) -> Result<Self, WireError> {
                Ok(match r.i8(name)? {
                    $($code => Self::$variant,)*
                    _ => Self::Unknown,
                })
            }

            fn write(&self, w: &mut Writer<'_>, _: At) {
                w.i8(*self as i8);
            }

            fn bytes_min(_: At) -> usize {
                1
            }

            fn sample(_: At, seed: &mut u32) -> Self {
                const ALL: &[$name] = &[$($name::$variant,)*];
                *seed += 1;
                ALL[*seed as usize % ALL.len()]
            }
        }
    };
}

named_numbers! {
    /// Where a setting comes from.
    pub enum ConfigSource {
        /// Set on the topic.
        Topic = 1,
        /// Set on this broker while it runs.
        DynamicBroker = 2,
        /// Set for all brokers while they run.
        DynamicDefaultBroker = 3,
        /// Set when the broker was started.
        StaticBroker = 4,
        /// Not set.
        Default = 5,
        /// The level of a broker's logger.
        DynamicBrokerLogger = 6,
    }
}

named_numbers! {
    /// Type of a setting (v3).
    pub enum ConfigType {
        /// True or false.
        Boolean = 1,
        /// Text.
        String = 2,
        /// 32 bits.
        Int = 3,
        /// 16 bits.
        Short = 4,
        /// 64 bits.
        Long = 5,
        /// A floating-point number.
        Double = 6,
        /// Several, with commas between them.
        List = 7,
        /// Name of a class.
        Class = 8,
        /// A secret.
        Password = 9,
    }
}
