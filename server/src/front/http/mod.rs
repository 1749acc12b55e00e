//! HTTP/1.1 and HTTP/2 on one port, for the protocols that come over HTTP: `serve` accepts and serves connections, `io` ends those
//! that stall, `body` reads requests and sends answers. The crates `hyper` and `hyper-util` speak HTTP.
//!
//! Promises: a connection that sends no whole request, or takes no answer, ends after a time; bodies, headers and streams are
//! bounded, and what a body takes beyond a few KiB is paid for from the core's budget while it comes. HTTP/2 comes with prior
//! knowledge: its preface is told from a request line. A connection is anything that reads and writes, so TLS fits below.

mod body;
mod io;
mod serve;

pub use body::{Body, BodyError, collect};
pub use serve::{Service, serve};
