//! The background tasks of a shard: they are started, woken and ended here.
//!
//! Promises: a task that was started is counted until it has ended; [`Tasks::end`] wakes every task there is, so that
//! none stays parked in a shard that stops or has failed.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The kinds of background tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Carries commits to the disk. There can be several of this kind, of each other kind there is one.
    Commit,
    /// Has an idle log prove its last commit.
    Mark,
    /// Prepares the next segment.
    Prepare,
    /// Seals full segments, and frees those that are not needed.
    Seal,
    /// Rewrites segments with small extents by partition.
    Regroup,
    /// Compacts logs.
    Compact,
    /// Empties segments to keep the bound of the disk space.
    Reclaim,
    /// Gives the space of deleted batches back to the file system.
    Punch,
}

const KINDS: usize = Task::Punch as usize + 1;

/// See the module's header.
#[derive(Default)]
pub struct Tasks {
    /// Wakes the tasks of a kind.
    bells: [Notify; KINDS],
    /// Number of running tasks of a kind.
    running: [Cell<u32>; KINDS],
    /// Some task has ended.
    ended: Notify,
    /// The tasks are to end.
    ending: Cell<bool>,
}

/// A task that runs.
struct Running {
    tasks: Rc<Tasks>,
    task: Task,
}

impl Drop for Running {
    fn drop(&mut self) {
        let running = &self.tasks.running[self.task as usize];
        running.set(running.get() - 1);
        self.tasks.ended.notify_waiters();
        // The sealer may stop when the last commit has landed.
        self.tasks.wake(Task::Seal);
    }
}

impl Tasks {
    /// Starts a task. It runs until `work` ends.
    pub fn start(self: &Rc<Self>, task: Task, work: impl Future<Output = ()> + 'static) {
        let running = Running { tasks: Rc::clone(self), task };
        let count = &self.running[task as usize];
        count.set(count.get() + 1);
        tokio::task::spawn_local(async move {
            let _running = running;
            work.await;
        });
    }

    /// Wakes a task of this kind, or has the next one that waits not wait.
    pub fn wake(&self, task: Task) {
        self.bells[task as usize].notify_one();
    }

    /// Wakes all tasks of this kind that wait.
    pub fn wake_each(&self, task: Task) {
        self.bells[task as usize].notify_waiters();
    }

    /// Completes when a task of this kind is woken after this call.
    pub fn woken(&self, task: Task) -> Notified<'_> {
        self.bells[task as usize].notified()
    }

    /// Whether a task of this kind runs.
    pub fn runs(&self, task: Task) -> bool {
        self.running[task as usize].get() > 0
    }

    /// Whether any task runs.
    pub fn any_runs(&self) -> bool {
        self.running.iter().any(|count| count.get() > 0)
    }

    /// Wakes every task, as the shard stops or has failed. What a task sleeps for is cut short.
    pub fn end(&self) {
        self.ending.set(true);
        for bell in &self.bells {
            bell.notify_waiters();
            bell.notify_one();
        }
        self.ended.notify_waiters();
    }

    /// Completes when some task has ended after this call.
    pub fn one_ended(&self) -> Notified<'_> {
        self.ended.notified()
    }

    /// Sleeps, but not when the tasks are to end.
    pub async fn sleep(&self, time: Duration) {
        let ended = self.ended.notified();
        if !self.ending.get() {
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = ended => {}
            }
        }
    }
}
