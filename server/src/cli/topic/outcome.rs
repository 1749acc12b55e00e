//! What became of each thing that a command was to change.
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::say;

/// What became of one.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The topic.
    pub topic: String,
    /// What was done to it; `null` if that failed.
    pub done: Option<String>,
    /// The error's name in Kafka's documentation; `null` if it went well.
    pub error: Option<String>,
    /// The error in words.
    pub message: Option<String>,
}

impl Outcome {
    /// One that went well.
    pub fn done(topic: &str, done: impl Into<String>) -> Self {
        Self { topic: topic.to_owned(), done: Some(done.into()), error: None, message: None }
    }

    /// One that was tried.
    pub fn of(topic: &str, tried: Result<String, Failure>) -> Self {
        match tried {
            Ok(done) => Self::done(topic, done),
            Err(failure) => Self {
                topic: topic.to_owned(),
                done: None,
                error: failure.code().map(|code| code.to_string()),
                message: Some(failure.line()),
            },
        }
    }
}

/// Prints what became of all. An error if one failed.
pub fn print(outcomes: &[Outcome], json: bool) -> Result<(), Failure> {
    if json {
        say::print_json(&outcomes)?;
    }
    for outcome in outcomes {
        match (&outcome.done, &outcome.message) {
            (Some(done), _) if !json => say::print(&format!("{}: {done}\n", outcome.topic))?,
            (None, Some(message)) => say::tell_error(message),
            _ => {}
        }
    }
    if outcomes.iter().all(|outcome| outcome.done.is_some()) { Ok(()) } else { Err(Failure::Told) }
}
