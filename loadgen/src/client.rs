//! Sockets and frames.
//!
//! [`Admin`] is a blocking client for the few questions before and after a load. [`Inbox`] collects
//! the answers of a non-blocking connection: large reads, frames parsed where they lie. Promises: a
//! frame longer than [`FRAME_BYTES_MAX`] is refused before memory is taken for it.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keylane_kafka::ErrorCode;
use keylane_kafka::client::{ANSWER_BYTES_MAX, Client};
use keylane_kafka::messages::alter_configs::ConfigEntry;
use keylane_kafka::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use keylane_kafka::messages::list_offsets::{
    EARLIEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use keylane_kafka::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use crate::protocol::{CLIENT_ID, Versions};

/// Brokers refuse to create more than some number of partitions in one request.
pub const PARTITIONS_AT_ONCE: i32 = 5_000;

pub use keylane_kafka::client::connect;

/// The longest answer that is read.
pub const FRAME_BYTES_MAX: usize = ANSWER_BYTES_MAX;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);

pub fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address.to_socket_addrs().with_context(|| format!("broker address {address}"))?;
    found.next().with_context(|| format!("broker address {address} has no IP address"))
}

/// What Metadata says of the brokers and the one topic that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicMetadata {
    pub brokers: usize,
    pub error: ErrorCode,
    /// Error and leader by partition, in order of the partitions.
    pub partitions: Vec<(ErrorCode, i32)>,
}

/// One request, one answer.
pub struct Admin {
    pub(crate) client: Client,
    pub versions: Versions,
}

impl Admin {
    /// Connects and agrees on versions.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let mut client = Client::connect(address, CLIENT_ID, ADMIN_TIMEOUT)?;
        let versions = Versions::agreed(&client.versions()?);
        let versions = versions.context("the broker and this client have no version in common")?;
        Ok(Self { client, versions })
    }

    pub fn topic(&mut self, topic: &str) -> Result<TopicMetadata> {
        let wanted = MetadataRequestTopic { name: Some(topic), ..Default::default() };
        // Never create topics by asking.
        let request = MetadataRequest {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = self.client.ask(self.versions.metadata, &request)?;
        let mut found = TopicMetadata {
            brokers: answer.brokers.len(),
            error: ErrorCode::UnknownTopicOrPartition,
            partitions: Vec::new(),
        };
        if let Some(mut topic) = answer.topics.into_iter().next() {
            topic.partitions.sort_unstable_by_key(|partition| partition.index);
            found.error = topic.error;
            found.partitions = topic.partitions.iter().map(|p| (p.error, p.leader_id)).collect();
        }
        Ok(found)
    }

    /// Creates the topic; false if it was there. Where a broker refuses so many partitions at once, in steps.
    pub fn create_topic(&mut self, topic: &str, partitions: i32, configs: &[(&str, String)]) -> Result<bool> {
        match self.try_create_topic(topic, partitions, configs)? {
            (ErrorCode::None, _) => Ok(true),
            (ErrorCode::TopicAlreadyExists, _) => Ok(false),
            // What Kafka answers to a creation that is too large.
            (ErrorCode::PolicyViolation, why) if partitions > PARTITIONS_AT_ONCE => {
                let (code, _) = self.try_create_topic(topic, PARTITIONS_AT_ONCE, configs)?;
                ensure!(code.is_none(), "creating topic {topic}: {why}");
                self.raise_partitions(topic, PARTITIONS_AT_ONCE, partitions)?;
                Ok(true)
            }
            (code, why) => bail!("creating topic {topic}: {code} {why}"),
        }
    }

    /// Outcome, and what the broker says of it.
    pub(crate) fn try_create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, String)],
    ) -> Result<(ErrorCode, String)> {
        let new = CreatableTopic {
            name: topic,
            num_partitions: partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: configs.iter().map(|(name, value)| ConfigEntry { name, value: Some(value) }).collect(),
        };
        let request = CreateTopicsRequest { topics: vec![new], timeout_ms: 30_000, validate_only: false };
        let answer = self.client.ask(self.versions.create_topics, &request)?;
        let created = answer.topics.into_iter().next().context("an answer about no topic")?;
        Ok((created.error, created.error_message.unwrap_or_default().into_owned()))
    }

    /// Waits until every partition of the topic has a leader, and returns how many there are.
    pub fn wait_for_topic(&mut self, topic: &str, limit: Duration) -> Result<i32> {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.topic(topic)?;
            let led = found.partitions.iter().all(|&(error, leader)| error.is_none() && leader >= 0);
            if found.error.is_none() && led && !found.partitions.is_empty() {
                ensure!(found.brokers == 1, "{} brokers: only one can be loaded", found.brokers);
                let partitions = i32::try_from(found.partitions.len())?;
                let answers = self.try_offsets(topic, partitions, EARLIEST)?;
                if answers.iter().all(|&(error, _)| error.is_none()) {
                    return Ok(partitions);
                }
            }
            let waited = Instant::now() > deadline;
            ensure!(!waited, "topic {topic} is not ready: {}", found.error);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Error and offset of each partition, by partition.
    pub(crate) fn try_offsets(
        &mut self,
        topic: &str,
        partitions: i32,
        timestamp: i64,
    ) -> Result<Vec<(ErrorCode, i64)>> {
        let asked = |index| ListOffsetsPartition { index, timestamp, ..Default::default() };
        let wanted = ListOffsetsTopic { name: topic, partitions: (0..partitions).map(asked).collect() };
        let request = ListOffsetsRequest { topics: vec![wanted], ..Default::default() };
        let answer = self.client.ask(self.versions.list_offsets, &request)?;
        let mut found = vec![(ErrorCode::UnknownTopicOrPartition, -1); usize::try_from(partitions)?];
        for told in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if let Some(slot) = usize::try_from(told.index).ok().and_then(|index| found.get_mut(index)) {
                *slot = (told.error, told.offset);
            }
        }
        Ok(found)
    }

    /// The offset of each partition at a time, at [`EARLIEST`] or at
    /// [`LATEST`](keylane_kafka::messages::list_offsets::LATEST).
    pub fn offsets(&mut self, topic: &str, partitions: i32, timestamp: i64) -> Result<Vec<i64>> {
        let answers = self.try_offsets(topic, partitions, timestamp)?;
        let mut offsets = Vec::with_capacity(answers.len());
        for (partition, (error, offset)) in answers.into_iter().enumerate() {
            ensure!(error.is_none(), "offsets of {topic}-{partition}: {error}");
            offsets.push(offset);
        }
        Ok(offsets)
    }
}

/// What a non-blocking connection can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// All that could be done was done.
    Drained,
    /// There may be more.
    More,
    /// The other side is gone.
    Closed,
}

/// Received bytes and the frames among them.
#[derive(Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub fn new(bytes: usize) -> Self {
        Self { buffer: vec![0; bytes], start: 0, end: 0 }
    }

    /// One large read. What was handed out by [`Inbox::next_frame`] before is gone after it.
    pub fn fill(&mut self, mut stream: &TcpStream) -> Flow {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() || self.start > self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.buffer.len() - self.end;
        loop {
            return match stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => Flow::Closed,
                Ok(len) => {
                    self.end += len;
                    if len == room { Flow::More } else { Flow::Drained }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Flow::Drained,
                Err(_) => Flow::Closed,
            };
        }
    }

    /// The next whole frame without its length; makes room for one that is only partly here.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameTooLong> {
        let Some(head) = self.buffer[self.start..self.end].first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(i32::from_be_bytes(*head)).map_err(|_| FrameTooLong)?;
        if length > FRAME_BYTES_MAX {
            return Err(FrameTooLong);
        }
        let (from, to) = (self.start + 4, self.start + 4 + length);
        if to > self.end {
            if length + 4 > self.buffer.len() {
                self.buffer.resize((length + 4).next_power_of_two(), 0);
            }
            return Ok(None);
        }
        self.start = to;
        Ok(Some(&self.buffer[from..to]))
    }
}

/// A frame length that is negative or above [`FRAME_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameTooLong;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        let mut inbox = Inbox::new(16);
        let mut bytes = Vec::new();
        for len in [3usize, 0, 9, 200, 1] {
            bytes.extend_from_slice(&(len as i32).to_be_bytes());
            bytes.extend(std::iter::repeat_n(len as u8, len));
        }
        let mut seen = Vec::new();
        for chunk in bytes.chunks(5) {
            sender.write_all(chunk).unwrap();
            assert_ne!(inbox.fill(&receiver), Flow::Closed);
            while let Some(frame) = inbox.next_frame().unwrap() {
                assert!(frame.iter().all(|byte| usize::from(*byte) == frame.len()));
                seen.push(frame.len());
            }
        }
        assert_eq!(seen, [3, 0, 9, 200, 1]);
        drop(sender);
        assert_eq!(inbox.fill(&receiver), Flow::Closed);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused() {
        let mut inbox = Inbox::new(16);
        inbox.buffer[..4].copy_from_slice(&i32::MAX.to_be_bytes());
        inbox.end = 4;
        assert_eq!(inbox.next_frame(), Err(FrameTooLong));
    }
}
