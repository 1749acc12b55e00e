//! Why something is not done with a group.

use crate::coordinator::log::WriteError;
use crate::service::error::TopicError;

/// See the module's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The group has committed nothing.
    #[error("there is no such group: it has committed no offsets")]
    Unknown,
    /// Somebody who calls himself a member of a group commits; groups have no members.
    #[error("the group has no members: commit without a generation")]
    NoMembers,
    /// The same for a group that has committed nothing.
    #[error("there is no such group, and groups have no members: commit without a generation")]
    NoMembersNorGroup,
    /// What was committed could not be read at the start.
    #[error("what the group has committed cannot be read; the server's log says why")]
    Unreadable,
    /// This core does not have the group, or the server is stopping.
    #[error("the group is not served here any more; ask again who coordinates it")]
    NotHere,
    /// The offsets are not kept.
    #[error(transparent)]
    NotWritten(#[from] WriteError),
    /// The topic of committed offsets could not be made.
    #[error("the topic of committed offsets could not be made; the server's log says why")]
    NoTopic,
}

impl From<TopicError> for GroupError {
    fn from(error: TopicError) -> Self {
        match error {
            TopicError::Stopping => Self::NotHere,
            _ => Self::NoTopic,
        }
    }
}
