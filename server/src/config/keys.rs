//! Keys of clients that sign their requests, from a file: in each line the id of a key and its secret, with white space between; empty
//! lines and those that begin with `#` say nothing.

use std::collections::HashMap;
use std::fmt;

/// Secrets by the id of the key. They are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(HashMap<String, String>);

impl Keys {
    /// Reads the content of a file.
    ///
    /// # Errors
    /// The number of the first line that is neither empty, nor a comment, nor an id and a secret.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut keys = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (None, ..) => {}
                (Some(word), ..) if word.starts_with('#') => {}
                (Some(id), Some(secret), None) => drop(keys.insert(id.to_owned(), secret.to_owned())),
                _ => return Err(number + 1),
            }
        }
        Ok(Self(keys))
    }

    /// The secret of a key.
    pub fn secret(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_keys_is_read_and_its_secrets_are_not_shown() {
        let keys = Keys::parse("# of the tests\n\n one  secret-1\ntwo\tsecret-2\n").unwrap();
        assert_eq!(keys.secret("two"), Some("secret-2"));
        assert_eq!(keys.secret("three"), None);
        assert_eq!(format!("{keys:?}"), "2 keys");
        assert_eq!(Keys::parse("one secret\ntwo\n"), Err(2));
        assert_eq!(Keys::parse("one secret more"), Err(1));
    }
}
