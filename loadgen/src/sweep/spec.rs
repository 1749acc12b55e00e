//! How brokers and batches of a sweep are named on the command line.

use anyhow::{Context, Result, bail, ensure};

use crate::units::parse_size;

/// `NAME=HOST:PORT[,pid=PID][,note=TEXT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerSpec {
    pub name: String,
    /// `None`: an embedded Keylane.
    pub address: Option<String>,
    pub pid: Option<u32>,
    pub note: Option<String>,
}

impl std::str::FromStr for BrokerSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, rest) = text.split_once('=').context("brokers are given as NAME=HOST:PORT")?;
        ensure!(!name.is_empty(), "a broker without a name: {text}");
        // The note is the rest of the text, commas and all.
        let (rest, note) = match rest.split_once(",note=") {
            Some((rest, note)) => (rest, Some(note.to_owned())),
            None => (rest, None),
        };
        let mut parts = rest.split(',');
        let address = parts.next().unwrap_or_default();
        let address = (address != "embedded").then(|| address.to_owned());
        let mut pid = None;
        for part in parts {
            match part.split_once('=') {
                Some(("pid", number)) => pid = Some(number.parse().with_context(|| format!("pid {number}"))?),
                _ => bail!("{part}: not known; a broker is NAME=HOST:PORT[,pid=PID][,note=TEXT]"),
            }
        }
        Ok(Self { name: name.to_owned(), address, pid, note })
    }
}

/// Size of a batch as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSize {
    pub text: String,
    /// `None`: one record.
    pub bytes: Option<usize>,
}

impl std::str::FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = if text == "single" { None } else { Some(parse_size(text)?) };
        Ok(Self { text: text.to_owned(), bytes })
    }
}
