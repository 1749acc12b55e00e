//! AlterConfigs (API 33), versions 0 to 2: replaces all settings of a resource.
//!
//! Also the response, which IncrementalAlterConfigs has as well.
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// An AlterConfigs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigsRequest<'a> {
    /// What to change.
    pub resources: Vec<AlterConfigsResource<'a>>,
    /// Check only, change nothing.
    pub validate_only: bool,
}

/// A resource and the settings that it is to have; those that are not named go back to their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigsResource<'a> {
    /// As in DescribeConfigs.
    pub kind: i8,
    /// Its name; a broker's is its id, or empty for the defaults of all.
    pub name: &'a str,
    /// Names and values.
    pub configs: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> AlterConfigsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::AlterConfigs.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::AlterConfigs.is_flexible(version);
        let request = Self {
            resources: r.vec(flexible, if flexible { 4 } else { 1 + 2 + 4 }, "resources", |r| {
                let kind = r.i8("resource_type")?;
                let name = r.string(flexible, "resource_name")?;
                let configs = r.vec(flexible, if flexible { 3 } else { 2 + 2 }, "configs", |r| {
                    let name = r.string(flexible, "name")?;
                    let value = r.nullable_string(flexible, "value")?;
                    r.skip_tags(flexible)?;
                    Ok((name, value))
                })?;
                r.skip_tags(flexible)?;
                Ok(AlterConfigsResource { kind, name, configs })
            })?,
            validate_only: r.bool("validate_only")?,
        };
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

/// An AlterConfigs or IncrementalAlterConfigs response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigsResponse<'a> {
    /// The resources of the request.
    pub resources: Vec<AlteredResource<'a>>,
}

/// Outcome for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredResource<'a> {
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error.
    pub error_message: Option<Cow<'a, str>>,
    /// As in the request.
    pub kind: i8,
    /// As in the request.
    pub name: Cow<'a, str>,
}

impl AlterConfigsResponse<'_> {
    /// Writes the body; `api` is one of the two.
    pub fn encode(&self, api: ApiKey, version: i16, w: &mut Writer<'_>) {
        let flexible = api.is_flexible(version);
        w.i32(0); // throttle_time_ms
        w.length(flexible, self.resources.len());
        for resource in &self.resources {
            w.i16(resource.error.code());
            w.nullable_string(flexible, resource.error_message.as_deref());
            w.i8(resource.kind);
            w.string(flexible, &resource.name);
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
