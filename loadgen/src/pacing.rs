//! The clock of a run and the times at which requests are due.
//!
//! Promises: one monotonic clock for producers and consumers of a process; a paced request's time is
//! fixed by the rate alone, so a broker that stalls makes the measured latency longer, not the load
//! smaller (no coordinated omission).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the start of the run.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
    zero_wall_ms: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { zero: Instant::now(), zero_wall_ms: wall.as_millis() as i64 }
    }

    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    /// The wall clock's milliseconds at a time of this clock.
    #[inline]
    pub fn wall_ms(&self, time_ns: u64) -> i64 {
        self.zero_wall_ms + (time_ns / 1_000_000) as i64
    }
}

/// How fast all connections together are to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// As soon as the window has room: closed loop.
    Unlimited,
    /// Records a second.
    Fixed(f64),
    Bursts {
        records: u64,
        every: Duration,
    },
    /// Records a second at the beginning and at the end of a stretch of time; the first one before it.
    Ramp {
        from: f64,
        to: f64,
        steady_ns: u64,
        over_ns: u64,
    },
}

/// The part of one connection in the load.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    pub index: usize,
    pub connections: usize,
    /// Of all records: those of the connections before, and its own.
    pub before: f64,
    pub own: f64,
}

impl Share {
    /// Connection `index` of `connections` that all send the same.
    pub fn even(index: usize, connections: usize) -> Self {
        let own = 1.0 / connections as f64;
        Self { index, connections, before: own * index as f64, own }
    }
}

#[derive(Debug, Clone, Copy)]
enum Schedule {
    Unlimited,
    /// The n-th at `first + n * interval`.
    Every {
        first_ns: f64,
        interval_ns: f64,
    },
    /// So many at each multiple of the interval.
    Bursts {
        first_ns: f64,
        interval_ns: f64,
        each: u64,
    },
    /// Requests a nanosecond; connections are `phase` of a request apart.
    Ramp {
        first_ns: f64,
        from: f64,
        to: f64,
        steady_ns: f64,
        over_ns: f64,
        phase: f64,
    },
}

/// When each request of a connection is due.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    schedule: Schedule,
    sent: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { schedule: Schedule::Unlimited, sent: 0 }
    }
}

impl Pace {
    /// The pace of one connection that sends `records` with each request.
    pub fn new(rate: Rate, records: usize, share: Share, start_ns: u64) -> Self {
        // Spread evenly: connections do not all send at the same moment.
        let phase = share.index as f64 / share.connections as f64;
        let (start_ns, records) = (start_ns as f64, records as f64);
        let schedule = match rate {
            Rate::Unlimited => Schedule::Unlimited,
            Rate::Fixed(rate) => {
                let interval_ns = 1e9 * records / (rate * share.own);
                Schedule::Every { first_ns: start_ns + interval_ns * phase, interval_ns }
            }
            Rate::Bursts { records: all, every } => {
                let requests = (all as f64 / records).ceil();
                let until = |part: f64| (requests * part + 1e-9).floor() as u64;
                let each = until(share.before + share.own) - until(share.before);
                Schedule::Bursts { first_ns: start_ns, interval_ns: every.as_nanos() as f64, each }
            }
            Rate::Ramp { from, to, steady_ns, over_ns } => {
                let requests = |rate: f64| rate * share.own / records / 1e9;
                let (from, to) = (requests(from), requests(to));
                let (steady_ns, over_ns) = (steady_ns as f64, over_ns as f64);
                Schedule::Ramp { first_ns: start_ns, from, to, steady_ns, over_ns, phase }
            }
        };
        Self { schedule, sent: 0 }
    }

    /// When the n-th request is due.
    #[inline]
    fn nth_ns(&self, n: u64) -> Option<f64> {
        match self.schedule {
            Schedule::Unlimited => None,
            Schedule::Every { first_ns, interval_ns } => Some(first_ns + interval_ns * n as f64),
            Schedule::Bursts { each: 0, .. } => Some(f64::INFINITY),
            Schedule::Bursts { first_ns, interval_ns, each } => {
                Some(first_ns + interval_ns * (n / each) as f64)
            }
            Schedule::Ramp { first_ns, from, to, steady_ns, over_ns, phase } => {
                let n = n as f64 + phase;
                let steady = from * steady_ns;
                if n < steady {
                    return Some(first_ns + n / from);
                }
                // n requests are due after t where from * t + (to - from) / over * t^2 / 2 = n.
                let (n, rise) = (n - steady, (to - from) / over_ns);
                let root = (from * from + 2.0 * rise * n).sqrt();
                let t = if rise == 0.0 { n / from } else { (root - from) / rise };
                Some(if t.is_finite() { first_ns + steady_ns + t } else { f64::INFINITY })
            }
        }
    }

    /// When the next request is due; `None`: at once.
    #[inline]
    pub fn due_ns(&self) -> Option<u64> {
        self.nth_ns(self.sent).map(|due_ns| due_ns as u64)
    }

    #[inline]
    pub fn sent_one(&mut self) {
        self.sent += 1;
    }

    /// The due times before `until_ns` of requests that have not been sent.
    pub fn unsent_ns(&self, until_ns: u64) -> impl Iterator<Item = u64> + use<> {
        let pace = *self;
        let due = (self.sent..).map_while(move |n| pace.nth_ns(n));
        due.take_while(move |due_ns| *due_ns < until_ns as f64).map(|due_ns| due_ns as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_depend_on_when_requests_leave() {
        let mut pace = Pace::new(Rate::Fixed(1000.0), 10, Share::even(1, 2), 1_000);
        // 100 batches a second over two connections: one every 20 ms, the second one 10 ms later.
        assert_eq!(pace.due_ns(), Some(10_001_000));
        pace.sent_one();
        assert_eq!(pace.due_ns(), Some(30_001_000));
        assert_eq!(pace.unsent_ns(30_001_000).count(), 0);
        assert_eq!(pace.unsent_ns(70_001_001).collect::<Vec<_>>(), [30_001_000, 50_001_000, 70_001_000]);
        assert_eq!(Pace::default().unsent_ns(u64::MAX).count(), 0);
    }

    fn due_before(rate: Rate, records: usize, connections: usize, until_ns: u64) -> Vec<u64> {
        let paces =
            (0..connections).map(|index| Pace::new(rate, records, Share::even(index, connections), 0));
        paces.flat_map(|pace| pace.unsent_ns(until_ns)).collect()
    }

    #[test]
    fn bursts_are_due_at_once_and_whole() {
        let rate = Rate::Bursts { records: 100, every: Duration::from_millis(10) };
        // 100 records in batches of 7 are 15 requests.
        for connections in [1, 4, 8, 40] {
            let due = due_before(rate, 7, connections, 20_000_000);
            assert_eq!(due.iter().filter(|due| **due == 0).count(), 15, "{connections}");
            assert_eq!(due.iter().filter(|due| **due == 10_000_000).count(), 15, "{connections}");
        }
    }

    #[test]
    fn ramps_send_what_lies_under_their_slope() {
        let second = 1_000_000_000;
        for (from, to) in [(1_000.0, 9_000.0), (9_000.0, 1_000.0), (0.0, 4_000.0), (5_000.0, 5_000.0)] {
            let rate = Rate::Ramp { from, to, steady_ns: second, over_ns: 2 * second };
            let due = due_before(rate, 10, 4, 3 * second);
            let (steady, all) = (from / 10.0, from / 10.0 + (from + to) / 2.0 * 2.0 / 10.0);
            let before = due.iter().filter(|due| **due < second).count() as f64;
            assert!((before - steady).abs() <= 4.0, "{from} {to}: {before} before the ramp");
            assert!((due.len() as f64 - all).abs() <= 4.0, "{from} {to}: {} of {all}", due.len());
        }
    }
}
