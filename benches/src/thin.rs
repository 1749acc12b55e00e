//! A consumer that does as little as one can: it asks as a client in use does, looks at the headers of the batches that
//! come, and forgets them.
//!
//! Promises: every batch follows the one before it in its partition; an answer that is longer than
//! [`FRAME_BYTES_MAX`] is refused before memory is taken for it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keylane_loadgen::batch::BatchView;
use keylane_loadgen::client::{Admin, FRAME_BYTES_MAX, connect};
use keylane_loadgen::cpu::thread_cpu;
use keylane_loadgen::fetch_shape::{FetchPlanner, FetchShape};
use keylane_loadgen::protocol::{self, FETCH, FetchedPartition};

use crate::share::Slice;

/// Longer than this, an answer does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a partition is read, and where it ends.
#[derive(Debug, Clone, Copy)]
struct Position {
    next: i64,
    end: i64,
}

/// Reads a topic from its beginning to where it ended when the reading began.
pub struct Thin {
    stream: TcpStream,
    version: i16,
    topic: String,
    shape: FetchShape,
    planner: FetchPlanner,
    /// Partitions that are not at their end yet.
    positions: BTreeMap<i32, Position>,
    correlation: i32,
    answer: Vec<u8>,
    /// Fetch requests so far.
    pub requests: u64,
    /// Bytes of record batches so far.
    pub bytes: u64,
}

impl Thin {
    /// Connects and learns where the partitions begin and end.
    pub fn new(address: SocketAddr, topic: &str, shape: FetchShape) -> Result<Self> {
        let mut admin = Admin::connect(address)?;
        let partitions = admin.wait_for_topic(topic, PATIENCE)?;
        let begins = admin.offsets(topic, partitions, protocol::EARLIEST)?;
        let ends = admin.offsets(topic, partitions, protocol::LATEST)?;
        let positions = begins.into_iter().zip(ends).map(|(next, end)| Position { next, end });
        let stream = connect(address).context("connecting a reader")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            version: admin.versions.fetch,
            topic: topic.to_owned(),
            shape,
            planner: FetchPlanner::new(Some(shape), topic),
            positions: (0..).zip(positions).filter(|(_, position)| position.next < position.end).collect(),
            correlation: 0,
            answer: Vec::new(),
            requests: 0,
            bytes: 0,
        })
    }

    /// Whether every partition was read to its end.
    pub fn is_done(&self) -> bool {
        self.positions.is_empty()
    }

    /// Reads about so many bytes, at most until `deadline`; an answer more or less.
    pub fn slice(&mut self, bytes: u64, deadline: Instant) -> Result<Slice> {
        let (started, cpu, before) = (Instant::now(), thread_cpu(), self.bytes);
        while self.bytes - before < bytes && !self.is_done() && Instant::now() < deadline {
            self.poll()?;
        }
        Ok(Slice { bytes: self.bytes - before, took: started.elapsed(), cpu: thread_cpu() - cpu })
    }

    /// One request and its answer.
    fn poll(&mut self) -> Result<()> {
        let wanted = self.positions.iter().map(|(&partition, position)| (partition, position.next)).collect();
        let plan = self.planner.plan(wanted);
        self.correlation = self.correlation.wrapping_add(1);
        self.requests += 1;
        let mut request = Vec::new();
        let start = protocol::begin_frame(&mut request, FETCH, self.version, self.correlation);
        protocol::encode_fetch(&mut request, self.version, &self.topic, self.shape.limits(), &plan);
        protocol::end_frame(&mut request, start);
        self.stream.write_all(&request).context("asking for records")?;
        let len = self.receive()?;
        let before = self.bytes;
        let (positions, bytes) = (&mut self.positions, &mut self.bytes);
        let mut fault = None;
        let answer = protocol::decode_fetch(&self.answer[..len], self.version, |fetched| {
            let taken = take(positions, fetched);
            *bytes += taken.as_ref().map_or(0, |bytes| *bytes);
            fault = fault.take().or(taken.err());
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        ensure!(answer.error == 0, "Fetch: {}", protocol::error_name(answer.error));
        self.planner.answered(answer.error, answer.session_id, self.bytes > before);
        Ok(())
    }

    /// Reads the answer to the last request; bytes after the correlation id.
    fn receive(&mut self) -> Result<usize> {
        let mut head = [0; 8];
        self.stream.read_exact(&mut head).context("waiting for records")?;
        let [length, correlation] =
            [0, 4].map(|at| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        ensure!(correlation == self.correlation, "an answer to another request");
        let len = usize::try_from(length)?.checked_sub(4).context("an answer without a body")?;
        ensure!(len <= FRAME_BYTES_MAX, "an answer of {len} bytes");
        if self.answer.len() < len {
            self.answer.resize(len, 0);
        }
        self.stream.read_exact(&mut self.answer[..len]).context("reading records")?;
        Ok(len)
    }
}

/// Moves a partition on by the batches that came; their bytes.
fn take(positions: &mut BTreeMap<i32, Position>, fetched: FetchedPartition<'_>) -> Result<u64> {
    let partition = fetched.partition;
    ensure!(fetched.error == 0, "partition {partition}: {}", protocol::error_name(fetched.error));
    let Some(position) = positions.get_mut(&partition) else {
        bail!("partition {partition} was not asked for");
    };
    let mut rest = fetched.records;
    while let Some(batch) = BatchView::split_first(&mut rest) {
        let batch = batch.map_err(|_| anyhow::anyhow!("partition {partition}: not a batch"))?;
        let (base, next) = (batch.base_offset, batch.next_offset());
        let expected = position.next;
        ensure!(base == expected, "partition {partition}: a batch at {base} where {expected} was next");
        position.next = next;
    }
    if position.next >= position.end {
        positions.remove(&partition);
    }
    Ok((fetched.records.len() - rest.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(records: &[u8]) -> FetchedPartition<'_> {
        FetchedPartition { partition: 4, error: 0, high_watermark: 9, records }
    }

    fn at(next: i64) -> BTreeMap<i32, Position> {
        BTreeMap::from([(4, Position { next, end: 2 })])
    }

    #[test]
    fn batches_move_a_partition_to_its_end() {
        let record = (b"k".as_slice(), b"v".as_slice());
        let batch = keylane_engine::record_batch::build(&[record, record], 1);
        let mut positions = at(0);
        assert_eq!(take(&mut positions, fetched(&batch)).unwrap(), batch.len() as u64);
        assert!(positions.is_empty());
    }

    #[test]
    fn what_does_not_follow_or_was_not_asked_for_is_refused() {
        let record = (b"k".as_slice(), b"v".as_slice());
        let batch = keylane_engine::record_batch::build(&[record], 1);
        assert!(take(&mut at(1), fetched(&batch)).is_err(), "the batch is at 0");
        assert!(take(&mut BTreeMap::new(), fetched(&batch)).is_err());
        assert!(take(&mut at(0), FetchedPartition { error: 1, ..fetched(&batch) }).is_err());
    }
}
