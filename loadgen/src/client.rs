//! Sockets and frames.
//!
//! [`Admin`] is a blocking client for the few questions before and after a load. [`Inbox`] collects
//! the answers of a non-blocking connection: large reads, frames parsed where they lie. Promises: a
//! frame longer than [`FRAME_BYTES_MAX`] is refused before memory is taken for it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::protocol::{self, TopicMetadata, Versions};
use crate::topic_admin::PARTITIONS_AT_ONCE;
use crate::wire::Reader;

/// The longest answer that is read.
pub const FRAME_BYTES_MAX: usize = 128 << 20;
const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);
/// What Kafka answers to a creation that is too large.
const POLICY_VIOLATION: i16 = 44;

pub fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address.to_socket_addrs().with_context(|| format!("broker address {address}"))?;
    found.next().with_context(|| format!("broker address {address} has no IP address"))
}

/// A connection that sends small requests at once.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request, one answer.
pub struct Admin {
    stream: TcpStream,
    correlation: i32,
    pub versions: Versions,
}

impl Admin {
    /// Connects and agrees on versions.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(ADMIN_TIMEOUT))?;
        stream.set_write_timeout(Some(ADMIN_TIMEOUT))?;
        let mut admin = Self { stream, correlation: 0, versions: Versions::default() };
        let body = admin.ask(protocol::API_VERSIONS, 0, |_| ())?;
        admin.versions = protocol::decode_api_versions(&body)?.map_err(anyhow::Error::msg)?;
        Ok(admin)
    }

    /// Sends a request and returns the answer after its correlation id.
    pub(crate) fn ask(
        &mut self,
        api: i16,
        version: i16,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Vec<u8>> {
        self.correlation += 1;
        let mut frame = Vec::new();
        let start = protocol::begin_frame(&mut frame, api, version, self.correlation);
        encode(&mut frame);
        protocol::end_frame(&mut frame, start);
        self.stream.write_all(&frame).context("sending a request")?;
        let mut head = [0; 8];
        self.stream.read_exact(&mut head).context("waiting for an answer")?;
        let mut r = Reader::new(&head);
        let (length, correlation) = (r.i32()?, r.i32()?);
        ensure!(correlation == self.correlation, "an answer to another request");
        let length = usize::try_from(length)?.checked_sub(4).context("an answer without a body")?;
        ensure!(length <= FRAME_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("reading an answer")?;
        Ok(body)
    }

    pub fn topic(&mut self, topic: &str) -> Result<TopicMetadata> {
        let version = self.versions.metadata;
        let body =
            self.ask(protocol::METADATA, version, |out| protocol::encode_metadata(out, version, topic))?;
        Ok(protocol::decode_metadata(&body, version)?)
    }

    /// Creates the topic; false if it was there. Where a broker refuses so many partitions at once, in steps.
    pub fn create_topic(&mut self, topic: &str, partitions: i32, configs: &[(&str, String)]) -> Result<bool> {
        match self.try_create_topic(topic, partitions, configs)? {
            (0, _) => Ok(true),
            (36, _) => Ok(false),
            (POLICY_VIOLATION, why) if partitions > PARTITIONS_AT_ONCE => {
                let (code, _) = self.try_create_topic(topic, PARTITIONS_AT_ONCE, configs)?;
                ensure!(code == 0, "creating topic {topic}: {why}");
                self.raise_partitions(topic, PARTITIONS_AT_ONCE, partitions)?;
                Ok(true)
            }
            (code, why) => bail!("creating topic {topic}: {} {why}", protocol::error_name(code)),
        }
    }

    fn try_create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, String)],
    ) -> Result<(i16, String)> {
        let version = self.versions.create_topics;
        let body = self.ask(protocol::CREATE_TOPICS, version, |out| {
            protocol::encode_create_topic(out, topic, partitions, configs);
        })?;
        Ok(protocol::decode_create_topic(&body)?)
    }

    /// Waits until every partition of the topic has a leader, and returns how many there are.
    pub fn wait_for_topic(&mut self, topic: &str, limit: Duration) -> Result<i32> {
        let deadline = Instant::now() + limit;
        loop {
            let found = self.topic(topic)?;
            let led = found.partitions.iter().all(|&(error, leader)| error == 0 && leader >= 0);
            if found.error == 0 && led && !found.partitions.is_empty() {
                ensure!(found.brokers == 1, "{} brokers: only one can be loaded", found.brokers);
                let partitions = i32::try_from(found.partitions.len())?;
                let answers = self.try_offsets(topic, partitions, protocol::EARLIEST)?;
                if answers.iter().all(|&(error, _)| error == 0) {
                    return Ok(partitions);
                }
            }
            let waited = Instant::now() > deadline;
            ensure!(!waited, "topic {topic} is not ready: {}", protocol::error_name(found.error));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_offsets(&mut self, topic: &str, partitions: i32, timestamp: i64) -> Result<Vec<(i16, i64)>> {
        let version = self.versions.list_offsets;
        let body = self.ask(protocol::LIST_OFFSETS, version, |out| {
            protocol::encode_list_offsets(out, version, topic, partitions, timestamp);
        })?;
        Ok(protocol::decode_list_offsets(&body, version, partitions)?)
    }

    /// The earliest or latest offset of each partition.
    pub fn offsets(&mut self, topic: &str, partitions: i32, timestamp: i64) -> Result<Vec<i64>> {
        let answers = self.try_offsets(topic, partitions, timestamp)?;
        let mut offsets = Vec::with_capacity(answers.len());
        for (partition, (error, offset)) in answers.into_iter().enumerate() {
            ensure!(error == 0, "offsets of {topic}-{partition}: {}", protocol::error_name(error));
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
