//! What all handles and all background tasks of a shard share.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use crate::aligned::Pool;
use crate::error::{AppendError, Failure, ReadError};
use crate::ids::{CommitSeq, Generation};

use super::checked::Checked;
use super::counters::Counters;
use super::options::ShardOptions;
use super::read::resources::ReadResources;
use super::segments::dir::ShardDir;
use super::state::State;
use super::tasks::Tasks;

/// See the module's header.
pub struct Inner {
    /// The files.
    pub dir: ShardDir,
    /// Limits and sizes.
    pub options: ShardOptions,
    /// Memory of commits.
    pub pool: Pool,
    /// What readers share.
    pub reads: ReadResources,
    /// What changes. It is not borrowed across an await.
    pub state: Checked<State>,
    /// Held while the checkpoint is replaced: the set of segments has one change at a time.
    pub manifest: Mutex<()>,
    /// The background tasks.
    pub tasks: Rc<Tasks>,
    /// All commits below this sequence are durable.
    pub durable_below: Cell<CommitSeq>,
    /// The first failure.
    pub failure: OnceCell<Rc<Failure>>,
    /// No commit is in flight any more.
    pub landed: Notify,
    /// A segment was prepared, sealed, freed or emptied, or it is clear that it will not be. Tasks that wait for a segment
    /// or for disk space look again.
    pub segments_changed: Notify,
    /// Counters.
    pub counters: Arc<Counters>,
}

impl Inner {
    /// Whether the shard has failed or stops.
    pub fn ends(&self) -> bool {
        self.ends_in(&self.state.borrow())
    }

    /// The same, of a state that is borrowed already.
    pub fn ends_in(&self, state: &State) -> bool {
        self.failure.get().is_some() || state.stopping
    }

    /// Has the shard fail: nothing becomes durable any more. The first failure is kept. All tasks are woken that wait for
    /// something that will not come.
    pub fn fail(&self, during: &str, cause: std::io::Error) {
        let failure = Failure { shard: self.dir.identity.shard, during: during.to_owned(), cause };
        tracing::error!(%failure, "shard failed");
        if self.failure.set(Rc::new(failure)).is_ok() {
            self.state.borrow_mut().commits.wake_all();
            self.wake_everybody();
        }
    }

    /// Wakes all background tasks, and all tasks that wait for segments, as the shard stops or has failed.
    pub fn wake_everybody(&self) {
        self.tasks.end();
        self.segments_changed.notify_waiters();
    }

    /// The failure of the shard as an error.
    pub fn check_failed(&self) -> Result<(), AppendError> {
        match self.failure.get() {
            Some(failure) => Err(AppendError::Failed(Rc::clone(failure))),
            None => Ok(()),
        }
    }

    /// An error: what was read of a segment is damaged.
    pub fn damaged(&self, generation: Generation, position: u64, what: String) -> ReadError {
        ReadError::Damaged { shard: self.dir.identity.shard, generation, position, what }
    }
}
