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
mod kept;
mod names;
mod operations;
mod page;
mod reader;
mod sequence;
mod signature;
mod table;
mod token;
mod wire;

use std::rc::Rc;

use crate::core::Core;
use crate::front::http;
use crate::runtime::net::Listener;

/// For the fuzz targets of the tests: names of all operations.
pub const OPERATIONS: &[&str] = table::NAMES;

/// For the fuzz targets of the tests: whether a body is a request of an operation.
pub fn reads_body(operation: &str, cbor: bool, body: &[u8]) -> bool {
    table::reads(operation, if cbor { format::Format::Cbor } else { format::Format::Json }, body)
}

/// For the fuzz targets of the tests: an iterator of a directory for an offset.
pub fn seals_iterator(directory: &str, offset: u64, now_ms: i64) -> String {
    let iterator = iterator::Iterator { topic: uuid::Uuid::from_u128(offset.into()), shard: 1, offset };
    iterator.seal(&token::Tokens::new(directory), now_ms)
}

/// For the fuzz targets of the tests: the offset of an iterator that is taken.
pub fn opens_iterator(directory: &str, text: &str, now_ms: i64) -> Option<u64> {
    let opened = iterator::Iterator::open(&token::Tokens::new(directory), text, now_ms);
    opened.ok().map(|iterator| iterator.offset)
}

/// For the fuzz targets of the tests: the offset, number of the partition and second of a sequence number, and it again.
pub fn reads_sequence(text: &str) -> Option<String> {
    let place = sequence::parse(text)?;
    let numbers = sequence::Numbers::of(place.created_s, place.shard);
    Some(if place.between { numbers.before_offset(place.position) } else { numbers.at(place.position) })
}

/// Serves clients until the server stops.
pub async fn serve(core: Rc<Core>, listener: Listener) {
    let front = Rc::new(front::Front::new(Rc::clone(&core)));
    http::serve(core, listener, front).await;
}
