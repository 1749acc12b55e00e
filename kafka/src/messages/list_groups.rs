//! ListGroups (API 16), versions 0 to 5: filtered by state from version 4 (KIP-518), by type from 5 (KIP-848).
use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A ListGroups request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListGroupsRequest<'a> {
    /// States of the groups that are wanted; none: all (v4).
    pub states: Vec<&'a str>,
    /// Types of the groups that are wanted; none: all (v5).
    pub types: Vec<&'a str>,
}

impl<'a> ListGroupsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::ListGroups.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::ListGroups.is_flexible(version);
        let mut request = Self { states: Vec::new(), types: Vec::new() };
        if version >= 4 {
            request.states = r.vec(flexible, 1, "states_filter", |r| r.string(flexible, "states_filter"))?;
        }
        if version >= 5 {
            request.types = r.vec(flexible, 1, "types_filter", |r| r.string(flexible, "types_filter"))?;
        }
        r.skip_tags(flexible)?;
        Ok(request)
    }
}

/// A ListGroups response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListGroupsResponse<'a> {
    /// Outcome.
    pub error: ErrorCode,
    /// The groups.
    pub groups: Vec<ListedGroup<'a>>,
}

/// A group that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup<'a> {
    /// Its name.
    pub group: Cow<'a, str>,
    /// What its members speak; empty without members.
    pub protocol_type: &'static str,
    /// Its state (v4).
    pub state: &'static str,
    /// Its type (v5).
    pub group_type: &'static str,
}

impl ListGroupsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::ListGroups.is_flexible(version);
        if version >= 1 {
            w.i32(0); // throttle_time_ms
        }
        w.i16(self.error.code());
        w.length(flexible, self.groups.len());
        for group in &self.groups {
            w.string(flexible, &group.group);
            w.string(flexible, group.protocol_type);
            if version >= 4 {
                w.string(flexible, group.state);
            }
            if version >= 5 {
                w.string(flexible, group.group_type);
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
