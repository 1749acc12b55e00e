//! The two halves of a connection.
//!
//! The receiving half never waits for a commit, only for space in the chunk. The sending half sends
//! all answers that are due in one write.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::TcpStream;

use super::admin::Admin;
use super::commit::{Log, Place};
use super::{Counters, add, wire};

/// Largest frame accepted, in bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// Kafka's error CORRUPT_MESSAGE.
const CORRUPT_MESSAGE: i16 = 2;

/// Next offset of every partition, by topic. Connections share a topic's counters.
pub type Offsets = RefCell<HashMap<Vec<u8>, Rc<RefCell<Vec<i64>>>>>;

/// Answers that may be sent.
#[derive(Default)]
pub struct Outbox {
    ready: RefCell<Vec<u8>>,
    wake: Notify,
    closed: Cell<bool>,
}

impl Outbox {
    /// Adds answers; gives an empty vector back for reuse.
    pub fn push(&self, mut answers: Vec<u8>) -> Vec<u8> {
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() {
            std::mem::swap(&mut *ready, &mut answers);
            self.wake.notify_one();
        } else {
            ready.extend_from_slice(&answers);
            answers.clear();
        }
        answers
    }

    fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
    }
}

/// What all connections share.
pub struct Shared {
    /// Where batches go.
    pub log: Rc<Log>,
    /// Answers to everything but Produce.
    pub admin: Admin,
    /// Next offsets.
    pub offsets: Offsets,
    /// Counters.
    pub counters: Rc<Counters>,
    /// Whether checksums are verified.
    pub check_crc: bool,
    /// Size of a receive buffer, in bytes.
    pub recv_bytes: usize,
}

/// Serves a connection until it ends.
pub async fn serve(stream: TcpStream, shared: Rc<Shared>) {
    let stream = Rc::new(stream);
    let outbox = Rc::new(Outbox::default());
    let sender = tokio_uring::spawn(send_all(Rc::clone(&stream), Rc::clone(&outbox)));
    let mut receiver = Receiver {
        shared,
        outbox: Rc::clone(&outbox),
        place: Place::default(),
        topic: Vec::new(),
        next_offsets: Rc::default(),
    };
    // The end of a connection, orderly or not, is not an event of the pipeline.
    let _ended = receiver.run(&stream).await;
    outbox.close();
    let _joined = sender.await;
}

async fn send_all(stream: Rc<TcpStream>, outbox: Rc<Outbox>) {
    let mut sending = Vec::with_capacity(64 << 10);
    loop {
        std::mem::swap(&mut *outbox.ready.borrow_mut(), &mut sending);
        if sending.is_empty() {
            if outbox.closed.get() {
                return;
            }
            outbox.wake.notified().await;
            continue;
        }
        let (result, sent) = stream.write_all(sending).await;
        sending = sent;
        sending.clear();
        if result.is_err() {
            // Ends the receiving half too; it may have ended already.
            let _gone = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

struct Receiver {
    shared: Rc<Shared>,
    outbox: Rc<Outbox>,
    place: Place,
    /// The topic of the last request and its counters: mostly the one of the next request as well.
    topic: Vec<u8>,
    next_offsets: Rc<RefCell<Vec<i64>>>,
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Receiver {
    async fn run(&mut self, stream: &TcpStream) -> io::Result<()> {
        let mut buf = vec![0u8; self.shared.recv_bytes];
        let (mut start, mut end) = (0, 0);
        loop {
            // Bytes wanted from `start` on: the rest of a frame that began, else anything.
            let mut want = 4;
            while let Some(prefix) = buf[start..end].first_chunk::<4>() {
                let length = u32::from_be_bytes(*prefix) as usize;
                if length > FRAME_BYTES_MAX {
                    return Err(malformed("frame too large"));
                }
                want = 4 + length;
                if end - start < want {
                    break;
                }
                self.frame(&buf[start + 4..start + want]).await?;
                start += want;
                want = 4;
            }
            self.shared.log.wake();
            if start == end {
                (start, end) = (0, 0);
            } else if start + want > buf.len() {
                buf.copy_within(start..end, 0);
                (start, end) = (0, end - start);
                if want > buf.len() {
                    buf.resize(want, 0);
                }
            }
            let (n, slice) = stream.read(buf.slice(end..)).await;
            buf = slice.into_inner();
            match n? {
                0 => return Ok(()),
                n => end += n,
            }
        }
    }

    async fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let key = wire::api_key(frame).ok_or_else(|| malformed("frame too small"))?;
        if key != wire::PRODUCE {
            let shared = &self.shared;
            let answer = shared.admin.answer(frame, &shared.offsets)?;
            shared.log.answer(&mut self.place, &self.outbox, |out| out.extend_from_slice(&answer));
            return Ok(());
        }
        let request = wire::parse_produce(frame).ok_or_else(|| malformed("not a plain Produce request"))?;
        let shared = &self.shared;
        add(&shared.counters.requests, 1);
        let (mut error, mut base_offset) = (0, -1);
        if shared.check_crc && !wire::crc_fits(request.batch) {
            error = CORRUPT_MESSAGE;
            add(&shared.counters.corrupt, 1);
        } else {
            if request.batch.len() > shared.log.batch_bytes_max() {
                return Err(malformed("batch larger than a chunk"));
            }
            while !shared.log.append(request.batch) {
                shared.log.wake();
                shared.log.space().await;
            }
            add(&shared.counters.batches, 1);
            add(&shared.counters.bytes, request.batch.len() as u64);
            base_offset = self.assign(&request)?;
        }
        if request.acks != 0 {
            self.shared.log.answer(&mut self.place, &self.outbox, |out| {
                wire::put_answer(out, &request, error, base_offset);
            });
        }
        Ok(())
    }

    /// Assigns the batch its offsets.
    fn assign(&mut self, request: &wire::Produce<'_>) -> io::Result<i64> {
        if self.topic != request.topic {
            self.topic = request.topic.to_vec();
            let mut topics = self.shared.offsets.borrow_mut();
            self.next_offsets = Rc::clone(topics.entry(self.topic.clone()).or_default());
        }
        let index = usize::try_from(request.partition).map_err(|_| malformed("negative partition"))?;
        if index >= super::admin::PARTITIONS_MAX {
            return Err(malformed("partition out of range"));
        }
        let mut offsets = self.next_offsets.borrow_mut();
        if offsets.len() <= index {
            offsets.resize(index + 1, 0);
        }
        let base = offsets[index];
        offsets[index] = base + i64::from(wire::record_count(request.batch));
        Ok(base)
    }
}
