//! Hands a request to the handler of its API.
//!
//! Requests of a connection are taken in order. What can be answered at once is; a Produce request is
//! appended at once and its answer gated by its commits; everything else is answered by a task of its own,
//! in its place.

use std::future::Future;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use keylane_kafka::frame::write_response;
use keylane_kafka::hot::produce::ProduceRequest;
use keylane_kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use keylane_kafka::versions::{encode_unsupported, served};
use keylane_kafka::{
    ApiKey, ErrorCode, HeaderError, Message, Reader, Request, RequestHeader, ResponseHeader,
};

use super::close::CloseReason;
use super::connection::Connection;
use super::handled::Handled;
use super::handlers::{
    alter_configs, configs, delete_records, fetch, groups, list_offsets, members, metadata, produce, topics,
};
use super::out::{Answer, Few};

/// Takes a request, without waiting and without keeping its bytes.
pub fn dispatch(connection: &Rc<Connection>, frame: &[u8]) -> Result<Handled, CloseReason> {
    let mut reader = Reader::new(frame);
    let header = match RequestHeader::decode(&mut reader) {
        Ok(header) => header,
        Err(HeaderError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
            answer_now(connection, |out| encode_unsupported(out, correlation_id))?;
            return Ok(Handled::Done);
        }
        Err(other) => return Err(other.into()),
    };
    match header.api {
        ApiKey::Produce => {
            let request = ProduceRequest::decode(header.version, &mut reader)?;
            produce::at_once(connection, &header, &request)
        }
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::decode(header.version, &mut reader)?;
            let response = if request.is_valid(header.version) {
                served()
            } else {
                ApiVersionsResponse { error: ErrorCode::InvalidRequest, ..Default::default() }
            };
            answer_now(connection, |out| {
                write_response(out, header.response(), |w| response.encode(header.version, w))
            })?;
            Ok(Handled::Done)
        }
        _ => Ok(Handled::Deferred),
    }
}

/// Encodes an answer that waits for nothing.
fn answer_now(
    connection: &Connection,
    encode: impl FnOnce(&mut BytesMut) -> Result<(), keylane_kafka::frame::FrameError>,
) -> Result<(), CloseReason> {
    let mut out = connection.out.borrow_mut();
    let before = out.staging().len();
    encode(out.staging())?;
    let len = out.staging().len() - before;
    out.gated(len, Few::Many(Vec::new()), Few::Many(Vec::new()));
    Ok(())
}

/// Takes a request that [`dispatch`] deferred. Waits only to slow the client down.
pub async fn dispatch_deferred(connection: &Rc<Connection>, frame: Bytes) -> Result<(), CloseReason> {
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::decode(&mut reader)?;
    if header.api != ApiKey::Produce {
        // Found out here, what makes no sense ends the connection after the answers to what came before.
        Request::decode(header.api, header.version, &mut reader)?;
    }
    match header.api {
        ApiKey::Produce => produce::in_turn(connection, frame.clone()).await,
        ApiKey::Fetch => {
            let turn = connection.fetches.take().await;
            spawn(connection, frame.clone(), |connection, frame| fetch::answer(connection, frame, turn));
            Ok(())
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup => {
            // These wait for other members, perhaps for minutes: one at a time.
            let turn = connection.joins.take().await;
            spawn(connection, frame.clone(), |connection, frame| async move {
                Ok(Answer { turn: Some(turn), ..control(connection, frame).await? })
            });
            Ok(())
        }
        _ => {
            spawn(connection, frame.clone(), control);
            Ok(())
        }
    }
}

/// Answers a request by a task of its own.
fn spawn<F, R>(connection: &Rc<Connection>, frame: Bytes, work: F)
where
    F: FnOnce(Rc<Connection>, Bytes) -> R + 'static,
    R: Future<Output = Result<Answer, CloseReason>> + 'static,
{
    let promise = connection.out.borrow_mut().promise();
    let connection = Rc::clone(connection);
    tokio::task::spawn_local(async move {
        match work(Rc::clone(&connection), frame).await {
            Ok(answer) => connection.answer(&promise, answer),
            Err(reason) => connection.close(&reason),
        }
    });
}

/// Everything but records.
async fn control(connection: Rc<Connection>, frame: Bytes) -> Result<Answer, CloseReason> {
    let mut reader = Reader::new(&frame);
    let header = RequestHeader::decode(&mut reader)?;
    let version = header.version;
    let (core, to) = (&connection.core, header.response());
    match Request::decode(header.api, version, &mut reader)? {
        Request::Metadata(asked) => respond(to, metadata::metadata(&connection, &asked, version).await),
        Request::FindCoordinator(asked) => {
            respond(to, metadata::find_coordinator(&connection, &asked, version))
        }
        Request::DescribeCluster(asked) => respond(to, metadata::describe_cluster(&connection, &asked)),
        Request::OffsetCommit(asked) => respond(to, groups::commit(core, &asked, version).await),
        Request::OffsetFetch(asked) => respond(to, groups::fetch(core, asked, version).await),
        Request::OffsetDelete(asked) => respond(to, groups::delete_offsets(core, &asked).await),
        Request::JoinGroup(asked) => respond(to, members::join(&connection, &header, &asked).await),
        Request::SyncGroup(asked) => respond(to, members::sync(core, &asked, version).await),
        Request::Heartbeat(asked) => respond(to, members::heartbeat(core, &asked).await),
        Request::LeaveGroup(asked) => respond(to, members::leave(core, &asked, version).await),
        Request::ListGroups(asked) => respond(to, groups::list(core, &asked).await),
        Request::DescribeGroups(asked) => respond(to, groups::describe(core, &asked, version).await),
        Request::DeleteGroups(asked) => respond(to, groups::delete(core, &asked).await),
        Request::ListOffsets(asked) => respond(to, list_offsets::list(core, &asked, version).await),
        Request::CreateTopics(asked) => respond(to, topics::create_topics(core, &asked).await),
        Request::DeleteTopics(asked) => respond(to, topics::delete_topics(core, &asked, version).await),
        Request::CreatePartitions(asked) => respond(to, topics::create_partitions(core, &asked).await),
        Request::InitProducerId(asked) => respond(to, topics::init_producer_id(core, &asked).await),
        Request::DescribeConfigs(asked) => respond(to, configs::describe(&connection, &asked)),
        Request::AlterConfigs(asked) => respond(to, alter_configs::replace(core, &asked).await),
        Request::IncrementalAlterConfigs(asked) => respond(to, alter_configs::change(core, &asked).await),
        Request::DeleteRecords(asked) => respond(to, delete_records::delete(core, &asked).await),
        Request::Produce(_) | Request::Fetch(_) | Request::ApiVersions(_) => {
            unreachable!("dispatched before")
        }
    }
}

/// Encodes a response.
fn respond<'m>(to: ResponseHeader, response: impl Message<'m>) -> Result<Answer, CloseReason> {
    let mut out = BytesMut::new();
    write_response(&mut out, to, |w| response.encode(to.version, w))?;
    Ok(Answer { slices: vec![out.freeze()], ..Answer::default() })
}
