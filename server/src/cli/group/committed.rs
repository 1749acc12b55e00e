//! The offsets that a group has committed.
use std::collections::BTreeMap;

use keylane_kafka::cluster::Cluster;
use keylane_kafka::messages::offset_fetch::{OffsetFetchGroup, OffsetFetchRequest};

use crate::cli::failure::Failure;

/// By topic and partition.
pub type Committed = BTreeMap<String, BTreeMap<i32, i64>>;

/// Asks the coordinator of a group for all of its committed offsets.
pub fn committed(cluster: &mut Cluster, group: &str) -> Result<Committed, Failure> {
    let coordinator = cluster.coordinator(group)?;
    // A broker before version 8 reads the group at the top, a later one the list.
    let groups = vec![OffsetFetchGroup { group, ..Default::default() }];
    let request = OffsetFetchRequest { group, topics: None, groups, require_stable: false };
    let answer = cluster.broker(coordinator)?.ask(&request)?;
    let (topics, error) = match answer.groups.into_iter().next() {
        Some(told) => (told.topics, told.error),
        None => (answer.topics, answer.error),
    };
    let doing = format!("committed offsets of group {group}");
    Failure::unless_none(&doing, error, None)?;
    let mut found = Committed::new();
    for topic in topics {
        for partition in topic.partitions {
            Failure::unless_none(format!("{doing}, topic {}", topic.name), partition.error, None)?;
            if partition.offset >= 0 {
                let offsets = found.entry(topic.name.clone().into_owned()).or_default();
                offsets.insert(partition.index, partition.offset);
            }
        }
    }
    Ok(found)
}
