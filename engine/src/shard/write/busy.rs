//! How busy the log is: since when, and for how long in all, commits have been in flight.

use std::time::Duration;

use tokio::time::Instant;

/// After the last commit landed, the log counts as busy for this long: another commit usually follows.
const FLOW: Duration = Duration::from_millis(20);

/// See the module's header.
#[derive(Debug, Default)]
pub struct BusyTime {
    /// Since when commits have been in flight without a pause. `None`: no commit is in flight.
    since: Option<Instant>,
    /// Time in which commits were in flight before that.
    before: Duration,
    /// When the last commit landed.
    landed_at: Option<Instant>,
}

impl BusyTime {
    /// A commit begins, and no other is in flight.
    pub fn begin(&mut self) {
        self.since = Some(Instant::now());
    }

    /// The last commit in flight has landed. `false`: none was in flight.
    pub fn end(&mut self) -> bool {
        let Some(since) = self.since.take() else { return false };
        let now = Instant::now();
        self.before += now - since;
        self.landed_at = Some(now);
        true
    }

    /// Whether a commit is in flight.
    pub fn is_busy(&self) -> bool {
        self.since.is_some()
    }

    /// Whether commits are in flight, or were a moment ago.
    pub fn flows(&self) -> bool {
        self.is_busy() || self.landed_at.is_some_and(|at| at.elapsed() < FLOW)
    }

    /// Time in which commits were in flight.
    pub fn time(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| Instant::now() - since)
    }
}
