//! Kafka's protocol on the wire, for both sides: frames, headers, requests and responses.
//!
//! Messages are declared once, in a file for each API ([`messages`]): from the declaration they are read with a
//! bounded reader ([`wire`]), so that no frame can make a program allocate more than a small multiple of its own
//! length, written, and sampled for tests. Where records go through ([`hot`]) a server reads and writes without
//! allocation and without a copy. Bytes that follow a request in its frame are ignored, as Kafka does (librdkafka's
//! Metadata v12 has three). Only [`client`] and [`cluster`], which are for
//! programs that talk to brokers, know of sockets, and nothing here of logs. Reference:
//! <https://kafka.apache.org/protocol>.
pub mod api;
pub mod client;
pub mod cluster;
mod declare;
pub mod error;
pub mod field;
pub mod frame;
pub mod header;
pub mod hot;
pub mod messages;
pub mod versions;
pub mod wire;

pub use api::{ApiKey, ApiSpec, Ask, Message, Request, SERVED};
pub use error::ErrorCode;
pub use field::TopicRef;
pub use header::{HeaderError, RequestHeader, ResponseHeader};
pub use wire::{Reader, WireError, WireErrorKind, Writer};
