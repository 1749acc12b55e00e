//! The offline check of a data directory: reads everything, and says what is wrong, where, what it means and what to do.
//! `docs/recovery.md` lists what is checked.
//!
//! Promises: [`check`] changes nothing. [`repair`](fn@repair) does only what the check proposed, and nothing that loses data. The caller
//! holds the directory's lock. Memory is bounded by the largest index.

mod checker;
mod derive;
mod directory;
mod index;
mod offsets;
mod repair;
mod report;
mod sealed;
mod segment;
mod shard;
mod unsealed;
mod view;

pub use directory::check;
pub use repair::{Repaired, repair};
pub use report::{Finding, Lost, Repair, Report, Severity};
