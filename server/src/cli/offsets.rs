//! Offsets of a topic's partitions: their starts, their ends, and by time.
use std::collections::BTreeMap;

use keylane_kafka::ErrorCode;
use keylane_kafka::cluster::{Cluster, Topic, passes};
use keylane_kafka::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

use super::failure::Failure;

/// How often leaders that have moved are looked for.
const TRIES: u32 = 20;

/// The offset of each of these partitions at a time in milliseconds, at [`EARLIEST`] or at [`LATEST`]. -1: no record is as
/// young. With `committed`, the end is that of the records whose transactions are decided.
///
/// [`EARLIEST`]: keylane_kafka::messages::list_offsets::EARLIEST
/// [`LATEST`]: keylane_kafka::messages::list_offsets::LATEST
pub fn offsets(
    cluster: &mut Cluster,
    topic: &Topic,
    wanted: &[i32],
    timestamp: i64,
    committed: bool,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let mut found = BTreeMap::new();
    let mut topic = topic.clone();
    for tried in 0..TRIES {
        let mut wrong = None;
        for (leader, partitions) in
            by_leader(&topic, wanted.iter().filter(|index| !found.contains_key(*index)))
        {
            let partition =
                |index: &i32| ListOffsetsPartition { index: *index, timestamp, ..Default::default() };
            let asked = ListOffsetsTopic {
                name: &topic.name,
                partitions: partitions.iter().map(partition).collect(),
            };
            let request = ListOffsetsRequest {
                isolation_level: i8::from(committed),
                topics: vec![asked],
                ..Default::default()
            };
            let answer = cluster.broker(leader)?.ask(&request)?;
            for told in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                match told.error.is_none() {
                    true => drop(found.insert(told.index, told.offset)),
                    false => wrong = Some((told.index, told.error)),
                }
            }
        }
        if wanted.iter().all(|index| found.contains_key(index)) {
            break;
        }
        let (index, code) = wrong.unwrap_or((wanted[0], ErrorCode::LeaderNotAvailable));
        if !passes(code) || tried + 1 == TRIES {
            Failure::unless_none(format!("offsets of {}, partition {index}", topic.name), code, None)?;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        topic = cluster.topic(&topic.name)?;
    }
    Ok(found)
}

/// Partitions by the broker that leads them; those without a leader are left out.
pub fn by_leader<'a>(topic: &Topic, wanted: impl Iterator<Item = &'a i32>) -> BTreeMap<i32, Vec<i32>> {
    let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for index in wanted {
        let led =
            topic.partitions.iter().find(|partition| partition.index == *index && partition.leader >= 0);
        if let Some(partition) = led {
            leaders.entry(partition.leader).or_default().push(*index);
        }
    }
    leaders
}
