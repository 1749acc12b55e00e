//! How far each partition was read ahead, so that nothing is asked for twice.

use std::collections::HashMap;
use std::ops::Range;

use crate::ids::{LogId, Offset};

/// Most partitions of which this is known.
const KNOWN_MAX: usize = 16 << 10;

/// See the module's header.
#[derive(Default)]
pub struct AheadOffsets {
    /// The offsets of a partition that were read ahead last.
    known: HashMap<LogId, Range<Offset>>,
    /// Tasks that read ahead now.
    pub tasks: usize,
}

impl AheadOffsets {
    /// Where the part begins that was not read ahead yet, for a reader that goes on at `from`.
    pub fn begin(&self, log: LogId, from: Offset) -> Offset {
        self.known.get(&log).filter(|r| r.contains(&from)).map_or(from, |r| r.end)
    }

    /// The offsets from `from` to `end` were read ahead.
    pub fn note(&mut self, log: LogId, from: Offset, end: Offset) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&log) {
            self.known.clear();
        }
        self.known.insert(log, from..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_ahead_is_not_read_again_unless_the_reader_is_elsewhere() {
        let mut ahead = AheadOffsets::default();
        assert_eq!(ahead.begin(LogId(1), 10), 10);
        ahead.note(LogId(1), 10, 50);
        assert_eq!(ahead.begin(LogId(1), 20), 50);
        assert_eq!((ahead.begin(LogId(1), 50), ahead.begin(LogId(1), 5)), (50, 5));
        assert_eq!(ahead.begin(LogId(2), 20), 20);
    }
}
