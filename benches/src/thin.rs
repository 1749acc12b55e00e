//! A consumer that does as little as one can: it asks as a client in use does, looks at the headers of the batches that
//! come, and forgets them.
//!
//! Promises: every batch follows the one before it in its partition; an answer that is longer than
//! [`ANSWER_BYTES_MAX`](keylane_kafka::client::ANSWER_BYTES_MAX) is refused before memory is taken for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use keylane_kafka::ApiKey;
use keylane_kafka::client::Client;
use keylane_kafka::hot::answers::read_partitions;
use keylane_kafka::messages::fetch::FetchedPartition;
use keylane_kafka::messages::list_offsets::{EARLIEST, LATEST};
use keylane_loadgen::batch::BatchView;
use keylane_loadgen::client::Admin;
use keylane_loadgen::cpu::thread_cpu;
use keylane_loadgen::fetch_shape::{FetchPlanner, FetchShape};
use keylane_loadgen::protocol::{CLIENT_ID, fetch_request};

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
    client: Client,
    version: i16,
    topic: String,
    shape: FetchShape,
    planner: FetchPlanner,
    /// Partitions that are not at their end yet.
    positions: BTreeMap<i32, Position>,
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
        let begins = admin.offsets(topic, partitions, EARLIEST)?;
        let ends = admin.offsets(topic, partitions, LATEST)?;
        let positions = begins.into_iter().zip(ends).map(|(next, end)| Position { next, end });
        let client = Client::connect(address, CLIENT_ID, PATIENCE)?;
        Ok(Self {
            client,
            version: admin.versions.fetch,
            topic: topic.to_owned(),
            shape,
            planner: FetchPlanner::new(Some(shape), topic),
            positions: (0..).zip(positions).filter(|(_, position)| position.next < position.end).collect(),
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
        self.requests += 1;
        let request = fetch_request(&self.topic, self.shape.limits(), &plan);
        let id = self.client.send(self.version, &request)?;
        let body = self.client.receive(id, ApiKey::Fetch, self.version)?;
        let before = self.bytes;
        let (positions, bytes) = (&mut self.positions, &mut self.bytes);
        let mut fault = None;
        let (error, session) = read_partitions(self.version, body, |_, fetched| {
            let taken = take(positions, &fetched);
            *bytes += taken.as_ref().map_or(0, |bytes| *bytes);
            fault = fault.take().or(taken.err());
        })?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        ensure!(error.is_none(), "Fetch: {error}");
        self.planner.answered(error, session, self.bytes > before);
        Ok(())
    }
}

/// Moves a partition on by the batches that came; their bytes.
fn take(positions: &mut BTreeMap<i32, Position>, fetched: &FetchedPartition<'_>) -> Result<u64> {
    let partition = fetched.index;
    ensure!(fetched.error.is_none(), "partition {partition}: {}", fetched.error);
    let Some(position) = positions.get_mut(&partition) else {
        bail!("partition {partition} was not asked for");
    };
    let records = fetched.records.unwrap_or_default();
    let mut rest = records;
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
    Ok((records.len() - rest.len()) as u64)
}

#[cfg(test)]
mod tests {
    use keylane_kafka::ErrorCode;

    use super::*;

    fn fetched(records: &[u8]) -> FetchedPartition<'_> {
        FetchedPartition { index: 4, high_watermark: 9, records: Some(records), ..Default::default() }
    }

    fn at(next: i64) -> BTreeMap<i32, Position> {
        BTreeMap::from([(4, Position { next, end: 2 })])
    }

    #[test]
    fn batches_move_a_partition_to_its_end() {
        let record = (b"k".as_slice(), b"v".as_slice());
        let batch = keylane_engine::record_batch::build(&[record, record], 1);
        let mut positions = at(0);
        assert_eq!(take(&mut positions, &fetched(&batch)).unwrap(), batch.len() as u64);
        assert!(positions.is_empty());
    }

    #[test]
    fn what_does_not_follow_or_was_not_asked_for_is_refused() {
        let record = (b"k".as_slice(), b"v".as_slice());
        let batch = keylane_engine::record_batch::build(&[record], 1);
        assert!(take(&mut at(1), &fetched(&batch)).is_err(), "the batch is at 0");
        assert!(take(&mut BTreeMap::new(), &fetched(&batch)).is_err());
        assert!(
            take(&mut at(0), &FetchedPartition { error: ErrorCode::OffsetOutOfRange, ..fetched(&batch) })
                .is_err()
        );
    }
}
