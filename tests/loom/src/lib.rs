//! The ring between cores in every interleaving of small cases, by loom: `bash .ci/run loom`. A package of its own,
//! so that no server is built for it.

#![cfg(all(test, keylane_loom))]
#![allow(dead_code, reason = "the server uses what the cases do not")]

#[path = "../../../server/src/runtime/ring.rs"]
mod ring;
