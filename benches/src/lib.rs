//! What Keylane is measured against, and with.
//!
//! [`ceiling`] is the bare loop that carries the same bytes with nothing around it: the throughput one
//! core can reach with this runtime, this network path and this disk.

pub mod ceiling;
