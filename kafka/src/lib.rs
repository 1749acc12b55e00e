//! Kafka's protocol on the wire: frames, headers, requests and responses, one file for each API.
//!
//! Promises: requests are decoded by hand with a bounded reader ([`wire`]), so that no frame can make a program
//! allocate more than a small multiple of its own length; responses are encoded by hand, into the
//! connection's buffer. Bytes that follow a request in its frame are ignored, as Kafka does (librdkafka's
//! Metadata v12 has three). Nothing here knows of topics, logs or sockets. Reference:
//! <https://kafka.apache.org/protocol>.
pub mod error;
pub mod frame;
pub mod header;
pub mod messages;
pub mod request;
pub mod versions;
pub mod wire;

pub use error::ErrorCode;
pub use header::{HeaderError, RequestHeader, ResponseHeader};
pub use request::Request;
pub use versions::{ApiKey, ApiSpec, SERVED};
pub use wire::{Reader, WireError, WireErrorKind, Writer};
