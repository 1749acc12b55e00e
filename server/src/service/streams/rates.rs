//! How much goes into and out of shards, for servers that are told to refuse what AWS would refuse. The rates of a shard are known on the
//! core on which its partition lives.
//!
//! Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

use keylane_engine::LogId;

/// Bytes of keys and data that a shard takes in a second, and records.
const IN_BYTES: f64 = (1 << 20) as f64;
const IN_RECORDS: f64 = 1000.0;
/// Bytes that are read of a shard in a second, and reads.
const OUT_BYTES: f64 = (2 << 20) as f64;
const OUT_READS: f64 = 5.0;
/// Shards that are remembered before the idle ones are forgotten.
const REMEMBERED: usize = 10_000;

/// What may still be used of a rate: refilled as time goes by, up to what one second gives.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    per_second: f64,
    left: f64,
}

impl Bucket {
    fn full(per_second: f64) -> Self {
        Self { per_second, left: per_second }
    }

    fn refill(&mut self, seconds: f64) {
        self.left = (self.left + seconds * self.per_second).min(self.per_second);
    }

    /// Whether there is room for `amount`; for more than a second gives there is when the bucket is full.
    fn has(&self, amount: f64) -> bool {
        self.left >= amount.min(self.per_second)
    }
}

/// The rates of one shard.
struct Shard {
    in_bytes: Bucket,
    in_records: Bucket,
    out_bytes: Bucket,
    out_reads: Bucket,
    at: Instant,
}

impl Shard {
    fn new(at: Instant) -> Self {
        let full = Bucket::full;
        Self {
            in_bytes: full(IN_BYTES),
            in_records: full(IN_RECORDS),
            out_bytes: full(OUT_BYTES),
            out_reads: full(OUT_READS),
            at,
        }
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let all = [&mut self.in_bytes, &mut self.in_records, &mut self.out_bytes, &mut self.out_reads];
        all.into_iter().for_each(|bucket| bucket.refill(seconds));
    }

    fn is_idle(&self) -> bool {
        let all = [&self.in_bytes, &self.in_records, &self.out_bytes, &self.out_reads];
        all.into_iter().all(|bucket| bucket.left >= bucket.per_second)
    }
}

/// The rates of all shards of a core.
#[derive(Default)]
pub struct Rates(RefCell<HashMap<LogId, Shard>>);

impl Rates {
    fn with<T>(&self, log: LogId, now: Instant, work: impl FnOnce(&mut Shard) -> T) -> T {
        let mut all = self.0.borrow_mut();
        if all.len() >= REMEMBERED && !all.contains_key(&log) {
            all.retain(|_, shard| {
                shard.refill(now);
                !shard.is_idle()
            });
        }
        let shard = all.entry(log).or_insert_with(|| Shard::new(now));
        shard.refill(now);
        work(shard)
    }

    /// Which records of these sizes, put one after another, a shard takes.
    pub fn put(&self, log: LogId, sizes: &[usize], now: Instant) -> Vec<bool> {
        self.with(log, now, |shard| {
            let take = |bytes: &usize| {
                let bytes = *bytes as f64;
                let taken = shard.in_records.has(1.0) && shard.in_bytes.has(bytes);
                if taken {
                    shard.in_records.left -= 1.0;
                    shard.in_bytes.left -= bytes;
                }
                taken
            };
            sizes.iter().map(take).collect()
        })
    }

    /// Whether a shard may be read. What is read then counts for the next read.
    pub fn read(&self, log: LogId, now: Instant) -> bool {
        self.with(log, now, |shard| {
            let may = shard.out_reads.has(1.0) && shard.out_bytes.left > 0.0;
            if may {
                shard.out_reads.left -= 1.0;
            }
            may
        })
    }

    /// Bytes that were read.
    pub fn note_read(&self, log: LogId, bytes: usize, now: Instant) {
        self.with(log, now, |shard| shard.out_bytes.left -= bytes as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOT: LogId = LogId(1);

    /// Three MB a second into one shard, for ten seconds: a third gets in; another shard is not held up.
    #[test]
    fn a_shard_takes_a_mebibyte_and_a_thousand_records_a_second() {
        let (rates, begin) = (Rates::default(), Instant::now());
        let (mut taken, mut other, mut small) = (0, 0, 0);
        for ms in 0..10_000 {
            let now = begin + Duration::from_millis(ms);
            taken += rates.put(HOT, &[1024; 3], now).iter().filter(|t| **t).count();
            other += usize::from(rates.put(LogId(2), &[1000], now)[0]);
            small += rates.put(LogId(3), &[10; 5], now).iter().filter(|t| **t).count();
        }
        // The first second may be used at once; afterwards a second gives what it gives.
        assert!((10 * 1024..=11 * 1024).contains(&taken), "{taken}");
        assert_eq!(other, 10_000, "a thousand records of less than a KiB fit");
        assert!((10_000..=11_000).contains(&small), "{small}");
    }

    #[test]
    fn a_record_larger_than_a_second_gives_is_taken_and_paid_for_later() {
        let (rates, begin) = (Rates::default(), Instant::now());
        let put = |ms| rates.put(HOT, &[4 << 20], begin + Duration::from_millis(ms))[0];
        assert!(put(0) && !put(1_000) && !put(3_999) && put(4_000));
    }

    #[test]
    fn a_shard_is_read_five_times_a_second_and_two_mebibytes() {
        let (rates, begin) = (Rates::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        assert_eq!((0..6).filter(|_| rates.read(HOT, at(0))).count(), 5);
        assert!(!rates.read(HOT, at(100)) && rates.read(HOT, at(210)));
        // Ten MiB at once: the next read is four seconds later.
        rates.note_read(HOT, 10 << 20, at(1_000));
        assert!(!rates.read(HOT, at(4_900)) && rates.read(HOT, at(5_100)));
    }

    #[test]
    fn idle_shards_are_forgotten() {
        let (rates, begin) = (Rates::default(), Instant::now());
        for log in 0..2 * REMEMBERED as u32 {
            rates.put(LogId(log), &[1], begin + Duration::from_millis(log.into()));
        }
        assert!(rates.0.borrow().len() <= REMEMBERED);
    }
}
