//! The ring on real threads.

use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

#[test]
fn a_full_ring_gives_the_value_back() {
    let (mut producer, mut consumer) = ring(4);
    for round in 0..100 {
        for i in 0..4 {
            assert_eq!(producer.push(round * 4 + i), Ok(()));
        }
        assert_eq!(producer.push(0), Err(0));
        assert_eq!((producer.len(), consumer.len(), producer.capacity()), (4, 4, 4));
        for i in 0..4 {
            assert_eq!(consumer.pop(), Some(round * 4 + i));
        }
        assert_eq!(consumer.pop(), None);
        assert!(producer.is_empty() && consumer.is_empty());
    }
}

#[test]
fn what_is_left_in_a_ring_is_dropped() {
    let value = Arc::new(());
    let (mut producer, mut consumer) = ring(8);
    for _ in 0..6 {
        assert!(producer.push(Arc::clone(&value)).is_ok());
    }
    assert!(consumer.pop().is_some());
    drop(producer);
    assert!(consumer.pop().is_some());
    assert_eq!(Arc::strong_count(&value), 5);
    drop(consumer);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
#[should_panic(expected = "power of two")]
fn an_odd_capacity_is_refused() {
    ring::<()>(3);
}

#[test]
fn only_a_sleeper_is_woken_and_only_once() {
    let (parker, fd) = Parker::with_eventfd().unwrap();
    assert!(!parker.wake_if_sleeping());
    parker.prepare_park();
    assert!(parker.wake_if_sleeping());
    assert!(!parker.wake_if_sleeping());
    parker.prepare_park();
    parker.cancel_park();
    assert!(!parker.wake_if_sleeping());
    let mut count = [0; 8];
    assert_eq!(rustix::io::read(&fd, &mut count).unwrap(), 8);
    assert_eq!(u64::from_ne_bytes(count), 1);
}

/// One of two cores that send each other numbers.
struct Core {
    inbound: Consumer<u64>,
    outbound: Producer<u64>,
    mine: Arc<Parker>,
    event: Arc<OwnedFd>,
    peer: Arc<Parker>,
    random: u64,
    sleeps: u64,
    wakes: u64,
}

impl Core {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Sleeps unless there is something to take. A sleep of ten seconds is a lost wake-up.
    fn sleep(&mut self) {
        self.mine.prepare_park();
        if self.inbound.is_empty() {
            self.sleeps += 1;
            let timeout = Timespec { tv_sec: 10, tv_nsec: 0 };
            let mut fds = [PollFd::from_borrowed_fd(self.event.as_fd(), PollFlags::IN)];
            let ready = poll(&mut fds, Some(&timeout)).unwrap();
            assert_eq!(ready, 1, "asleep with {} values in the ring", self.inbound.len());
            rustix::io::read(&self.event, &mut [0; 8]).unwrap();
        }
        self.mine.cancel_park();
    }

    fn wake_peer(&mut self) {
        self.wakes += u64::from(self.peer.wake_if_sleeping());
    }

    fn pause(&mut self) {
        match self.random(64) {
            0 => thread::sleep(Duration::from_micros(50)),
            1..=8 => thread::yield_now(),
            9..=20 => (0..self.random(500)).for_each(|_| std::hint::spin_loop()),
            _ => {}
        }
    }

    /// Sends 0, 1, ... in batches and takes what comes back, until both have reached `total`. The leader
    /// is ahead of its answers by a random number, at times more than the rings hold; the other side
    /// sends only what it was sent.
    fn run(&mut self, total: u64, leads: bool) {
        let (mut sent, mut taken) = (0, 0);
        while taken < total || sent < total {
            let limit = if leads { total.min(taken + 1 + self.random(160)) } else { taken };
            let batch = 1 + self.random(48);
            let mut pushed = 0;
            while pushed < batch && sent < limit && self.outbound.push(sent).is_ok() {
                sent += 1;
                pushed += 1;
            }
            if pushed > 0 {
                self.wake_peer();
            }
            self.pause();
            let before = taken;
            while let Some(value) = self.inbound.pop() {
                assert_eq!(value, taken, "lost, doubled or reordered");
                taken += 1;
            }
            let can_send = sent < if leads { limit } else { taken };
            if taken == before && (pushed == 0 || !can_send) && (taken < total || sent < total) {
                if can_send {
                    // Only the peer can make room, and it does not tell.
                    thread::yield_now();
                } else {
                    self.sleep();
                }
            }
        }
    }
}

#[test]
fn two_cores_that_sleep_lose_nothing() {
    const TOTAL: u64 = 200_000;
    let (there, out) = ring(64);
    let (back, home) = ring(64);
    let (a, a_event) = Parker::with_eventfd().unwrap();
    let (b, b_event) = Parker::with_eventfd().unwrap();
    let (a, b) = (Arc::new(a), Arc::new(b));
    let core = |inbound, outbound, mine: &Arc<Parker>, event, peer: &Arc<Parker>, random| Core {
        inbound,
        outbound,
        mine: Arc::clone(mine),
        event,
        peer: Arc::clone(peer),
        random,
        sleeps: 0,
        wakes: 0,
    };
    let mut leader = core(home, there, &a, a_event, &b, 0x1234_5678_9abc_def1);
    let mut follower = core(out, back, &b, b_event, &a, 0xfedc_ba98_7654_3211);
    let start = Instant::now();
    let thread = thread::spawn(move || {
        follower.run(TOTAL, false);
        follower
    });
    leader.run(TOTAL, true);
    let follower = thread.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(60), "took {:?}", start.elapsed());
    for core in [&leader, &follower] {
        assert!(core.sleeps > 0 && core.wakes > 0, "{} sleeps, {} wake-ups", core.sleeps, core.wakes);
    }
    println!(
        "{TOTAL} there and back in {:?}: sleeps {} and {}, wake-ups {} and {}",
        start.elapsed(),
        leader.sleeps,
        follower.sleeps,
        leader.wakes,
        follower.wakes
    );
}
