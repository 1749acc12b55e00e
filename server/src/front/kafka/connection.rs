//! One client connection: what its reader, its writer and its pending answers share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::time::Instant;

use crate::core::Core;
use crate::runtime::net::Stream;
use crate::security::principal::Principal;

use super::close::CloseReason;
use super::out::{Answer, Out, Promise};
use super::turn::Turns;

/// A connection, shared by its reader, its writer and its pending answers.
pub struct Connection {
    /// Its core.
    pub core: Rc<Core>,
    /// Its answers.
    pub out: RefCell<Out>,
    /// The listener's address, as the client dialled it: what it is told to connect to again.
    pub local: SocketAddr,
    /// The client's address.
    pub peer: SocketAddr,
    /// Who the client is.
    pub principal: Principal,
    /// The client's library, once it has said so (KIP-511).
    pub software: RefCell<Option<Software>>,
    /// When bytes last came.
    pub received: Cell<Instant>,
    /// The transport.
    pub stream: Stream,
    /// A Fetch is being answered; the next one waits, so that one answer at a time holds memory.
    pub fetches: Rc<Turns>,
    /// A JoinGroup or SyncGroup waits for other members; the next one waits, so that few are kept.
    pub joins: Rc<Turns>,
    /// The name in the last request: it is the same in all of them, as a rule.
    client_id: RefCell<Option<Rc<str>>>,
}

/// The library that a client uses.
#[derive(Debug, Clone)]
pub struct Software {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(core: Rc<Core>, stream: Stream, local: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            core,
            out: RefCell::default(),
            local,
            peer,
            principal: Principal::default(),
            software: RefCell::default(),
            received: Cell::new(Instant::now()),
            stream,
            fetches: Rc::default(),
            joins: Rc::default(),
            client_id: RefCell::default(),
        }
    }

    /// The name of a client, kept for as long as somebody needs it.
    #[inline]
    pub fn client_id(&self, named: Option<&str>) -> Option<Rc<str>> {
        let mut last = self.client_id.borrow_mut();
        if last.as_deref() != named {
            *last = named.map(Rc::from);
        }
        last.clone()
    }

    /// Puts an answer into its place.
    pub fn answer(&self, promise: &Promise, answer: Answer) {
        self.out.borrow_mut().fulfil(promise, answer);
    }

    /// Ends the connection from a task that answers a request.
    pub fn close(&self, reason: &CloseReason) {
        tracing::warn!(client = %self, %reason, "closing the connection");
        self.out.borrow_mut().break_off();
        self.stream.shutdown();
    }
}

/// The client, as far as it is known: address, principal, client id, library.
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.peer, self.principal)?;
        if let Some(id) = self.client_id.borrow().as_deref() {
            write!(f, ", client id {id:?}")?;
        }
        if let Some(Software { name, version }) = &*self.software.borrow() {
            write!(f, ", {name} {version}")?;
        }
        f.write_str(")")
    }
}
