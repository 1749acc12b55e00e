//! One hop between cores: Keylane's ring beside `rtrb`, with a value as large as a routed message.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A message: a pointer with length and owner, and a few numbers.
type Message = [u64; 8];

const SLOTS: usize = 1024;

fn pin(core: usize) {
    // Without the second core the figures are worse, not wrong.
    let _pinned = core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// Measures both rings alike: `$ring` makes a pair whose `push` gives the value back when full.
macro_rules! measure {
    ($group:expr, $name:literal, $ring:expr, $pop:expr) => {
        // One thread, always in its cache: the work of the ring itself.
        $group.bench_function(concat!($name, "/same core"), |b| {
            let (mut tx, mut rx) = $ring;
            b.iter(|| {
                assert!(tx.push([7; 8]).is_ok());
                $pop(&mut rx)
            });
        });
        // A stream from core to core.
        $group.bench_function(concat!($name, "/stream"), |b| {
            b.iter_custom(|count| {
                let (mut tx, mut rx) = $ring;
                let receiver = std::thread::spawn(move || {
                    pin(1);
                    let mut got = 0u64;
                    while got < count {
                        match $pop(&mut rx) {
                            Some(message) => {
                                assert_eq!(message[0], got);
                                got += 1;
                            }
                            None => spin_loop(),
                        }
                    }
                });
                let start = Instant::now();
                for i in 0..count {
                    while tx.push([i; 8]).is_err() {
                        spin_loop();
                    }
                }
                receiver.join().expect("the receiver ends");
                start.elapsed()
            });
        });
        // There and back.
        $group.bench_function(concat!($name, "/round trip"), |b| {
            b.iter_custom(|count| {
                let (mut there, mut rx) = $ring;
                let (mut tx, mut back) = $ring;
                let echo = std::thread::spawn(move || {
                    pin(1);
                    for _ in 0..count {
                        let message: Message = loop {
                            match $pop(&mut rx) {
                                Some(message) => break message,
                                None => spin_loop(),
                            }
                        };
                        assert!(tx.push(message).is_ok());
                    }
                });
                let start = Instant::now();
                for i in 0..count {
                    assert!(there.push([i; 8]).is_ok());
                    while $pop(&mut back).is_none() {
                        spin_loop();
                    }
                }
                let took = start.elapsed();
                echo.join().expect("the echo ends");
                took
            });
        });
    };
}

fn hops(c: &mut Criterion) {
    pin(0);
    let mut group = c.benchmark_group("ring");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(1));
    measure!(group, "keylane", keylane::ring::ring::<Message>(SLOTS), |rx: &mut keylane::ring::Consumer<
        Message,
    >| rx.pop());
    measure!(group, "rtrb", rtrb::RingBuffer::<Message>::new(SLOTS), |rx: &mut rtrb::Consumer<Message>| rx
        .pop()
        .ok());
    group.finish();
}

criterion_group!(benches, hops);
criterion_main!(benches);
