//! Kafka's protocol: `serve` reads requests from a connection and writes answers in order, `dispatch` hands a request to its
//! handler, `handlers` has one file for each family of APIs, `errors` says in Kafka's words what is refused, `sessions`
//! remembers what clients read. The bytes are the
//! business of the crate `keylane_kafka`.
//!
//! Promise: a request gets Kafka's answer or a closed connection, whatever its bytes are.

mod close;
mod connection;
mod context;
mod dispatch;
mod errors;
mod handlers;
mod node;
mod out;
mod repeated;
pub mod serve;
pub mod sessions;
mod turn;
