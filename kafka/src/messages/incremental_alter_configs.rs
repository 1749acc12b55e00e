//! IncrementalAlterConfigs (API 44): changes some settings of a resource (KIP-339).
use super::alter_configs::AlteredResource;
use crate::declare::message;

message! {
    /// An IncrementalAlterConfigs request.
    pub struct IncrementalAlterConfigsRequest<'a> {
        /// What to change.
        resources: Vec<IncrementalResource<'a>>, ..;
        /// Check only, change nothing.
        validate_only: bool, ..;
    }

    /// A resource and its changes.
    pub struct IncrementalResource<'a> {
        /// As in DescribeConfigs.
        kind: i8, ..;
        /// Its name; a broker's is its id, or empty for the defaults of all.
        name: &'a str, ..;
        /// What to change.
        configs: Vec<ConfigChange<'a>>, ..;
    }

    /// A change of a setting.
    #[derive(Copy)]
    pub struct ConfigChange<'a> {
        /// Its name.
        name: &'a str, ..;
        /// What to do: the number of an [`Operation`], or one that is not known.
        operation: i8, ..;
        /// Its value.
        value: Option<&'a str>, ..;
    }

    /// An IncrementalAlterConfigs response.
    pub struct IncrementalAlterConfigsResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, ..;
        /// The resources of the request.
        resources: Vec<AlteredResource<'a>>, ..;
    }
}

/// What to do with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Operation {
    /// Give it a value.
    Set = 0,
    /// Back to the default.
    Delete = 1,
    /// Add items to a list.
    Append = 2,
    /// Take items out of a list.
    Subtract = 3,
}

impl Operation {
    /// The operation that a number stands for.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}
