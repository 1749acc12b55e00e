//! What end-to-end tests share: a server in this process or in one of its own, and a small blocking
//! client. The client encodes and decodes with the `kafka-protocol` crate, so that a mistake of the
//! server's own codec cannot hide behind itself.

pub mod batch;
pub mod client;
pub mod kinesis;
pub mod process;
pub mod server;
