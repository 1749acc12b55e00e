//! What the main thread does during a run: a line each second, processor time at the right moments.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keylane::ServerHandle;

use crate::args::RunArgs;
use crate::cpu::{self, ProcessUse};
use crate::pacing::Clock;
use crate::report::TimePoint;
use crate::worker::{Shared, Times};

/// What the main thread measures while the others work.
pub struct Watch<'a> {
    args: &'a RunArgs,
    clock: Clock,
    times: Times,
    embedded: Option<&'a ServerHandle>,
    /// At the start and at the end of the measurement.
    pub samples: [Option<Sample>; 2],
    produced_at_ns: u64,
    /// When consumers were told where to stop.
    pub ends_known_at_ns: u64,
    last_line: Instant,
    last: (u64, u64, u64),
    line: u32,
    /// Throughput over the measurement.
    pub timeline: Vec<TimePoint>,
    /// When its last point was taken, and what had been acked by then.
    last_point: Option<(u64, u64, u64)>,
}

/// Points of the timeline.
const POINTS_MAX: u64 = 200;
const POINT_NS_MIN: u64 = 100_000_000;
const POINT_LATE_NS: u64 = 10_000_000;

/// Processor time so far.
#[derive(Clone, Copy)]
pub struct Sample {
    pub at_ns: u64,
    pub process: Duration,
    pub server_threads: (Duration, usize),
    pub server: Option<ProcessUse>,
    pub main_thread: Duration,
    /// This process, when the server is in it.
    pub own: Option<ProcessUse>,
    /// Flushes of an embedded server.
    pub flushes: Option<u64>,
}

impl<'a> Watch<'a> {
    pub fn new(args: &'a RunArgs, clock: Clock, times: Times, embedded: Option<&'a ServerHandle>) -> Self {
        let last_line = Instant::now();
        Self {
            args,
            clock,
            times,
            embedded,
            samples: [None; 2],
            produced_at_ns: 0,
            ends_known_at_ns: 0,
            last_line,
            last: (0, 0, 0),
            line: 0,
            timeline: Vec::new(),
            last_point: None,
        }
    }

    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    fn sample(&self) -> Sample {
        Sample {
            at_ns: self.clock.now_ns(),
            process: cpu::process_cpu(),
            server_threads: cpu::server_threads_cpu(),
            server: self.args.server_pid.and_then(|pid| cpu::process_use(pid).ok()),
            main_thread: cpu::thread_cpu(),
            own: self.embedded.and_then(|_| cpu::process_use(std::process::id()).ok()),
            flushes: self.embedded.map(|server| server.stats().commits),
        }
    }

    pub fn until_produced(&mut self, shared: &Shared, threads: usize) {
        while shared.producers_done.load(Ordering::Acquire) < threads {
            self.step(shared);
        }
        self.produced_at_ns = self.clock.now_ns();
        // The load ended before its time.
        for index in 0..2 {
            if self.samples[index].is_none() {
                self.samples[index] = Some(self.sample());
            }
        }
    }

    pub fn until_done(&mut self, shared: &Shared, threads: usize) {
        while shared.threads_done.load(Ordering::Acquire) < threads {
            self.step(shared);
        }
    }

    fn step(&mut self, shared: &Shared) {
        let now_ns = self.clock.now_ns();
        let mut wait_ns = 20_000_000;
        let (from_ns, to_ns) = self.times.measure_ns;
        for (index, boundary_ns) in [from_ns, to_ns].into_iter().enumerate() {
            if self.samples[index].is_none() && now_ns >= boundary_ns {
                self.samples[index] = Some(self.sample());
            } else if boundary_ns > now_ns {
                wait_ns = wait_ns.min(boundary_ns - now_ns);
            }
        }
        self.take_point(now_ns, shared);
        if self.last_line.elapsed() >= Duration::from_secs(1) {
            self.print_line(shared);
        }
        std::thread::sleep(Duration::from_nanos(wait_ns));
    }

    /// Adds a point to the timeline when one is due.
    fn take_point(&mut self, now_ns: u64, shared: &Shared) {
        let (from_ns, to_ns) = self.times.measure_ns;
        let each_ns = ((to_ns - from_ns) / POINTS_MAX).max(POINT_NS_MIN);
        // The last point is taken at the end: what is answered later is not of the measurement.
        if now_ns < from_ns || now_ns > to_ns + POINT_LATE_NS {
            return;
        }
        let now = (now_ns, shared.acked.load(Ordering::Relaxed), shared.acked_bytes.load(Ordering::Relaxed));
        let Some(before) = self.last_point else { return self.last_point = Some(now) };
        if now_ns - before.0 >= each_ns - POINT_LATE_NS {
            let seconds = (now_ns - before.0) as f64 / 1e9;
            self.timeline.push(TimePoint {
                at_s: (now_ns - from_ns) as f64 / 1e9,
                records_per_s: (now.1 - before.1) as f64 / seconds,
                mb_per_s: (now.2 - before.2) as f64 / seconds / 1e6,
            });
            self.last_point = Some(now);
        }
    }

    fn print_line(&mut self, shared: &Shared) {
        let seconds = self.last_line.elapsed().as_secs_f64();
        self.last_line = Instant::now();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = (load(&shared.acked), load(&shared.acked_bytes), load(&shared.read));
        let per_s = |now: u64, before: u64| (now - before) as f64 / seconds;
        self.line += 1;
        if !self.args.no_progress {
            let (acked, bytes) = (per_s(now.0, self.last.0), per_s(now.1, self.last.1) / 1e6);
            let read = per_s(now.2, self.last.2);
            eprintln!("{:4} s  acked {acked:9.0}/s {bytes:8.1} MB/s  read {read:9.0}/s", self.line);
        }
        self.last = now;
    }

    /// Seconds of the measurement that were under load.
    pub fn seconds(&self) -> f64 {
        let (from_ns, to_ns) = self.times.measure_ns;
        self.produced_at_ns.min(to_ns).saturating_sub(from_ns) as f64 / 1e9
    }
}
