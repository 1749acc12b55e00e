//! A broker that keeps nothing: it answers Produce with success and the offset that a log would have.
//!
//! It is there to measure the load generator itself, so it does as little as a broker can do: one
//! thread, large reads, one write for all answers to what was read.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

use crate::client::{Flow, Inbox};
use crate::protocol::{self, Decoded, Put, Reader};

const LISTENER: u64 = u64::MAX;

struct Peer {
    stream: TcpStream,
    inbox: Inbox,
    answers: Vec<u8>,
    written: usize,
}

/// The versions it offers: as much as the client side needs.
const OFFERED: [(i16, i16, i16); 6] = [(0, 3, 11), (1, 4, 12), (2, 1, 5), (3, 1, 8), (18, 0, 0), (19, 2, 4)];

/// Serves `listener` until `duration` has passed.
pub fn serve(listener: &TcpListener, partitions: i32, duration: Duration) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN).context("epoll")?;
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut offsets = vec![0i64; usize::try_from(partitions)?];
    let mut events = Vec::with_capacity(256);
    let deadline = Instant::now() + duration;
    while Instant::now() < deadline {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                accept(listener, &epoll, &mut peers)?;
            } else if let Some(slot) = peers.get_mut(event.data.u64() as usize)
                && slot.as_mut().is_some_and(|peer| !peer.on_ready(&mut offsets))
            {
                *slot = None;
            }
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, epoll: &OwnedFd, peers: &mut Vec<Option<Peer>>) -> io::Result<()> {
    let (stream, _) = match listener.accept() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        accepted => accepted?,
    };
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
    epoll::add(epoll, stream.as_fd(), EventData::new_u64(peers.len() as u64), flags)?;
    peers.push(Some(Peer { stream, inbox: Inbox::new(512 << 10), answers: Vec::new(), written: 0 }));
    Ok(())
}

impl Peer {
    /// False when the peer is gone.
    fn on_ready(&mut self, offsets: &mut [i64]) -> bool {
        let mut flow = Flow::More;
        while flow == Flow::More {
            flow = self.inbox.fill(&self.stream);
            loop {
                match self.inbox.next_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if answer(frame, &mut self.answers, offsets).is_err() {
                            return false;
                        }
                    }
                    Err(_) => return false,
                }
            }
            if !self.flush() {
                return false;
            }
        }
        flow != Flow::Closed
    }

    fn flush(&mut self) -> bool {
        while self.written < self.answers.len() {
            match (&self.stream).write(&self.answers[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        self.answers.clear();
        self.written = 0;
        true
    }
}

fn answer(frame: &[u8], out: &mut Vec<u8>, offsets: &mut [i64]) -> Decoded<()> {
    let mut r = Reader::new(frame);
    let (api, version, correlation) = (r.i16()?, r.i16()?, r.i32()?);
    r.string(false)?;
    let start = out.len();
    out.i32(0);
    out.i32(correlation);
    let flexible = protocol::is_flexible(api, version);
    if flexible {
        r.skip_tags()?;
        out.uvarint(0);
    }
    match api {
        protocol::PRODUCE => {
            if !answer_produce(&mut r, out, version, flexible, offsets)? {
                out.truncate(start);
                return Ok(());
            }
        }
        protocol::API_VERSIONS => {
            out.i16(0);
            out.count(OFFERED.len(), false);
            OFFERED
                .iter()
                .for_each(|(api, low, high)| [api, low, high].into_iter().for_each(|v| out.i16(*v)));
        }
        protocol::METADATA => answer_metadata(&mut r, out, version, offsets.len())?,
        protocol::CREATE_TOPICS => {
            r.i32()?;
            let name = r.text(false)?;
            out.i32(0);
            out.count(1, false);
            out.string(&name, false);
            out.i16(0);
            out.i16(-1);
        }
        protocol::LIST_OFFSETS => answer_offsets(out, version, offsets),
        _ => return Err(protocol::DecodeError::BadLength),
    }
    protocol::end_frame(out, start);
    Ok(())
}

/// False if there is no answer (acks=0).
fn answer_produce(
    r: &mut Reader<'_>,
    out: &mut Vec<u8>,
    version: i16,
    flexible: bool,
    offsets: &mut [i64],
) -> Decoded<bool> {
    r.string(flexible)?;
    let acks = r.i16()?;
    r.i32()?;
    r.count(flexible)?;
    let topic = r.string(flexible)?;
    r.count(flexible)?;
    let partition = r.i32()?;
    let records = r.bytes(flexible)?;
    if acks == 0 {
        return Ok(false);
    }
    let mut head = Reader::new(records);
    head.take(57)?;
    let count = head.i32()?;
    let known = usize::try_from(partition).ok().and_then(|p| offsets.get_mut(p));
    let offset = known.ok_or(protocol::DecodeError::BadLength)?;
    out.count(1, flexible);
    if flexible {
        out.uvarint(topic.len() as u64 + 1);
    } else {
        out.i16(topic.len() as i16);
    }
    out.extend_from_slice(topic);
    out.count(1, flexible);
    out.i32(partition);
    out.i16(0);
    out.i64(*offset);
    *offset += i64::from(count);
    out.i64(-1);
    if version >= 5 {
        out.i64(0);
    }
    if version >= 8 {
        out.count(0, flexible);
        if flexible { out.uvarint(0) } else { out.i16(-1) }
    }
    if flexible {
        out.extend_from_slice(&[0, 0]);
    }
    out.i32(0);
    if flexible {
        out.uvarint(0);
    }
    Ok(true)
}

fn answer_metadata(r: &mut Reader<'_>, out: &mut Vec<u8>, version: i16, partitions: usize) -> Decoded<()> {
    r.i32()?;
    let name = r.text(false)?;
    if version >= 3 {
        out.i32(0);
    }
    out.count(1, false);
    out.i32(0);
    out.string("localhost", false);
    out.i32(0);
    out.i16(-1);
    if version >= 2 {
        out.i16(-1);
    }
    out.i32(0);
    out.count(1, false);
    out.i16(0);
    out.string(&name, false);
    out.i8(0);
    out.count(partitions, false);
    for partition in 0..partitions {
        out.i16(0);
        out.i32(partition as i32);
        out.i32(0);
        if version >= 7 {
            out.i32(0);
        }
        for _ in 0..if version >= 5 { 3 } else { 2 } {
            out.count(0, false);
        }
    }
    if version >= 8 {
        out.i32(0);
        out.i32(0);
    }
    Ok(())
}

fn answer_offsets(out: &mut Vec<u8>, version: i16, offsets: &[i64]) {
    if version >= 2 {
        out.i32(0);
    }
    out.count(1, false);
    out.string("", false);
    out.count(offsets.len(), false);
    for (partition, offset) in (0..).zip(offsets) {
        out.i32(partition);
        out.i16(0);
        out.i64(-1);
        out.i64(*offset);
        if version >= 4 {
            out.i32(0);
        }
    }
}
