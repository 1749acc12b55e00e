//! IncrementalAlterConfigs (API 44), versions 0 and 1: changes some settings of a resource (KIP-339). Its
//! response is that of AlterConfigs.
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind};

/// An IncrementalAlterConfigs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementalAlterConfigsRequest<'a> {
    /// What to change.
    pub resources: Vec<IncrementalResource<'a>>,
    /// Check only, change nothing.
    pub validate_only: bool,
}

/// A resource and its changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementalResource<'a> {
    /// As in DescribeConfigs.
    pub kind: i8,
    /// Its name; a broker's is its id, or empty for the defaults of all.
    pub name: &'a str,
    /// What to change.
    pub configs: Vec<ConfigChange<'a>>,
}

/// A change of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigChange<'a> {
    /// Its name.
    pub name: &'a str,
    /// What to do: the number of an [`Operation`], or one that is not known.
    pub operation: i8,
    /// Its value.
    pub value: Option<&'a str>,
}

/// What to do with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Operation {
    /// Give it a value.
    Set = 0,
    /// Back to the default.
    Delete = 1,
    /// Add items to a list.
    Append = 2,
    /// Take items out of a list.
    Subtract = 3,
}

impl Operation {
    /// The operation that a number stands for.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

impl<'a> IncrementalAlterConfigsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::IncrementalAlterConfigs.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::IncrementalAlterConfigs.is_flexible(version);
        let request = Self {
            resources: r.vec(flexible, if flexible { 4 } else { 1 + 2 + 4 }, "resources", |r| {
                let kind = r.i8("resource_type")?;
                let name = r.string(flexible, "resource_name")?;
                let configs = r.vec(flexible, if flexible { 4 } else { 2 + 1 + 2 }, "configs", |r| {
                    let name = r.string(flexible, "name")?;
                    let operation = r.i8("config_operation")?;
                    let value = r.nullable_string(flexible, "value")?;
                    r.skip_tags(flexible)?;
                    Ok(ConfigChange { name, operation, value })
                })?;
                r.skip_tags(flexible)?;
                Ok(IncrementalResource { kind, name, configs })
            })?,
            validate_only: r.bool("validate_only")?,
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}
