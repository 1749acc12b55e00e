//! DeleteTopics (API 20), versions 1 to 6: by name, or by id from 6 (KIP-516).
use std::borrow::Cow;

use uuid::Uuid;

use crate::error::ErrorCode;
use crate::versions::ApiKey;
use crate::wire::{Reader, WireError, WireErrorKind, Writer};

/// A DeleteTopics request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteTopicsRequest<'a> {
    /// Topics to delete.
    pub topics: Vec<DeletableTopic<'a>>,
    /// How long the client waits.
    pub timeout_ms: i32,
}

/// A topic to delete: by name, or by id with no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletableTopic<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Its id; nil if it is deleted by name.
    pub topic_id: Uuid,
}

impl<'a> DeleteTopicsRequest<'a> {
    /// Reads a whole request.
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::DeleteTopics.serves(version) {
            return Err(r.error("request_api_version", WireErrorKind::Version(version)));
        }
        let flexible = ApiKey::DeleteTopics.is_flexible(version);
        let topics = if version >= 6 {
            r.vec(flexible, 1 + 16 + 1, "topics", |r| {
                let name = r.nullable_string(flexible, "name")?;
                let topic_id = r.uuid("topic_id")?;
                r.skip_tags(flexible)?;
                Ok(DeletableTopic { name, topic_id })
            })?
        } else {
            // Strings alone: no tagged fields follow each.
            r.vec(flexible, if flexible { 1 } else { 2 }, "topic_names", |r| {
                let name = Some(r.string(flexible, "topic_names")?);
                Ok(DeletableTopic { name, topic_id: Uuid::nil() })
            })?
        };
        let timeout_ms = r.i32("timeout_ms")?;
        r.skip_tags(flexible)?;
        Ok(Self { topics, timeout_ms })
    }
}

/// A DeleteTopics response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteTopicsResponse<'a> {
    /// The topics of the request.
    pub topics: Vec<DeletedTopic<'a>>,
}

/// Outcome for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic<'a> {
    /// Its name; `None` only for an id that is not known (v6).
    pub name: Option<Cow<'a, str>>,
    /// Its id (v6).
    pub topic_id: Uuid,
    /// Outcome.
    pub error: ErrorCode,
    /// Explanation of an error (v5).
    pub error_message: Option<Cow<'a, str>>,
}

impl DeleteTopicsResponse<'_> {
    /// Writes the body.
    pub fn encode(&self, version: i16, w: &mut Writer<'_>) {
        let flexible = ApiKey::DeleteTopics.is_flexible(version);
        w.i32(0); // throttle_time_ms
        w.length(flexible, self.topics.len());
        for topic in &self.topics {
            if version >= 6 {
                w.nullable_string(flexible, topic.name.as_deref());
                w.uuid(topic.topic_id);
            } else {
                w.string(flexible, topic.name.as_deref().unwrap_or_default());
            }
            w.i16(topic.error.code());
            if version >= 5 {
                w.nullable_string(flexible, topic.error_message.as_deref());
            }
            w.no_tags(flexible);
        }
        w.no_tags(flexible);
    }
}
