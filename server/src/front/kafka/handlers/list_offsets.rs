//! ListOffsets: earliest, latest, by timestamp, of the largest timestamp.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use keylane_kafka::ErrorCode;
use keylane_kafka::messages::list_offsets::{
    EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST, LATEST_TIERED, ListOffsetsPartition,
    ListOffsetsRequest, ListOffsetsResponse, ListedPartition, ListedTopic, MAX_TIMESTAMP,
};

use crate::core::Core;
use crate::front::kafka::context::Context;
use crate::front::kafka::errors::code_of_read;
use crate::front::kafka::handlers::Handle;
use crate::front::kafka::repeated::repeated;
use crate::service::by_time;
use crate::service::error::ReadRefused;
use crate::service::topics::TopicKey;

/// What a timestamp asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// An offset of the log.
    Local(by_time::Wanted),
    /// The end of what is on remote storage, where nothing is.
    Remote,
}

/// What a timestamp asks for; `None` for one that this version does not know.
fn wanted(timestamp: i64, version: i16) -> Option<Wanted> {
    use by_time::Wanted::{End, LargestTime, Start, Time};
    let local = match (timestamp, version) {
        (LATEST, _) => End,
        (EARLIEST, _) => Start,
        (MAX_TIMESTAMP, 7..) => LargestTime,
        (EARLIEST_LOCAL, 8..) => Start,
        (LATEST_TIERED, 9..) | (EARLIEST_PENDING_UPLOAD, 11..) => return Some(Wanted::Remote),
        (0.., _) => Time(timestamp),
        _ => return None,
    };
    Some(Wanted::Local(local))
}

/// Answers ListOffsets. A partition that is named more than once is refused, and answered once.
impl<'q> Handle<'q> for ListOffsetsRequest<'q> {
    async fn handle(self, context: &Context) -> ListOffsetsResponse<'static> {
        let (core, request, version) = (context.core(), &self, context.version());
        let all = request.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name, p.index)));
        let twice = repeated(all);
        let mut done = HashSet::new();
        // A topic that is named more than once is answered in one place.
        let mut place: HashMap<&str, usize> = HashMap::new();
        let mut topics: Vec<ListedTopic<'static>> = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions.iter().filter(|p| done.insert((topic.name, p.index))) {
                partitions.push(match wanted(partition.timestamp, version) {
                    _ if twice.contains(&(topic.name, partition.index)) => {
                        ListedPartition::failed(partition.index, ErrorCode::InvalidRequest)
                    }
                    None => ListedPartition::failed(partition.index, ErrorCode::UnsupportedVersion),
                    Some(wanted) => one(core, topic.name, partition, wanted).await,
                });
            }
            if partitions.is_empty() {
                continue;
            }
            let at = *place.entry(topic.name).or_insert(topics.len());
            match topics.get_mut(at) {
                Some(listed) => listed.partitions.extend(partitions),
                None => topics.push(ListedTopic { name: topic.name.to_owned().into(), partitions }),
            }
        }
        ListOffsetsResponse { topics, ..Default::default() }
    }
}

async fn one(core: &Rc<Core>, topic: &str, asked: &ListOffsetsPartition, wanted: Wanted) -> ListedPartition {
    match find(core, topic, asked, wanted).await {
        Err(refused) => ListedPartition::failed(asked.index, code_of_read(refused)),
        Ok(found) => {
            let (offset, timestamp) = found.unwrap_or(NOTHING);
            ListedPartition {
                index: asked.index,
                error: ErrorCode::None,
                timestamp,
                offset,
                leader_epoch: if found.is_none() { -1 } else { 0 },
            }
        }
    }
}

/// Offset and timestamp where there is no such record.
const NOTHING: (i64, i64) = (-1, -1);

/// Offset and timestamp; a timestamp that was not looked for is -1.
async fn find(
    core: &Rc<Core>,
    topic: &str,
    asked: &ListOffsetsPartition,
    wanted: Wanted,
) -> Result<Option<(i64, i64)>, ReadRefused> {
    let route = core.topics.borrow().find(TopicKey::Name(topic)).and_then(|t| t.route(asked.index))?;
    // The only leader epoch there ever was is 0 (KIP-320); -1: the client does not know it.
    match asked.current_leader_epoch {
        1.. => return Err(ReadRefused::LaterLeader),
        ..-1 => return Err(ReadRefused::EarlierLeader),
        -1 | 0 => {}
    }
    let found = match wanted {
        Wanted::Local(wanted) => by_time::find(core, route, wanted).await?,
        Wanted::Remote => None,
    };
    Ok(found.map(|(offset, time)| (offset as i64, time.unwrap_or(-1))))
}

#[cfg(test)]
mod tests {
    use super::by_time::Wanted::{End, LargestTime, Start, Time};
    use super::*;

    #[test]
    fn special_timestamps_are_known_from_their_versions_on() {
        for (timestamp, from, meaning) in [
            (-1, 1, Wanted::Local(End)),
            (-2, 1, Wanted::Local(Start)),
            (-3, 7, Wanted::Local(LargestTime)),
            (-4, 8, Wanted::Local(Start)),
            (-5, 9, Wanted::Remote),
            (-6, 11, Wanted::Remote),
            (0, 1, Wanted::Local(Time(0))),
            (i64::MAX, 1, Wanted::Local(Time(i64::MAX))),
        ] {
            for version in 1..=11 {
                let expected = (version >= from).then_some(meaning);
                assert_eq!(wanted(timestamp, version), expected, "{timestamp} in version {version}");
            }
        }
        assert_eq!([wanted(-7, 11), wanted(-100, 11), wanted(i64::MIN, 11)], [None; 3]);
    }
}
