//! State and members of a group, as its coordinator tells them.
//!
//! Consumer groups (KIP-848) have a request of their own. Of groups of other types the state alone is known here.
use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::consumer_group_describe::{ConsumerGroupDescribeRequest, DescribedMember};
use keylane_kafka::messages::describe_groups::{DescribeGroupsRequest, GroupMember};
use keylane_kafka::{ErrorCode, Reader, WireError};
use serde::Serialize;

use super::list::groups;
use crate::cli::failure::Failure;

/// The type of the groups of KIP-848.
const CONSUMER: &str = "consumer";

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its state; `Dead` if there is no such group.
    pub state: String,
    /// How its partitions are assigned; empty without members.
    pub protocol: String,
    /// Its members; `None` where the broker tells them by other requests only.
    pub members: Option<Vec<Member>>,
}

/// A member.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Name that it keeps over restarts.
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What is assigned to it: topic and partitions.
    pub assigned: Vec<(String, Vec<i32>)>,
}

impl Group {
    /// Whether there is such a group.
    pub fn exists(&self) -> bool {
        self.state != "Dead"
    }

    /// Whether it has no members, so that its offsets may be changed.
    pub fn is_idle(&self) -> bool {
        matches!(self.state.as_str(), "Dead" | "Empty")
    }
}

/// Asks the coordinator of a group.
pub fn group(cluster: &mut Cluster, name: &str) -> Result<Group, Failure> {
    let coordinator = cluster.coordinator(name)?;
    let request = DescribeGroupsRequest { groups: vec![name], ..Default::default() };
    let answer = cluster.broker(coordinator)?.ask(&request)?;
    let told = answer.groups.into_iter().next();
    let told = told.ok_or_else(|| Failure::Data(format!("an answer that does not tell of group {name}")))?;
    let dead = Group { state: "Dead".to_owned(), protocol: String::new(), members: Some(Vec::new()) };
    if told.error != ErrorCode::GroupIdNotFound && told.state != "Dead" {
        Failure::unless_none(format!("group {name}"), told.error, told.error_message.as_deref())?;
        let members = told.members.into_iter().map(member).collect();
        let (state, protocol) = (told.state.into_owned(), told.protocol_data.into_owned());
        return Ok(Group { state, protocol, members: Some(members) });
    }
    // There is none, or one of another type.
    let listed = groups(cluster)?.into_iter().find(|listed| listed.group == name && !listed.state.is_empty());
    Ok(match listed {
        Some(listed) if listed.kind == CONSUMER => consumer_group(cluster, name)?.unwrap_or(dead),
        Some(listed) if listed.state != "Dead" => {
            let members = (listed.state == "Empty").then(Vec::new);
            Group { state: listed.state, protocol: listed.kind, members }
        }
        _ => dead,
    })
}

/// Asks the coordinator of a consumer group. `None`: it is gone.
fn consumer_group(cluster: &mut Cluster, name: &str) -> Result<Option<Group>, Failure> {
    let coordinator = cluster.coordinator(name)?;
    let request = ConsumerGroupDescribeRequest { groups: vec![name], ..Default::default() };
    let answer = cluster.broker(coordinator)?.ask(&request)?;
    let told = answer.groups.into_iter().next();
    let told = told.ok_or_else(|| Failure::Data(format!("an answer that does not tell of group {name}")))?;
    if told.error == ErrorCode::GroupIdNotFound {
        return Ok(None);
    }
    Failure::unless_none(format!("group {name}"), told.error, told.error_message.as_deref())?;
    let members = told.members.into_iter().map(consumer).collect();
    let (state, protocol) = (told.state.into_owned(), told.assignor.into_owned());
    Ok(Some(Group { state, protocol, members: Some(members) }))
}

fn consumer(told: DescribedMember<'_>) -> Member {
    let assigned = told.assignment.topic_partitions.into_iter();
    Member {
        id: told.member_id.into_owned(),
        instance_id: told.instance_id.map(|name| name.into_owned()),
        client_id: told.client_id.into_owned(),
        host: told.client_host.trim_start_matches('/').to_owned(),
        assigned: assigned.map(|topic| (topic.topic_name.into_owned(), topic.partitions)).collect(),
    }
}

fn member(told: GroupMember<'_>) -> Member {
    Member {
        id: told.member_id.into_owned(),
        instance_id: told.group_instance_id.map(|name| name.into_owned()),
        client_id: told.client_id.into_owned(),
        host: told.client_host.trim_start_matches('/').to_owned(),
        // Members may speak something else than consumers do; then nothing is known of it.
        assigned: assigned(&told.member_assignment).unwrap_or_default(),
    }
}

/// What a consumer has, as the protocol of consumers says it: a version, then topics with partitions.
fn assigned(bytes: &[u8]) -> Result<Vec<(String, Vec<i32>)>, WireError> {
    let mut r = Reader::new(bytes);
    r.i16("version")?;
    r.vec(false, 6, "topics", |r| Ok((r.string(false, "topic")?.to_owned(), r.i32s(false, "partitions")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read() {
        let bytes = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x03\0\0\0\x05\xff\xff\xff\xff";
        assert_eq!(assigned(bytes).unwrap(), [("t".to_owned(), vec![3, 5])]);
        assert!(assigned(b"").is_err() && assigned(&bytes[..9]).is_err());
    }
}
