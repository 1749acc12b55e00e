//! The time, as the user of the shard last told it: the engine has no clock of its own.

use tokio::time::Instant;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Clock {
    /// Milliseconds since 1970, and when that was told.
    told: Option<(i64, Instant)>,
}

impl Clock {
    /// Tells the time, in milliseconds since 1970.
    pub fn tell(&mut self, now_ms: i64) {
        self.told = Some((now_ms, Instant::now()));
    }

    /// The time now, in milliseconds since 1970. `None`: it was not told yet.
    pub fn now_ms(&self) -> Option<i64> {
        let (told, at) = self.told?;
        Some(told.saturating_add(i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX)))
    }
}
