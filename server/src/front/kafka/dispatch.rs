//! Hands a request to the handler of its API.
//!
//! Requests of a connection are taken in order. What can be answered at once is; a Produce request is
//! appended at once and its answer gated by its commits; everything else is answered by a task of its own,
//! in its place.

use std::future::Future;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use keylane_engine::ReadError;
use keylane_kafka::frame::write_response;
use keylane_kafka::hot::produce::ProduceRequest;
use keylane_kafka::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use keylane_kafka::versions::{encode_unsupported, served};
use keylane_kafka::{
    ApiKey, ErrorCode, HeaderError, Message, Reader, Request, RequestHeader, ResponseHeader, Writer,
};

use crate::front::kafka::connection::out::{Answer, Few};
use crate::front::kafka::connection::{CloseReason, Connection};
use crate::front::kafka::handlers::{
    alter_configs, configs, delete_records, fetch, groups, list_offsets, metadata, produce, topics,
};

/// How far a request got.
pub enum Handled {
    /// Taken care of; its bytes are no longer needed.
    Done,
    /// Needs its bytes for longer, or needs to wait: use [`dispatch_deferred`].
    Deferred,
}

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
            let turn = fetch::take_turn(connection).await;
            spawn(connection, frame.clone(), |connection, frame| fetch::answer(connection, frame, turn));
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
    let core = &connection.core;
    let respond = |body: &dyn Fn(&mut Writer<'_>)| encode(header.response(), body);
    match Request::decode(header.api, version, &mut reader)? {
        Request::Metadata(request) => {
            let response = metadata::metadata(&connection, &request, version).await;
            respond(&|w| response.encode(version, w))
        }
        Request::FindCoordinator(request) => {
            let response = metadata::find_coordinator(&connection, &request, version);
            respond(&|w| response.encode(version, w))
        }
        Request::OffsetCommit(request) => {
            let response = groups::commit(core, &request, version).await;
            respond(&|w| response.encode(version, w))
        }
        Request::OffsetFetch(request) => {
            let response = groups::fetch(core, request, version).await;
            respond(&|w| response.encode(version, w))
        }
        Request::OffsetDelete(request) => {
            let response = groups::delete_offsets(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::ListGroups(request) => {
            let response = groups::list(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::DescribeGroups(request) => {
            let response = groups::describe(core, &request, version).await;
            respond(&|w| response.encode(version, w))
        }
        Request::DeleteGroups(request) => {
            let response = groups::delete(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::DescribeCluster(request) => {
            let response = metadata::describe_cluster(&connection, &request);
            respond(&|w| response.encode(version, w))
        }
        Request::ListOffsets(request) => {
            let response = list_offsets::list(core, &request, version).await;
            respond(&|w| response.encode(version, w))
        }
        Request::CreateTopics(request) => {
            let response = topics::create_topics(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::DeleteTopics(request) => {
            let response = topics::delete_topics(core, &request, version).await;
            respond(&|w| response.encode(version, w))
        }
        Request::CreatePartitions(request) => {
            let response = topics::create_partitions(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::InitProducerId(request) => {
            let response = topics::init_producer_id(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::DescribeConfigs(request) => {
            let response = configs::describe(&connection, &request);
            respond(&|w| response.encode(version, w))
        }
        Request::AlterConfigs(request) => {
            let response = alter_configs::replace(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::IncrementalAlterConfigs(request) => {
            let response = alter_configs::change(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::DeleteRecords(request) => {
            let response = delete_records::delete(core, &request).await;
            respond(&|w| response.encode(version, w))
        }
        Request::Produce(_) | Request::Fetch(_) | Request::ApiVersions(_) => {
            unreachable!("dispatched before")
        }
    }
}

fn encode(header: ResponseHeader, body: &dyn Fn(&mut Writer<'_>)) -> Result<Answer, CloseReason> {
    let mut out = BytesMut::new();
    write_response(&mut out, header, |w| body(w))?;
    Ok(Answer { slices: vec![out.freeze()], ..Answer::default() })
}

/// The protocol's name for a failed read.
pub fn read_code_of(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        _ => ErrorCode::KafkaStorageError,
    }
}
