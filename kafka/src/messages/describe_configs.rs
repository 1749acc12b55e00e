//! DescribeConfigs (API 32), versions 1 to 4: settings with their sources (KIP-226) and types (KIP-569).
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// Resource type of a topic.
pub const TOPIC: i8 = 2;
/// Resource type of a broker.
pub const BROKER: i8 = 4;

/// A DescribeConfigs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeConfigsRequest<'a> {
    /// What to describe.
    pub resources: Vec<ConfigResource<'a>>,
    /// Whether to list where else each setting can come from.
    pub include_synonyms: bool,
    /// Whether to explain each setting (v3).
    pub include_documentation: bool,
}

/// A resource to describe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigResource<'a> {
    /// [`TOPIC`], [`BROKER`], or a type that is not served.
    pub kind: i8,
    /// Its name; a broker's is its id, or empty for the defaults of all.
    pub name: &'a str,
    /// Settings asked for; `None`: all.
    pub keys: Option<Vec<&'a str>>,
}

impl<'a> DescribeConfigsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::DescribeConfigs.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::DescribeConfigs.is_flexible(version);
        let resource_bytes_min = if flexible { 1 + 1 + 1 + 1 } else { 1 + 2 + 4 };
        let request = Self {
            resources: r.vec(flexible, resource_bytes_min, "resources", |r| {
                let kind = r.i8("resource_type")?;
                let name = r.string(flexible, "resource_name")?;
                let len = r.nullable_array(flexible, if flexible { 1 } else { 2 }, "configuration_keys")?;
                let mut keys = len.map(Vec::with_capacity);
                for _ in 0..len.unwrap_or(0) {
                    keys.get_or_insert_default().push(r.string(flexible, "configuration_keys")?);
                }
                r.skip_tags(flexible)?;
                Ok(ConfigResource { kind, name, keys })
            })?,
            include_synonyms: r.bool("include_synonyms")?,
            include_documentation: version >= 3 && r.bool("include_documentation")?,
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
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
}

impl ConfigSource {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// Type of a setting (v3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    Unknown = 0,
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

/// A DescribeConfigs response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeConfigsResponse<'a> {
    /// The resources of the request.
    pub resources: Vec<DescribedResource<'a>>,
}

/// Outcome for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedResource<'a> {
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error.
    pub error_message: Option<Cow<'a, str>>,
    /// As in the request.
    pub kind: i8,
    /// As in the request.
    pub name: Cow<'a, str>,
    /// Its settings.
    pub configs: Vec<DescribedConfig<'a>>,
}

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConfig<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its value.
    pub value: Option<Cow<'a, str>>,
    /// Whether it cannot be changed.
    pub read_only: bool,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether the value is a secret.
    pub is_sensitive: bool,
    /// Values it has from other sources, the one that counts first; empty if not asked for.
    pub synonyms: Vec<ConfigSynonym<'a>>,
    /// Type of the value (v3).
    pub config_type: ConfigType,
    /// Explanation; `None` if not asked for (v3).
    pub documentation: Option<Cow<'a, str>>,
}

/// A value from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym<'a> {
    /// Name of the setting there.
    pub name: Cow<'a, str>,
    /// Its value there.
    pub value: Option<Cow<'a, str>>,
    /// The source.
    pub source: ConfigSource,
}

impl DescribeConfigsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::DescribeConfigs.is_flexible(version);
        w.i32(0); // throttle_time_ms
        w.length(flexible, self.resources.len());
        for resource in &self.resources {
            w.i16(resource.error.code());
            w.nullable_string(flexible, resource.error_message.as_deref());
            w.i8(resource.kind);
            w.string(flexible, &resource.name);
            w.length(flexible, resource.configs.len());
            for config in &resource.configs {
                config.encode(version, flexible, w);
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}

impl DescribedConfig<'_> {
    fn encode(&self, version: i16, flexible: bool, w: &mut Writer<'_>) {
        w.string(flexible, &self.name);
        w.nullable_string(flexible, self.value.as_deref());
        w.bool(self.read_only);
        w.i8(self.source.code());
        w.bool(self.is_sensitive);
        w.length(flexible, self.synonyms.len());
        for synonym in &self.synonyms {
            w.string(flexible, &synonym.name);
            w.nullable_string(flexible, synonym.value.as_deref());
            w.i8(synonym.source.code());
            w.no_tags(flexible);
        }
        if version >= 3 {
            w.i8(self.config_type as i8);
            w.nullable_string(flexible, self.documentation.as_deref());
        }
        w.no_tags(flexible);
    }
}
