//! Who reads a topic during a run: groups of consumers, each of which reads everything.

use crate::args::{Consume, RunArgs};
use crate::consumer::{LIMITS, LIMITS_BESIDE_LOAD};
use crate::fetch_shape::{FetchLimits, FetchShape};
use crate::worker::Times;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Beside the producers, as fast as records come.
    Tail,
    /// From the beginning, when half of the measurement is over.
    CatchUp,
    /// From the beginning, after the load.
    After,
    /// Once more, after the load: compared with what was read before.
    Again,
}

/// A group of consumers.
#[derive(Debug, Clone)]
pub struct Reader {
    pub kind: Kind,
    pub name: String,
    /// When reading begins; the end of the load is early enough in any case.
    pub begin_ns: u64,
    /// Whether the time from sending to reading counts.
    pub timed: bool,
    /// Whether values are remembered, to be compared with other readers.
    pub compared: bool,
    /// The client whose requests it sends.
    pub shape: Option<FetchShape>,
}

impl Reader {
    /// What its consumers ask for at once.
    pub fn limits(&self) -> FetchLimits {
        match (self.shape, self.kind) {
            (Some(shape), _) => shape.limits(),
            (None, Kind::CatchUp) => LIMITS_BESIDE_LOAD,
            (None, Kind::Tail | Kind::After | Kind::Again) => LIMITS,
        }
    }
}

/// All groups of a run.
pub fn plan(args: &RunArgs, times: Times) -> Vec<Reader> {
    if args.consumers == 0 {
        return Vec::new();
    }
    let tail = args.consume == Consume::Tail;
    let again = tail && (args.check.reread || args.check.expect_restart);
    let base = if tail { Kind::Tail } else { Kind::After };
    let kinds = std::iter::repeat_n(base, args.shape.fanout as usize)
        .chain(std::iter::repeat_n(Kind::CatchUp, args.shape.catch_up as usize))
        .chain(again.then_some(Kind::Again));
    let kinds: Vec<Kind> = kinds.collect();
    let (from_ns, to_ns) = times.measure_ns;
    let of_kind = |index: usize, kind: Kind| {
        let number = kinds[..index].iter().filter(|other| **other == kind).count() + 1;
        match kind {
            Kind::Tail => (format!("tail {number}"), 0),
            Kind::CatchUp => (format!("catch-up {number}"), from_ns + (to_ns - from_ns) / 2),
            Kind::After => (format!("after {number}"), u64::MAX),
            Kind::Again => ("again".to_owned(), u64::MAX),
        }
    };
    let compared = kinds.len() > 1;
    let reader = |(index, &kind): (usize, &Kind)| {
        let (name, begin_ns) = of_kind(index, kind);
        let timed = kind == Kind::Tail && !args.resume;
        Reader { kind, name, begin_ns, timed, compared, shape: args.shape.fetch_shape }
    };
    kinds.iter().enumerate().map(reader).collect()
}

/// The group whose reading decides whether something was lost: the last one that read all of it after the load,
/// if there is one.
pub fn judge(readers: &[Reader]) -> usize {
    readers.iter().rposition(|reader| matches!(reader.kind, Kind::Again)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str) -> Vec<(Kind, u64)> {
        let args = RunArgs::from_text(text).unwrap();
        let times = Times { start_ns: 0, measure_ns: (100, 300) };
        plan(&args, times).into_iter().map(|reader| (reader.kind, reader.begin_ns)).collect()
    }

    #[test]
    fn groups_come_from_the_options() {
        assert_eq!(planned("--consumers 0 --fanout 3"), []);
        assert_eq!(planned("--consumers 2"), [(Kind::Tail, 0)]);
        let all = planned("--consumers 2 --fanout 2 --catch-up 1 --expect-restart");
        let expected = [(Kind::Tail, 0), (Kind::Tail, 0), (Kind::CatchUp, 200), (Kind::Again, u64::MAX)];
        assert_eq!(all, expected);
        assert_eq!(planned("--consumers 1 --consume after --reread"), [(Kind::After, u64::MAX)]);
    }

    #[test]
    fn a_shape_brings_its_limits() {
        let limits = |text: &str| {
            let times = Times { start_ns: 0, measure_ns: (100, 300) };
            let readers = plan(&RunArgs::from_text(text).unwrap(), times);
            readers.iter().map(Reader::limits).collect::<Vec<_>>()
        };
        assert_eq!(limits("--catch-up 1"), [LIMITS, LIMITS_BESIDE_LOAD]);
        let librdkafka =
            FetchLimits { max_wait_ms: 500, max_bytes: 52_428_800, partition_max_bytes: 1_048_576 };
        assert_eq!(limits("--catch-up 1 --fetch-shape librdkafka"), [librdkafka, librdkafka]);
        assert_eq!(limits("--consume after --fetch-shape one")[0].max_bytes, 1 << 20);
    }
}
