//! Regular expressions of members. They are matched in linear time, with bounded memory, whatever a client sends.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::refused::Refused;
use super::topics::Topics;

/// Longest expression: what the key of its record can state.
const BYTES_MAX: usize = i16::MAX as usize;
/// Most bytes of a compiled expression, and of what it needs while it is matched.
const COMPILED_BYTES_MAX: usize = 1 << 20;

fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
}

/// Refuses what is no regular expression.
pub fn check(text: &str) -> Result<(), Refused> {
    let refused = |why| Refused::Regex { text: text.to_owned(), why };
    if text.len() > BYTES_MAX {
        return Err(Refused::Regex { text: String::new(), why: format!("longer than {BYTES_MAX} bytes") });
    }
    // The last line of the crate's text says what is wrong.
    let told = |error: regex::Error| refused(error.to_string().lines().last().unwrap_or_default().to_owned());
    compile(text).map(drop).map_err(told)
}

/// The names of the topics that it stands for as a whole, in order.
pub fn matching(text: &str, topics: &impl Topics) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    // It was checked when its member subscribed.
    if let Ok(regex) = compile(&format!("^(?:{text})$")) {
        topics.each(&mut |name| {
            if regex.is_match(name) {
                names.push(name.into());
            }
        });
    }
    names.sort_unstable();
    names
}
