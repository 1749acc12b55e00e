//! Load generator and checker for Keylane and other brokers that speak Kafka's protocol.
//!
//! [`run::run`] loads a broker over real sockets and returns figures with a verdict on what was read
//! back; [`verify::verify`] checks a topic against the books of earlier runs. The way of a record:
//! [`keys`] draws it, [`batch`] patches it into a request, [`producer`] sends it when [`pacing`] says
//! so, [`consumer`] reads it back and [`checker`] compares it with the [`ledger`]. [`sweep`] and [`find_max`] are
//! many runs; [`html`] draws them. [`kinesis`] does the same over HTTP, for servers that speak Kinesis.

pub mod args;
pub mod batch;
pub mod checker;
pub mod cli;
pub mod client;
pub mod consumer;
pub mod cpu;
pub mod evidence;
pub mod fetch_shape;
pub mod find_max;
pub mod found;
pub mod group;
pub mod histogram;
pub mod html;
pub mod keys;
pub mod kinesis;
pub mod lab;
pub mod ledger;
pub mod limits;
pub mod load_args;
pub mod outcome;
pub mod pacing;
pub mod packed;
pub mod payload;
pub mod prime;
pub mod prints;
pub mod producer;
pub mod protocol;
pub mod ranges;
pub mod readers;
pub mod report;
pub mod run;
pub mod sabotage;
pub mod setup;
pub mod sink;
pub mod spread;
pub mod sweep;
pub mod topic_admin;
pub mod units;
pub mod verdict;
pub mod verify;
pub mod watch;
pub mod worker;
