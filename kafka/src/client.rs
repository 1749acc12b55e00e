//! A blocking client over one connection: requests that are sent, and answers that are read in their order.
//!
//! Promises: an answer belongs to the request whose number it has, or the call fails; an answer that is longer than
//! [`ANSWER_BYTES_MAX`] is refused before memory is taken for it. What was sent is not sent again: callers know
//! whether their request may be repeated.
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::BytesMut;

use crate::api::{ApiKey, Ask, Message};
use crate::error::ErrorCode;
use crate::frame::{FrameError, write_request};
use crate::header::{RequestHeader, ResponseHeader};
use crate::messages::api_versions::ApiVersionsRequest;
use crate::wire::{Reader, WireError};

/// The longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 128 << 20;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// Why a request has no answer that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection.
    #[error("connecting to {address}")]
    Connect {
        /// The server.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke, or the server took too long.
    #[error("{doing}")]
    Io {
        /// What was done.
        doing: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// The request cannot be sent.
    #[error("a request that cannot be framed: {0}")]
    Frame(#[from] FrameError),
    /// The answer has another request's number: the connection is out of step.
    #[error("an answer to request {got} where that to {expected} was next")]
    OutOfStep {
        /// Whose answer was next.
        expected: i32,
        /// Whose it was.
        got: i32,
    },
    /// A length that no answer has.
    #[error("an answer of {0} bytes")]
    Length(i32),
    /// The answer cannot be read.
    #[error("an answer that cannot be read: {0}")]
    Wire(#[from] WireError),
    /// The server refused to say what it serves.
    #[error("ApiVersions: {0}")]
    Versions(ErrorCode),
}

/// A connection that sends small requests at once.
///
/// # Errors
/// The server is not there.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What a server says it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions(BTreeMap<i16, RangeInclusive<i16>>);

impl Versions {
    /// The highest version of an API that both sides have, if there is one.
    pub fn highest(&self, api: ApiKey, ours: RangeInclusive<i16>) -> Option<i16> {
        let theirs = self.0.get(&api.code())?;
        let highest = *theirs.end().min(ours.end());
        (highest >= *theirs.start().max(ours.start())).then_some(highest)
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    name: String,
    last_id: i32,
    request: BytesMut,
    answer: Vec<u8>,
}

impl Client {
    /// Connects. The client calls itself `name`, and waits `patience` for each step of a request.
    ///
    /// # Errors
    /// The server is not there.
    pub fn connect(address: SocketAddr, name: &str, patience: Duration) -> Result<Self, ClientError> {
        let ready = connect(address).and_then(|stream| {
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Ok(stream)
        });
        let stream = ready.map_err(|source| ClientError::Connect { address, source })?;
        let (request, answer) = (BytesMut::new(), Vec::new());
        Ok(Self { stream, name: name.to_owned(), last_id: 0, request, answer })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The connection broke or is out of step, or the answer is none. The connection is not to be used any more.
    pub fn ask<'q, Q: Ask<'q>>(&mut self, version: i16, request: &Q) -> Result<Q::Answer<'_>, ClientError> {
        let id = self.send(version, request)?;
        let body = self.receive(id, Q::API, version)?;
        Ok(Q::Answer::decode(version, &mut Reader::new(body))?)
    }

    /// Sends a request; its number.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send<'q>(&mut self, version: i16, request: &impl Ask<'q>) -> Result<i32, ClientError> {
        self.last_id = self.last_id.wrapping_add(1);
        self.request.clear();
        put_request(&mut self.request, &self.name, self.last_id, version, request)?;
        self.stream
            .write_all(&self.request)
            .map_err(|source| ClientError::Io { doing: "sending a request", source })?;
        Ok(self.last_id)
    }

    /// Sends whole frames that were made elsewhere.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send_frames(&mut self, frames: &[u8]) -> Result<(), ClientError> {
        self.stream.write_all(frames).map_err(|source| ClientError::Io { doing: "sending requests", source })
    }

    /// Reads the next answer, which is to a request with this number; its body.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn receive(&mut self, id: i32, api: ApiKey, version: i16) -> Result<&[u8], ClientError> {
        let waiting = |source| ClientError::Io { doing: "waiting for an answer", source };
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(waiting)?;
        let length = i32::from_be_bytes(length);
        let bytes = usize::try_from(length).ok().filter(|bytes| *bytes <= ANSWER_BYTES_MAX);
        self.answer.resize(bytes.ok_or(ClientError::Length(length))?, 0);
        self.stream.read_exact(&mut self.answer).map_err(waiting)?;
        let mut r = Reader::new(&self.answer);
        let header = ResponseHeader::decode(api, version, &mut r)?;
        if header.correlation_id != id {
            return Err(ClientError::OutOfStep { expected: id, got: header.correlation_id });
        }
        Ok(r.rest())
    }

    /// Asks what the server serves.
    ///
    /// # Errors
    /// As [`Self::ask`]; the server refuses to say.
    pub fn versions(&mut self) -> Result<Versions, ClientError> {
        let told = self.ask(0, &ApiVersionsRequest::default())?;
        if !told.error.is_none() {
            return Err(ClientError::Versions(told.error));
        }
        Ok(Versions(told.apis.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect()))
    }
}

/// Appends a whole request, as a client of this name sends it.
///
/// # Errors
/// It is too long for a frame.
pub fn put_request<'q>(
    out: &mut BytesMut,
    name: &str,
    correlation_id: i32,
    version: i16,
    request: &impl Ask<'q>,
) -> Result<(), FrameError> {
    let api = api_of(request);
    let header = RequestHeader { api, version, correlation_id, client_id: Some(name) };
    write_request(out, &header, |w| request.encode(version, w))
}

fn api_of<'q, Q: Ask<'q>>(_: &Q) -> ApiKey {
    Q::API
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::{JoinHandle, spawn};

    use super::*;
    use crate::messages::init_producer_id::InitProducerIdRequest;

    /// A server of one connection that answers each request with the next of these frames.
    fn server(answers: Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answering = spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut request = vec![0; i32::from_be_bytes(length) as usize];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        (address, answering)
    }

    fn client(address: SocketAddr) -> Client {
        Client::connect(address, "tests", Duration::from_secs(5)).unwrap()
    }

    fn framed(parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&(body.len() as i32).to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn answers_are_read_and_versions_agreed_on() {
        let versions =
            framed(&[&1i32.to_be_bytes(), &[0, 0, 0, 0, 0, 2, 0, 1, 0, 4, 0, 18, 0, 22, 0, 0, 0, 5]]);
        let id = ApiKey::InitProducerId.sample_response(4);
        let (address, answering) = server(vec![versions, framed(&[&2i32.to_be_bytes(), &[0], &id])]);
        let mut client = client(address);
        let served = client.versions().unwrap();
        assert_eq!(served.highest(ApiKey::Fetch, 4..=12), Some(12));
        assert_eq!(served.highest(ApiKey::InitProducerId, 0..=9), Some(5));
        assert_eq!(served.highest(ApiKey::Fetch, 0..=3), None);
        assert_eq!(served.highest(ApiKey::Produce, 0..=3), None);
        let answer = client.ask(4, &InitProducerIdRequest::default()).unwrap();
        assert_eq!((answer.throttle_time_ms, answer.producer_id), (1, 3));
        answering.join().unwrap();
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        let id = ApiKey::InitProducerId.sample_response(0);
        let ask = |answer: Vec<u8>| {
            let (address, answering) = server(vec![answer]);
            let answer = client(address).ask(0, &InitProducerIdRequest::default()).map(|_| ());
            answering.join().unwrap();
            answer
        };
        assert!(ask(framed(&[&1i32.to_be_bytes(), &id])).is_ok());
        let other = ask(framed(&[&7i32.to_be_bytes(), &id]));
        assert!(matches!(other, Err(ClientError::OutOfStep { expected: 1, got: 7 })), "{other:?}");
        let cut = ask(framed(&[&1i32.to_be_bytes(), &id[..id.len() - 1]]));
        assert!(matches!(cut, Err(ClientError::Wire(_))), "{cut:?}");
        for length in [i32::MAX, -1] {
            let huge = ask(length.to_be_bytes().to_vec());
            assert!(matches!(huge, Err(ClientError::Length(l)) if l == length), "{huge:?}");
        }
        let closed = ask(vec![0, 0]);
        assert!(matches!(closed, Err(ClientError::Io { .. })), "{closed:?}");
    }
}
