//! Latencies in nanoseconds.
//!
//! Promises: three significant digits from a nanosecond to ten minutes, longer ones count as ten
//! minutes; histograms of several threads add up without loss.

use hdrhistogram::Histogram;
use serde::Serialize;

const LONGEST_NS: u64 = 600_000_000_000;

#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Option<Histogram<u64>>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    pub fn new() -> Self {
        // The bounds are constants that the constructor accepts.
        Self { histogram: Histogram::new_with_bounds(1, LONGEST_NS, 3).ok() }
    }

    #[inline]
    pub fn record(&mut self, latency_ns: u64, times: u64) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record_n(latency_ns, times);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        if let (Some(into), Some(from)) = (&mut self.histogram, &other.histogram) {
            // Equal bounds always add.
            let added = into.add(from);
            debug_assert!(added.is_ok());
        }
    }

    /// The usual percentiles in microseconds; `None` if nothing was recorded.
    pub fn summary(&self) -> Option<LatencySummary> {
        let histogram = self.histogram.as_ref().filter(|histogram| !histogram.is_empty())?;
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Some(LatencySummary {
            samples: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: histogram.max() as f64 / 1e3,
        })
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct LatencySummary {
    pub samples: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_give_percentiles_of_all() {
        let (mut a, mut b) = (Latencies::new(), Latencies::new());
        assert!(a.summary().is_none());
        (1..=500).for_each(|ms| a.record(ms * 1_000_000, 1));
        (501..=1000).for_each(|ms| b.record(ms * 1_000_000, 1));
        a.merge(&b);
        let summary = a.summary().unwrap();
        assert_eq!(summary.samples, 1000);
        assert!((summary.p50_us / 500_000.0 - 1.0).abs() < 0.002, "{summary:?}");
        assert!((summary.p99_us / 990_000.0 - 1.0).abs() < 0.002, "{summary:?}");
    }
}
