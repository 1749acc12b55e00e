//! What Keylane is measured against, and with.
//!
//! [`ceiling`] is the bare loop that carries the same bytes with nothing around it: the throughput one
//! core can reach with this runtime, this network path and this disk.
//! [`share`] is what comparing a server with it needs.
//! [`server`] is a Keylane server in a process of its own.
//! [`thin`] reads a topic as clients in use ask, [`plain`] the same files without any server.
//! [`rig`] is a shard for the criterion benchmarks.

pub mod ceiling;
pub mod plain;
pub mod rig;
pub mod server;
pub mod share;
pub mod thin;
