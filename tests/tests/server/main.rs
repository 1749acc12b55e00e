//! The server as a process, asked over the wire by hand-written requests and by the load generator.

mod bad_input;
mod bad_records;
mod broker_settings;
mod committed_offsets;
mod crowds;
mod directory;
mod durable_reads;
mod fair_fetch;
mod fetch_sessions;
mod full_disk;
mod group_churn;
mod kill;
mod kinesis;
mod lab;
mod odd_requests;
mod topic_settings;
