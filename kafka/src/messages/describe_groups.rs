//! DescribeGroups (API 15), versions 0 to 6. Groups have no members here, so that none is ever listed.
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A DescribeGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeGroupsRequest<'a> {
    /// Groups asked for.
    pub groups: Vec<&'a str>,
    /// Whether operations on each group are to be listed (v3).
    pub include_authorized_operations: bool,
}

impl<'a> DescribeGroupsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::DescribeGroups.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::DescribeGroups.is_flexible(version);
        // Strings alone: no tagged fields follow each.
        let groups =
            r.vec(flexible, if flexible { 1 } else { 2 }, "groups", |r| r.string(flexible, "groups"))?;
        let include_authorized_operations = version >= 3 && r.bool("include_authorized_operations")?;
        r.skip_tags(flexible)?;
        Ok(Self { groups, include_authorized_operations })
    }
}

/// A DescribeGroups response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeGroupsResponse<'a> {
    /// The groups of the request.
    pub groups: Vec<DescribedGroup<'a>>,
}

/// A group's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup<'a> {
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error (v6).
    pub error_message: Option<Cow<'a, str>>,
    /// Its name.
    pub group: Cow<'a, str>,
    /// Its state.
    pub state: &'static str,
    /// Bits of what the client may do with it, or `i32::MIN` (v3).
    pub authorized_operations: i32,
}

impl DescribeGroupsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::DescribeGroups.is_flexible(version);
        if version >= 1 {
            w.i32(0); // throttle_time_ms
        }
        w.length(flexible, self.groups.len());
        for group in &self.groups {
            w.i16(group.error.code());
            if version >= 6 {
                w.nullable_string(flexible, group.error_message.as_deref());
            }
            w.string(flexible, &group.group);
            w.string(flexible, group.state);
            w.string(flexible, ""); // protocol_type
            w.string(flexible, ""); // protocol_data
            w.length(flexible, 0); // members
            if version >= 3 {
                w.i32(group.authorized_operations);
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
