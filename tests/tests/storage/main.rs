//! The engine on a simulated disk: crashes at every step, faults, bad blocks, a model, directories from before, the offline
//! check.

mod byte_flip;
mod check;
mod crash;
mod disk_steps;
mod faults;
mod freed;
mod golden;
mod model;
mod old_headers;
