//! HTTP/1.1, one request at a time: heads are read by `httparse`, the rest is little.
//!
//! Promises: lengths are checked before memory is taken; a server that says nothing for [`SILENCE`] is gone.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long an answer may take.
pub const SILENCE: Duration = Duration::from_secs(15);
/// Most bytes of an answer: 10 MiB of records in base64, and what is around them.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const HEADERS_MAX: usize = 64;
/// At first.
const INBOX_BYTES: usize = 64 << 10;

/// Where a server is.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    host: String,
}

impl Endpoint {
    pub fn of(address: SocketAddr) -> Self {
        Self { address, host: address.to_string() }
    }

    /// From `http://HOST:PORT`.
    pub fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("{url}: the server is given as http://HOST:PORT, without TLS");
        };
        let host = rest.trim_end_matches('/');
        ensure!(!host.contains('/'), "{url}: the server is given as http://HOST:PORT, without a path");
        let full = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let address = full.to_socket_addrs().with_context(|| format!("looking up {host}"))?.next();
        Ok(Self {
            address: address.with_context(|| format!("{host} has no address"))?,
            host: host.to_owned(),
        })
    }
}

/// A connection.
pub struct Connection {
    stream: TcpStream,
    host: String,
    head: Vec<u8>,
    inbox: Vec<u8>,
    filled: usize,
    /// Where chunks are put together.
    whole: Vec<u8>,
}

/// The head of an answer.
struct Head {
    status: u16,
    bytes: usize,
    /// `None`: it comes in chunks.
    length: Option<usize>,
}

impl Connection {
    pub fn open(endpoint: &Endpoint) -> Result<Self> {
        let stream = TcpStream::connect(endpoint.address)
            .with_context(|| format!("connecting to {}", endpoint.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let (head, whole) = (Vec::new(), Vec::new());
        Ok(Self { stream, host: endpoint.host.clone(), head, inbox: vec![0; INBOX_BYTES], filled: 0, whole })
    }

    /// Sends a request and waits for its answer: status and body.
    ///
    /// # Errors
    /// The connection ended, nothing came in time, or what came is no HTTP; nothing more can be sent then.
    pub fn call(&mut self, operation: &str, body: &[u8]) -> io::Result<(u16, &[u8])> {
        self.head.clear();
        // The signature is not one: servers that check it are not loaded by this program.
        write!(
            self.head,
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=loadgen/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host;x-amz-date, Signature=0\r\n\
             Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        )?;
        let (mut head, mut body) = (&self.head[..], body);
        while !head.is_empty() || !body.is_empty() {
            let written = self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            let of_head = written.min(head.len());
            (head, body) = (&head[of_head..], &body[written - of_head..]);
        }
        self.receive()
    }

    fn receive(&mut self) -> io::Result<(u16, &[u8])> {
        self.filled = 0;
        let head = loop {
            self.more()?;
            if let Some(head) = read_head(&self.inbox[..self.filled])? {
                break head;
            }
            if self.filled > INBOX_BYTES {
                return Err(wrong("a head without an end"));
            }
        };
        let Some(length) = head.length else { return self.chunks(&head) };
        if length > ANSWER_BYTES_MAX {
            return Err(wrong("an answer that is too long"));
        }
        let end = head.bytes + length;
        while self.filled < end {
            if self.inbox.len() < end {
                self.inbox.resize(end, 0);
            }
            self.more()?;
        }
        Ok((head.status, &self.inbox[head.bytes..end]))
    }

    fn chunks(&mut self, head: &Head) -> io::Result<(u16, &[u8])> {
        self.whole.clear();
        let mut at = head.bytes;
        loop {
            match httparse::parse_chunk_size(&self.inbox[at..self.filled]) {
                Err(_) => return Err(wrong("a chunk without a size")),
                Ok(httparse::Status::Partial) => self.more()?,
                Ok(httparse::Status::Complete((bytes, size))) => {
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    if size > ANSWER_BYTES_MAX - self.whole.len() {
                        return Err(wrong("an answer that is too long"));
                    }
                    let (from, to) = (at + bytes, at + bytes + size);
                    while self.filled < to + 2 {
                        self.more()?;
                    }
                    if size == 0 {
                        return Ok((head.status, &self.whole));
                    }
                    self.whole.extend_from_slice(&self.inbox[from..to]);
                    at = to + 2;
                }
            }
        }
    }

    /// Reads what has come, at least one byte.
    fn more(&mut self) -> io::Result<()> {
        if self.filled == self.inbox.len() {
            self.inbox.resize(2 * self.filled, 0);
        }
        loop {
            match self.stream.read(&mut self.inbox[self.filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.filled += read;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// `None`: it has not come to its end.
fn read_head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let end = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
    };
    let value = |name: &str| {
        let header = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let chunked = value("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = value("content-length").map(str::parse).transpose();
    let length = length.map_err(|_| wrong("a length that is no number"))?.unwrap_or(0);
    Ok(Some(Head { status: answer.code.unwrap_or(0), bytes: end, length: (!chunked).then_some(length) }))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static [u8]) -> io::Result<(u16, Vec<u8>)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::of(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            for piece in answer.chunks(7) {
                stream.write_all(piece).unwrap();
            }
        });
        let mut connection = Connection::open(&endpoint).unwrap();
        let answer = connection.call("ListStreams", b"{}").map(|(status, body)| (status, body.to_vec()));
        server.join().unwrap();
        answer
    }

    #[test]
    fn bodies_come_whole_and_in_chunks() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world";
        assert_eq!(answered(whole).unwrap(), (200, b"hello world".to_vec()));
        let chunks =
            b"HTTP/1.1 400 X\r\ntransfer-encoding: Chunked\r\n\r\n6\r\nhello \r\n5;x=y\r\nworld\r\n0\r\n\r\n";
        assert_eq!(answered(chunks).unwrap(), (400, b"hello world".to_vec()));
        assert!(answered(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell").is_err());
        assert!(answered(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n").is_err());
        assert!(answered(b"\0\0\0\0no HTTP").is_err());
    }

    #[test]
    fn an_endpoint_is_a_url() {
        assert_eq!(Endpoint::parse("http://127.0.0.1:4567/").unwrap().address.port(), 4567);
        assert_eq!(Endpoint::parse("http://127.0.0.1").unwrap().address.port(), 80);
        for wrong in ["127.0.0.1:4567", "https://127.0.0.1:1", "http://127.0.0.1:1/path"] {
            assert!(Endpoint::parse(wrong).is_err(), "{wrong}");
        }
    }
}
