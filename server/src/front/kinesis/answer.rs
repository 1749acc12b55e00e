//! What an operation answers.

use bytes::Bytes;
use serde::Serialize;

use crate::front::http::Body;

use super::fault::Fault;
use super::format::Format;

/// See the module's header.
pub enum Answer {
    /// One body, in the format of the request.
    Body(Bytes),
    /// No body.
    Empty,
    /// An event stream, which goes on for a time.
    Events(Body),
}

/// The outcome of an operation.
pub type Outcome = Result<Answer, Fault>;

impl Answer {
    /// A value in the format of the request.
    pub fn of<T: Serialize>(format: Format, value: &T) -> Self {
        let mut out = Vec::new();
        format.encode(value, &mut out);
        Self::Body(out.into())
    }
}
