//! Fetch response (API 1), versions 4 to 18, written without copying records.
//!
//! Promise: the result is a list of segments to be sent in order with one vectored write: pieces of headers
//! (all slices of one buffer) and the record slices exactly as they were passed in. The length prefix counts
//! them all. There are no fetch sessions: session id 0 tells the client to fetch in full each time (KIP-227).
use bytes::{Bytes, BytesMut};

use super::produce::TopicRef;
use crate::error::ErrorCode;
use crate::frame::{FrameError, ResponseFrame};
use crate::header::ResponseHeader;
use crate::versions::ApiKey;
use crate::wire::Writer;

/// What a Fetch response says about a partition, but for its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchedPartition<'a> {
    /// Which partition.
    pub index: i32,
    /// Outcome.
    pub error: ErrorCode,
    /// End of what is durable; -1 in an error.
    pub high_watermark: i64,
    /// End of what `read_committed` may see; -1 in an error.
    pub last_stable_offset: i64,
    /// First offset of the log; -1 in an error (but told with OFFSET_OUT_OF_RANGE).
    pub log_start_offset: i64,
    /// Aborted transactions in the records (producer id and first offset); `None` for `read_uncommitted`.
    pub aborted_transactions: Option<&'a [(i64, i64)]>,
}

impl FetchedPartition<'_> {
    /// A partition that could not be read.
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: None,
        }
    }
}

/// Writes a Fetch response.
///
/// Topics and partitions are announced with their number, then written one after the other.
#[derive(Debug)]
#[must_use = "a response is complete only after `finish`"]
pub struct FetchResponseWriter {
    head: BytesMut,
    frame: ResponseFrame,
    version: i16,
    flexible: bool,
    /// Record slices, each with the position in `head` that it is sent before.
    records: Vec<(usize, Bytes)>,
    records_bytes: usize,
    topics_left: usize,
    partitions_left: usize,
    topic_open: bool,
}

impl FetchResponseWriter {
    /// Begins a response of `topics` topics. `error` is the outcome of the request as a whole (v7).
    pub fn begin(version: i16, correlation_id: i32, error: ErrorCode, topics: usize) -> Self {
        let flexible = ApiKey::Fetch.is_flexible(version);
        let mut head = BytesMut::with_capacity(128);
        let mut w = Writer::new(&mut head);
        let frame =
            ResponseFrame::begin(&mut w, ResponseHeader { api: ApiKey::Fetch, version, correlation_id });
        w.i32(0); // throttle_time_ms
        if version >= 7 {
            w.i16(error.code());
            w.i32(0); // session_id
        }
        w.length(flexible, topics);
        Self {
            head,
            frame,
            version,
            flexible,
            records: Vec::new(),
            records_bytes: 0,
            topics_left: topics,
            partitions_left: 0,
            topic_open: false,
        }
    }

    fn close_topic(&mut self) {
        assert_eq!(self.partitions_left, 0, "a topic is answered with all its partitions");
        if self.topic_open {
            Writer::new(&mut self.head).no_tags(self.flexible);
            self.topic_open = false;
        }
    }

    /// Begins a topic.
    ///
    /// # Panics
    /// If the topic before it lacks partitions, or there are more topics than were announced.
    pub fn topic(&mut self, topic: TopicRef<'_>, partitions: usize) {
        self.close_topic();
        assert!(self.topics_left > 0, "more topics than announced");
        self.topics_left -= 1;
        let mut w = Writer::new(&mut self.head);
        match topic {
            TopicRef::Name(name) => w.string(self.flexible, name),
            TopicRef::Id(id) => w.uuid(id),
        }
        w.length(self.flexible, partitions);
        self.partitions_left = partitions;
        self.topic_open = true;
    }

    /// Writes a partition with its records: whole batches, in as many slices as they come in.
    ///
    /// # Panics
    /// If there are more partitions than were announced.
    pub fn partition(&mut self, partition: &FetchedPartition<'_>, records: impl IntoIterator<Item = Bytes>) {
        assert!(self.partitions_left > 0, "more partitions than announced");
        self.partitions_left -= 1;
        let flexible = self.flexible;
        let mut w = Writer::new(&mut self.head);
        w.i32(partition.index);
        w.i16(partition.error.code());
        w.i64(partition.high_watermark);
        w.i64(partition.last_stable_offset);
        if self.version >= 5 {
            w.i64(partition.log_start_offset);
        }
        w.nullable_length(flexible, partition.aborted_transactions.map(<[_]>::len));
        for &(producer_id, first_offset) in partition.aborted_transactions.unwrap_or_default() {
            w.i64(producer_id);
            w.i64(first_offset);
            w.no_tags(flexible);
        }
        if self.version >= 11 {
            w.i32(-1); // preferred_read_replica
        }
        let first = self.records.len();
        self.records.extend(records.into_iter().filter(|slice| !slice.is_empty()).map(|slice| (0, slice)));
        let added = self.records.get_mut(first..).unwrap_or_default();
        let bytes = added.iter().map(|(_, slice)| slice.len()).sum::<usize>();
        w.length(flexible, bytes);
        let at = w.position();
        for (position, _) in added {
            *position = at;
        }
        self.records_bytes += bytes;
        w.no_tags(flexible);
    }

    /// Bytes of records so far.
    pub fn records_bytes(&self) -> usize {
        self.records_bytes
    }

    /// The whole response as segments to be sent in order.
    ///
    /// # Panics
    /// If topics or partitions that were announced are missing.
    pub fn finish(mut self) -> Result<Vec<Bytes>, FrameError> {
        self.close_topic();
        assert_eq!(self.topics_left, 0, "a response has all the topics that it announced");
        let mut w = Writer::new(&mut self.head);
        w.no_tags(self.flexible);
        self.frame.end(&mut w, self.records_bytes)?;
        let head = self.head.freeze();
        let mut segments = Vec::with_capacity(2 * self.records.len() + 1);
        let mut sent = 0;
        for (position, slice) in self.records {
            if position > sent {
                segments.push(head.slice(sent..position));
                sent = position;
            }
            segments.push(slice);
        }
        if sent < head.len() {
            segments.push(head.slice(sent..));
        }
        Ok(segments)
    }
}
