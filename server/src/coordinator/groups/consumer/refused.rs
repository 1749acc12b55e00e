//! Why a member of a consumer group is refused.

use std::sync::Arc;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request makes no sense.
    #[error("{0}")]
    Request(&'static str),
    /// There is no such group.
    #[error("there is no such consumer group; join it with epoch 0")]
    NoGroup,
    /// The group has members of another kind.
    #[error("the group has members that cannot go on in a consumer group: {0}")]
    NotConvertible(&'static str),
    /// Nobody has this id, or this instance id.
    #[error("the group has no such member; join it again with epoch 0")]
    UnknownMember,
    /// The epoch is not the member's.
    #[error(
        "epoch {told} is not the member's, which is {is}; give up all partitions and join again with epoch 0"
    )]
    FencedEpoch {
        /// What the member said.
        told: i32,
        /// What it is.
        is: i32,
    },
    /// Who commits or fetches does so with an epoch that is not the member's.
    #[error("epoch {told} is not the member's, which is {is}")]
    StaleEpoch {
        /// What the member said.
        told: i32,
        /// What it is.
        is: i32,
    },
    /// A member that speaks the classic protocol is not in this generation.
    #[error("this is not the group's generation; join it again")]
    IllegalGeneration,
    /// Another process has joined under the name that the member keeps.
    #[error("member {0} has joined under this group.instance.id; only one may")]
    FencedInstance(Arc<str>),
    /// The name that the member wants to keep belongs to one that has not left.
    #[error("this group.instance.id belongs to member {0}, which has not left")]
    UnreleasedInstance(Arc<str>),
    /// There are as many members as there may be.
    #[error("the group has {0} members, as many as it may have")]
    Full(usize),
    /// No such assignor.
    #[error("there is no assignor {0}; there are uniform and range")]
    Assignor(String),
    /// A regular expression that is none.
    #[error("the regular expression `{text}` is not valid: {why}")]
    Regex {
        /// The expression.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A member of a consumer group has to say its epoch, which this version of the request cannot.
    #[error("members of consumer groups commit offsets with version 9 or later")]
    Version,
}
