//! What the model knows of one partition.

use keylane_engine::{CommitSeq, LogId, record_batch};
use keylane_tests::crash::model::Sent;

/// A batch in the model.
#[derive(Debug, Clone)]
pub struct Batch {
    pub base: u64,
    pub span: u64,
    pub time: i64,
    pub bytes: Vec<u8>,
    /// Producer and first sequence.
    pub producer: Option<(u8, i32)>,
    pub seq: CommitSeq,
}

impl Batch {
    pub fn end(&self) -> u64 {
        self.base + self.span
    }

    pub fn is(&self, stored: &[u8]) -> bool {
        stored.len() == self.bytes.len()
            && record_batch::base_offset(stored) == Some(self.base)
            && stored[16..] == self.bytes[16..]
    }
}

#[derive(Debug)]
pub struct Log {
    pub topic: String,
    pub log: LogId,
    pub batches: Vec<Batch>,
    /// So many of them are known to be durable.
    pub acked: usize,
    /// Where it starts, durably.
    pub start: u64,
    /// Higher starts that were asked for, and the last commit that states one.
    pub trims: (Vec<u64>, CommitSeq),
    /// Of each key only the latest record need be there.
    pub compacted: bool,
}

impl Log {
    pub fn new(topic: String, log: LogId, compacted: bool) -> Self {
        Self { topic, log, batches: Vec::new(), acked: 0, start: 0, trims: (Vec::new(), 0), compacted }
    }

    /// Batches of which something is above the start.
    pub fn kept(&self) -> &[Batch] {
        &self.batches[self.batches.partition_point(|batch| batch.end() <= self.start)..]
    }

    /// All batches, as the crash harness has them.
    pub fn sent(&self) -> Vec<Sent> {
        let sent =
            |b: &Batch| Sent { base_offset: b.base, count: b.span as u32, bytes: b.bytes.clone().into() };
        self.batches.iter().map(sent).collect()
    }

    /// The log was seen to start at `start`: one that was asked for, and never lower again.
    pub fn saw_start(&mut self, start: u64) -> Result<(), String> {
        if start != self.start && (start < self.start || !self.trims.0.contains(&start)) {
            return Err(format!(
                "log {} starts at {start}, not at {} or {:?}",
                self.log, self.start, self.trims.0
            ));
        }
        self.start = start;
        self.trims.0.retain(|asked| *asked > start);
        Ok(())
    }

    pub fn end(&self) -> u64 {
        self.batches.last().map_or(0, Batch::end)
    }

    pub fn next_sequence(&self, producer: u8) -> i32 {
        let mine =
            self.batches.iter().rev().filter_map(|b| b.producer.map(|(id, first)| (id, first, b.span)));
        mine.into_iter().find(|(id, ..)| *id == producer).map_or(0, |(_, first, span)| first + span as i32)
    }
}
