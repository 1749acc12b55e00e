//! Fetch sessions (KIP-227): the server remembers what a client reads, and the client names only what changes.
//!
//! Promise: bounded memory, whatever clients ask for ([`cache`]); what an answer leaves out is what the client knows already
//! ([`session`]).

pub mod cache;
pub mod session;
