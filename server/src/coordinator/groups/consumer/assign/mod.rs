//! Which member is to have which partitions: `uniform`, every member about as many, each keeping what it had; or `range`, of every
//! topic each member a range.

mod choice;
mod consumer;
mod range;
mod uniform;

#[cfg(test)]
mod tests;

pub use choice::{ASSIGNORS, assign, preferred};
pub use consumer::Consumer;
