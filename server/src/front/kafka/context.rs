//! What goes with a request from the moment its header was read until its answer leaves.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use keylane_kafka::frame::write_response;
use keylane_kafka::{Message, RequestHeader, ResponseHeader};
use tokio::time::Instant;

use crate::core::Core;

use super::close::CloseReason;
use super::connection::Connection;
use super::out::Answer;

/// Longest time that a request may wait, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// A request's surroundings. The request itself is the handler's.
pub struct Context {
    /// The connection: its core, listener, client and principal.
    pub connection: Rc<Connection>,
    /// The API, its version, and the request's number: what the answer's header needs.
    pub header: ResponseHeader,
    /// The name that the client gave itself.
    pub client_id: Option<Rc<str>>,
    /// When it was received.
    pub received: Instant,
    throttle: Cell<Duration>,
    next_may_come: Cell<bool>,
}

impl Context {
    /// Puts it together when the header has been read.
    #[inline]
    pub fn new(connection: &Rc<Connection>, header: &RequestHeader<'_>) -> Self {
        Self {
            connection: Rc::clone(connection),
            header: header.response(),
            client_id: connection.client_id(header.client_id),
            received: connection.received.get(),
            throttle: Cell::default(),
            next_may_come: Cell::new(false),
        }
    }

    /// The core that serves the connection.
    #[inline]
    pub fn core(&self) -> &Rc<Core> {
        &self.connection.core
    }

    /// The version of the request, which is that of its answer.
    #[inline]
    pub fn version(&self) -> i16 {
        self.header.version
    }

    /// When a request that may wait for `ms` milliseconds has to be answered.
    pub fn deadline(&self, ms: i32) -> Instant {
        let wait = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        self.received + wait.min(WAIT_MAX)
    }

    /// Tells the client to wait before it sends more. Of several such wishes the longest counts (KIP-219).
    #[cfg_attr(not(test), expect(dead_code, reason = "there are no quotas yet"))]
    pub fn throttle(&self, time: Duration) {
        self.throttle.set(self.throttle.get().max(time));
    }

    /// What the answer says about it, in milliseconds.
    #[inline]
    pub fn throttle_ms(&self) -> i32 {
        i32::try_from(self.throttle.get().as_millis()).unwrap_or(i32::MAX)
    }

    /// From here on this request does not hold up the connection's next one.
    pub fn let_next_come(&self) {
        self.next_may_come.set(true);
    }

    /// Whether it no longer holds up the next one.
    pub fn next_may_come(&self) -> bool {
        self.next_may_come.get()
    }

    /// Encodes an answer.
    pub fn respond<'m>(&self, response: impl Message<'m>) -> Result<Answer, CloseReason> {
        let mut out = BytesMut::new();
        self.write(&mut out, response)?;
        Ok(Answer { slices: vec![out.freeze()], ..Answer::default() })
    }

    /// Encodes an answer at the end of a buffer.
    pub fn write<'m>(&self, out: &mut BytesMut, mut response: impl Message<'m>) -> Result<(), CloseReason> {
        response.set_throttle(self.throttle_ms());
        write_response(out, self.header, |w| response.encode(self.version(), w))?;
        Ok(())
    }
}
