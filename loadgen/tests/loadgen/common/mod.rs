//! Brokers for the tests, and short runs against them.
#![allow(dead_code)]

use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;
use keylane_loadgen::args::RunArgs;
use keylane_loadgen::report::Report;
use keylane_loadgen::run;
use keylane_loadgen::sink::{self, Keep, Stall};
use keylane_loadgen::verdict::Status;

/// Serves in the background for as long as a test may need; returns the address.
pub fn broker(partitions: i32, keep: Keep) -> Result<String> {
    broker_that_stalls(partitions, keep, None)
}

pub fn broker_that_stalls(partitions: i32, keep: Keep, stall: Option<Stall>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let limit = Duration::from_secs(60);
    std::thread::spawn(move || sink::serve_stalling(&listener, partitions, keep, limit, stall));
    Ok(address)
}

pub fn load(text: &str) -> Report {
    let args = RunArgs::from_text(&format!("--no-progress {text}")).expect("options of a run");
    run::run(&args).expect("a run")
}

/// Names of the verdict's lines that failed.
pub fn failed(report: &Report) -> Vec<&'static str> {
    let lines = report.verdict.lines.iter().filter(|line| line.status == Status::Failed);
    lines.map(|line| line.name).collect()
}

pub fn text_of<'a>(report: &'a Report, name: &str) -> &'a str {
    let line = report.verdict.lines.iter().find(|line| line.name == name);
    line.map_or("", |line| line.text.as_str())
}
