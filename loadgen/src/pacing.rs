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

/// When each request of a connection is due.
#[derive(Debug, Clone)]
pub enum Pace {
    /// As soon as the window has room: closed loop.
    Unlimited,
    /// The n-th at `first + n * interval`: open loop.
    Every { first_ns: f64, interval_ns: f64, sent: u64 },
}

impl Pace {
    /// The share of connection `index` of `connections` in `rate` records a second.
    pub fn new(
        rate: Option<f64>,
        records_per_request: usize,
        index: usize,
        connections: usize,
        start_ns: u64,
    ) -> Self {
        let Some(rate) = rate else { return Self::Unlimited };
        let interval_ns = 1e9 * records_per_request as f64 * connections as f64 / rate;
        // Spread evenly: connections do not all send at the same moment.
        let first_ns = start_ns as f64 + interval_ns * index as f64 / connections as f64;
        Self::Every { first_ns, interval_ns, sent: 0 }
    }

    pub fn is_open_loop(&self) -> bool {
        matches!(self, Self::Every { .. })
    }

    /// When the next request is due; `None`: at once.
    #[inline]
    pub fn due_ns(&self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Every { first_ns, interval_ns, sent } => {
                Some((first_ns + interval_ns * *sent as f64) as u64)
            }
        }
    }

    #[inline]
    pub fn sent_one(&mut self) {
        if let Self::Every { sent, .. } = self {
            *sent += 1;
        }
    }

    /// The due times before `until_ns` of requests that have not been sent.
    pub fn unsent_ns(&self, until_ns: u64) -> impl Iterator<Item = u64> + use<> {
        let (first_ns, interval_ns, sent) = match *self {
            Self::Unlimited => (f64::INFINITY, 0.0, 0),
            Self::Every { first_ns, interval_ns, sent } => (first_ns, interval_ns, sent),
        };
        let due = (sent..).map(move |n| first_ns + interval_ns * n as f64);
        due.take_while(move |due_ns| *due_ns < until_ns as f64).map(|due_ns| due_ns as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_depend_on_when_requests_leave() {
        let mut pace = Pace::new(Some(1000.0), 10, 1, 2, 1_000);
        // 100 batches a second over two connections: one every 20 ms, the second one 10 ms later.
        assert_eq!(pace.due_ns(), Some(10_001_000));
        pace.sent_one();
        assert_eq!(pace.due_ns(), Some(30_001_000));
        assert_eq!(pace.unsent_ns(30_001_000).count(), 0);
        assert_eq!(pace.unsent_ns(70_001_001).collect::<Vec<_>>(), [30_001_000, 50_001_000, 70_001_000]);
        assert_eq!(Pace::Unlimited.unsent_ns(u64::MAX).count(), 0);
    }
}
