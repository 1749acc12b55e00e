//! Which records go into the next request of a connection.
//!
//! Promises of a careful producer: no request has two records of a key, and a record that was refused goes before all later
//! ones of its key, which wait with it; others do not wait. A careless one sends what there is, and what was refused
//! again after a pause, among what came meanwhile.

use std::collections::VecDeque;

use super::request::Record;

/// A record that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    record: Record,
    /// It was refused, and is not sent again before.
    not_before_ns: u64,
}

/// See the module's header.
#[derive(Debug)]
pub struct Outbox {
    careless: bool,
    waiting: VecDeque<Waiting>,
    /// For each key, the last request in which it was looked at.
    looked: Vec<u32>,
    request: u32,
}

impl Outbox {
    /// For so many keys.
    pub fn new(careless: bool, keys: u32) -> Self {
        Self { careless, waiting: VecDeque::new(), looked: vec![0; keys as usize], request: 0 }
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a record behind all others.
    pub fn add(&mut self, record: Record) {
        self.waiting.push_back(Waiting { record, not_before_ns: 0 });
    }

    /// Takes the records of a request, at most so many, into `taken`.
    pub fn take(&mut self, most: usize, now_ns: u64, taken: &mut Vec<Record>) {
        taken.clear();
        self.request = self.request.wrapping_add(1);
        let (careless, request) = (self.careless, self.request);
        let (looked, mut kept) = (&mut self.looked, VecDeque::with_capacity(self.waiting.len()));
        for waiting in self.waiting.drain(..) {
            let key = &mut looked[waiting.record.key as usize];
            let before_another = careless || *key != request;
            // Whether it goes or waits: what comes behind it waits for it.
            *key = request;
            if taken.len() < most && before_another && waiting.not_before_ns <= now_ns {
                taken.push(waiting.record);
            } else {
                kept.push_back(waiting);
            }
        }
        self.waiting = kept;
    }

    /// Records that were taken last and were refused, in the order in which they were taken.
    pub fn refused(&mut self, records: &[Record], not_before_ns: u64) {
        let again = records.iter().map(|&record| Waiting { record, not_before_ns });
        if self.careless {
            self.waiting.extend(again);
        } else {
            again.rev().for_each(|waiting| self.waiting.push_front(waiting));
        }
    }

    /// When something may go again, if nothing may now; `None`: nothing waits.
    pub fn next_ns(&self, now_ns: u64) -> Option<u64> {
        self.waiting.iter().map(|waiting| waiting.not_before_ns).filter(|ns| *ns > now_ns).min()
    }

    /// Gives up what waits.
    pub fn drain(&mut self) -> impl Iterator<Item = Record> + '_ {
        self.waiting.drain(..).map(|waiting| waiting.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record((key, seq): (u32, u64)) -> Record {
        Record { key, seq, due_ns: 0 }
    }

    fn outbox(careless: bool, records: &[(u32, u64)]) -> Outbox {
        let mut outbox = Outbox::new(careless, 10);
        records.iter().for_each(|&pair| outbox.add(record(pair)));
        outbox
    }

    fn take(outbox: &mut Outbox, most: usize, now_ns: u64) -> Vec<(u32, u64)> {
        let mut taken = Vec::new();
        outbox.take(most, now_ns, &mut taken);
        taken.iter().map(|record| (record.key, record.seq)).collect()
    }

    #[test]
    fn a_request_has_a_key_once() {
        let mut careful = outbox(false, &[(1, 1), (1, 2), (2, 1), (1, 3), (3, 1)]);
        assert_eq!(take(&mut careful, 9, 0), [(1, 1), (2, 1), (3, 1)]);
        assert_eq!(take(&mut careful, 9, 0), [(1, 2)]);
        assert_eq!(take(&mut careful, 9, 0), [(1, 3)]);
        assert!(careful.is_empty());
        let mut careful = outbox(false, &[(1, 1), (2, 1), (3, 1), (2, 2)]);
        assert_eq!(take(&mut careful, 2, 0), [(1, 1), (2, 1)]);
        assert_eq!(take(&mut careful, 2, 0), [(3, 1), (2, 2)]);
    }

    #[test]
    fn what_was_refused_goes_before_what_came_later() {
        let records = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)];
        let mut careful = outbox(false, &records);
        assert_eq!(take(&mut careful, 9, 0), [(1, 1), (2, 1)]);
        careful.refused(&[record((1, 1))], 100);
        // The rest of key 1 waits with it.
        assert_eq!(take(&mut careful, 9, 50), [(2, 2)]);
        assert_eq!((take(&mut careful, 9, 60), careful.next_ns(60)), (vec![], Some(100)));
        assert_eq!(take(&mut careful, 9, 100), [(1, 1)]);
        assert_eq!(take(&mut careful, 9, 100), [(1, 2)]);
    }

    #[test]
    fn a_careless_one_overtakes_what_was_refused() {
        let mut careless = outbox(true, &[(1, 1), (1, 2), (1, 3)]);
        assert_eq!(take(&mut careless, 2, 0), [(1, 1), (1, 2)]);
        careless.refused(&[record((1, 1))], 100);
        assert_eq!(take(&mut careless, 2, 50), [(1, 3)]);
        assert_eq!(take(&mut careless, 2, 100), [(1, 1)]);
    }
}
