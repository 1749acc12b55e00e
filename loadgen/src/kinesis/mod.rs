//! The load over HTTP, for servers that speak Kinesis: the same figures and checks as over Kafka's protocol.
//!
//! Each connection has a thread and one request at a time, because HTTP/1.1 has no more, and because the order of a key
//! could not be kept otherwise. [`outbox`] says which records go into a request, [`request`] writes it, [`producer`] sends it and
//! reads what became of each record, [`consumer`] reads shards. [`http`] moves the bytes, [`api`] has the few operations
//! that it takes.
//!
//! Promise: a careful producer never has two records of a key on their way, so that a refused one cannot be overtaken.

pub mod api;
pub mod consumer;
pub mod http;
pub mod number;
pub mod outbox;
pub mod producer;
pub mod request;
pub mod run;
pub mod setup;
