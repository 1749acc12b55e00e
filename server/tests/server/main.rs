//! The command line, and the protocol against an independent codec.

mod cli;
mod kafka_codec;
