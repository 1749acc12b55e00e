//! One client connection: what its reader, its writer and its pending answers share.

use std::cell::RefCell;
use std::rc::Rc;

use crate::core::Core;
use crate::runtime::net::Stream;

use super::close::CloseReason;
use super::out::{Answer, Out, Promise};
use super::turn::Turns;

/// A connection, shared by its reader, its writer and its pending answers.
pub struct Connection {
    /// Its core.
    pub core: Rc<Core>,
    /// Its answers.
    pub out: RefCell<Out>,
    /// Address that the client connected to: what it is told to connect to again.
    pub local: std::net::SocketAddr,
    /// Address that the client connects from.
    pub peer: std::net::SocketAddr,
    /// The transport.
    pub stream: Stream,
    /// A Fetch is being answered; the next one waits, so that one answer at a time holds memory.
    pub fetches: Rc<Turns>,
    /// A JoinGroup or SyncGroup waits for other members; the next one waits, so that few are kept.
    pub joins: Rc<Turns>,
}

impl Connection {
    /// Puts an answer into its place.
    pub fn answer(&self, promise: &Promise, answer: Answer) {
        self.out.borrow_mut().fulfil(promise, answer);
    }

    /// Ends the connection from a task that answers a request.
    pub fn close(&self, reason: &CloseReason) {
        tracing::warn!(%reason, "closing the connection");
        self.out.borrow_mut().break_off();
        self.stream.shutdown();
    }
}
