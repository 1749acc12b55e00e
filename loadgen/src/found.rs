//! What a thread of a load found, whatever protocol it spoke.

use std::collections::BTreeMap;

use keylane_kafka::ErrorCode;

use crate::consumer::ConsumerBooks;
use crate::histogram::Latencies;
use crate::producer::ProducerBooks;
use crate::worker::{ThreadUse, Worker};

/// How long requests of readers over HTTP took.
#[derive(Debug, Clone, Default)]
pub struct Gets {
    /// Those whose answers had as many records as were asked for.
    pub full: Latencies,
    /// Those whose answers had none.
    pub empty: Latencies,
}

impl Gets {
    pub fn merge(&mut self, other: &Self) {
        self.full.merge(&other.full);
        self.empty.merge(&other.empty);
    }
}

/// See the module's header.
pub struct Found<'a> {
    pub producer_books: ProducerBooks<'a>,
    /// Of each group of consumers that it has consumers of, by the group's number.
    pub consumer_books: Vec<(usize, ConsumerBooks<'a>)>,
    /// Groups of which it has a consumer that did not read to its end.
    pub incomplete: Vec<usize>,
    /// What was refused, by the protocol's name of the error.
    pub errors: BTreeMap<String, u64>,
    /// Consumers got nothing for too long.
    pub stalled: bool,
    /// Requests that were due and never sent.
    pub backlog: u64,
    /// Connections made anew.
    pub reconnects: u64,
    /// Records read before the ends were known.
    pub read_during_load: u64,
    /// Records that were refused because their shard had too much to do, and were sent again.
    pub resent: u64,
    pub gets: Gets,
    /// What was used during the measurement.
    pub used: ThreadUse,
}

impl<'a> Found<'a> {
    /// Of a thread that found nothing yet.
    pub fn new(producer_books: ProducerBooks<'a>) -> Self {
        Self {
            producer_books,
            consumer_books: Vec::new(),
            incomplete: Vec::new(),
            errors: BTreeMap::new(),
            stalled: false,
            backlog: 0,
            reconnects: 0,
            read_during_load: 0,
            resent: 0,
            gets: Gets::default(),
            used: ThreadUse::default(),
        }
    }

    pub fn of_worker(worker: Worker<'a>) -> Self {
        let incomplete = worker.consumers.iter().filter(|consumer| !consumer.is_done());
        let incomplete = incomplete.map(|consumer| consumer.group).collect();
        let mut errors = BTreeMap::new();
        let consumed = worker.consumer_books.iter().flat_map(|books| &books.errors);
        for (code, count) in worker.producer_books.errors.iter().chain(consumed) {
            *errors.entry(ErrorCode::from_code(*code).to_string()).or_default() += count;
        }
        Self {
            consumer_books: worker.consumer_books.into_iter().enumerate().collect(),
            incomplete,
            errors,
            stalled: worker.stalled,
            backlog: worker.backlog,
            reconnects: worker.reconnects,
            read_during_load: worker.read_during_load,
            resent: 0,
            gets: Gets::default(),
            used: worker.used,
            producer_books: worker.producer_books,
        }
    }
}
