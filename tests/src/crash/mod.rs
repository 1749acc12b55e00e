//! Power loss at every step, on the simulated disk.
//!
//! A run drives an engine with appends to several topics while topics come and go and segments roll,
//! seal and are used again. At each step of the disk that can change the medium, a crash image is
//! taken, together with a snapshot of what was promised at that moment ([`model`]). Each image is opened
//! and read back ([`check`]), at times after one more crash in the midst of the recovery, and must hold
//! every acknowledged batch, byte for byte, at its offset, and nothing that was never sent.

pub mod check;
pub mod compacted;
pub mod engine;
pub mod model;
pub mod run;
pub mod workload;
