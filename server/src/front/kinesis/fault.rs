//! What the protocol says of a request that is not done: a type that clients look at, and a text for people.

use hyper::StatusCode;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::runtime::mesh::AppendFailed;
use crate::service::error::{AppendRefused, ReadRefused, TopicError};

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The status of the answer.
    pub status: StatusCode,
    /// The type, as the protocol names it.
    pub kind: &'static str,
    /// What a person can do with.
    pub message: String,
}

macro_rules! faults {
    ($($(#[$meta:meta])* $name:ident => $status:ident, $kind:literal;)*) => {
        impl Fault {
            $($(#[$meta])* pub fn $name(message: impl Into<String>) -> Self {
                Self { status: StatusCode::$status, kind: $kind, message: message.into() }
            })*
        }
    };
}

faults! {
    /// A value that no request may have.
    validation => BAD_REQUEST, "ValidationException";
    /// A value that this request may not have.
    argument => BAD_REQUEST, "InvalidArgumentException";
    /// Bytes that are no request.
    serialization => BAD_REQUEST, "SerializationException";
    /// There is no such stream, shard or consumer.
    not_found => BAD_REQUEST, "ResourceNotFoundException";
    /// It exists, or is not in the state for this.
    in_use => BAD_REQUEST, "ResourceInUseException";
    /// More than is allowed.
    limit => BAD_REQUEST, "LimitExceededException";
    /// More than the shard's rates allow: try again later.
    throughput => BAD_REQUEST, "ProvisionedThroughputExceededException";
    /// An iterator that is too old.
    expired_iterator => BAD_REQUEST, "ExpiredIteratorException";
    /// An operation that there is not.
    unknown_operation => BAD_REQUEST, "UnknownOperationException";
    /// A request without credentials.
    no_credentials => BAD_REQUEST, "MissingAuthenticationTokenException";
    /// A signature that says too little.
    incomplete_signature => BAD_REQUEST, "IncompleteSignatureException";
    /// A signature by nobody who is known.
    unknown_client => BAD_REQUEST, "UnrecognizedClientException";
    /// A signature of something else.
    invalid_signature => BAD_REQUEST, "InvalidSignatureException";
    /// A body that is too large.
    too_large => PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException";
    /// The server failed.
    internal => INTERNAL_SERVER_ERROR, "InternalFailureException";
    /// The server is stopping.
    unavailable => SERVICE_UNAVAILABLE, "ServiceUnavailableException";
}

impl Fault {
    /// The name of the field that has the text: one type writes it in another way.
    fn message_field(&self) -> &'static str {
        if self.kind == "SerializationException" { "Message" } else { "message" }
    }
}

/// As the body of an answer.
impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        map.serialize_entry("__type", self.kind)?;
        map.serialize_entry(self.message_field(), &self.message)?;
        map.end()
    }
}

impl From<TopicError> for Fault {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Stopping => Self::unavailable(error.to_string()),
            TopicError::Name | TopicError::Internal(_) => Self::argument(error.to_string()),
            other => {
                tracing::error!(%other, "a stream could not be changed");
                Self::internal(other.to_string())
            }
        }
    }
}

impl From<AppendFailed> for Fault {
    fn from(error: AppendFailed) -> Self {
        match error {
            AppendFailed::Stopping => Self::unavailable(error.to_string()),
            AppendFailed::TooLarge { .. } => Self::argument(error.to_string()),
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<AppendRefused> for Fault {
    fn from(error: AppendRefused) -> Self {
        match error {
            AppendRefused::Failed(failed) => failed.into(),
            AppendRefused::TooLarge { .. } | AppendRefused::Internal | AppendRefused::Batch(_) => {
                Self::argument(error.to_string())
            }
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<ReadRefused> for Fault {
    fn from(error: ReadRefused) -> Self {
        match error {
            ReadRefused::Stopping => Self::unavailable(error.to_string()),
            other => Self::internal(other.to_string()),
        }
    }
}
