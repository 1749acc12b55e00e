//! The protocols that clients speak, one room each.
//!
//! Promise: a front translates: requests into calls of `service` and `coordinator`, their errors into the protocol's. What
//! a protocol names or numbers is known here and nowhere else.

mod http;
pub mod kafka;
pub mod kinesis;
