//! The answers of one connection, in the order of its requests.
//!
//! Each request that gets an answer has a slot. The answer of a Produce request whose partitions live on
//! this core is encoded at once and *gated*: it leaves when its commits are durable, and is patched into
//! an error if they fail. Any other answer is put into its slot when it is known. The writer takes what is
//! ready from the front, so that all answers that are due leave in one write.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use keylane_engine::CommitSeq;
use keylane_engine::shard::CommitState;
use keylane_kafka::ErrorCode;
use keylane_kafka::hot::produce::PartitionSlot;
use tokio::sync::OwnedSemaphorePermit;

use crate::core::Core;

use super::turn::Turn;

/// Requests of one connection that may be unanswered; then it is not read from.
pub const UNANSWERED_MAX: usize = 2048;
/// Bytes of answers of one connection that may wait to be sent, besides those that are paid for; then it is not read from. One
/// answer may be larger.
const UNSENT_BYTES_MAX: usize = 4 << 20;
/// Bytes taken for one write.
const WRITE_BYTES: usize = 1 << 20;

/// A commit that an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// The shard, by its place on this core.
    pub shard: usize,
    /// The commit.
    pub seq: CommitSeq,
}

/// What a gated answer becomes if a commit fails.
#[derive(Debug, Clone, Copy)]
pub struct Patch {
    /// The shard whose failure it concerns.
    pub shard: usize,
    /// Where in the frame.
    pub slot: PartitionSlot,
}

/// One or more, without allocation for one.
#[derive(Debug)]
pub enum Few<T> {
    /// The usual case.
    One(T),
    /// None, or several.
    Many(Vec<T>),
}

impl<T> Few<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// An answer, and what is paid for its memory until it is sent.
#[derive(Default)]
pub struct Answer {
    /// The frame, in pieces; none for a request that gets no answer.
    pub slices: Vec<Bytes>,
    /// Paid memory.
    pub held: Option<OwnedSemaphorePermit>,
    /// The turn of a fetch.
    pub turn: Option<Turn>,
    /// It was read from the disk, for somebody who is behind: others come first.
    pub unhurried: bool,
}

impl Answer {
    fn bytes(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// Its bytes, unless they are paid for.
    fn unpaid_bytes(&self) -> usize {
        if self.held.is_some() { 0 } else { self.bytes() }
    }
}

/// The place of an answer that is not known yet.
#[derive(Clone, Default)]
pub struct Promise(Rc<RefCell<Option<Answer>>>);

/// What leaves in one write.
#[derive(Default)]
pub struct Due {
    /// The answers, in order.
    pub slices: Vec<Bytes>,
    /// Paid memory, given back when they are sent.
    pub held: Vec<OwnedSemaphorePermit>,
    /// Turns of fetches, given back likewise.
    pub turns: Vec<Turn>,
    /// Whether others come first.
    pub unhurried: bool,
}

enum Slot {
    Gated { len: usize, gates: Few<Gate>, patches: Few<Patch> },
    Promised(Promise),
}

/// The queue of answers.
#[derive(Default)]
pub struct Out {
    slots: VecDeque<Slot>,
    /// Bytes of the gated answers, in order.
    staged: BytesMut,
    /// Bytes of all answers that wait and are not paid for.
    unsent: usize,
    writer: Option<Waker>,
    reader: Option<Waker>,
    registered: Option<Gate>,
    closing: bool,
    broken: bool,
}

impl Out {
    /// Buffer to encode an answer into; [`Out::gated`] then says that it is there.
    pub fn staging(&mut self) -> &mut BytesMut {
        &mut self.staged
    }

    /// Adds an answer whose `len` bytes were just written to the end of the staging buffer.
    pub fn gated(&mut self, len: usize, gates: Few<Gate>, patches: Few<Patch>) {
        self.unsent += len;
        self.slots.push_back(Slot::Gated { len, gates, patches });
        self.wake_writer();
    }

    /// Adds an answer that waits for nothing.
    pub fn at_once<E>(&mut self, encode: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Result<(), E> {
        let before = self.staged.len();
        encode(&mut self.staged)?;
        let len = self.staged.len() - before;
        self.gated(len, Few::Many(Vec::new()), Few::Many(Vec::new()));
        Ok(())
    }

    /// Adds a place for an answer that comes later.
    pub fn promise(&mut self) -> Promise {
        let promise = Promise::default();
        self.slots.push_back(Slot::Promised(promise.clone()));
        promise
    }

    /// Puts the answer into its place.
    pub fn fulfil(&mut self, promise: &Promise, answer: Answer) {
        if !self.broken {
            self.unsent += answer.unpaid_bytes();
        }
        *promise.0.borrow_mut() = Some(answer);
        self.wake_writer();
    }

    /// Whether as many requests are unanswered as may be, or as many bytes of answers unsent.
    pub fn is_full(&self) -> bool {
        self.slots.len() >= UNANSWERED_MAX || self.unsent >= UNSENT_BYTES_MAX
    }

    /// No more requests come: the writer ends when all answers are out.
    pub fn close(&mut self) {
        self.closing = true;
        self.wake_writer();
    }

    /// Nothing can be sent any more.
    pub fn break_off(&mut self) {
        self.broken = true;
        self.closing = true;
        self.slots.clear();
        self.unsent = 0;
        self.staged.clear();
        self.wake_writer();
        self.wake_reader();
    }

    /// Whether nothing can be sent any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Ready when `ready` says so; asked again whenever answers have left.
    pub fn poll_reader(&mut self, cx: &mut Context<'_>, ready: impl Fn(&Self) -> bool) -> Poll<()> {
        if self.broken || ready(self) {
            return Poll::Ready(());
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// Has the reader look again whether it may go on.
    pub fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// What can leave now, in order. `None`: the connection is done.
    pub fn poll_ready(&mut self, core: &Core, cx: &mut Context<'_>) -> Poll<Option<Due>> {
        let mut due = Due::default();
        let (mut staged, mut bytes) = (0, 0);
        let unanswered = self.slots.len();
        while bytes < WRITE_BYTES {
            match self.slots.front_mut() {
                None => break,
                Some(Slot::Gated { len, gates, patches }) => {
                    match state_of(core, gates.as_slice()) {
                        Ok(()) => {}
                        Err((gate, CommitState::Failed)) => {
                            let frame = &mut self.staged[staged..staged + *len];
                            fail(core, frame, patches.as_slice());
                            tracing::debug!(shard = gate.shard, "answering a failed commit");
                        }
                        Err((gate, _)) => {
                            if bytes == 0 && self.registered != Some(gate) {
                                core.shards[gate.shard].wake_on_commit(gate.seq, cx.waker());
                                self.registered = Some(gate);
                            }
                            break;
                        }
                    }
                    staged += *len;
                    bytes += *len;
                    self.unsent -= *len;
                    self.slots.pop_front();
                }
                Some(Slot::Promised(promise)) => {
                    let Some(answer) = promise.0.borrow_mut().take() else { break };
                    if staged > 0 {
                        due.slices.push(self.staged.split_to(staged).freeze());
                        staged = 0;
                    }
                    bytes += answer.bytes();
                    self.unsent -= answer.unpaid_bytes();
                    due.slices.extend(answer.slices);
                    due.held.extend(answer.held);
                    due.turns.extend(answer.turn);
                    due.unhurried |= answer.unhurried;
                    self.slots.pop_front();
                }
            }
        }
        if staged > 0 {
            due.slices.push(self.staged.split_to(staged).freeze());
        }
        if self.slots.len() < unanswered {
            self.wake_reader();
        }
        if !due.slices.is_empty() {
            return Poll::Ready(Some(due));
        }
        if self.closing && self.slots.is_empty() {
            return Poll::Ready(None);
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// `Err`: the first gate that is not open, and why.
fn state_of(core: &Core, gates: &[Gate]) -> Result<(), (Gate, CommitState)> {
    for gate in gates {
        match core.shards[gate.shard].commit_state(gate.seq) {
            CommitState::Durable => {}
            // A failure counts only once the others are decided: each partition is answered for itself.
            CommitState::Pending => return Err((*gate, CommitState::Pending)),
            CommitState::Failed => {}
        }
    }
    let failed = |g: &&Gate| core.shards[g.shard].commit_state(g.seq) == CommitState::Failed;
    match gates.iter().find(failed) {
        Some(gate) => Err((*gate, CommitState::Failed)),
        None => Ok(()),
    }
}

fn fail(core: &Core, frame: &mut [u8], patches: &[Patch]) {
    for patch in patches {
        if core.shards[patch.shard].failure().is_some() {
            patch.slot.fail(frame, ErrorCode::KafkaStorageError);
        }
    }
}
