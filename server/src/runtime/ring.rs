//! How cores talk: a bounded ring from each core to each other one, and one [`Parker`] per core.
//!
//! A [`ring`] carries values from one producer to one consumer, in order, without locks and without
//! allocation; a full ring gives the value back. A [`Parker`] lets a core sleep although many rings lead
//! to it. No wake-up is lost, and only a core that sleeps costs its peer a system call:
//!
//! * The core finds its rings empty, calls [`Parker::prepare_park`], **looks at all rings again**, and
//!   then either waits for the wake action (an eventfd) or calls [`Parker::cancel_park`]. Awake again, for
//!   whatever reason, it calls [`Parker::cancel_park`] as well, so that nobody wakes it any more.
//! * A peer calls [`Parker::wake_if_sleeping`] after a push, or after a batch of pushes.
//!
//! Between "says that it sleeps" and "looks again" on one side, and between "pushes" and "asks whether it
//! sleeps" on the other, stands a sequentially consistent fence: of two threads that each write and then
//! read what the other writes, at least one sees the other's write. A wake-up can be spurious.
//!
//! This module holds `unsafe` because the slots of a ring are shared between two threads without a lock.
//! It is checked with loom, in a build of its tests with `--cfg keylane_loom`: `bash .ci/run loom`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc as StdArc;

use crossbeam::utils::CachePadded;
#[cfg(all(test, keylane_loom))]
use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
#[cfg(not(all(test, keylane_loom)))]
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

#[cfg(not(all(test, keylane_loom)))]
use self::cell::UnsafeCell;

/// The part of loom's cell that the ring uses, on top of the standard one.
#[cfg(not(all(test, keylane_loom)))]
mod cell {
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

struct Shared<T> {
    /// Count of values taken out; written by the consumer.
    head: CachePadded<AtomicUsize>,
    /// Count of values put in; written by the producer.
    tail: CachePadded<AtomicUsize>,
    /// The value of count `n` lies in slot `n & mask`. Slots `head..tail` hold values.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    mask: usize,
}

// SAFETY: a slot is touched by the producer alone before `tail` passes it and by the consumer alone until
// `head` passes it, so values only move from one thread to another.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; `Shared` is reached only through the one `Producer` and the one `Consumer`, whose
// methods that touch slots take `&mut self`.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let tail = self.tail.load(Ordering::Relaxed);
        let mut head = self.head.load(Ordering::Relaxed);
        while head != tail {
            self.slots[head & self.mask].with_mut(|slot| {
                // SAFETY: both sides are gone, and slots `head..tail` hold values that nobody took.
                unsafe { (*slot).assume_init_drop() }
            });
            head = head.wrapping_add(1);
        }
    }
}

/// The sending end of a ring.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// The consumer's `head` when last looked at; it can only have moved on.
    head_seen: usize,
}

/// The receiving end of a ring.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// The producer's `tail` when last looked at; it can only have moved on.
    tail_seen: usize,
}

/// A ring for `capacity` values, which must be a power of two.
pub fn ring<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    assert!(capacity.is_power_of_two(), "the capacity of a ring is a power of two");
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        mask: capacity - 1,
    });
    let producer = Producer { shared: Arc::clone(&shared), tail: 0, head_seen: 0 };
    (producer, Consumer { shared, head: 0, tail_seen: 0 })
}

impl<T> Producer<T> {
    /// Puts a value in; gives it back if the ring is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.tail.wrapping_sub(self.head_seen) > self.shared.mask {
            // Acquire: the consumer has moved the old value out before the slot is written again.
            self.head_seen = self.shared.head.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) > self.shared.mask {
                return Err(value);
            }
        }
        self.shared.slots[self.tail & self.shared.mask].with_mut(|slot| {
            // SAFETY: `head` has passed this slot and `tail` has not, so it is the producer's alone.
            unsafe { (*slot).write(value) };
        });
        self.tail = self.tail.wrapping_add(1);
        // Release: who sees the new tail sees the value.
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Values in the ring; there can be fewer by now.
    pub fn len(&self) -> usize {
        self.tail.wrapping_sub(self.shared.head.load(Ordering::Acquire))
    }

    /// Whether the consumer has taken everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Values the ring can hold.
    pub fn capacity(&self) -> usize {
        self.shared.mask + 1
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest value out.
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            // Acquire: with the new tail come the values before it.
            self.tail_seen = self.shared.tail.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        let value = self.shared.slots[self.head & self.shared.mask].with_mut(|slot| {
            // SAFETY: `tail` has passed this slot and `head` has not: it holds a value, which is read
            // once, since `head` passes it next.
            unsafe { (*slot).assume_init_read() }
        });
        self.head = self.head.wrapping_add(1);
        // Release: the value is out before the producer writes the slot again.
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Values in the ring; there can be more by now.
    pub fn len(&self) -> usize {
        self.shared.tail.load(Ordering::Acquire).wrapping_sub(self.head)
    }

    /// Whether there is nothing to take: what a core asks of each ring before it sleeps.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether a core sleeps, and how to wake it. Shared by the core and all its peers.
pub struct Parker {
    /// Changed by exchanges only, so that its changes have one order in which none is overlooked.
    sleeping: CachePadded<AtomicBool>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Parker {
    /// A parker of a core that is awake; `wake` must end its sleep even if it is called just before the
    /// sleep begins.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { sleeping: CachePadded::new(AtomicBool::new(false)), wake: Box::new(wake) }
    }

    /// A parker that wakes by an eventfd, and the eventfd: readable (8 bytes) when the core is to wake.
    pub fn with_eventfd() -> io::Result<(Self, StdArc<OwnedFd>)> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let fd = StdArc::new(rustix::event::eventfd(0, flags)?);
        let target = StdArc::clone(&fd);
        let wake = move || {
            // Fails only if 2^64 - 2 wake-ups are outstanding, and then the fd is readable anyhow.
            let _outstanding = rustix::io::write(&target, &1u64.to_ne_bytes());
        };
        Ok((Self::new(wake), fd))
    }

    /// The core says that it is going to sleep. It must look at all its rings after this call, and sleep
    /// only if they are empty.
    pub fn prepare_park(&self) {
        self.sleeping.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The core is awake: it found work after all, or its sleep has ended. Returns whether nobody has
    /// called the wake action since it said that it sleeps.
    pub fn cancel_park(&self) -> bool {
        self.sleeping.swap(false, Ordering::AcqRel)
    }

    /// A peer has put something into a ring of the core: wakes it if it sleeps. Returns whether it did.
    pub fn wake_if_sleeping(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load spares the exclusive access to the cache line that the swap needs. Of several peers
        // one wakes the core.
        let wakes = self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel);
        if wakes {
            (self.wake)();
        }
        wakes
    }
}

#[cfg(test)]
#[cfg(keylane_loom)]
#[path = "ring/model.rs"]
mod model;
#[cfg(test)]
#[cfg(not(keylane_loom))]
#[path = "ring/tests.rs"]
mod tests;
