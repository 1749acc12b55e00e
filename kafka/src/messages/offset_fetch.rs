//! OffsetFetch (API 9): what a group has committed; several groups at once from version 8 (KIP-709), all of its
//! topics where no list is given (version 2). From version 10 on topics have their ids (KIP-848).
use std::borrow::Cow;

use uuid::Uuid;

use crate::declare::message;
use crate::error::ErrorCode;

message! {
    /// An OffsetFetch request.
    pub struct OffsetFetchRequest<'a> {
        /// The group.
        group: &'a str, ..=7;
        /// Its topics; `None`: all that have a committed offset.
        topics: Option<Vec<OffsetFetchTopic<'a>>>, ..=7, null 2..;
        /// The groups.
        groups: Vec<OffsetFetchGroup<'a>>, 8..;
        /// Whether to wait for open transactions.
        require_stable: bool, 7..;
    }

    /// A group asked for.
    pub struct OffsetFetchGroup<'a> {
        /// Its name.
        group: &'a str, ..;
        /// Id of the member that asks (KIP-848).
        member_id: Option<&'a str>, 9..;
        /// Epoch of the member that asks; -1 for none.
        member_epoch: i32 = -1, 9..;
        /// Its topics; `None`: all that have a committed offset.
        topics: Option<Vec<OffsetFetchTopic<'a>>>, ..;
    }

    /// A topic asked for.
    pub struct OffsetFetchTopic<'a> {
        /// Its name.
        name: &'a str, ..=9;
        /// Its id.
        topic_id: Uuid, 10..;
        /// Its partitions.
        partitions: Vec<i32>, ..;
    }

    /// An OffsetFetch response.
    pub struct OffsetFetchResponse<'a> {
        /// How long the client is to wait, in milliseconds.
        throttle_time_ms: i32, 3..;
        /// The topics of the one group.
        topics: Vec<FetchedTopic<'a>>, ..=7;
        /// What is wrong with all of it; version 1 says so at each partition.
        error: ErrorCode, 2..=7;
        /// The groups of the request, in its order.
        groups: Vec<FetchedGroup<'a>>, 8..;
    }

    /// A group's answer.
    pub struct FetchedGroup<'a> {
        /// Its name.
        group: Cow<'a, str>, ..;
        /// Its topics.
        topics: Vec<FetchedTopic<'a>>, ..;
        /// What is wrong with all of it.
        error: ErrorCode, ..;
    }

    /// A topic's answer.
    pub struct FetchedTopic<'a> {
        /// Its name.
        name: Cow<'a, str>, ..=9;
        /// Its id.
        topic_id: Uuid, 10..;
        /// Its partitions.
        partitions: Vec<FetchedOffset<'a>>, ..;
    }

    /// A partition's answer.
    pub struct FetchedOffset<'a> {
        /// Its number.
        index: i32, ..;
        /// What was committed; -1 for nothing.
        offset: i64 = -1, ..;
        /// Epoch of the leader, as it was committed; -1 for none.
        leader_epoch: i32 = -1, 5..;
        /// What was kept beside it.
        metadata: Option<Cow<'a, str>>, ..;
        /// What is wrong with it.
        error: ErrorCode, ..;
    }
}

impl<'a> OffsetFetchRequest<'a> {
    /// The groups asked for, whatever the version.
    pub fn into_groups(self, version: i16) -> Vec<OffsetFetchGroup<'a>> {
        if version >= 8 {
            return self.groups;
        }
        vec![OffsetFetchGroup { group: self.group, topics: self.topics, ..OffsetFetchGroup::default() }]
    }
}

impl<'a> OffsetFetchResponse<'a> {
    /// An answer to the groups of a request. Before version 8 there is one.
    pub fn new(version: i16, mut groups: Vec<FetchedGroup<'a>>) -> Self {
        if version >= 8 {
            return Self { groups, ..Self::default() };
        }
        let missing = || FetchedGroup { error: ErrorCode::InvalidRequest, ..FetchedGroup::default() };
        let FetchedGroup { mut topics, error, .. } =
            if groups.is_empty() { missing() } else { groups.swap_remove(0) };
        if version < 2 {
            topics
                .iter_mut()
                .flat_map(|topic| &mut topic.partitions)
                .for_each(|partition| partition.error = error);
        }
        Self { topics, error, ..Self::default() }
    }
}

impl FetchedOffset<'_> {
    /// A partition for which nothing was committed.
    pub fn nothing(index: i32) -> Self {
        Self { index, metadata: Some("".into()), ..Self::default() }
    }
}
