//! Kinesis' protocol with clients, over HTTP: `front` takes a request and gives its answer, `table` finds the operation, and
//! `operations/` has a file for each family of them. `format` speaks JSON and CBOR, `wire` has the types of fields, `page` the records of an answer, `event` the messages of an event stream, `check` and `fault`
//! say in the protocol's words what is refused. A shard's records are numbered by `sequence`, positions in it are named by
//! `iterator`. The definition of operations and their fields is the API reference,
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/>; what differs stands in `docs/kinesis.md`.
//!
//! Promises: a put is answered after the flush; a request gets the protocol's answer or a closed connection, whatever
//! its bytes are.

mod answer;
mod bill;
mod check;
mod context;
mod event;
mod fault;
mod format;
mod front;
mod iterator;
mod names;
mod operations;
mod page;
mod reader;
mod sequence;
mod table;
mod token;
mod wire;

use std::rc::Rc;

use crate::core::Core;
use crate::front::http;
use crate::runtime::net::Listener;

/// Serves clients until the server stops.
pub async fn serve(core: Rc<Core>, listener: Listener) {
    let front = Rc::new(front::Front::new(Rc::clone(&core)));
    http::serve(core, listener, front).await;
}
