//! A blocking client of Kinesis over HTTP/1.1, without any SDK: requests and answers are what a test wrote and what came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A server that takes longer for an answer is broken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that makes sense here.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// What SDKs send with every request. The signature is not looked at unless the server was told to.
pub const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/kinesis/aws4_request, \
                                 SignedHeaders=host, Signature=00";
/// JSON as SDKs name it.
pub const JSON: &str = "application/x-amz-json-1.1";

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// Type and text of an error; an answer that is none fails.
    pub fn fault(&self) -> Result<(String, String)> {
        ensure!(self.status != 200, "an error was expected, not {}", String::from_utf8_lossy(&self.body));
        let told: Value = serde_json::from_slice(&self.body).context("an error in JSON")?;
        let text = |field: &str| told.get(field).and_then(Value::as_str).map(str::to_owned);
        let kind = text("__type").with_context(|| format!("no type in {told}"))?;
        Ok((kind, text("message").or_else(|| text("Message")).unwrap_or_default()))
    }
}

/// A record as GetRecords gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub sequence: String,
    pub key: String,
    pub data: Vec<u8>,
}

/// One connection.
pub struct Kinesis {
    stream: BufReader<TcpStream>,
}

impl Kinesis {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).context("connecting")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("sending")
    }

    /// The next answer; `None` when the server has closed the connection.
    pub fn receive(&mut self) -> Result<Option<Answer>> {
        let Some(mut answer) = self.receive_head()? else { return Ok(None) };
        let length: usize = answer.header("content-length").unwrap_or("0").parse().context("a length")?;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body).context("the body of an answer")?;
        Ok(Some(answer))
    }

    /// Status and headers of the next answer.
    fn receive_head(&mut self) -> Result<Option<Answer>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Err(e) if super::client::closed(&e) => return Ok(None),
            read => read.context("waiting for an answer")?,
        };
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("{line:?} is no status line"))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).context("the headers of an answer")?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(Answer { status, headers, body: Vec::new() }))
    }

    /// Sends a request with these headers, besides those of HTTP itself, and waits for its answer.
    pub fn post(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        self.ask(headers, body)?;
        self.receive()?.ok_or_else(|| anyhow!("the server closed the connection"))
    }

    /// Sends a request with these headers, besides those of HTTP itself.
    pub fn ask(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut head = format!("POST / HTTP/1.1\r\nHost: keylane\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send(&[head.as_bytes(), body].concat())
    }

    /// Subscribes to a shard; the events come over this connection from now on.
    pub fn subscribe(mut self, consumer: &str, shard: &str, position: &Value) -> Result<Events> {
        let request = json!({"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position});
        let headers = [
            ("X-Amz-Target", "Kinesis_20131202.SubscribeToShard"),
            ("Content-Type", JSON),
            ("Authorization", AUTHORIZATION),
        ];
        self.ask(&headers, request.to_string().as_bytes())?;
        let mut answer = self.receive_head()?.context("the server closed the connection")?;
        if answer.status != 200 {
            let length = answer.header("content-length").unwrap_or("0").parse().context("a length")?;
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
            bail!("{:?}", answer.fault()?);
        }
        ensure!(answer.header("content-type") == Some("application/vnd.amazon.eventstream"), "{answer:?}");
        let mut events = Events { stream: self.stream, come: Vec::new() };
        let first = events.event()?.context("no event")?;
        ensure!(first.kind == "initial-response", "the first event is {first:?}");
        Ok(events)
    }

    /// Calls an operation with a body of this type.
    pub fn raw(&mut self, operation: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        let target = format!("Kinesis_20131202.{operation}");
        let headers =
            [("X-Amz-Target", &*target), ("Content-Type", content_type), ("Authorization", AUTHORIZATION)];
        self.post(&headers, body)
    }

    /// Calls an operation, which must succeed.
    pub fn call(&mut self, operation: &str, request: &Value) -> Result<Value> {
        let answer = self.raw(operation, JSON, request.to_string().as_bytes())?;
        if answer.status != 200 {
            bail!("{operation}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("the answer to {operation}"))
    }

    /// Calls an operation, which must be refused: type and text.
    pub fn refused(&mut self, operation: &str, request: &Value) -> Result<(String, String)> {
        let answer = self.raw(operation, JSON, request.to_string().as_bytes())?;
        answer.fault().with_context(|| format!("{operation} {request}"))
    }

    /// Makes a stream.
    pub fn create(&mut self, stream: &str, shards: usize) -> Result<()> {
        self.call("CreateStream", &json!({"StreamName": stream, "ShardCount": shards})).map(drop)
    }

    /// Puts a record: shard and sequence number.
    pub fn put(&mut self, stream: &str, key: &str, data: &[u8]) -> Result<(String, String)> {
        let request = json!({"StreamName": stream, "PartitionKey": key, "Data": STANDARD.encode(data)});
        place(&self.call("PutRecord", &request)?)
    }

    /// Ids of all shards.
    pub fn shards(&mut self, stream: &str) -> Result<Vec<String>> {
        let listed = self.call("ListShards", &json!({"StreamName": stream}))?;
        let shards = listed["Shards"].as_array().context("no shards")?;
        shards.iter().map(|shard| text(&shard["ShardId"])).collect()
    }

    /// An iterator of this type, with more fields if need be.
    pub fn iterator(&mut self, stream: &str, shard: &str, kind: &str, more: &Value) -> Result<String> {
        let mut request = json!({"StreamName": stream, "ShardId": shard, "ShardIteratorType": kind});
        for (name, value) in more.as_object().into_iter().flatten() {
            request[name] = value.clone();
        }
        text(&self.call("GetShardIterator", &request)?["ShardIterator"])
    }

    /// One GetRecords: its records, and the whole answer.
    pub fn records(&mut self, iterator: &str, limit: usize) -> Result<(Vec<Record>, Value)> {
        let answer = self.call("GetRecords", &json!({"ShardIterator": iterator, "Limit": limit}))?;
        let records = answer["Records"].as_array().context("no records")?;
        let record = |told: &Value| {
            let data = STANDARD.decode(text(&told["Data"])?).context("Data in base64")?;
            Ok(Record { sequence: text(&told["SequenceNumber"])?, key: text(&told["PartitionKey"])?, data })
        };
        Ok((records.iter().map(record).collect::<Result<_>>()?, answer))
    }

    /// All records of a shard.
    pub fn read_all(&mut self, stream: &str, shard: &str) -> Result<Vec<Record>> {
        let mut iterator = self.iterator(stream, shard, "TRIM_HORIZON", &Value::Null)?;
        let mut all = Vec::new();
        loop {
            let (records, answer) = self.records(&iterator, 10_000)?;
            let last = records.is_empty() && answer["MillisBehindLatest"] == 0;
            all.extend(records);
            match answer["NextShardIterator"].as_str() {
                Some(next) if !last => next.clone_into(&mut iterator),
                _ => return Ok(all),
            }
        }
    }
}

/// An event of a subscription.
#[derive(Debug)]
pub struct Event {
    /// Its type, or that of an exception.
    pub kind: String,
    pub body: Value,
}

impl Event {
    /// The data of its records.
    pub fn data(&self) -> Result<Vec<Vec<u8>>> {
        let records = self.body["Records"].as_array().context("no records")?;
        records.iter().map(|r| STANDARD.decode(text(&r["Data"])?).context("Data in base64")).collect()
    }
}

/// The events of a subscription.
pub struct Events {
    stream: BufReader<TcpStream>,
    come: Vec<u8>,
}

impl Events {
    /// The next event; `None`: the stream has ended as it should.
    pub fn event(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((event, len)) = event_in(&self.come)? {
                self.come.drain(..len);
                return Ok(Some(event));
            }
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "the connection ended in the middle of events");
            let length = usize::from_str_radix(line.trim_end(), 16).context("the length of a chunk")?;
            let mut chunk = vec![0; length + 2];
            self.stream.read_exact(&mut chunk)?;
            chunk.truncate(length);
            if length == 0 {
                ensure!(self.come.is_empty(), "the stream ended in the middle of an event");
                return Ok(None);
            }
            self.come.extend(chunk);
        }
    }

    /// The data of the next `count` records, and the number to go on with.
    pub fn records(&mut self, count: usize) -> Result<(Vec<Vec<u8>>, String)> {
        let mut out = Vec::new();
        loop {
            let event = self.event()?.context("the stream has ended")?;
            ensure!(event.kind == "SubscribeToShardEvent", "{event:?}");
            out.extend(event.data()?);
            if out.len() >= count {
                return Ok((out, text(&event.body["ContinuationSequenceNumber"])?));
            }
        }
    }
}

/// The first event in bytes, and how long it is; `None`: it is not there as a whole.
fn event_in(bytes: &[u8]) -> Result<Option<(Event, usize)>> {
    let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (Some(whole), Some(headers)) = (number(0), number(4)) else { return Ok(None) };
    let (whole, headers) = (whole as usize, headers as usize);
    if bytes.len() < whole {
        return Ok(None);
    }
    let sum = |until: usize| {
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[..until]);
        Some(crc.sum())
    };
    ensure!(number(8) == sum(8) && number(whole - 4) == sum(whole - 4), "a checksum is wrong");
    let (mut kind, mut rest) = (None, &bytes[12..12 + headers]);
    while let [len, more @ ..] = rest {
        let (name, more) = more.split_at(usize::from(*len));
        ensure!(more.first() == Some(&7), "a header that is no text");
        let length = usize::from(u16::from_be_bytes([more[1], more[2]]));
        if name == b":event-type" || name == b":exception-type" {
            kind = Some(String::from_utf8(more[3..3 + length].to_vec())?);
        }
        rest = &more[3 + length..];
    }
    let body = serde_json::from_slice(&bytes[12 + headers..whole - 4]).context("the body of an event")?;
    Ok(Some((Event { kind: kind.context("no type")?, body }, whole)))
}

/// Shard and sequence number in an answer.
pub fn place(told: &Value) -> Result<(String, String)> {
    Ok((text(&told["ShardId"])?, text(&told["SequenceNumber"])?))
}

/// A field that is a text.
pub fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"))
}
