//! Why the server closes a connection.

use std::time::Duration;

use keylane_kafka::frame::FrameError;
use keylane_kafka::{HeaderError, WireError};

/// A frame that has begun must be complete, and an answer must leave, within this.
pub const STALL: Duration = Duration::from_secs(60);

/// Why a connection is closed by the server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The frame makes no sense.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The request's header makes no sense, or asks for what is not served.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The request's body makes no sense.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A Produce request without acknowledgement failed: closing is the only way to tell.
    #[error("a produce request with acks=0 failed: {0}")]
    Unacknowledged(keylane_kafka::ErrorCode),
    /// The rest of a frame did not come.
    #[error("a request was begun and not finished within {} s", STALL.as_secs())]
    Stalled,
    /// The network.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
