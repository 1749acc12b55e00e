//! The way of a request: decode, handle, encode, answer in turn.
//!
//! Promises: the requests of a connection are begun in their order, and answered in it. A header is decoded once, and so
//! is a body. What can be answered without waiting keeps no bytes of the request ([`at_once`]): Produce for a partition
//! of this core, whose answer is gated by its commit, and ApiVersions. Any other request has a future ([`in_turn`]) that
//! holds up the requests behind it until it says [`Context::let_next_come`]; from then on it is a task of its own.
//! The table of APIs decides which handler that is.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use keylane_kafka::hot::produce::{Outline, ProduceRequest};
use keylane_kafka::messages::api_versions::ApiVersionsRequest;
use keylane_kafka::versions::encode_unsupported;
use keylane_kafka::{ApiKey, HeaderError, Message, Reader, Request, RequestHeader};

use super::close::CloseReason;
use super::connection::Connection;
use super::context::Context;
use super::handlers::{Handle, api_versions, fetch, produce};
use super::out::Answer;

/// How far a request got.
pub enum Taken {
    /// Taken care of; its bytes are no longer needed.
    Done,
    /// It needs its bytes for longer, or needs to wait: see [`in_turn`]. In a box, so that what is usual moves no bytes.
    Deferred(Box<Deferred>),
}

/// A request that needs its bytes for longer.
pub struct Deferred {
    context: Context,
    /// Where its body begins.
    body: usize,
    /// What a Produce request holds.
    outline: Option<Outline>,
}

/// Takes a request, without waiting and without keeping its bytes.
pub fn at_once(connection: &Rc<Connection>, frame: &[u8]) -> Result<Taken, CloseReason> {
    let mut reader = Reader::new(frame);
    let header = match RequestHeader::decode(&mut reader) {
        Ok(header) => header,
        Err(HeaderError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
            connection.out.borrow_mut().at_once(|out| encode_unsupported(out, correlation_id))?;
            return Ok(Taken::Done);
        }
        Err(other) => return Err(other.into()),
    };
    let context = Context::new(connection, &header);
    let body = reader.position();
    let outline = match header.api {
        ApiKey::Produce => {
            let request = ProduceRequest::decode(header.version, &mut reader)?;
            if produce::at_once(&context, &request)? {
                return Ok(Taken::Done);
            }
            Some(request.outline)
        }
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::decode(header.version, &mut reader)?;
            let response = api_versions::answer(&context, &request);
            connection.out.borrow_mut().at_once(|out| context.write(out, response))?;
            return Ok(Taken::Done);
        }
        _ => None,
    };
    Ok(Taken::Deferred(Box::new(Deferred { context, body, outline })))
}

/// Takes a request that [`at_once`] deferred; `frame` has the same bytes. Waits as long as the request has to be
/// taken before the next one.
pub async fn in_turn(deferred: Box<Deferred>, frame: Bytes) -> Result<(), CloseReason> {
    let Deferred { context, body, outline } = *deferred;
    let context = Rc::new(context);
    match (outline, context.header.api) {
        (Some(outline), _) => run(&context, produce::in_turn(Rc::clone(&context), frame, outline)).await,
        (None, ApiKey::Fetch) => run(&context, fetch::in_turn(Rc::clone(&context), frame, body)).await,
        (None, _) => run(&context, control(Rc::clone(&context), frame, body)).await,
    }
}

/// Works on a request, here until the next one may come, then in a task of its own.
///
/// A future without an answer stands for a request that gets none, or whose answer is in its place already.
async fn run<F>(context: &Context, work: F) -> Result<(), CloseReason>
where
    F: Future<Output = Result<Option<Answer>, CloseReason>> + 'static,
{
    let mut work = Box::pin(work);
    let begun = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(end) => Poll::Ready(Some(end)),
        Poll::Pending if context.next_may_come() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let end = begun.await;
    let connection = Rc::clone(&context.connection);
    let promise = match end {
        Some(end) => {
            if let Some(answer) = end? {
                let promise = connection.out.borrow_mut().promise();
                connection.answer(&promise, answer);
                // Many requests may lie in the buffer, and each may have been much work.
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        None => connection.out.borrow_mut().promise(),
    };
    tokio::task::spawn_local(async move {
        match work.await {
            Ok(answer) => connection.answer(&promise, answer.unwrap_or_default()),
            Err(reason) => connection.close(&reason),
        }
    });
    Ok(())
}

macro_rules! handlers {
    ($($name:ident = $key:literal, $min:literal..=$max:literal $(advertised $advertised:literal)?,
        flexible $flexible:literal,
        $module:ident::{$request:ident $(<$lt:lifetime>)?, $response:ident $(<$rlt:lifetime>)?};
    )*) => {
        /// Everything but records: a request that one message answers. Others do not wait for it.
        async fn control(
            context: Rc<Context>,
            frame: Bytes,
            body: usize,
        ) -> Result<Option<Answer>, CloseReason> {
            let request = Request::decode(context.header.api, context.version(), &mut Reader::at(&frame, body))?;
            // JoinGroup and SyncGroup wait for other members, perhaps for minutes: one of a connection at a time.
            let turn = match context.header.api {
                ApiKey::JoinGroup | ApiKey::SyncGroup => Some(context.connection.joins.take().await),
                _ => None,
            };
            context.let_next_come();
            let answer = match request {
                $(Request::$name(asked) => handlers!(@handle $name asked context),)*
            };
            Ok(Some(Answer { turn, ..answer? }))
        }
    };
    (@handle Produce $asked:ident $context:ident) => { unreachable!("has an outline: {:?}", $asked.acks) };
    (@handle Fetch $asked:ident $context:ident) => { unreachable!("taken before: {:?}", $asked.session_id) };
    (@handle ApiVersions $asked:ident $context:ident) => { unreachable!("answered at once: {:?}", $asked.client_software_name) };
    (@handle $name:ident $asked:ident $context:ident) => { $context.respond($asked.handle(&$context).await) };
}

keylane_kafka::for_each_api!(handlers);
