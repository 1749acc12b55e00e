//! Produce in place: a request that is read where it lies, and a response that is written before its commit.
//!
//! Promises: decoding allocates nothing and copies nothing; the whole request is
//! checked before its first partition is handed out, so a damaged tail cannot leave half a request appended.
//! The response is written before the commit that it reports, and patched where the commit turned out
//! otherwise, so it keeps its place in the order of answers.
use std::ops::Range;

use bytes::BytesMut;

use crate::api::ApiKey;
use crate::error::ErrorCode;
use crate::field::{At, Field, TopicRef, unserved};
use crate::frame::{FrameError, OpenFrame};
use crate::header::ResponseHeader;
use crate::messages::produce as declared;
use crate::wire::{Reader, WireError, Writer};

/// A Produce request that was checked from end to end.
#[derive(Debug, Clone)]
pub struct ProduceRequest<'a> {
    /// What was found.
    pub outline: Outline,
    /// Transaction, if the producer has one.
    pub transactional_id: Option<&'a str>,
    frame: &'a [u8],
    /// The first partition: as a rule the only one.
    first: Option<ProducePartition<'a>>,
}

/// What a Produce request holds, without its bytes: they may move meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Outline {
    /// -1: all, 1: leader, 0: no answer. Anything else is to be refused.
    pub acks: i16,
    /// How long the client waits.
    pub timeout_ms: i32,
    /// Topics in the request.
    pub topic_count: usize,
    /// Topics with partitions. Only those are answered, as in Kafka.
    pub answered_topics: usize,
    /// Partitions in all topics together.
    pub partition_count: usize,
    at: At,
    /// Where the body starts.
    body: usize,
    /// Where the topics start.
    topics: usize,
}

/// A topic of a request, in place; its partitions follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceTopic<'a> {
    /// Which topic.
    pub topic: TopicRef<'a>,
    /// How many partitions the request has for it.
    pub partition_count: usize,
}

/// Records for one partition, in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// Which topic.
    pub topic: TopicRef<'a>,
    /// Which of its partitions.
    pub index: i32,
    /// The records as they came; empty if they are null.
    pub records: &'a [u8],
    /// Where the records lie in the frame (from the first byte after the length prefix).
    pub range: Range<usize>,
}

/// What a request holds, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProduceItem<'a> {
    /// A topic begins.
    Topic(ProduceTopic<'a>),
    /// A partition of the topic before it.
    Partition(ProducePartition<'a>),
}

impl<'a> ProduceRequest<'a> {
    /// Reads and checks a whole request. Inlined, so that the request is not moved.
    #[inline(always)]
    pub fn decode(version: i16, r: &mut Reader<'a>) -> Result<Self, WireError> {
        if !ApiKey::Produce.serves(version) {
            return Err(unserved(r, version));
        }
        let (at, body) = (ApiKey::Produce.at(version), r.position());
        let transactional_id = r.nullable_string(at.flexible, "transactional_id")?;
        let acks = r.i16("acks")?;
        let timeout_ms = r.i32("timeout_ms")?;
        let topic_count = r.array(at.flexible, declared::ProduceTopic::bytes_min(at), "topics")?;
        let topics = r.position();
        let mut items = Items::new(at, topic_count, r.clone());
        let (mut answered_topics, mut partition_count, mut first) = (0, 0, None);
        while let Some(item) = items.step()? {
            match item {
                ProduceItem::Topic(topic) => answered_topics += usize::from(topic.partition_count > 0),
                ProduceItem::Partition(partition) => {
                    partition_count += 1;
                    if first.is_none() {
                        first = Some(partition);
                    }
                }
            }
        }
        *r = items.reader;
        r.skip_tags(at.flexible)?;
        let outline =
            Outline { acks, timeout_ms, topic_count, answered_topics, partition_count, at, body, topics };
        Ok(Self { outline, transactional_id, frame: r.frame(), first })
    }

    /// The request that was outlined, in a copy of its frame: it is not checked again.
    ///
    /// In another frame it holds whatever can be read there.
    pub fn again(outline: Outline, frame: &'a [u8]) -> Self {
        let mut body = Reader::at(frame, outline.body);
        let transactional_id =
            body.nullable_string(outline.at.flexible, "transactional_id").unwrap_or_default();
        Self { outline, transactional_id, frame, first: None }
    }

    /// Topics, each followed by its partitions, in the order of the request.
    #[inline]
    pub fn items(&self) -> Items<'a> {
        let topics = Reader::at(self.frame, self.outline.topics);
        Items::new(self.outline.at, self.outline.topic_count, topics)
    }

    /// Partitions in the order of the request.
    #[inline]
    pub fn partitions(&self) -> impl Iterator<Item = ProducePartition<'a>> + use<'a> {
        self.items().filter_map(|item| match item {
            ProduceItem::Topic(_) => None,
            ProduceItem::Partition(partition) => Some(partition),
        })
    }

    /// The only partition, if there is only one: what librdkafka always sends.
    #[inline]
    pub fn single_partition(&self) -> Option<&ProducePartition<'a>> {
        self.first.as_ref().filter(|_| self.outline.partition_count == 1)
    }
}

/// Walks through the topics and partitions of a request.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    at: At,
    reader: Reader<'a>,
    topics_left: usize,
    partitions_left: usize,
    /// A topic is open: its tagged fields follow its last partition.
    topic: Option<TopicRef<'a>>,
}

impl<'a> Items<'a> {
    #[inline]
    fn new(at: At, topics_left: usize, reader: Reader<'a>) -> Self {
        Self { at, reader, topics_left, partitions_left: 0, topic: None }
    }

    #[inline]
    fn step(&mut self) -> Result<Option<ProduceItem<'a>>, WireError> {
        let at = self.at;
        let r = &mut self.reader;
        if let Some(topic) = self.topic {
            if self.partitions_left > 0 {
                self.partitions_left -= 1;
                let index = r.i32("index")?;
                let range = r.nullable_bytes(at.flexible, "records")?.unwrap_or(r.position()..r.position());
                let records = r.slice(range.clone());
                r.skip_tags(at.flexible)?;
                return Ok(Some(ProduceItem::Partition(ProducePartition { topic, index, records, range })));
            }
            r.skip_tags(at.flexible)?;
            self.topic = None;
        }
        if self.topics_left == 0 {
            return Ok(None);
        }
        self.topics_left -= 1;
        let topic = TopicRef::read(r, at, "topic")?;
        self.partitions_left =
            r.array(at.flexible, declared::ProducePartition::bytes_min(at), "partitions")?;
        self.topic = Some(topic);
        Ok(Some(ProduceItem::Topic(ProduceTopic { topic, partition_count: self.partitions_left })))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = ProduceItem<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // `ProduceRequest::decode` has walked the same bytes to their end without an error.
        let step = self.step();
        debug_assert!(step.is_ok());
        step.unwrap_or_default()
    }
}

/// Where `error_code` stands in an outcome: after the partition's number.
const ERROR_CODE_AT: usize = 4;

/// Where the answer for one partition lies in its response frame (length prefix included).
///
/// The positions stay right while the frame is moved as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionSlot {
    /// Position of `error_code` (INT16); `base_offset` and `log_append_time_ms` (INT64 both) follow it.
    at: u32,
}

impl PartitionSlot {
    /// Position of `error_code` (INT16).
    #[inline]
    pub fn error_code_at(self) -> usize {
        self.at as usize
    }

    /// Position of `base_offset` (INT64).
    #[inline]
    pub fn base_offset_at(self) -> usize {
        self.at as usize + 2
    }

    /// Turns the outcome in the frame, which starts with its length prefix, into an error.
    ///
    /// # Panics
    /// If the slot does not belong to the frame.
    #[inline]
    pub fn fail(self, frame: &mut [u8], error: ErrorCode) {
        let slot = frame.get_mut(self.at as usize..).and_then(|rest| rest.first_chunk_mut::<18>());
        let slot = slot.expect("the slot of a partition lies in its response frame");
        let (code, offset_and_time) = slot.split_at_mut(2);
        code.copy_from_slice(&error.code().to_be_bytes());
        // Both -1.
        offset_and_time.fill(0xff);
    }
}

/// Writes a Produce response at the end of a connection's buffer.
///
/// The calls follow the request: each topic with its number of partitions, then so many partitions.
#[derive(Debug)]
#[must_use = "a response is complete only after `finish`"]
pub struct ProduceResponseWriter<'b> {
    w: Writer<'b>,
    frame: OpenFrame,
    at: At,
    topics_left: usize,
    partitions_left: usize,
    topic_open: bool,
}

impl<'b> ProduceResponseWriter<'b> {
    /// Writes the frame's start for a response of `topics` topics.
    #[inline]
    pub fn begin(out: &'b mut BytesMut, header: ResponseHeader, topics: usize) -> Self {
        let mut w = Writer::new(out);
        let frame = OpenFrame::response(&mut w, header);
        let at = ApiKey::Produce.at(header.version);
        w.length(at.flexible, topics);
        Self { w, frame, at, topics_left: topics, partitions_left: 0, topic_open: false }
    }

    /// Where the frame (its length prefix) starts in the buffer.
    #[inline]
    pub fn frame_start(&self) -> usize {
        self.frame.start()
    }

    #[inline]
    fn close_topic(&mut self) {
        assert_eq!(self.partitions_left, 0, "a topic is answered with all its partitions");
        if self.topic_open {
            self.w.no_tags(self.at.flexible);
            self.topic_open = false;
        }
    }

    /// Begins a topic.
    ///
    /// # Panics
    /// If the topic before it lacks partitions, or there are more topics than were announced.
    #[inline]
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions: usize) {
        self.close_topic();
        assert!(self.topics_left > 0, "more topics than announced");
        self.topics_left -= 1;
        topic.write(&mut self.w, self.at);
        self.w.length(self.at.flexible, partitions);
        self.partitions_left = partitions;
        self.topic_open = true;
    }

    /// Writes a partition's outcome and says where it lies.
    ///
    /// # Panics
    /// If there are more partitions than were announced.
    #[inline(always)]
    pub fn partition(&mut self, answer: &declared::ProducedPartition<'_>) -> PartitionSlot {
        assert!(self.partitions_left > 0, "more partitions than announced");
        self.partitions_left -= 1;
        let at = self.w.position() - self.frame.start() + ERROR_CODE_AT;
        answer.write(&mut self.w, self.at);
        // A frame is at most i32::MAX bytes long; a longer one is refused by `finish`.
        PartitionSlot { at: u32::try_from(at).unwrap_or(u32::MAX) }
    }

    /// Ends the frame. A response that is too long for a frame is taken out of the buffer.
    ///
    /// # Panics
    /// If topics or partitions that were announced are missing.
    #[inline]
    pub fn finish(mut self, throttle_time_ms: i32) -> Result<(), FrameError> {
        self.close_topic();
        assert_eq!(self.topics_left, 0, "a response has all topics of its request");
        self.w.i32(throttle_time_ms);
        self.w.no_tags(self.at.flexible); // node_endpoints would be tag 0
        self.frame.end(&mut self.w, 0)
    }
}
