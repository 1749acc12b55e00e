//! Every interleaving of small cases, by loom. The eventfd is modelled by a counter with a condition
//! variable; a lost wake-up is a deadlock, which loom reports.

use std::mem::ManuallyDrop;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::*;

/// An eventfd.
struct Event {
    count: Mutex<u64>,
    raised: Condvar,
}

impl Event {
    fn new() -> Arc<Self> {
        Arc::new(Self { count: Mutex::new(0), raised: Condvar::new() })
    }

    fn raise(&self) {
        *self.count.lock().unwrap() += 1;
        self.raised.notify_one();
    }

    fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.raised.wait(count).unwrap();
        }
        *count = 0;
    }
}

/// What a core does to fall asleep, and what a peer does to wake it.
#[derive(Clone, Copy)]
struct Protocol {
    prepare: fn(&Parker),
    looks_again: bool,
    wake: fn(&Parker),
}

const REAL: Protocol = Protocol {
    prepare: Parker::prepare_park,
    looks_again: true,
    wake: |parker| {
        parker.wake_if_sleeping();
    },
};

/// One core that takes `per_ring` values from each of `rings` rings, sleeping when all are empty.
fn deliver(protocol: Protocol, rings: usize, per_ring: u32, capacity: usize) {
    let event = Event::new();
    let target = Arc::clone(&event);
    // Not dropped when loom reports a deadlock: dropping needs a thread that runs.
    let parker = ManuallyDrop::new(Arc::new(Parker::new(move || target.raise())));
    let event = ManuallyDrop::new(event);
    let mut inbound = ManuallyDrop::new(Vec::new());
    let mut threads = Vec::new();
    for _ in 0..rings {
        let (mut producer, consumer) = ring(capacity);
        inbound.push((consumer, 0));
        let parker = Arc::clone(&*parker);
        threads.push(thread::spawn(move || {
            for value in 0..per_ring {
                let mut value = Some(value);
                while let Some(again) = value.take() {
                    value = producer.push(again).err();
                    if value.is_some() {
                        thread::yield_now();
                    }
                }
                (protocol.wake)(&parker);
            }
        }));
    }
    let mut left = rings as u32 * per_ring;
    while left > 0 {
        let mut found = false;
        for (consumer, next) in inbound.iter_mut() {
            while let Some(value) = consumer.pop() {
                assert_eq!(value, *next, "lost, doubled or reordered");
                *next += 1;
                left -= 1;
                found = true;
            }
        }
        if found || left == 0 {
            continue;
        }
        (protocol.prepare)(&parker);
        if !protocol.looks_again || inbound.iter().all(|(consumer, _)| consumer.is_empty()) {
            event.wait();
        }
        parker.cancel_park();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    drop((ManuallyDrop::into_inner(inbound), ManuallyDrop::into_inner(parker)));
    drop(ManuallyDrop::into_inner(event));
}

fn explore(case: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(case);
}

#[test]
fn no_wake_up_is_lost_with_two_rings() {
    explore(|| deliver(REAL, 2, 2, 2));
}

#[test]
fn no_wake_up_is_lost_with_a_ring_that_wraps() {
    explore(|| deliver(REAL, 1, 4, 2));
}

/// Negative control: a core that does not look again sleeps through a push.
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_second_look_a_wake_up_is_lost() {
    explore(|| deliver(Protocol { looks_again: false, ..REAL }, 2, 1, 2));
}

/// Negative control: without the core's fence its second look may come before its word that it sleeps.
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_of_the_core_a_wake_up_is_lost() {
    let prepare = |parker: &Parker| {
        parker.sleeping.swap(true, Ordering::Relaxed);
    };
    explore(move || deliver(Protocol { prepare, ..REAL }, 1, 1, 2));
}

/// Negative control: without the peer's fence its question may come before its push.
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_of_the_peer_a_wake_up_is_lost() {
    let wake = |parker: &Parker| {
        if parker.sleeping.load(Ordering::Relaxed) && parker.sleeping.swap(false, Ordering::AcqRel) {
            (parker.wake)();
        }
    };
    explore(move || deliver(Protocol { wake, ..REAL }, 1, 1, 2));
}

#[test]
fn values_pass_in_order_through_a_ring_that_wraps() {
    explore(|| {
        let (mut producer, mut consumer) = ring(2);
        let sender = thread::spawn(move || {
            for value in 0..4 {
                let mut value = Some(Box::new(value));
                while let Some(again) = value.take() {
                    value = producer.push(again).err();
                    if value.is_some() {
                        thread::yield_now();
                    }
                }
            }
        });
        for expected in 0..4 {
            let value = loop {
                match consumer.pop() {
                    Some(value) => break value,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(*value, expected);
        }
        assert!(consumer.pop().is_none());
        sender.join().unwrap();
    });
}

/// loom's `Arc` reports it as a leak if a value is not dropped, and an access after the drop panics.
#[test]
fn what_is_left_is_dropped_by_whoever_goes_last() {
    explore(|| {
        let witness = Arc::new(());
        let (mut producer, mut consumer) = ring(2);
        let value = Arc::clone(&witness);
        let sender = thread::spawn(move || {
            for _ in 0..2 {
                assert!(producer.push(Arc::clone(&value)).is_ok());
            }
        });
        drop(consumer.pop());
        drop(consumer);
        sender.join().unwrap();
        assert_eq!(Arc::strong_count(&witness), 1);
    });
}
