//! Quiet before a measurement, and brokers that need a while to get up to speed.

use std::time::{Duration, Instant};

use super::broker::Broker;
use super::result::Point;
use crate::cpu;
use crate::run;
use crate::spread::Spread;

/// A process that uses less than this part of a core is at rest.
const REST: f64 = 0.05;
const LOOK: Duration = Duration::from_millis(250);

/// What one broker left in the page cache, or has still to do, is not for the next one to pay. Says who was still busy
/// after `limit`.
pub fn wait_until_quiet(brokers: &[Broker], pause: Duration, limit: Duration) -> Option<String> {
    rustix::fs::sync();
    std::thread::sleep(pause);
    let pids: Vec<(&str, u32)> =
        brokers.iter().filter_map(|broker| Some((broker.spec.name.as_str(), broker.spec.pid?))).collect();
    if pids.is_empty() {
        return None;
    }
    let deadline = Instant::now() + limit;
    let used = |pid: u32| cpu::process_use(pid).map(|used| used.cpu_s).ok();
    loop {
        let before: Vec<Option<f64>> = pids.iter().map(|(_, pid)| used(*pid)).collect();
        std::thread::sleep(LOOK);
        let busy = pids.iter().zip(before).find_map(|((name, pid), before)| {
            let share = (used(*pid)? - before?) / LOOK.as_secs_f64();
            (share >= REST).then_some((*name, share))
        });
        match busy {
            None => return None,
            Some((name, share)) if Instant::now() > deadline => {
                return Some(format!("{name} was still {:.0} % busy before the measurement", share * 100.0));
            }
            Some(_) => {}
        }
    }
}

/// Measurements before a rate can have settled: what is slow at first may be so evenly.
const MEASUREMENTS_MIN: usize = 8;

/// Loads a broker until the last three measurements lie within 10 %, at most for `limit`; MB/s of each.
pub fn warm_up(broker: &Broker, point: &Point, limit: Duration, mut tell: impl FnMut(f64)) -> Vec<f64> {
    let mut options = point.options.clone();
    for (name, value) in [("--duration", "5s"), ("--warmup", "0s")] {
        if let Some(at) = options.iter().position(|option| option == name)
            && let Some(option) = options.get_mut(at + 1)
        {
            *option = value.to_owned();
        }
    }
    let deadline = Instant::now() + limit;
    let mut rates = Vec::new();
    while Instant::now() < deadline && !settled(&rates) {
        let Ok(report) = broker.args_of(&options).and_then(|args| run::run(&args)) else { break };
        let rate = report.produced.batch_bytes_per_s / 1e6;
        tell(rate);
        rates.push(rate);
    }
    rates
}

fn settled(rates: &[f64]) -> bool {
    let last = &rates[rates.len().saturating_sub(3)..];
    let alike = Spread::of(last.iter().copied()).is_some_and(|s| s.highest <= s.lowest * 1.1);
    alike && rates.len() >= MEASUREMENTS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_settled_when_it_is_alike_after_a_while() {
        assert!(!settled(&[]) && !settled(&[360.0, 360.0]));
        assert!(!settled(&[9.0, 9.0, 9.0, 9.0]));
        assert!(!settled(&[85.0, 200.0, 300.0, 310.0, 320.0, 320.0, 350.0, 390.0]));
        assert!(settled(&[85.0, 200.0, 300.0, 310.0, 320.0, 350.0, 355.0, 362.0]));
    }
}
