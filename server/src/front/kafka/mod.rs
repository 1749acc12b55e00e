//! Kafka's protocol: `connection` reads requests and writes answers in order, `dispatch` hands a request to its handler,
//! `handlers` has one file for each family of APIs. The bytes are the business of the crate `keylane_kafka`.
//!
//! Promise: a request gets Kafka's answer or a closed connection, whatever its bytes are.

pub mod connection;
pub mod dispatch;
pub mod handlers;
pub mod refusal;

/// The only node's id.
pub const NODE_ID: i32 = 0;
