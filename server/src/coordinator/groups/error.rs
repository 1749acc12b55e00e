//! Why something is not done with a group.

use crate::coordinator::log::WriteError;
use crate::service::error::TopicError;

use super::classic::Refused;
use super::consumer;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// There is no such group.
    #[error("there is no such group: it has no members and has committed no offsets")]
    Unknown,
    /// Somebody commits as a member of a group that does not exist.
    #[error("there is no such group to be a member of; join it, or commit without a generation")]
    NoMembersNorGroup,
    /// The group's name cannot be used for members.
    #[error("a group needs a name of 1 to {max} bytes to have members")]
    Name {
        /// The limit.
        max: usize,
    },
    /// A member is refused.
    #[error(transparent)]
    Member(#[from] Refused),
    /// A member of a consumer group is refused.
    #[error(transparent)]
    Consumer(#[from] consumer::Refused),
    /// The group has members.
    #[error("the group has members; stop them first")]
    NotEmpty,
    /// What the group has committed could not be read at the start.
    #[error("what the group has committed cannot be read; the server's log says why")]
    Unreadable,
    /// This core does not have the group, or the server is stopping.
    #[error("the group is not served here any more; ask again who coordinates it")]
    NotHere,
    /// The change is not kept.
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
