//! The command line.

mod cli;
mod structure;
