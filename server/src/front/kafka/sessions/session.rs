//! What one fetch session remembers: the partitions, from where they are read, and what the client was told of them.
//!
//! Promises: partitions are read in a fixed order, in which those that brought records go to the end, so that a busy
//! partition does not keep the others from their share; a partition is answered when it brings records or an error, or when its
//! high watermark or log start offset is another one than the client was told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use keylane_kafka::TopicRef;
use keylane_kafka::messages::fetch::{FetchPartition, FetchRequest, FetchedPartition};
use uuid::Uuid;

/// Memory of one partition, besides the name of its topic: entries of a map and of a tree, with the room that these keep.
pub const PARTITION_BYTES: usize = 320;
/// What a partition is told to have before anything was told.
const NOTHING: (i64, i64) = (-1, -1);

/// How a client named a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum TopicName {
    Name(Arc<str>),
    Id(Uuid),
}

impl TopicName {
    fn of(topic: TopicRef<'_>) -> Self {
        match topic {
            TopicRef::Name(name) => Self::Name(name.into()),
            TopicRef::Id(id) => Self::Id(id),
        }
    }

    fn as_ref(&self) -> TopicRef<'_> {
        match self {
            Self::Name(name) => TopicRef::Name(name),
            Self::Id(id) => TopicRef::Id(*id),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Name(name) => name.len(),
            Self::Id(_) => 0,
        }
    }
}

/// A partition of a session.
#[derive(Debug)]
struct Part {
    topic: TopicName,
    wanted: FetchPartition,
    /// High watermark and log start offset, as the client knows them.
    told: (i64, i64),
}

/// What is remembered for a client.
#[derive(Debug, Default)]
pub struct Session {
    /// The partitions in the order in which they are read.
    parts: BTreeMap<u64, Part>,
    /// Where in that order each of them is.
    places: HashMap<(TopicName, i32), u64, RandomState>,
    next_place: u64,
    bytes: usize,
}

/// Memory that the partitions of a request take in a session, at most.
pub fn bytes_of(request: &FetchRequest<'_>) -> usize {
    let of = |topic: TopicRef<'_>| match topic {
        TopicRef::Name(name) => name.len(),
        TopicRef::Id(_) => 0,
    };
    request.topics.iter().map(|t| t.partitions.len() * (PARTITION_BYTES + of(t.topic))).sum()
}

impl Session {
    /// A session of all partitions of a request.
    pub fn new(request: &FetchRequest<'_>) -> Self {
        let mut session = Self::default();
        session.update(request);
        session
    }

    /// Adds and changes what a request names, and takes out what it forgets.
    pub fn update(&mut self, request: &FetchRequest<'_>) {
        for topic in &request.topics {
            let name = TopicName::of(topic.topic);
            topic.partitions.iter().for_each(|wanted| self.want(&name, *wanted));
        }
        for topic in &request.forgotten_topics {
            let name = TopicName::of(topic.topic);
            topic.partitions.iter().for_each(|index| self.forget(&name, *index));
        }
    }

    fn want(&mut self, topic: &TopicName, wanted: FetchPartition) {
        let key = (topic.clone(), wanted.index);
        if let Some(part) = self.places.get(&key).and_then(|place| self.parts.get_mut(place)) {
            part.wanted = wanted;
            return;
        }
        self.bytes += PARTITION_BYTES + topic.bytes();
        self.parts.insert(self.next_place, Part { topic: topic.clone(), wanted, told: NOTHING });
        self.places.insert(key, self.next_place);
        self.next_place += 1;
    }

    fn forget(&mut self, topic: &TopicName, index: i32) {
        if let Some(place) = self.places.remove(&(topic.clone(), index)) {
            self.parts.remove(&place);
            self.bytes -= PARTITION_BYTES + topic.bytes();
        }
    }

    /// Number of partitions.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The partitions, in the order in which they are read and answered.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicRef<'_>, FetchPartition)> {
        self.parts.values().map(|part| (part.topic.as_ref(), part.wanted))
    }

    /// Remembers what is answered about all partitions, in their order. Returns which of them the client has to be told of;
    /// `records`: whether a partition brought some.
    pub fn tell<'a>(&mut self, answers: impl Iterator<Item = (&'a FetchedPartition<'a>, bool)>) -> Vec<bool> {
        let told = self.parts.values_mut().zip(answers).map(|(part, (answer, records))| {
            let before = part.told;
            part.told = (answer.high_watermark, answer.log_start_offset);
            if !answer.error.is_none() {
                // When the error is gone, the client has to hear of it.
                part.told = NOTHING;
                return true;
            }
            records || before != part.told
        });
        told.collect()
    }

    /// Moves partitions to the end of the order, without changing the order among them.
    pub fn move_to_the_end(&mut self, which: impl Iterator<Item = bool>) {
        let places = self.parts.keys().zip(which).filter(|(_, moves)| *moves);
        let places: Vec<u64> = places.map(|(place, _)| *place).collect();
        for place in places {
            let Some(part) = self.parts.remove(&place) else { continue };
            if let Some(known) = self.places.get_mut(&(part.topic.clone(), part.wanted.index)) {
                *known = self.next_place;
            }
            self.parts.insert(self.next_place, part);
            self.next_place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use keylane_kafka::ErrorCode;
    use keylane_kafka::messages::fetch::{FetchTopic, ForgottenTopic};

    use super::*;

    fn request<'a>(topic: &'a str, wanted: &[(i32, i64)], forgotten: &[i32]) -> FetchRequest<'a> {
        let topic = TopicRef::Name(topic);
        let partition = |&(index, fetch_offset): &(i32, i64)| FetchPartition {
            index,
            fetch_offset,
            ..Default::default()
        };
        FetchRequest {
            topics: vec![FetchTopic { topic, partitions: wanted.iter().map(partition).collect() }],
            forgotten_topics: vec![ForgottenTopic { topic, partitions: forgotten.to_vec() }],
            ..FetchRequest::default()
        }
    }

    fn order(session: &Session) -> Vec<(i32, i64)> {
        session.partitions().map(|(_, wanted)| (wanted.index, wanted.fetch_offset)).collect()
    }

    fn answer(high_watermark: i64, log_start_offset: i64) -> FetchedPartition<'static> {
        FetchedPartition { high_watermark, log_start_offset, ..FetchedPartition::default() }
    }

    #[test]
    fn partitions_are_added_changed_and_forgotten() {
        let mut session = Session::new(&request("t", &[(0, 5), (1, 6), (0, 7)], &[]));
        assert_eq!(order(&session), [(0, 7), (1, 6)], "of one named twice the last counts");
        session.update(&request("t", &[(1, 9), (3, 0)], &[0, 8]));
        assert_eq!(order(&session), [(1, 9), (3, 0)]);
        session.update(&request("u", &[(1, 1)], &[1]));
        assert_eq!(session.len(), 2, "what is added and forgotten in one request is gone");
        assert_eq!(session.bytes(), 2 * (PARTITION_BYTES + 1));
        session.update(&request("t", &[], &[1, 3]));
        assert_eq!((session.len(), session.bytes(), session.places.len()), (0, 0, 0));
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut session = Session::new(&request("t", &[(0, 0), (1, 0), (2, 0)], &[]));
        let mut tell = |answers: [(FetchedPartition<'static>, bool); 3]| {
            session.tell(answers.iter().map(|(answer, records)| (answer, *records)))
        };
        let same = || [(answer(5, 0), false), (answer(6, 0), false), (answer(7, 0), false)];
        assert_eq!(tell(same()), [true; 3]);
        assert_eq!(tell(same()), [false; 3]);
        let [_, second, _] = same();
        assert_eq!(tell([(answer(5, 1), false), second, (answer(8, 0), false)]), [true, false, true]);
        let [_, second, _] = same();
        assert_eq!(tell([(answer(5, 1), true), second, (answer(8, 0), false)]), [true, false, false]);
        // An error is told each time, and that it is gone too.
        let failed = || FetchedPartition::failed(0, ErrorCode::UnknownTopicOrPartition);
        for _ in 0..2 {
            let [_, second, _] = same();
            assert_eq!(tell([(failed(), false), second, (answer(8, 0), false)]), [true, false, false]);
        }
        let [_, second, _] = same();
        assert_eq!(tell([(answer(5, 1), false), second, (answer(8, 0), false)]), [true, false, false]);
    }

    #[test]
    fn what_brought_records_goes_to_the_end() {
        let mut session = Session::new(&request("t", &[(0, 0), (1, 0), (2, 0), (3, 0)], &[]));
        session.move_to_the_end([true, false, true, false].into_iter());
        assert_eq!(order(&session), [(1, 0), (3, 0), (0, 0), (2, 0)]);
        // Each is still found in its new place.
        session.update(&request("t", &[(0, 4)], &[3]));
        assert_eq!(order(&session), [(1, 0), (0, 4), (2, 0)]);
    }
}
