//! What the protocol checks of every request before it looks at streams. All that is wrong is told at once, in the
//! words that clients know.

use std::fmt::Display;

use super::fault::Fault;

/// What is wrong with a request.
#[derive(Debug, Default)]
pub struct Checks(Vec<String>);

/// Characters of names, as the protocol writes the rule.
const NAME: &str = "[a-zA-Z0-9_.-]+";
/// A number up to 38 digits that begins with no zero.
const HASH: &str = "0|([1-9]\\d{0,38})";
/// The same up to 128 digits.
const SEQUENCE: &str = "0|([1-9]\\d{0,128})";

/// Characters of a value that are told.
const TOLD_MAX: usize = 512;

impl Checks {
    /// Adds what is wrong with a field; `value` as it is told.
    pub fn wrong(&mut self, field: impl Display, value: Option<&str>, constraint: &str) {
        let told = match value {
            Some(value) => format!("Value '{}'", value.chars().take(TOLD_MAX).collect::<String>()),
            None => "Value null".to_owned(),
        };
        self.say(&told, field, constraint);
    }

    /// The same, for a value that is not told.
    pub fn wrong_untold(&mut self, field: impl Display, constraint: &str) {
        self.say("Value", field, constraint);
    }

    fn say(&mut self, told: &str, field: impl Display, constraint: &str) {
        self.0.push(format!("{told} at '{field}' failed to satisfy constraint: {constraint}"));
    }

    /// A field that must be there.
    pub fn required<T>(&mut self, field: impl Display, value: &Option<T>) {
        if value.is_none() {
            self.wrong(field, None, "Member must not be null");
        }
    }

    /// The length of a text, in characters.
    pub fn length(&mut self, field: impl Display + Copy, value: &str, min: usize, max: usize) {
        // A text of few bytes has no more characters.
        let length =
            if value.len() <= max && min <= 1 { value.len() } else { value.chars().take(max + 1).count() };
        if length < min {
            self.wrong(field, Some(value), &at_least_long(min));
        }
        if length > max {
            self.wrong(field, Some(value), &at_most_long(max));
        }
    }

    /// The number of items of a list.
    pub fn items(&mut self, field: &str, count: usize, min: usize, max: usize) {
        if count < min {
            self.wrong(field, Some("[]"), &at_least_long(min));
        }
        if count > max {
            self.wrong_untold(field, &at_most_long(max));
        }
    }

    /// A name of a stream, shard or consumer.
    pub fn name(&mut self, field: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !value.bytes().all(allowed) || value.is_empty() {
            self.wrong(field, Some(value), &pattern(NAME));
        }
        self.length(field, value, 1, 128);
    }

    /// A number of a range.
    pub fn range(&mut self, field: &str, value: Option<i64>, min: i64, max: i64) {
        let Some(value) = value else { return };
        let told = value.to_string();
        if value < min {
            self.wrong(field, Some(&told), &format!("Member must have value greater than or equal to {min}"));
        }
        if value > max {
            self.wrong(field, Some(&told), &format!("Member must have value less than or equal to {max}"));
        }
    }

    /// One of a set of words.
    pub fn word(&mut self, field: &str, value: Option<&str>, words: &[&str]) {
        let Some(value) = value else { return };
        if !words.contains(&value) {
            let constraint = format!("Member must satisfy enum value set: [{}]", words.join(", "));
            self.wrong(field, Some(value), &constraint);
        }
    }

    /// A hash of a key.
    pub fn hash(&mut self, field: impl Display, value: Option<&str>) {
        self.digits(field, value, 39, HASH);
    }

    /// A sequence number.
    pub fn sequence(&mut self, field: &str, value: Option<&str>) {
        self.digits(field, value, 129, SEQUENCE);
    }

    fn digits(&mut self, field: impl Display, value: Option<&str>, max: usize, rule: &str) {
        let Some(value) = value else { return };
        let digits = (1..=max).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
        if !digits || (value.starts_with('0') && value.len() > 1) {
            self.wrong(field, Some(value), &pattern(rule));
        }
    }

    /// The outcome.
    ///
    /// # Errors
    /// ValidationException.
    pub fn done(self) -> Result<(), Fault> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (count, errors) = (self.0.len(), if self.0.len() == 1 { "error" } else { "errors" });
        Err(Fault::validation(format!("{count} validation {errors} detected: {}", self.0.join("; "))))
    }
}

/// The rule of a pattern.
pub fn pattern(rule: &str) -> String {
    format!("Member must satisfy regular expression pattern: {rule}")
}

/// The rule of a shortest length.
pub fn at_least_long(min: usize) -> String {
    format!("Member must have length greater than or equal to {min}")
}

/// The rule of a longest length.
pub fn at_most_long(max: usize) -> String {
    format!("Member must have length less than or equal to {max}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_at_once() {
        let mut checks = Checks::default();
        checks.name("streamName", Some("a b"));
        checks.range("limit", Some(0), 1, 100);
        checks.required::<()>("shardId", &None);
        let told = checks.done().unwrap_err();
        assert_eq!(told.kind, "ValidationException");
        assert_eq!(
            told.message,
            "3 validation errors detected: Value 'a b' at 'streamName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z0-9_.-]+; Value '0' at 'limit' failed to satisfy constraint: Member must \
             have value greater than or equal to 1; Value null at 'shardId' failed to satisfy constraint: Member must not \
             be null"
        );
    }

    #[test]
    fn lengths_are_in_characters() {
        let check = |value: &str| {
            let mut checks = Checks::default();
            checks.length("partitionKey", value, 1, 256);
            checks.done().is_ok()
        };
        assert!(check(&"\u{1f600}".repeat(256)) && !check(&"\u{1f600}".repeat(257)));
        assert!(check("a") && !check("") && !check(&"a".repeat(257)));
    }

    #[test]
    fn hashes_are_numbers() {
        let check = |value: &str| {
            let mut checks = Checks::default();
            checks.hash("explicitHashKey", Some(value));
            checks.done().is_ok()
        };
        assert!(check("0") && check("340282366920938463463374607431768211455"));
        for wrong in ["abc", "", "00", "01", "-1", "1e5", &"1".repeat(40)] {
            assert!(!check(wrong), "{wrong}");
        }
    }
}
