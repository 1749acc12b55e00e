//! Principals: who sends a request.

use std::fmt;

/// Who sends a request. Nobody proves who they are yet, so that everybody is the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Principal {
    /// Somebody who did not say who they are.
    #[default]
    Anonymous,
}

/// As Kafka writes principals in its logs and access lists.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("User:ANONYMOUS"),
        }
    }
}
