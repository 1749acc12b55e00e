//! Background work gives way to commits, and to readers.
//!
//! Background work waits while the log is busy, or a reader reads from its disk. How readers give way to commits is in
//! `read::paced`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::shard::inner::Inner;
use crate::shard::state::State;

/// How long the log is observed to see whether it is busy.
const LOOK: Duration = Duration::from_millis(10);
/// Share of that time in which commits may be in flight, in percent.
const BUSY_PERCENT_MAX: u32 = 50;
/// Time between two looks at a busy log.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a busy log may put off a piece of background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For ever.
    ForEver,
    /// About five seconds.
    AWhile,
    /// [`LOOK`]: for work that must not fall behind.
    Moment,
    /// [`LOOK`], and not at all once a quarter of the active segment is used: the next segment waits for the work.
    Haste,
}

/// Gives way to the log.
pub struct Pace {
    /// How long the log may put the work off.
    pub wait: Wait,
    /// Commits and reads up to the last turn.
    seen: u64,
}

impl Pace {
    /// For background work that the log may put off as long as `wait` says.
    pub fn new(wait: Wait) -> Self {
        Self { wait, seen: 0 }
    }

    /// Returns when a piece of background work may be done: at once if nothing was committed since the last time, else
    /// when the log is busy less than half of the time, or has been too busy for as long as the work may be put off. `false`: the
    /// shard ends.
    pub async fn turn(&mut self, inner: &Inner) -> bool {
        tokio::task::yield_now().await;
        let mut again = match self.wait {
            Wait::ForEver => u32::MAX,
            Wait::AWhile => 24,
            Wait::Moment => 0,
            Wait::Haste if inner.state.borrow().needs_next_soon() => return !inner.ends(),
            Wait::Haste => 0,
        };
        let reads = || inner.counters.disk_reads.load(Ordering::Relaxed);
        let active = || inner.durable_below.get() + reads();
        let busy = || inner.state.borrow().busy.time();
        while active() != self.seen {
            if inner.ends() {
                return false;
            }
            self.seen = active();
            let (before, read_before) = (busy(), reads());
            inner.tasks.sleep(LOOK).await;
            let quiet = read_before == reads() && (busy() - before) * 100 < LOOK * BUSY_PERCENT_MAX;
            if quiet || again == 0 {
                break;
            }
            again -= 1;
            inner.tasks.sleep(PATIENCE).await;
        }
        !inner.ends()
    }
}

impl State {
    /// Whether enough of the active segment is used that the next one will soon be needed.
    fn needs_next_soon(&self) -> bool {
        self.front.active.position * 4 >= self.front.active.len
    }
}
