//! What a core runs on: sockets and io_uring (`net`), connections over anything else that reads and writes (`other`), the rings between cores (`ring`), messages on them (`mesh`).
//!
//! Promise: work for another core arrives in the order in which it was sent, and no lock lies on its way. Nothing here knows
//! a protocol.

pub mod clock;
pub mod mesh;
pub mod net;
pub mod other;
pub mod ring;
