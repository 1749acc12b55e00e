//! JSON and CBOR: a client chooses with the content type of its request, and gets its answer in the same.

use serde::de::DeserializeOwned;
use serde::ser::Serialize;

use super::fault::Fault;

/// How deep a CBOR body may nest; JSON has a bound of its own.
const DEPTH_MAX: usize = 32;

/// A format of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON 1.1.
    Json,
    /// CBOR 1.1.
    Cbor,
}

impl Format {
    /// The format of a content type.
    pub fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/x-amz-json-1.1" | "application/json" => Some(Self::Json),
            "application/x-amz-cbor-1.1" => Some(Self::Cbor),
            _ => None,
        }
    }

    /// The content type of answers.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Reads a request. An empty body is one without fields.
    ///
    /// # Errors
    /// SerializationException.
    pub fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, Fault> {
        match self {
            Self::Json => {
                let body = if body.is_empty() { b"{}" } else { body };
                serde_json::from_slice(body).map_err(|e| Fault::serialization(e.to_string()))
            }
            Self::Cbor => {
                let body = if body.is_empty() { &[0xa0] } else { body };
                let mut reader = body;
                ciborium::de::from_reader_with_recursion_limit(&mut reader, DEPTH_MAX)
                    .map_err(|e| Fault::serialization(e.to_string()))
            }
        }
    }

    /// Adds a value to `out`.
    pub fn encode<T: Serialize>(self, value: &T, out: &mut Vec<u8>) {
        let done = match self {
            Self::Json => serde_json::to_writer(out, value).map_err(|e| e.to_string()),
            Self::Cbor => ciborium::into_writer(value, out).map_err(|e| e.to_string()),
        };
        // Memory takes every byte, and no value of an answer has a key that is no text.
        debug_assert_eq!(done, Ok(()));
    }
}
