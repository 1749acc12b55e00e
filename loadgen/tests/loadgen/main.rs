//! The load generator against servers in the same process, honest and lying ones.

mod common;
mod group;
mod kinesis;
mod lab;
mod lies;
mod percentiles;
mod restart;
mod sabotage;
mod shapes;
mod structure;
mod sweep;
