//! One producer connection: a ring of pre-encoded requests.
//!
//! Promises: requests leave in the order in which their sequences were drawn, and all that are due
//! leave in one write; answers are matched in that order. Nothing is ever sent twice: a request that
//! fails or has no answer leaves its records as "maybe" in the ledger.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use keylane_kafka::hot::answers::read_produced;

use crate::batch::Template;
use crate::client::{Flow, Inbox};
use crate::histogram::Latencies;
use crate::keys::{KeyNames, KeyPicker, Rng};
use crate::ledger::Ledger;
use crate::pacing::{Clock, Pace};
use crate::packed::Packed;
use crate::sabotage::{Sabotage, Saboteur};

/// A request that has been due for less when the load ends does not count as unsent.
const LATE_NS: u64 = 1_000_000;

/// At first; more when answers need it.
const INBOX_BYTES: usize = 16 << 10;

/// Counts of one thread's producers.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProduceCounts {
    pub requests: u64,
    pub records: u64,
    pub batch_bytes: u64,
}

impl ProduceCounts {
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.records += other.records;
        self.batch_bytes += other.batch_bytes;
    }
}

/// What the producers of a thread share.
pub struct ProducerBooks<'a> {
    pub clock: Clock,
    pub names: &'a KeyNames,
    pub ledger: Ledger,
    /// Acks between these times count, and so do latencies of requests that were due between them.
    pub measure_ns: (u64, u64),
    pub measured: ProduceCounts,
    pub total: ProduceCounts,
    pub latencies: Latencies,
    /// Refused requests by error code.
    pub errors: BTreeMap<i16, u64>,
    /// Connections that the broker closed.
    pub disconnects: u64,
    /// Answers to another request than the oldest one, or with an offset that does not rise.
    pub out_of_order: u64,
    pub writes: u64,
    /// Sum over refills of the requests still in flight, in parts of the window, and how many.
    pub in_flight_share: (f64, u64),
}

impl<'a> ProducerBooks<'a> {
    pub fn new(clock: Clock, names: &'a KeyNames, ledger: Ledger, measure_ns: (u64, u64)) -> Self {
        Self {
            clock,
            names,
            ledger,
            measure_ns,
            measured: ProduceCounts::default(),
            total: ProduceCounts::default(),
            latencies: Latencies::new(),
            errors: BTreeMap::new(),
            disconnects: 0,
            out_of_order: 0,
            writes: 0,
            in_flight_share: (0.0, 0),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    due_ns: u64,
    partition: i32,
    /// Which of the picker's groups; `None`: sent astray on purpose.
    group: Option<u32>,
    /// Of the batch, as it is sent.
    batch_bytes: u64,
}

/// How a connection is to send.
pub struct ProducerSpec {
    pub partitions: i32,
    pub window: usize,
    pub template: Template,
    pub picker: KeyPicker,
    pub seed: u64,
    pub version: i16,
    pub acks: i16,
    pub static_payload: bool,
    /// 0: none.
    pub codec: i16,
    pub sabotage: Option<Sabotage>,
    /// The broker may go away and come back.
    pub comes_back: bool,
}

pub struct Producer {
    spec: ProducerSpec,
    stream: TcpStream,
    inbox: Inbox,
    rng: Rng,
    pub pace: Pace,
    /// `window` frames of equal length, one behind the other.
    ring: Vec<u8>,
    frame_bytes: usize,
    slots: Vec<Slot>,
    /// The offset of the last answer, by partition.
    last_offsets: Vec<i64>,
    /// Requests filled and answered, and bytes written, since the start.
    filled: u64,
    answered: u64,
    written_bytes: u64,
    alive: bool,
    /// Without a connection, for a while.
    down: bool,
    /// Compressed requests, where they are.
    packed: Option<Packed>,
    saboteur: Option<Saboteur>,
}

impl Producer {
    pub fn new(spec: ProducerSpec, stream: TcpStream, names: &KeyNames) -> Self {
        let frame_bytes = spec.template.frame().len();
        let mut ring = spec.template.frame().repeat(spec.window);
        let mut rng = Rng::new(spec.seed);
        let mut slots = vec![Slot::default(); spec.window];
        let mut packed = (spec.codec != 0).then(|| Packed::new(spec.codec, spec.window));
        slots.iter_mut().for_each(|slot| slot.batch_bytes = spec.template.batch_bytes() as u64);
        if spec.static_payload {
            // Young records: a broker would delete those of 1970.
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wall_ms = since_1970.as_millis() as i64;
            for (at, (frame, slot)) in ring.chunks_exact_mut(frame_bytes).zip(&mut slots).enumerate() {
                let group = spec.picker.next_group(&mut rng);
                slot.partition = group.partition;
                slot.group = u32::try_from(group.index).ok();
                spec.template.fill(frame, group.partition, 0, wall_ms, names, || (group.draw(&mut rng), 1));
                if let Some(packed) = &mut packed {
                    slot.batch_bytes = packed.pack(at, &spec.template, frame) as u64;
                }
            }
        }
        let inbox = Inbox::new(INBOX_BYTES);
        let last_offsets = vec![-1; spec.picker.groups()];
        let saboteur = spec.sabotage.map(|kind| Saboteur::new(kind, spec.seed));
        Self {
            spec,
            stream,
            inbox,
            rng,
            pace: Pace::default(),
            ring,
            frame_bytes,
            slots,
            last_offsets,
            filled: 0,
            answered: 0,
            written_bytes: 0,
            alive: true,
            down: false,
            packed,
            saboteur,
        }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn is_alive(&self) -> bool {
        self.alive
    }

    /// Whether a new connection is to be tried.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// Goes on over a new connection; what had been in flight is unknown already.
    pub fn resume(&mut self, stream: TcpStream) {
        self.stream = stream;
        self.inbox = Inbox::new(INBOX_BYTES);
        self.written_bytes = self.filled * self.frame_bytes as u64;
        if let Some(packed) = &mut self.packed {
            packed.begin_at(self.filled);
        }
        (self.alive, self.down) = (true, false);
    }

    pub fn in_flight(&self) -> usize {
        (self.filled - self.answered) as usize
    }

    pub fn has_room(&self) -> bool {
        self.alive && self.in_flight() < self.spec.window
    }

    /// Reads answers, refills the window and writes.
    pub fn on_ready(&mut self, books: &mut ProducerBooks<'_>, refill: bool) {
        let mut flow = Flow::More;
        while self.alive && flow == Flow::More {
            flow = self.inbox.fill(&self.stream);
            self.take_answers(books);
        }
        if flow == Flow::Closed {
            self.close(books);
        }
        self.pump(books, refill);
    }

    fn take_answers(&mut self, books: &mut ProducerBooks<'_>) {
        let now_ns = books.clock.now_ns();
        let before = self.answered;
        while self.alive {
            match self.inbox.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) if self.answered < self.filled => {
                    let slot = self.slots[(self.answered % self.spec.window as u64) as usize];
                    match read_answer(frame, self.answered as i32, slot.partition, self.spec.version) {
                        Answer::Acked(offset) => {
                            // -1: the broker does not say.
                            let group =
                                slot.group.and_then(|group| self.last_offsets.get_mut(group as usize));
                            if let Some(last) = group {
                                books.out_of_order += u64::from(offset >= 0 && offset <= *last);
                                *last = offset.max(*last);
                            }
                            self.acked(books, slot, now_ns);
                        }
                        Answer::Refused(code) => {
                            *books.errors.entry(code).or_default() += 1;
                            self.mark_maybe(books, self.answered);
                        }
                        Answer::OutOfOrder => {
                            books.out_of_order += 1;
                            return self.close(books);
                        }
                        Answer::Unreadable => return self.close(books),
                    }
                    self.answered += 1;
                }
                Ok(Some(_)) | Err(_) => return self.close(books),
            }
        }
        if self.answered > before {
            books.in_flight_share.0 += self.in_flight() as f64 / self.spec.window as f64;
            books.in_flight_share.1 += 1;
        }
    }

    #[inline]
    fn acked(&mut self, books: &mut ProducerBooks<'_>, slot: Slot, now_ns: u64) {
        let counts = ProduceCounts {
            requests: 1,
            records: self.spec.template.records() as u64,
            batch_bytes: slot.batch_bytes,
        };
        let (from_ns, to_ns) = books.measure_ns;
        books.total.add(&counts);
        if now_ns >= from_ns && now_ns < to_ns {
            books.measured.add(&counts);
        }
        if slot.due_ns >= from_ns {
            books.latencies.record(now_ns - slot.due_ns, 1);
        }
    }

    /// Fills the window with what is due (if `refill`) and writes what is filled.
    pub fn pump(&mut self, books: &mut ProducerBooks<'_>, refill: bool) {
        if !self.alive {
            return;
        }
        if refill && self.in_flight() < self.spec.window {
            let now_ns = books.clock.now_ns();
            while self.in_flight() < self.spec.window {
                let due_ns = self.pace.due_ns().unwrap_or(now_ns);
                if due_ns > now_ns {
                    break;
                }
                self.fill_one(books, due_ns);
            }
        }
        self.flush(books);
    }

    #[inline]
    fn fill_one(&mut self, books: &mut ProducerBooks<'_>, due_ns: u64) {
        let at = (self.filled % self.spec.window as u64) as usize;
        let frame = &mut self.ring[at * self.frame_bytes..(at + 1) * self.frame_bytes];
        let template = &self.spec.template;
        template.set_correlation(frame, self.filled as i32);
        let slot = &mut self.slots[at];
        if !self.spec.static_payload {
            let group = self.spec.picker.next_group(&mut self.rng);
            let (rng, ledger) = (&mut self.rng, &mut books.ledger);
            let wall_ms = books.clock.wall_ms(due_ns);
            slot.partition = group.partition;
            slot.group = u32::try_from(group.index).ok();
            match &mut self.saboteur {
                None => template.fill(frame, group.partition, due_ns, wall_ms, books.names, || {
                    let key = group.draw(rng);
                    (key, ledger.next_seq(key))
                }),
                Some(saboteur) => {
                    let records = template.records() as u64;
                    let to = saboteur.partition(group.partition, self.spec.partitions, records);
                    if to != group.partition {
                        (slot.partition, slot.group) = (to, None);
                    }
                    template.fill(frame, to, due_ns, wall_ms, books.names, || {
                        saboteur.next(group.partition, group.draw(rng), ledger)
                    });
                    if let Some(max_timestamp) = saboteur.claim(records) {
                        template.claim(frame, max_timestamp);
                    }
                }
            }
            if let Some(packed) = &mut self.packed {
                slot.batch_bytes = packed.pack(at, template, frame) as u64;
            }
        }
        if let Some(packed) = &mut self.packed {
            template.set_correlation(packed.frame_mut(at), self.filled as i32);
        }
        slot.due_ns = due_ns;
        self.filled += 1;
        self.pace.sent_one();
    }

    /// Writes the filled part of the ring, at most two pieces, in one system call.
    fn flush(&mut self, books: &mut ProducerBooks<'_>) {
        if let Some(packed) = &mut self.packed {
            if !packed.write(&self.stream, self.filled, &mut books.writes) {
                self.close(books);
            }
            if self.spec.acks == 0 {
                self.count_written(books);
            }
            return;
        }
        let filled_bytes = self.filled * self.frame_bytes as u64;
        while self.alive && self.written_bytes < filled_bytes {
            let ring_bytes = self.ring.len();
            let from = (self.written_bytes % ring_bytes as u64) as usize;
            let len = (filled_bytes - self.written_bytes) as usize;
            let first = len.min(ring_bytes - from);
            let pieces =
                [IoSlice::new(&self.ring[from..from + first]), IoSlice::new(&self.ring[..len - first])];
            let pieces = if first == len { &pieces[..1] } else { &pieces[..] };
            books.writes += 1;
            match (&self.stream).write_vectored(pieces) {
                Ok(written) => self.written_bytes += written as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.close(books),
            }
        }
        if self.spec.acks == 0 {
            self.count_written(books);
        }
    }

    /// With acks=0 there are no answers: what is written whole is done. Nothing of it is acked, see
    /// [`Ledger::nothing_was_acked_since`].
    fn count_written(&mut self, books: &mut ProducerBooks<'_>) {
        let now_ns = books.clock.now_ns();
        let written = self.written_bytes / self.frame_bytes as u64;
        let written = self.packed.as_ref().map_or(written, Packed::written);
        while self.answered < written {
            let slot = self.slots[(self.answered % self.spec.window as u64) as usize];
            self.acked(books, slot, now_ns);
            self.answered += 1;
        }
    }

    fn mark_maybe(&self, books: &mut ProducerBooks<'_>, request: u64) {
        if self.spec.static_payload {
            return;
        }
        let at = (request % self.spec.window as u64) as usize * self.frame_bytes;
        for stamp in self.spec.template.stamps(&self.ring[at..at + self.frame_bytes]) {
            books.ledger.mark_maybe(stamp.key, stamp.seq, stamp.seq);
        }
    }

    /// At the end of the load: what was due and never left counts with the time that it had waited by
    /// then, so that a broker that is too slow is not measured by what it did answer alone.
    pub fn count_unsent(&self, books: &mut ProducerBooks<'_>) -> u64 {
        let (from_ns, to_ns) = books.measure_ns;
        let mut unsent = 0;
        if self.alive {
            // What was due just now is not late.
            for due_ns in self.pace.unsent_ns(to_ns.saturating_sub(LATE_NS)) {
                unsent += 1;
                if due_ns >= from_ns {
                    books.latencies.record(to_ns - due_ns, 1);
                }
            }
        }
        unsent
    }

    /// The load is over: what a saboteur still holds was never sent.
    pub fn end(&mut self, books: &mut ProducerBooks<'_>) {
        self.down = false;
        if let Some(saboteur) = &mut self.saboteur {
            saboteur.give_up(&mut books.ledger);
        }
    }

    /// The broker went away, or is not waited for any longer: nobody knows what became of the rest.
    pub fn close(&mut self, books: &mut ProducerBooks<'_>) {
        if !self.alive {
            return;
        }
        self.alive = false;
        self.down = self.spec.comes_back;
        books.disconnects += 1;
        let now_ns = books.clock.now_ns();
        for request in self.answered..self.filled {
            self.mark_maybe(books, request);
            let due_ns = self.slots[(request % self.spec.window as u64) as usize].due_ns;
            if due_ns >= books.measure_ns.0 {
                // It would have taken longer still.
                books.latencies.record(now_ns - due_ns, 1);
            }
        }
        self.answered = self.filled;
        // The socket may be gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

enum Answer {
    Acked(i64),
    Refused(i16),
    OutOfOrder,
    Unreadable,
}

#[inline]
fn read_answer(frame: &[u8], correlation: i32, partition: i32, version: i16) -> Answer {
    match read_produced(version, frame) {
        Ok(produced) if produced.correlation_id != correlation => Answer::OutOfOrder,
        Ok(produced) if produced.partition != partition => Answer::OutOfOrder,
        Ok(produced) if produced.error.is_none() => Answer::Acked(produced.base_offset),
        Ok(produced) => Answer::Refused(produced.error.code()),
        Err(_) => Answer::Unreadable,
    }
}
