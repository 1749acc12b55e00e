//! What became of each thing that a command was to change.
use serde::Serialize;

use super::failure::Failure;
use super::say;

/// What became of one.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Its name.
    #[serde(flatten)]
    pub named: Named,
    /// What was done to it; `null` if that failed.
    pub done: Option<String>,
    /// The error's name in Kafka's documentation; `null` if it went well.
    pub error: Option<String>,
    /// The error in words.
    pub message: Option<String>,
}

/// What it is, and its name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// A topic.
    Topic(String),
    /// A group.
    Group(String),
}

impl Named {
    fn name(&self) -> &str {
        match self {
            Self::Topic(name) | Self::Group(name) => name,
        }
    }
}

impl Outcome {
    /// A topic with which it went well.
    pub fn done(topic: &str, done: impl Into<String>) -> Self {
        Self::of(topic, Ok(done.into()))
    }

    /// A topic with which it was tried.
    pub fn of(topic: &str, tried: Result<String, Failure>) -> Self {
        Self::with(Named::Topic(topic.to_owned()), tried)
    }

    /// Something with which it was tried.
    pub fn with(named: Named, tried: Result<String, Failure>) -> Self {
        match tried {
            Ok(done) => Self { named, done: Some(done), error: None, message: None },
            Err(failure) => Self {
                named,
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
            (Some(done), _) if !json => say::print(&format!("{}: {done}\n", outcome.named.name()))?,
            (None, Some(message)) => say::tell_error(message),
            _ => {}
        }
    }
    if outcomes.iter().all(|outcome| outcome.done.is_some()) { Ok(()) } else { Err(Failure::Told) }
}
