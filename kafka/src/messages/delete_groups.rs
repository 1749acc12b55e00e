//! DeleteGroups (API 42), versions 0 to 2 (KIP-229).
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A DeleteGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroupsRequest<'a> {
    /// Groups to delete.
    pub groups: Vec<&'a str>,
}

impl<'a> DeleteGroupsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::DeleteGroups.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::DeleteGroups.is_flexible(version);
        // Strings alone: no tagged fields follow each.
        let groups = r.vec(flexible, if flexible { 1 } else { 2 }, "groups_names", |r| {
            r.string(flexible, "groups_names")
        })?;
        r.skip_tags(flexible)?;
        Ok(Self { groups })
    }
}

/// A DeleteGroups response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroupsResponse<'a> {
    /// The groups of the request and what became of each.
    pub results: Vec<(Cow<'a, str>, ErrorCode)>,
}

impl DeleteGroupsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::DeleteGroups.is_flexible(version);
        w.i32(0); // throttle_time_ms
        w.length(flexible, self.results.len());
        for (group, error) in &self.results {
            w.string(flexible, group);
            w.i16(error.code());
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
