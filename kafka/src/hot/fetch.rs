//! Fetch responses that are written without copying records.
//!
//! Promise: the result is a list of segments to be sent in order with one vectored write: pieces of headers
//! (all slices of one buffer) and the record slices exactly as they were passed in. The length prefix counts
//! them all.
use bytes::{Bytes, BytesMut};

use crate::api::ApiKey;
use crate::error::ErrorCode;
use crate::field::{At, Field, TopicRef};
use crate::frame::{FrameError, OpenFrame};
use crate::header::ResponseHeader;
use crate::messages::fetch::FetchedPartition;
use crate::wire::Writer;

/// Writes a Fetch response.
///
/// Topics and partitions are announced with their number, then written one after the other.
#[derive(Debug)]
#[must_use = "a response is complete only after `finish`"]
pub struct FetchResponseWriter {
    head: BytesMut,
    frame: OpenFrame,
    at: At,
    /// Record slices, each with the position in `head` that it is sent before.
    records: Vec<(usize, Bytes)>,
    records_bytes: usize,
    topics_left: usize,
    partitions_left: usize,
    topic_open: bool,
}

impl FetchResponseWriter {
    /// Begins a response of `topics` topics. `error` is the outcome of the request as a whole (v7), `session_id` the
    /// fetch session; 0 for none (KIP-227, v7).
    pub fn begin(
        header: ResponseHeader,
        throttle_time_ms: i32,
        error: ErrorCode,
        session_id: i32,
        topics: usize,
    ) -> Self {
        let at = ApiKey::Fetch.at(header.version);
        let mut head = BytesMut::with_capacity(128);
        let mut w = Writer::new(&mut head);
        let frame = OpenFrame::response(&mut w, header);
        w.i32(throttle_time_ms);
        if header.version >= 7 {
            w.i16(error.code());
            w.i32(session_id);
        }
        w.length(at.flexible, topics);
        Self {
            head,
            frame,
            at,
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
            Writer::new(&mut self.head).no_tags(self.at.flexible);
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
        topic.write(&mut w, self.at);
        w.length(self.at.flexible, partitions);
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
        let mut w = Writer::new(&mut self.head);
        // Its records are not here: the length of none is replaced, and with it what follows.
        assert!(partition.records.is_none(), "records are given as slices");
        partition.write(&mut w, self.at);
        let none = <Option<&[u8]>>::bytes_min(self.at) + usize::from(self.at.flexible);
        let before_records = w.position() - none;
        w.buffer().truncate(before_records);
        let first = self.records.len();
        self.records.extend(records.into_iter().filter(|slice| !slice.is_empty()).map(|slice| (0, slice)));
        let added = self.records.get_mut(first..).unwrap_or_default();
        let bytes = added.iter().map(|(_, slice)| slice.len()).sum::<usize>();
        w.length(self.at.flexible, bytes);
        let at = w.position();
        for (position, _) in added {
            *position = at;
        }
        self.records_bytes += bytes;
        w.no_tags(self.at.flexible);
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
        w.no_tags(self.at.flexible);
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
