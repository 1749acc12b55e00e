//! The command line: the server's options, and the tool that talks to brokers.

mod cli;
mod structure;
mod tool;
