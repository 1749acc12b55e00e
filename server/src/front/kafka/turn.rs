//! One at a time: the right to answer the next fetch of a connection.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Gives out turns. One waits for the next at most: the reader of a connection.
#[derive(Default)]
pub struct Turns {
    taken: Cell<bool>,
    next: Cell<Option<Waker>>,
}

/// A turn; given back when it is dropped.
pub struct Turn(Rc<Turns>);

impl Turns {
    /// Waits until no other turn is taken.
    pub async fn take(self: &Rc<Self>) -> Turn {
        poll_fn(|cx| {
            if self.taken.get() {
                self.next.set(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        self.taken.set(true);
        Turn(Rc::clone(self))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.taken.set(false);
        if let Some(waker) = self.0.next.take() {
            waker.wake();
        }
    }
}
