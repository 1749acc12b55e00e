//! Kafka's protocol on the wire: frames, headers, requests and responses, one file for each API.
//!
//! Promises: requests are decoded by hand with a bounded reader ([`wire`]), so that no frame can make the
//! server allocate more than a small multiple of its own length; responses are encoded by hand, into the
//! connection's buffer. Bytes that follow
//! a request in its frame are ignored, as Kafka does (librdkafka's Metadata v12 has three). Nothing here knows
//! of topics, logs or sockets. Reference:
//! <https://kafka.apache.org/protocol>.
pub mod alter_configs;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod error;
pub mod fetch;
pub mod fetch_response;
pub mod find_coordinator;
pub mod frame;
pub mod header;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod produce;
pub mod request;
pub mod versions;
pub mod wire;

pub use error::ErrorCode;
pub use header::{HeaderError, RequestHeader, ResponseHeader};
pub use request::Request;
pub use versions::{ApiKey, ApiSpec, SERVED};
pub use wire::{Reader, WireError, WireErrorKind, Writer};
