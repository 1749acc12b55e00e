//! Has members come and go while a load runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::fleet::Fleet;

/// Members come and go in a thread of their own, until it is told to stop.
pub struct Churn {
    stop: std::sync::Arc<AtomicBool>,
    thread: JoinHandle<(Fleet, Result<()>)>,
}

impl Churn {
    /// Every so often one goes (it leaves and is killed in turns) or one comes; without a time they only stay.
    pub fn start(mut fleet: Fleet, every: Option<Duration>) -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopping = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let outcome = turns(&mut fleet, every, &stopping);
            (fleet, outcome)
        });
        Self { stop, thread }
    }

    /// The members as they are now.
    pub fn stop(self) -> Result<Fleet> {
        self.stop.store(true, Ordering::Relaxed);
        let (fleet, outcome) = self.thread.join().map_err(|_| anyhow!("the thread of the churn panicked"))?;
        outcome.map(|()| fleet)
    }
}

fn turns(fleet: &mut Fleet, every: Option<Duration>, stop: &AtomicBool) -> Result<()> {
    let mut due = Instant::now();
    for turn in 0u64.. {
        due += every.unwrap_or(Duration::from_millis(50));
        while Instant::now() < due {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match (every, turn % 4) {
            (None, _) => {}
            (Some(_), 0) => fleet.leave()?,
            (Some(_), 2) => fleet.kill()?,
            (Some(_), _) => fleet.add(1)?,
        }
    }
    Ok(())
}
