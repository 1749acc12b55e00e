//! Waiting for a commit to become durable, and for appending to be possible again.

use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::ids::CommitSeq;
use crate::shard::handle::Shard;

use super::commits::CommitState;

impl Shard {
    /// What became of a commit.
    pub fn commit_state(&self, seq: CommitSeq) -> CommitState {
        if seq < self.inner.durable_below.get() {
            CommitState::Durable
        } else if self.inner.failure.get().is_some() {
            CommitState::Failed
        } else {
            CommitState::Pending
        }
    }

    /// Has `waker` woken once when the state of a pending commit changes.
    pub fn wake_on_commit(&self, seq: CommitSeq, waker: &Waker) {
        match self.inner.state.borrow_mut().commits.waiters(seq) {
            Some(waiters) => waiters.push(waker.clone()),
            None => waker.wake_by_ref(),
        }
    }

    /// Waits until a commit is durable, or failed.
    pub async fn committed(&self, seq: CommitSeq) -> CommitState {
        poll_fn(|cx| match self.commit_state(seq) {
            CommitState::Pending => {
                self.wake_on_commit(seq, cx.waker());
                Poll::Pending
            }
            state => Poll::Ready(state),
        })
        .await
    }

    /// Waits until what made `append` say `Busy` has changed. `append` may say `Busy` again.
    pub async fn space(&self) {
        let mut first = true;
        poll_fn(|cx| {
            if !first || self.inner.failure.get().is_some() {
                return Poll::Ready(());
            }
            first = false;
            self.inner.state.borrow_mut().commits.add_appender(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
