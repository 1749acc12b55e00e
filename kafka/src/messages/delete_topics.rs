//! DeleteTopics (API 20): by name, or by id from version 6 (KIP-516).
use std::borrow::Cow;

use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// A DeleteTopics request.
    pub struct DeleteTopicsRequest<'a> {
        /// Topics to delete.
        topics: Vec<DeletableTopic<'a>>, 6..;
        /// Topics to delete, all by name.
        topic_names: Vec<&'a str>, ..=5;
        /// How long the client waits.
        timeout_ms: i32, ..;
    }

    /// A topic to delete: by name, or by id with no name.
    #[derive(Copy)]
    pub struct DeletableTopic<'a> {
        /// Its name.
        name: Option<&'a str>, ..;
        /// Its id; nil if it is deleted by name.
        topic_id: Uuid, ..;
    }

    /// A DeleteTopics response.
    pub struct DeleteTopicsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The topics of the request.
        topics: Vec<DeletedTopic<'a>>, ..;
    }

    /// Outcome for a topic.
    pub struct DeletedTopic<'a> {
        /// Its name; null only for an id that is not known.
        name: Option<Cow<'a, str>>, .., null 6..;
        /// Its id.
        topic_id: Uuid, 6..;
        /// Outcome.
        error: ErrorCode, ..;
        /// Explanation of an error.
        error_message: Option<Cow<'a, str>>, 5..;
    }
}

impl<'a> DeleteTopicsRequest<'a> {
    /// What to delete, whatever the version.
    pub fn topics(&self) -> impl Iterator<Item = DeletableTopic<'a>> {
        let by_name =
            self.topic_names.iter().map(|name| DeletableTopic { name: Some(*name), topic_id: Uuid::nil() });
        self.topics.iter().copied().chain(by_name)
    }
}
